//! Polls a Kinesis stream in real time, by the rules of an event source mapping.
//!
//! The simulator decides; here are its surroundings: the stream behind the API (`reader`, `source`), the function
//! (`target`), what is seen of it (`step_log`), and how it ends (`ending`). Deliberately absent: positions that
//! outlive a run, and a remedy for stand-ins that never end a closed shard (moto): its children are not read there.

mod options;
mod error;
mod reader;
mod source;
mod settings;
mod target;
mod failure_file;
mod step_line;
mod step_row;
mod tally;
mod step_log;
mod ending;

use std::{cell::RefCell, io, pin::pin, rc::Rc};

use kinesis_esm::StartingPosition;
use kinesis_esm_simulator::{SimulationClock, Step};
use kinesis_handler::BoxError;

pub(crate) use error::StreamError;
pub(crate) use options::{StreamOptions, StreamTarget};

use self::{
    ending::{Ending, time_is_up},
    failure_file::FailureFile,
    settings::Settings,
    source::KinesisSource,
    step_log::StepLog,
    target::HaltingTarget,
};
use crate::{
    commands::simulate::store_errors::StoreErrors,
    error::{Completion, Error},
    output::note::{count, note, warning},
    run::{halt::Halt, interrupts::Interrupts},
    stream::Api,
};

/// Polls the stream until it is to end. Needs a tokio runtime of one thread, with all drivers.
pub(crate) async fn run(options: StreamOptions) -> Result<Completion, Error> {
    let settings = Settings::read(options.scenario.as_deref(), options.seed)?;
    let failures = options.failures.map(FailureFile::open).transpose()?;
    let api = Api::connect(options.stream).await.map_err(StreamError::from)?;
    let stream = api.describe().await.map_err(StreamError::from)?;
    let simulation = settings.of_stream(&stream.arn, failures.is_some());
    let errors = StoreErrors::default();
    let target = Rc::new(target::new(options.target, &simulation, &errors).await?);
    let mut interrupts = Interrupts::listen().map_err(StreamError::Signals)?;
    note(format_args!("polling {}, {}", stream.arn, start(simulation.mapping.starting_position)));

    let halt = Rc::new(Halt::default());
    let log = Rc::new(RefCell::new(StepLog::new(options.format, failures, Rc::clone(&halt))));
    let ended = {
        let log = Rc::clone(&log);
        let function = HaltingTarget { target: Rc::clone(&target), halt: Rc::clone(&halt) };
        let source = KinesisSource::new(api, stream.retention_ms);
        let clock = Rc::new(SimulationClock::real());
        let polling = simulation.run(clock, source, function, move |step: Step| log.borrow_mut().add(step));
        let time_is_up = time_is_up(options.duration);
        until_the_end(polling, time_is_up, &mut interrupts, &halt).await
    };
    // What has not answered by now is gone with the polling.
    target.shutdown().await;

    let mut log = log.borrow_mut();
    match &ended {
        Ok(ending) => note(format_args!("{ending}: {}", log.tally())),
        Err(_) => note(format_args!("up to now: {}", log.tally())),
    }
    errors.warnings().iter().for_each(warning);
    for (shard_id, number) in log.tally().blocking() {
        note(format_args!(
            "shard {shard_id} is blocked: record {number} is too large for any event, and not discarded yet"
        ));
    }
    let ending = ended.map_err(StreamError::of_simulation)?;
    match log.take_error() {
        // The ending names it.
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Completion::SomeFailed),
        Some(error) => Err(Error::Write(error)),
        None if log.tally().lost_records() > 0 || log.tally().blocking().next().is_some() => {
            Ok(Completion::SomeFailed)
        }
        None if matches!(ending, Ending::Killed { .. }) => Ok(Completion::SomeFailed),
        None => Ok(Completion::Done),
    }
}

/// Polls, and after an interrupt waits for the invocations that are under way; a second one does not let them end.
async fn until_the_end(
    polling: impl Future<Output = Result<(), BoxError>>,
    time_is_up: impl Future<Output = Ending>,
    interrupts: &mut Interrupts,
    halt: &Halt,
) -> Result<Ending, BoxError> {
    let mut polling = pin!(polling);
    // Polling comes first each time, so that the steps of an invocation are taken before it counts as ended.
    let ending = tokio::select! {
        biased;
        ended = &mut polling => return ended.map(|()| Ending::ShardsEnded),
        signal = interrupts.next() => Ending::Signal(signal),
        ending = time_is_up => ending,
        () = halt.asked() => Ending::Output,
    };
    halt.ask();
    if halt.in_flight() > 0 {
        let invocations = count(halt.in_flight() as u64, "invocation");
        note(format_args!("{ending}: waiting for {invocations} to end; a signal kills what is running"));
    }
    tokio::select! {
        biased;
        ended = &mut polling => ended.map(|()| ending),
        () = halt.idle() => Ok(ending),
        signal = interrupts.next() => Ok(Ending::Killed { signal, invocations: halt.in_flight() }),
    }
}

fn start(position: StartingPosition) -> &'static str {
    match position {
        StartingPosition::TrimHorizon => "from its oldest record on",
        StartingPosition::Latest => "behind its newest record",
        StartingPosition::AtTimestamp(_) => "from StartingPositionTimestamp on",
    }
}
