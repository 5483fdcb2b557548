//! The processor of a world, and its memory of the user records.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use kinesis_handler::{ProcessError, Record, SequenceNumber, permanent, retryable};
use tokio::time::sleep;

use super::{
    history::{Completion, History},
    plan::{BadEnd, Behaviour},
    world::Safety,
};

/// The processor has begun a user record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Try {
    pub(super) user_record: usize,
    pub(super) invocation: usize,
    /// Whether it was the first one of its invocation, before any write to the quarantine.
    pub(super) is_first: bool,
    /// The responses of the handler.
    pub(super) attempt: Option<u32>,
    /// In how many invocations it has failed before: itself, and not because other records had taken the time.
    pub(super) failures_before: u32,
    pub(super) end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Failed,
    /// It was not let come to an end.
    Cancelled,
}

/// All tries, and what follows from them.
#[derive(Debug, Default)]
pub(super) struct Tries {
    pub(super) all: Vec<Try>,
    begun: HashMap<usize, u32>,
    of_user_record: HashMap<usize, u32>,
    failures: HashMap<usize, u32>,
}

impl Tries {
    /// Its position, and which try of the user record it is.
    fn begin(
        &mut self,
        user_record: usize,
        invocation: usize,
        attempt: Option<u32>,
        has_quarantined: bool,
    ) -> (usize, u32) {
        let is_first = self.begin_other(invocation) == 1 && !has_quarantined;
        let failures_before = self.failures(user_record);
        let end = End::Cancelled;
        self.all.push(Try { user_record, invocation, is_first, attempt, failures_before, end });
        let tried = self.of_user_record.entry(user_record).or_default();
        *tried += 1;
        (self.all.len() - 1, *tried)
    }

    /// Number of records that the invocation has begun, this one included.
    fn begin_other(&mut self, invocation: usize) -> u32 {
        let begun = self.begun.entry(invocation).or_default();
        *begun += 1;
        *begun
    }

    fn end(&mut self, position: usize, end: End) {
        let this = &mut self.all[position];
        this.end = end;
        if end == End::Failed || end == End::Cancelled && this.is_first {
            *self.failures.entry(this.user_record).or_default() += 1;
        }
    }

    /// In how many invocations the user record has failed.
    pub(super) fn failures(&self, user_record: usize) -> u32 {
        self.failures.get(&user_record).copied().unwrap_or(0)
    }
}

/// Notices when a try is cancelled.
struct Open {
    tries: Rc<RefCell<Tries>>,
    position: usize,
    end: End,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.tries.borrow_mut().end(self.position, self.end);
    }
}

/// The first failure of each invocation, by request ID.
pub(super) type Failed = Rc<RefCell<HashMap<String, SequenceNumber>>>;

pub(super) fn processor(
    history: &History,
    safety: Safety,
    failed: Failed,
) -> impl AsyncFn(Record<'_>) -> Result<(), ProcessError> + 'static {
    let tries = Rc::clone(&history.tries);
    let infos = Rc::clone(&history.user_records);
    let done = Rc::clone(&history.done);
    let progress = Arc::clone(&history.progress);
    async move |record: Record<'_>| {
        let Some(number) = record.text().ok().and_then(|text| text.parse::<usize>().ok()) else {
            tries.borrow_mut().begin_other(progress.invocation());
            return Err(permanent("no number"));
        };
        let Behaviour { delay_ms, failures, how } = infos[number].behaviour;
        let invocation = progress.invocation();
        let has_quarantined = progress.has_quarantined(invocation);
        let (position, tried) =
            tries.borrow_mut().begin(number, invocation, record.attempt(), has_quarantined);
        let mut open = Open { tries: Rc::clone(&tries), position, end: End::Cancelled };
        if delay_ms > 0 {
            sleep(Duration::from_millis(delay_ms)).await;
        }
        let fails = failures.is_none_or(|failures| tried <= failures);
        if fails && how == BadEnd::Hang {
            std::future::pending::<()>().await;
        }
        if !fails {
            open.end = End::Done;
            done.borrow_mut().push(Completion { user_record: number, invocation });
            progress.completions.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        open.end = End::Failed;
        let error = match how {
            BadEnd::Permanent => permanent("asked to"),
            // Not `panic!`, which would print.
            BadEnd::Panic => std::panic::resume_unwind(Box::new("asked to")),
            _ => retryable("asked to"),
        };
        if safety == Safety::NoStop {
            let (request_id, number) = (record.request_id().to_owned(), record.position().sequence_number);
            failed
                .borrow_mut()
                .entry(request_id)
                .and_modify(|first| *first = number.min(*first))
                .or_insert(number);
            return Ok(());
        }
        Err(error)
    }
}
