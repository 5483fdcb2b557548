//! `kinesis-kit inspect`: from Kinesis records to lines, one for each user record.

mod line;
mod summary;
mod json_lines;
mod selection;
mod shown_key;
mod record_table;

use std::io;

use kinesis_esm::SharedRecord;
use kpl_deaggregation::{Deaggregator, UserRecords};

use crate::{
    args::{DataStyle, Format, InspectArgs},
    error::{Completion, Error},
    input::{
        self, Input,
        kinesis_record::{InvalidRecord, KinesisRecord},
    },
    output::{
        meter::Stdout,
        note::{count, note, warning},
        screen::Screen,
    },
    stream::{arrival::Arrival, record_position::RecordPosition},
};
use json_lines::JsonLines;
use line::InspectLine;
use record_table::RecordTable;
pub(crate) use selection::Selection;
pub(crate) use shown_key::Keys;
use shown_key::MAX_KEY_BYTES;
pub(crate) use summary::Summary;

/// Output that is gathered before it is written, in bytes.
const WRITE_BYTES: usize = 64 * 1024;

/// A sink of lines.
trait Sink {
    /// The lines that follow are of this Kinesis record.
    fn begin(&mut self, kinesis_record: &KinesisRecord<'_>);

    fn write(&mut self, line: &InspectLine<'_>) -> io::Result<()>;

    /// Writes what is left. More may follow.
    fn finish(&mut self) -> io::Result<()>;
}

pub(crate) fn run(args: &InspectArgs) -> Result<Completion, Error> {
    // The rule `requires` of these options does not hold if FILE is given, which --stream excludes.
    if let Some(option) = args.look.first_given() {
        return Err(Error::Usage(format!("{option} is for --stream")));
    }
    let input = Input::read_bytes(&args.file)?;
    let text = input.to_text();
    let kinesis_records = input::kinesis_records(&input, &text, args.input)?;
    let stdout = io::stdout().lock();
    let mut sink: Box<dyn Sink> = match args.format {
        Format::Table => {
            let table = RecordTable::of_input(stdout, Screen::of_stdout());
            Box::new(table.with_data(args.data))
        }
        Format::Json => Box::new(JsonLines::new(stdout)),
    };
    let mut inspector = Inspector {
        keys: Keys::of_option(args.full_keys),
        selection: args.at.clone().map(Selection::At).unwrap_or_default(),
        ..Inspector::default()
    };
    for kinesis_record in &kinesis_records {
        inspector.show(kinesis_record, &mut *sink)?;
    }
    sink.finish()?;
    if let Some(position) = &args.at {
        return conclude_at(position, &inspector.summary);
    }
    conclude(&inspector.summary, args.format)
}

/// Returns whether the input has the position.
pub(crate) fn conclude_at(position: &RecordPosition, summary: &Summary) -> Result<Completion, Error> {
    if summary.user_records == 0 && summary.invalid == 0 {
        warning(format_args!("no record at {position}"));
        return Ok(Completion::SomeFailed);
    }
    Ok(if summary.invalid > 0 { Completion::SomeFailed } else { Completion::Done })
}

/// Tells people, and whoever asks for the exit code, what there was.
pub(crate) fn conclude(summary: &Summary, format: Format) -> Result<Completion, Error> {
    if summary.kinesis_records == 0 {
        note("no records");
    } else if format == Format::Table || summary.invalid > 0 {
        note(summary);
    }
    // A table has no room for long keys.
    if summary.shortened_keys > 0 && format == Format::Json {
        note(format_args!(
            "{} with a key of more than {MAX_KEY_BYTES} bytes, which is shortened: --full-keys shows it whole",
            count(summary.shortened_keys, "line")
        ));
    }
    Ok(if summary.invalid > 0 { Completion::SomeFailed } else { Completion::Done })
}

/// Takes Kinesis records apart, and counts what is in them.
#[derive(Default)]
struct Inspector {
    deaggregator: Deaggregator,
    summary: Summary,
    /// Most user records, if there is a limit.
    limit: Option<u64>,
    keys: Keys,
    selection: Selection,
}

impl Inspector {
    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.summary.user_records >= limit)
    }

