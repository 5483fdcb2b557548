//! `kinesis-kit invoke`: from an event to the function's response, and what it means.

mod event;
mod meaning;

use std::{
    io::{self, Write},
    path::Path,
};

use kinesis_esm::StreamArn;
use kinesis_handler::Event;
use lambda_host::Answer;

use crate::{
    args::InvokeArgs,
    delivery::target::{Target, request_id},
    error::{Completion, Error},
    input::Input,
    output::note::note,
    run::{self, halt::Halt},
};
use meaning::Meaning;

/// An event, and where it comes from.
struct Prepared {
    name: String,
    json: Vec<u8>,
}

pub(crate) fn run(args: &InvokeArgs) -> Result<Completion, Error> {
    // All of them before the first one is delivered: a wrong name must not show after half of the work.
    let events = args.files.iter().map(|path| prepare(path, args)).collect::<Result<Vec<_>, _>>()?;
    run::block_on(invoke(args, events))
}

fn prepare(path: &Path, args: &InvokeArgs) -> Result<Prepared, Error> {
    let input = Input::read_bytes(path)?;
    let json = match &args.key {
        Some(key) => event::from_payloads(&input, key)?,
        None => event::from_input(&input, args.input)?,
    };
    Ok(Prepared { name: input.name, json })
}

async fn invoke(args: &InvokeArgs, events: Vec<Prepared>) -> Result<Completion, Error> {
    let region = events.first().and_then(|event| region(&event.json));
    let target = Target::new(args.target.options(), region.as_deref(), args.target.timeout()).await?;
    let halt = Halt::default();
    let work = async {
        target.check().await?;
        let mut completion = Completion::Done;
        for (number, event) in (1..).zip(&events) {
            if events.len() > 1 {
                note(format_args!("event {number} of {}: {}", events.len(), event.name));
            }
            let Some(_in_flight) = halt.enter() else { return Err(Error::Interrupted) };
            if invoke_with(&target, event).await? == Completion::SomeFailed {
                completion = Completion::SomeFailed;
            }
        }
        Ok(completion)
    };
    let ended = run::until_interrupted(work, &halt).await;
    target.shutdown().await;
    ended
}

async fn invoke_with(target: &Target, event: &Prepared) -> Result<Completion, Error> {
    // What the handler cannot read, the mapping could not have sent; the function may say so.
    let batch = Event::parse(&event.json).ok();
    let records = batch.as_ref().map_or(&[][..], |event| &event.records);
    let shard_id = records.first().and_then(|record| record.shard_id.as_deref()).unwrap_or_default();
    let answer = target.invoke(event.json.clone().into(), &request_id(), shard_id).await?;
    if !target.processes() {
        note("the event was written, and not delivered to any function");
        return Ok(Completion::Done);
    }
    if let Answer::Response(response) = &answer {
        let mut output = io::stdout().lock();
        output.write_all(response)?;
        if !response.ends_with(b"\n") {
            output.write_all(b"\n")?;
        }
        output.flush()?;
    }
    let numbers: Vec<_> = records.iter().map(|record| record.sequence_number).collect();
    let meaning = Meaning::of(&answer, &numbers);
    meaning.lines.iter().for_each(note);
    Ok(meaning.completion)
}

/// Returns the region of the event's stream.
fn region(event: &[u8]) -> Option<String> {
    let event = Event::parse(event).ok()?;
    let arn: StreamArn = event.records.first()?.stream_arn()?.parse().ok()?;
    Some(arn.region().to_owned())
}
