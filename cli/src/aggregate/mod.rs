//! `kinesis-kit aggregate`: from JSON lines to Kinesis records.

mod event;
mod put_records;

use std::io::{self, Write};

use kpl_deaggregation::{Aggregator, AggregatorOptions, Grouping, HashKeyRange, KinesisRecordInput};

use crate::{
    args::{AggregateArgs, GroupBy, Output},
    error::{self, Error, Outcome},
    input::Input,
    note::{count, note},
    user_record_line::{LineError, UserRecordLine},
};

/// How many wrong lines are listed: beyond that, the input is probably something else altogether.
const LISTED_LINES: usize = 20;

pub(crate) fn run(args: &AggregateArgs) -> Result<Outcome, Error> {
    let input = Input::read(&args.file)?;
    let kinesis_records = aggregate(&input.bytes, aggregator(args))?;
    let json = match args.output {
        Output::Event => event::to_json(&kinesis_records, args)?,
        Output::PutRecords => put_records::to_json_lines(&kinesis_records, args.stream_arn.as_ref()),
    };
    io::stdout().lock().write_all(&json)?;
    note(format_args!(
        "packed {} into {}",
        count(kinesis_records.iter().map(|record| record.user_records as u64).sum(), "user record"),
        count(kinesis_records.len() as u64, "Kinesis record")
    ));
    Ok(Outcome::Done)
}

fn aggregator(args: &AggregateArgs) -> Aggregator {
    let grouping = match args.group_by {
        GroupBy::Shard => Grouping::ShardRanges(vec![HashKeyRange::FULL]),
        GroupBy::PartitionKey => Grouping::PartitionKey,
    };
    let options = AggregatorOptions { size_limit_bytes: args.size_limit, grouping };
    Aggregator::new(options).expect("the command line takes no size limit above the aggregator's")
}

/// Nothing comes of an input that has a wrong line: what it lacks would go unnoticed.
fn aggregate(input: &[u8], mut aggregator: Aggregator) -> Result<Vec<KinesisRecordInput>, Error> {
    let mut kinesis_records = Vec::new();
    let (mut lines, mut wrong) = (0, 0);
    for (index, line) in input.split(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        lines += 1;
        match add(line, &mut aggregator) {
            Ok(closed) => kinesis_records.extend(closed),
            Err(error) => {
                wrong += 1;
                match wrong {
                    ..=LISTED_LINES => note(format_args!("line {}: {}", index + 1, error::chain(&error))),
                    _ if wrong == LISTED_LINES + 1 => note("there are more"),
                    _ => {}
                }
            }
        }
    }
    if wrong > 0 {
        return Err(Error::Lines { wrong, lines });
    }
    kinesis_records.extend(aggregator.finish());
    Ok(kinesis_records)
}

fn add(line: &[u8], aggregator: &mut Aggregator) -> Result<Option<KinesisRecordInput>, LineError> {
    let line = UserRecordLine::parse(line)?;
    let data = line.data()?;
    Ok(aggregator.add(line.user_record(&data))?)
}