    fn show(&mut self, kinesis_record: &KinesisRecord<'_>, sink: &mut dyn Sink) -> io::Result<()> {
        let limit = self.limit.unwrap_or(u64::MAX);
        let keys = self.keys;
        let summary = &mut self.summary;
        summary.kinesis_records += 1;
        sink.begin(kinesis_record);
        let data = kinesis_record.decode();
        match Contents::of(kinesis_record, &data, &mut self.deaggregator) {
            Contents::UserRecords(user_records) => {
                let content = user_records.content();
                summary.count(content);
                for user_record in user_records {
                    if summary.user_records >= limit {
                        break;
                    }
                    if !self.selection.has(kinesis_record, Some(user_record.sub_sequence_number)) {
                        continue;
                    }
                    summary.user_records += 1;
                    let line = InspectLine::of_user_record(kinesis_record, content, &user_record, keys);
                    summary.shortened_keys += u64::from(line.has_shortened_key());
                    sink.write(&line)?;
                }
            }
            Contents::Deaggregated(data) => {
                if !self.selection.has(kinesis_record, kinesis_record.sub_sequence_number) {
                    return Ok(());
                }
                summary.user_records += 1;
                let line = InspectLine::of_deaggregated_record(kinesis_record, data, keys);
                summary.shortened_keys += u64::from(line.has_shortened_key());
                sink.write(&line)?;
            }
            Contents::Invalid(invalid) => {
                if !self.selection.has(kinesis_record, None) {
                    return Ok(());
                }
                summary.invalid += 1;
                let line = InspectLine::of_invalid_record(kinesis_record, &invalid, keys);
                summary.shortened_keys += u64::from(line.has_shortened_key());
                sink.write(&line)?;
            }
        }
        Ok(())
    }
}

/// Shows the records of a live stream, as they are read.
pub(crate) struct Inspection {
    inspector: Inspector,
    sink: Box<dyn Sink>,
    /// Whether nothing that follows is selected.
    is_past_last: bool,
}

impl Inspection {
    pub(crate) fn of_stream(
        output: Stdout,
        format: Format,
        data: DataStyle,
        keys: Keys,
        limit: Option<u64>,
        selection: Selection,
    ) -> Self {
        let sink: Box<dyn Sink> = match format {
            Format::Table => Box::new(RecordTable::of_stream(output, Screen::of_stdout()).with_data(data)),
            Format::Json => Box::new(JsonLines::new(output)),
        };
        Inspection {
            inspector: Inspector { limit, keys, selection, ..Inspector::default() },
            sink,
            is_past_last: false,
        }
    }

    /// Shows records of a shard at once. Returns whether there shall be no more.
    pub(crate) fn add(&mut self, shard_id: &str, records: &[SharedRecord]) -> io::Result<bool> {
        for record in records {
            if self.inspector.is_full() || self.is_past_last {
                break;
            }
            let mut kinesis_record = KinesisRecord::of_data(&record.data[..]);
            kinesis_record.sequence_number = Some(record.sequence_number.to_string().into());
            kinesis_record.partition_key = Some(record.partition_key.as_str().into());
            kinesis_record.shard_id = Some(shard_id.into());
            kinesis_record.arrival = Some(Arrival::from_epoch_milliseconds(record.arrival_ms));
            self.inspector.show(&kinesis_record, &mut *self.sink)?;
            let last = self.inspector.selection.last();
            self.is_past_last |= last.is_some_and(|last| record.sequence_number >= last);
        }
        self.sink.finish()?;
        Ok(self.inspector.is_full() || self.is_past_last)
    }

    pub(crate) fn finish(mut self) -> io::Result<Summary> {
        self.sink.finish()?;
        Ok(self.inspector.summary)
    }
}

/// The content of a Kinesis record.
enum Contents<'a, 't> {
    UserRecords(UserRecords<'a, 't>),
    /// One user record, possibly out of an aggregate.
    Deaggregated(&'a [u8]),
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
        if kinesis_record.is_deaggregated {
            return Contents::Deaggregated(data);
        }
        let partition_key = kinesis_record.partition_key.as_deref().unwrap_or_default();
        match deaggregator.deaggregate(partition_key.as_bytes(), data) {
            Ok(user_records) => Contents::UserRecords(user_records),
            Err(invalid) => Contents::Invalid(InvalidRecord::Frame(invalid)),
        }
    }
}
