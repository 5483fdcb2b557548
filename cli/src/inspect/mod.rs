//! `kinesis-kit inspect`: from Kinesis records to lines, one for each user record.

mod line;
mod summary;
mod json_lines;
mod short_number;
mod record_table;

use std::io;

use kpl_deaggregation::{Deaggregator, InvalidFramePolicy, UserRecords};

use crate::{
    args::{Format, InspectArgs},
    error::{Error, Outcome},
    input::{self, Input},
    kinesis_record::{InvalidRecord, KinesisRecord},
    note::note,
    table::terminal_width,
};
use json_lines::JsonLines;
use line::Line;
use record_table::RecordTable;
use summary::Summary;

/// How much output is gathered before it is written.
const WRITE_BYTES: usize = 64 * 1024;

/// Where lines go.
trait Sink {
    /// The lines that follow are of this Kinesis record.
    fn begin(&mut self, kinesis_record: &KinesisRecord<'_>);

    fn write(&mut self, line: &Line<'_>) -> io::Result<()>;

    fn finish(&mut self) -> io::Result<()>;
}

pub(crate) fn run(args: &InspectArgs) -> Result<Outcome, Error> {
    let input = Input::read(&args.file)?;
    let kinesis_records = input::kinesis_records(&input, args.input)?;
    let stdout = io::stdout().lock();
    let summary = match args.format {
        Format::Table => {
            let width = terminal_width();
            show(&kinesis_records, &mut RecordTable::new(stdout, width, &kinesis_records))?
        }
        Format::Json => show(&kinesis_records, &mut JsonLines::new(stdout))?,
    };
    if args.format == Format::Table || summary.invalid > 0 {
        note(&summary);
    }
    Ok(if summary.invalid > 0 { Outcome::SomeFailed } else { Outcome::Done })
}

fn show(kinesis_records: &[KinesisRecord<'_>], sink: &mut impl Sink) -> io::Result<Summary> {
    let mut deaggregator = Deaggregator::new(InvalidFramePolicy::Fail);
    let mut summary = Summary::default();
    for kinesis_record in kinesis_records {
        summary.kinesis_records += 1;
        sink.begin(kinesis_record);
        let data = kinesis_record.decode();
        match Contents::of(kinesis_record, &data, &mut deaggregator) {
            Contents::UserRecords(user_records) => {
                let content = user_records.content();
                summary.count(content);
                for user_record in user_records {
                    summary.user_records += 1;
                    sink.write(&Line::of_user_record(kinesis_record, content, &user_record))?;
                }
            }
            Contents::DeaggregatedByLambda(data) => {
                summary.user_records += 1;
                sink.write(&Line::of_fan_out_record(kinesis_record, data))?;
            }
            Contents::Invalid(invalid) => {
                summary.invalid += 1;
                sink.write(&Line::of_invalid_record(kinesis_record, &invalid))?;
            }
        }
    }
    sink.finish()?;
    Ok(summary)
}

/// What a Kinesis record holds.
enum Contents<'a, 't> {
    UserRecords(UserRecords<'a, 't>),
    /// One user record, possibly out of an aggregate.
    DeaggregatedByLambda(&'a [u8]),
    Invalid(InvalidRecord),
}

impl<'a, 't> Contents<'a, 't> {
    fn of(
        kinesis_record: &'a KinesisRecord<'_>,
        data: &'a Result<impl AsRef<[u8]>, InvalidRecord>,
        deaggregator: &'t mut Deaggregator,
    ) -> Self {
        let data = match data {
            Ok(data) => data.as_ref(),
            Err(invalid) => return Contents::Invalid(invalid.clone()),
        };
        if kinesis_record.is_enhanced_fan_out {
            return Contents::DeaggregatedByLambda(data);
        }
        let partition_key = kinesis_record.partition_key.as_deref().unwrap_or_default();
        match deaggregator.deaggregate(partition_key.as_bytes(), data) {
            Ok(user_records) => Contents::UserRecords(user_records),
            Err(invalid) => Contents::Invalid(InvalidRecord::Frame(invalid)),
        }
    }
}
