use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    HandlerError, WindowProcessor,
    batch::{
        run::{Next, Run},
        steps::Pause,
        stop::panic_text,
        until,
    },
    event::{Event, TumblingWindow},
    processor::process_error::without_quoted_values,
};

/// The state of a window in one invocation.
#[derive(Debug)]
pub struct WindowState<S> {
    /// The state after the last user record. Not to be relied on while one is being processed.
    now: S,
    /// The state before the Kinesis record at this index.
    before: Option<(usize, S)>,
    /// The state before the user record that is being processed, if the batch may continue after its failure.
    before_user_record: Option<S>,
}

impl<S: Clone> WindowState<S> {
    /// Keeps the state as it is before a Kinesis record, if that is a new one.
    fn enter(&mut self, kinesis_record: usize) {
        if self.before.as_ref().is_none_or(|(entered, _)| *entered != kinesis_record) {
            self.before = Some((kinesis_record, self.now.clone()));
        }
    }

    /// Returns the state of all Kinesis records before the one at this index, at which the batch has stopped.
    fn before(self, kinesis_record: usize) -> S {
        match self.before {
            Some((entered, state)) if entered == kinesis_record => state,
            // It was not begun.
            _ => self.now,
        }
    }
}

/// Returns the state that an invocation begins with.
pub(crate) fn begin<P: WindowProcessor>(
    _: &P,
    event: &Event<'_>,
) -> Result<WindowState<P::State>, HandlerError> {
    let window = event.window.as_ref().ok_or(HandlerError::NoWindow)?;
    let now = match window.has_no_state() {
        true => P::State::default(),
        false => serde_json::from_str(window.state.get()).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what = format!("does not match the processor's type (line {line}, column {column})");
            HandlerError::WindowState { what }
        })?,
    };
    Ok(WindowState { now, before: None, before_user_record: None })
}

/// Calls a processor for one user record after the other.
pub(crate) async fn drive<P: WindowProcessor>(
    processor: &P,
    state: &mut WindowState<P::State>,
    run: &mut Run<'_, '_>,
) -> Pause {
    // It has failed and is skipped, so what it has changed must not stay.
    if let Some(before) = state.before_user_record.take() {
        state.now = before;
    }
    loop {
        let attempt = match run.next() {
            Next::Process(attempt) => attempt,
            Next::Pause(pause) => return pause,
        };
        state.enter(run.kinesis_record());
        if run.may_skip() {
            state.before_user_record = Some(state.now.clone());
        }
        match processor.process(run.begin(attempt), &mut state.now).await {
            Ok(()) => {
                state.before_user_record = None;
                run.pass(attempt);
            }
            Err(error) => return run.fail(error.into()),
        }
    }
}

/// Ends the window if this is its last invocation, and returns the state that the response has. `stopped_at` is the index of the
/// Kinesis record at which the batch has stopped.
pub(crate) async fn end<P: WindowProcessor>(
    processor: &P,
    state: WindowState<P::State>,
    event: &Event<'_>,
    stopped_at: Option<usize>,
    stop_at: Option<Instant>,
) -> Result<Option<Box<RawValue>>, HandlerError> {
    let window = event.window.as_ref().ok_or(HandlerError::NoWindow)?;
    let state = match stopped_at {
        // To the letter: what was not read again cannot have changed.
        Some(0) => return Ok(Some(window.state.clone().into_owned())),
        Some(kinesis_record) => state.before(kinesis_record),
        None if window.is_final_invoke => {
            finish(processor, &state.now, window, stop_at).await?;
            // The next window begins with none.
            return Ok(Some(window.state.clone().into_owned()));
        }
        None => state.now,
    };
    let state = serde_json::value::to_raw_value(&state).map_err(|error| HandlerError::WindowState {
        what: format!("cannot be written: {}", without_quoted_values(&error.to_string())),
    })?;
    let bytes = state.get().len();
    if !state.get().starts_with('{') {
        let what = "is not a JSON object, as Lambda asks for".to_owned();
        return Err(HandlerError::WindowState { what });
    }
    if bytes > TumblingWindow::MAX_STATE_BYTES {
        let what = format!("has {bytes} bytes: Lambda keeps at most {}", TumblingWindow::MAX_STATE_BYTES);
        return Err(HandlerError::WindowState { what });
    }
    Ok(Some(state))
}

async fn finish<P: WindowProcessor>(
    processor: &P,
    state: &P::State,
    window: &TumblingWindow<'_>,
    stop_at: Option<Instant>,
) -> Result<(), HandlerError> {
    // The error's text is the processor's code, too.
    let finish = async { processor.finish(state, window).await.map_err(|error| error.to_string()) };
    let guarded = AssertUnwindSafe(until(stop_at, finish)).catch_unwind();
    let error = match guarded.await {
        Ok(Some(Ok(()))) => return Ok(()),
        Ok(Some(Err(error))) => error,
        Ok(None) => "the deadline is near".to_owned(),
        Err(panic) => format!("processor panicked: {}", without_quoted_values(&panic_text(&*panic))),
    };
    Err(HandlerError::WindowNotFinished { error })
}
