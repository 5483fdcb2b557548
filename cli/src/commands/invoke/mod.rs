//! `kinesis-kit invoke`: from an event to the function's response, and what it means.

mod event;
mod meaning;

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
};

use bytes::Bytes;
use kinesis_esm::StreamArn;
use kinesis_handler::Event;
use lambda_host::Answer;

use crate::{
    args::InvokeArgs,
    delivery::target::{Target, request_id},
    error::{Completion, Error},
    input::Input,
    output::note::{error, note, success},
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
    let mut target = Target::new(args.target.options(), region.as_deref(), args.target.timeout()).await?;
    target.show_log();
    let halt = Halt::default();
    let work = async {
        target.check().await?;
        let mut completion = Completion::Done;
        let mut last = None;
        for (number, event) in (1..).zip(&events) {
            if let Some(invoked) = last.take() {
                show(&invoked)?;
            }
            if events.len() > 1 {
                note(format_args!("event {number} of {}: {}", events.len(), event.name));
            }
            let Some(_in_flight) = halt.enter() else { return Err(Error::Interrupted) };
            let invoked = invoke_with(&target, event).await?;
            if invoked.meaning.completion == Completion::SomeFailed {
                completion = Completion::SomeFailed;
            }
            last = Some(invoked);
        }
        Ok((completion, last))
    };
    let ended = run::until_interrupted(work, &halt).await;
    // What the function logs at its end comes before the response, too.
    target.shutdown().await;
    let (completion, last) = ended?;
    last.as_ref().map_or(Ok(()), show)?;
    Ok(completion)
}

/// The outcome of an invocation.
struct Invoked {
    /// The function's response; `None` if it failed.
    response: Option<Bytes>,
    meaning: Meaning,
}

async fn invoke_with(target: &Target, event: &Prepared) -> Result<Invoked, Error> {
    // What the handler cannot read, the mapping could not have sent; the function may say so.
    let batch = Event::parse(&event.json).ok();
    let records = batch.as_ref().map_or(&[][..], |event| &event.records);
    let shard_id = records.first().and_then(|record| record.shard_id.as_deref()).unwrap_or_default();
    let answer = target.invoke(event.json.clone().into(), &request_id(), shard_id).await?;
    if !target.processes() {
        let lines = vec!["the event was written, and not delivered to any function".to_owned()];
        return Ok(Invoked { response: None, meaning: Meaning { lines, completion: Completion::Done } });
    }
    let numbers: Vec<_> = records.iter().map(|record| record.sequence_number).collect();
    let window = batch.as_ref().and_then(|event| event.window.as_ref());
    let meaning = Meaning::of(&answer, &numbers, window);
    let response = if let Answer::Response(response) = answer { Some(response) } else { None };
    Ok(Invoked { response, meaning })
}

/// Writes the response to standard output, and then its meaning to standard error. On a terminal, an empty line and a colour set
/// the meaning apart from the log.
fn show(Invoked { response, meaning }: &Invoked) -> Result<(), Error> {
    if let Some(response) = response {
        write(response)?;
    }
    if io::stderr().is_terminal() {
        // If standard error is closed, there is no better place.
        let _ = writeln!(io::stderr());
    }
    let mut lines = meaning.lines.iter();
    let first = lines.next();
    match meaning.completion {
        Completion::Done => first.into_iter().for_each(success),
        Completion::SomeFailed => first.into_iter().for_each(error),
    }
    lines.for_each(note);
    Ok(())
}

/// Writes a response. A reader that wants only a part of it does not change what it means.
fn write(response: &[u8]) -> Result<(), Error> {
    let mut output = io::stdout().lock();
    let end: &[u8] = if response.ends_with(b"\n") { b"" } else { b"\n" };
    let written = output.write_all(response).and_then(|()| output.write_all(end));
    match written.and_then(|()| output.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Write(error)),
        _ => Ok(()),
    }
}

/// Returns the region of the event's stream.
fn region(event: &[u8]) -> Option<String> {
    let event = Event::parse(event).ok()?;
    let arn: StreamArn = event.records.first()?.stream_arn()?.parse().ok()?;
    Some(arn.region().to_owned())
}
