//! `kinesis-kit aggregate`: from JSON lines to Kinesis records.

mod event;
mod put_records;

use std::io::{self, Seek};

use kpl_deaggregation::{Aggregator, AggregatorOptions, Grouping, HashKeyRange, PutEntry};
use tempfile::SpooledTempFile;

pub(crate) use self::event::successor;
use self::{event::EventWriter, put_records::RequestWriter};
use crate::{
    args::{AggregateArgs, GroupBy, KeyField, Output, PayloadCompression},
    error::{self, Completion, Error},
    input::{
        Lines,
        compression::compressed,
        user_record_line::{LineError, PAYLOAD_ADVICE, UserRecordLine},
    },
    output::note::{count, note, warning},
};

/// Number of wrong lines that are listed: beyond that, the input is probably something else altogether.
const LISTED_LINES: u64 = 20;

/// Number of bytes of output that are kept in memory until the last line has been read. The rest is in a temporary file
/// without a name.
const SPOOLED_BYTES: usize = 64 * 1024 * 1024;

/// Number of bytes after which all open Kinesis records are closed: there is one for each partition key.
const MAX_OPEN_BYTES: usize = 64 * 1024 * 1024;

/// Number of bytes that an open Kinesis record takes beside its content.
const OPEN_RECORD_BYTES: usize = 512;

pub(crate) fn run(args: &AggregateArgs) -> Result<Completion, Error> {
    let mut packing = Packing::new(args);
    let (mut lines, mut wrong) = (0, 0);
    let mut may_be_payloads = false;
    let mut input = Lines::open(&args.file)?;
    while let Some((number, line)) = input.next() {
        let line = line.map_err(|source| Error::Read { input: input.name.clone(), source })?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        lines += 1;
        if let Err(error) = packing.add(&line)? {
            wrong += 1;
            may_be_payloads |= args.key.is_none() && error.may_be_payload();
            match wrong {
                ..=LISTED_LINES => warning(format_args!("line {number}: {}", error::chain(&error))),
                _ if wrong == LISTED_LINES + 1 => note("there are more"),
                _ => {}
            }
        }
    }
    // Nothing comes of an input that has a wrong line: what it lacks would go unnoticed.
    if may_be_payloads && wrong == lines {
        note(PAYLOAD_ADVICE);
    }
    if wrong > 0 {
        return Err(Error::Lines { wrong, lines });
    }
    let Packed { mut spool, user_records, kinesis_records } = packing.finish()?;
    spool.rewind()?;
    io::copy(&mut spool, &mut io::stdout().lock())?;
    note(format_args!(
        "packed {} into {}",
        count(user_records, "user record"),
        count(kinesis_records, "Kinesis record")
    ));
    Ok(Completion::Done)
}

/// Packs user records and writes the Kinesis records to a spool.
struct Packing<'a> {
    aggregator: Aggregator,
    /// Field of the partition key, if lines are payloads.
    key: Option<&'a KeyField>,
    compression: Option<PayloadCompression>,
    group_by: GroupBy,
    /// Number of bytes of the user records since all Kinesis records were closed, at least.
    open_bytes: usize,
    writer: Writer<'a>,
    packed: Packed,
}

/// The output, which is written when the whole input is known to be right.
struct Packed {
    spool: SpooledTempFile,
    user_records: u64,
    kinesis_records: u64,
}

enum Writer<'a> {
    Event(EventWriter<'a>),
    Requests(RequestWriter<'a>),
}

impl<'a> Packing<'a> {
    fn new(args: &'a AggregateArgs) -> Self {
        let grouping = match args.group_by {
            GroupBy::Shard => Grouping::ShardRanges(vec![HashKeyRange::FULL]),
            GroupBy::PartitionKey => Grouping::PartitionKey,
        };
        let options = AggregatorOptions { size_limit_bytes: args.size_limit, grouping };
        let stream_arn = args.stream_arn.as_ref();
        Packing {
            aggregator: Aggregator::new(options)
                .expect("the command line takes no size limit above the aggregator's"),
            key: args.key.as_ref(),
            compression: args.compress,
            group_by: args.group_by,
            open_bytes: 0,
            writer: match args.output {
                Output::Event => Writer::Event(EventWriter::new(&args.event, stream_arn)),
                Output::PutRecords => Writer::Requests(RequestWriter::new(stream_arn)),
            },
            packed: Packed {
                spool: SpooledTempFile::new(SPOOLED_BYTES),
                user_records: 0,
                kinesis_records: 0,
            },
        }
    }

    /// Adds a line. The inner result is about the line.
    fn add(&mut self, line: &[u8]) -> Result<Result<(), LineError>, Error> {
        let closed = match pack(line, self.key, self.compression, &mut self.aggregator) {
            Ok(closed) => closed,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(record) = closed {
            self.write(record)?;
        }
        self.open_bytes += line.len() + OPEN_RECORD_BYTES;
        if self.group_by == GroupBy::PartitionKey && self.open_bytes > MAX_OPEN_BYTES {
            self.close()?;
        }
        Ok(Ok(()))
    }

    fn close(&mut self) -> Result<(), Error> {
        self.open_bytes = 0;
        self.aggregator.finish().into_iter().try_for_each(|record| self.write(record))
    }

    fn write(&mut self, record: PutEntry) -> Result<(), Error> {
        let Packed { spool, user_records, kinesis_records } = &mut self.packed;
        *user_records += record.user_records as u64;
        *kinesis_records += 1;
        match &mut self.writer {
            Writer::Event(writer) => writer.write(&record, spool),
            Writer::Requests(writer) => Ok(writer.write(record, spool)?),
        }
    }

    fn finish(mut self) -> Result<Packed, Error> {
        self.close()?;
        let Packing { writer, mut packed, .. } = self;
        match writer {
            Writer::Event(writer) => writer.finish(&mut packed.spool)?,
            Writer::Requests(mut writer) => writer.finish(&mut packed.spool)?,
        }
        Ok(packed)
    }
}

fn pack(
    line: &[u8],
    key: Option<&KeyField>,
    compression: Option<PayloadCompression>,
    aggregator: &mut Aggregator,
) -> Result<Option<PutEntry>, LineError> {
    let line = UserRecordLine::read(line, key)?;
    let data = compressed(line.data()?, compression);
    Ok(aggregator.add(line.user_record(&data))?)
}
