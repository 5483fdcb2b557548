use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::{
    ChunkProcessor, Chunks, Counts, HandlerError, Options, OptionsError, Record, RecordFate, RecordProcessor,
    WindowProcessor, Windows,
    batch::{
        ahead::{Ahead, AheadRecord, Place, place},
        attended::Attended,
        chunked, concurrent,
        cursor::Cursor,
        one_by_one,
        steps::{Pause, SkipReason, Step, Steps},
        stop::Failure,
        walk::Walk,
        windowed::{self, WindowState},
    },
    event::Event,
    journal::Progress,
    record::{
        BatchRecord,
        decompressing::{DECOMPRESSES, Decompressing},
    },
};

/// A way to call a processor for the user records of a batch: one after the other, several at once, in chunks.
pub trait Drive {
    /// Whatever is kept from one run over a batch to the next.
    type Batch;

    /// Begins a batch.
    fn begin(&self, event: &Event<'_>) -> Result<Self::Batch, HandlerError>;

    /// Checks the options for those that would have no effect.
    fn check(&self, options: &Options) -> Result<(), OptionsError>;

    /// Whether user records beyond the cursor are looked at, so that the data of all Kinesis records must be kept.
    fn looks_ahead(&self, options: &Options) -> bool;

    /// Processes user records until the end of the batch, or until the loop over the batch has to decide about the one at the
    /// cursor: whatever precedes it is passed, and nothing is in flight. The future may be dropped at any time.
    #[expect(async_fn_in_trait, reason = "no other crate can name the trait")]
    async fn drive(&self, options: &Options, batch: &mut Self::Batch, run: &mut Run<'_, '_>) -> Pause;

    /// Ends a batch. Returns the state of its window that the response has: the one that came with the event, which a processor without
    /// windows does not change. `stopped_at` is the index of the Kinesis record at which the batch has stopped, `stop_at` when the
    /// deadline guard ends what runs.
    #[expect(async_fn_in_trait, reason = "no other crate can name the trait")]
    #[expect(unused_variables, reason = "named for those that use them")]
    async fn end(
        &self,
        batch: Self::Batch,
        event: &Event<'_>,
        stopped_at: Option<usize>,
        stop_at: Option<Instant>,
    ) -> Result<Option<Box<RawValue>>, HandlerError> {
        Ok(event.window.as_ref().map(|window| window.state.clone().into_owned()))
    }
}

/// A processor in the midst of a batch.
pub(crate) struct Driver<'d, D: Drive> {
    processor: &'d D,
    options: &'d Options,
    batch: D::Batch,
}

impl<'d, D: Drive> Driver<'d, D> {
    pub(crate) fn begin(
        processor: &'d D,
        options: &'d Options,
        event: &Event<'_>,
    ) -> Result<Self, HandlerError> {
        Ok(Driver { processor, options, batch: processor.begin(event)? })
    }

    pub(crate) async fn drive(&mut self, run: &mut Run<'_, '_>) -> Pause {
        self.processor.drive(self.options, &mut self.batch, run).await
    }

    pub(crate) async fn end(
        self,
        event: &Event<'_>,
        stopped_at: Option<usize>,
        stop_at: Option<Instant>,
    ) -> Result<Option<Box<RawValue>>, HandlerError> {
        self.processor.end(self.batch, event, stopped_at, stop_at).await
    }
}

impl<P: RecordProcessor> Drive for P {
    type Batch = ();

    fn begin(&self, _: &Event<'_>) -> Result<(), HandlerError> {
        Ok(())
    }

    fn check(&self, _: &Options) -> Result<(), OptionsError> {
        Ok(())
    }

    fn looks_ahead(&self, options: &Options) -> bool {
        options.concurrency().is_some()
    }

    async fn drive(&self, options: &Options, (): &mut (), run: &mut Run<'_, '_>) -> Pause {
        match (DECOMPRESSES && options.decompresses, options.attend_records()) {
            (false, false) => drive_records(self, options, run).await,
            (false, true) => drive_records(&Attended { processor: self, options }, options, run).await,
            (true, false) => drive_records(&Decompressing { processor: self }, options, run).await,
            (true, true) => {
                let attended = Attended { processor: self, options };
                drive_records(&Decompressing { processor: &attended }, options, run).await
            }
        }
    }
}

async fn drive_records(processor: &impl RecordProcessor, options: &Options, run: &mut Run<'_, '_>) -> Pause {
    match options.concurrency() {
        None => one_by_one::drive(processor, run).await,
        Some(limits) => concurrent::drive(processor, limits, run).await,
    }
}

impl<P: ChunkProcessor> Drive for Chunks<P> {
    type Batch = ();

    fn begin(&self, _: &Event<'_>) -> Result<(), HandlerError> {
        Ok(())
    }

    fn check(&self, options: &Options) -> Result<(), OptionsError> {
        let of_one_record = [
            (
                "concurrency (KINESIS_HANDLER_CONCURRENCY)",
                options.concurrency,
                "a chunk processor gets one chunk after the other",
            ),
            (
                "retry_attempts (KINESIS_HANDLER_RETRY_ATTEMPTS)",
                options.retry_attempts,
                "a chunk processor decides itself which of a chunk to try again in place",
            ),
        ];
        for (option, value, reason) in of_one_record {
            if value.get() > 1 {
                return Err(OptionsError::Excludes { option, value: value.get(), other: "Chunks", reason });
            }
        }
        if options.skip_failed_after.is_some() && options.journal.is_none() {
            return Err(OptionsError::Unsuited {
                option: "skip_failed_after (KINESIS_HANDLER_AGE_POLICY) without a journal",
                processor: "Chunks",
                reason: "only with a journal is a user record tried alone before it is skipped for the failure of its chunk",
            });
        }
        Ok(())
    }

    fn looks_ahead(&self, _: &Options) -> bool {
        true
    }

    async fn drive(&self, options: &Options, (): &mut (), run: &mut Run<'_, '_>) -> Pause {
        let Chunks { processor, limits } = self;
        match (DECOMPRESSES && options.decompresses, options.attend_records()) {
            (false, false) => chunked::drive(processor, *limits, run).await,
            (false, true) => chunked::drive(&Attended { processor, options }, *limits, run).await,
            (true, false) => chunked::drive(&Decompressing { processor }, *limits, run).await,
            (true, true) => {
                let attended = Attended { processor, options };
                chunked::drive(&Decompressing { processor: &attended }, *limits, run).await
            }
        }
    }
}

impl<P: WindowProcessor> Drive for Windows<P> {
    type Batch = WindowState<P::State>;

    fn begin(&self, event: &Event<'_>) -> Result<Self::Batch, HandlerError> {
        windowed::begin(&self.processor, event)
    }

    fn check(&self, options: &Options) -> Result<(), OptionsError> {
        let unsuited = |option, reason| Err(OptionsError::Unsuited { option, processor: "Windows", reason });
        if options.concurrency.get() > 1 {
            return unsuited(
                "concurrency (KINESIS_HANDLER_CONCURRENCY)",
                "a state has one user record after the other",
            );
        }
        if options.journal.is_some() {
            let reason = "Lambda keeps the state of a window only up to a Kinesis record, so a batch cannot resume inside one";
            return unsuited("journal (KINESIS_HANDLER_JOURNAL_TABLE)", reason);
        }
        if options.checkpoints.is_some() {
            let reason = "a position would stand for records whose only trace is the state of their window";
            return unsuited("mirror (KINESIS_HANDLER_CHECKPOINT_TABLE)", reason);
        }
        Ok(())
    }

    fn looks_ahead(&self, _: &Options) -> bool {
        false
    }

    async fn drive(&self, options: &Options, state: &mut Self::Batch, run: &mut Run<'_, '_>) -> Pause {
        let Windows { processor } = self;
        match (DECOMPRESSES && options.decompresses, options.attend_records()) {
            (false, false) => windowed::drive(processor, state, run).await,
            (false, true) => windowed::drive(&Attended { processor, options }, state, run).await,
            (true, false) => windowed::drive(&Decompressing { processor }, state, run).await,
            (true, true) => {
                let attended = Attended { processor, options };
                windowed::drive(&Decompressing { processor: &attended }, state, run).await
            }
        }
    }

    async fn end(
        &self,
        state: Self::Batch,
        event: &Event<'_>,
        stopped_at: Option<usize>,
        stop_at: Option<Instant>,
    ) -> Result<Option<Box<RawValue>>, HandlerError> {
        windowed::end(&self.processor, state, event, stopped_at, stop_at).await
    }
}

/// A run over user records up to the next one about which the loop over the batch has to decide.
pub struct Run<'r, 'b> {
    cursor: &'r mut Cursor<'b>,
    /// Outcomes of the user records that were processed beyond the cursor.
    pub(crate) ahead: &'r mut Ahead<'b>,
    steps: Steps<'r, 'b>,
    counts: &'r mut Counts,
    /// Progress of the Kinesis record at the cursor, as the journal knows it.
    progress: Option<&'r Progress>,
    /// The failure of the user record at the cursor. It is here because it must not get lost if the run is cancelled while others
    /// in flight are waited for.
    failure: Option<Failure>,
}

/// The next thing to do.
pub(crate) enum Next {
    /// The run is over, as soon as nothing is in flight.
    Pause(Pause),
    /// The user record at the cursor is to be processed: in this attempt, if the number is known.
    Process(Option<u32>),
}

/// The outcome of looking for a user record among those that were processed ahead.
enum Taken {
    Nothing,
    Passed,
    Pause(Pause),
}

impl<'r, 'b> Run<'r, 'b> {
    pub(crate) fn new(
        cursor: &'r mut Cursor<'b>,
        ahead: &'r mut Ahead<'b>,
        steps: Steps<'r, 'b>,
        counts: &'r mut Counts,
    ) -> Self {
        let entered = cursor.walk().current_kinesis_record();
        let progress = entered.and_then(|entered| steps.snapshot.progress(entered.sequence_number));
        Run { cursor, ahead, steps, counts, progress, failure: None }
    }

    /// Moves the cursor past what needs no processing. Returns what to do there.
    #[inline]
    pub(crate) fn next(&mut self) -> Next {
        loop {
            while !self.cursor.find_user_record() {
                if !self.enter_next() {
                    return Next::Pause(Pause::End);
                }
            }
            if !self.ahead.is_empty() {
                match self.take_ahead() {
                    Taken::Nothing => {}
                    Taken::Passed => continue,
                    Taken::Pause(pause) => return Next::Pause(pause),
                }
            }
            match self.steps.step(self.cursor.walk(), self.progress) {
                Step::Skip(reason) => self.skip(reason),
                Step::Pause(pause) => return Next::Pause(pause),
                Step::Process(attempt) => return Next::Process(attempt),
            }
        }
    }

    /// Moves past the user record at the cursor, which is not processed.
    #[inline(never)]
    fn skip(&mut self, reason: SkipReason) {
        let fate = match reason {
            SkipReason::Done => {
                self.counts.resumed += 1;
                RecordFate::Skipped
            }
            SkipReason::OutOfRange => {
                self.counts.out_of_range += 1;
                RecordFate::OutOfRange
            }
        };
        let here = place(self.cursor.position());
        self.cursor.invocation().note_fate(here, || fate);
        self.cursor.pass();
    }

    /// Moves the cursor to the next Kinesis record. Returns whether there is one.
    #[inline(never)]
    fn enter_next(&mut self) -> bool {
        if self.cursor.is_in_kinesis_record() {
            self.cursor.leave();
        }
        let Some(kinesis_record) = self.cursor.kinesis_record(self.counts) else { return false };
        self.progress = self.steps.snapshot.progress(kinesis_record.sequence_number);
        true
    }

    /// Moves the cursor past the user record there if it was processed ahead.
    #[inline(never)]
    fn take_ahead(&mut self) -> Taken {
        let walk = self.cursor.walk();
        if self.ahead.has_failed_at(walk.position()) {
            if self.steps.is_known(walk, self.progress) {
                self.ahead.take(walk.position());
                self.skip(SkipReason::Done);
                return Taken::Passed;
            }
            if self.steps.queue.is_due_before(walk.user_record().partition_key) {
                return Taken::Pause(Pause::WriteQueue);
            }
        }
        let Some(AheadRecord { record, result }) = self.ahead.take(self.cursor.position()) else {
            return Taken::Nothing;
        };
        self.cursor.begin(record.attempt);
        match result {
            Ok(()) => {
                self.pass(record.attempt);
                Taken::Passed
            }
            Err(failure) => Taken::Pause(self.fail(failure)),
        }
    }

    /// Returns the index of the Kinesis record at the cursor.
    pub(crate) fn kinesis_record(&self) -> usize {
        self.cursor.position().kinesis_record
    }

    /// Notes that the processor is called with the user record at the cursor, and returns it.
    #[inline]
    pub(crate) fn begin(&mut self, attempt: Option<u32>) -> Record<'_> {
        self.cursor.begin(attempt)
    }

    /// Moves past the user record at the cursor, which is done in this attempt.
    #[inline]
    pub(crate) fn pass(&mut self, attempt: Option<u32>) {
        self.counts.include_done(attempt);
        self.cursor.pass();
    }

    /// Notes that the user record at the cursor has failed.
    pub(crate) fn fail(&mut self, failure: Failure) -> Pause {
        self.failure = Some(failure);
        Pause::Failed
    }

    /// Returns the failure of the user record at the cursor, if there is one.
    pub(crate) fn into_failure(self) -> Option<Failure> {
        self.failure
    }

    /// Whether later user records follow those of their key into the quarantine.
    pub(crate) fn is_holding(&self) -> bool {
        self.steps.queue.is_holding()
    }

    /// Whether the batch may continue after a user record that has failed, because it is skipped for its age.
    pub(crate) fn may_skip(&self) -> bool {
        self.cursor.invocation().skip_rule.is_some()
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> Instant {
        self.cursor.invocation().clock.instant()
    }

    /// Returns the place of the user record at the cursor, after noting that the processor is called with it. `attempt` is the
    /// number of the attempt, if it is known.
    pub(crate) fn begin_here(&mut self, attempt: Option<u32>) -> Place {
        if !self.cursor.is_in_flight() {
            self.cursor.begin(attempt);
        }
        place(self.cursor.position())
    }

    /// Moves a walk that goes ahead of the cursor past the next user record that is to be processed, and returns that record
    /// with the number of its attempt. `None` at the end of the batch, beyond a failure, and at a user record about which the
    /// loop over the batch has to decide. A walk that is absent begins at the cursor.
    pub(crate) fn look_ahead(&mut self, walk: &mut Option<Walk<'b>>) -> Option<(Place, BatchRecord<'b>)> {
        // About that one it is decided already, and the deadline may come in between.
        let here = self.cursor.is_in_flight().then(|| place(self.cursor.position()));
        let attempt_here = self.cursor.walk().current().and_then(|record| record.attempt);
        let (cursor, payloads) = self.cursor.parts();
        let walk = walk.get_or_insert_with(|| cursor.clone());
        // The cursor may have passed it, where user records were processed ahead in an earlier run.
        if place(walk.position()) < place(cursor.position()) {
            *walk = cursor.clone();
        }
        loop {
            if self.ahead.has_failed_before(place(walk.position())) {
                return None;
            }
            walk.enter(payloads)?;
            if !walk.find_user_record() {
                walk.leave();
                continue;
            }
            let place = place(walk.position());
            let mut found = None;
            if here == Some(place) {
                found = Some((place, *walk.attempted_record(attempt_here)));
            } else if !self.ahead.contains(place) {
                let sequence_number = walk.user_record().kinesis_record.sequence_number;
                match self.steps.step(walk, self.steps.snapshot.progress(sequence_number)) {
                    Step::Skip(_) => {}
                    Step::Pause(_) => return None,
                    Step::Process(attempt) => found = Some((place, *walk.attempted_record(attempt))),
                }
            }
            walk.pass();
            if found.is_some() {
                return found;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        ChunkOutcome, JournalOptions, MirrorOptions, OptionsBuilder, ProcessError,
        checkpoint::MemoryCheckpoints, event::TumblingWindow, journal::MemoryJournal,
    };

    struct Count;

    impl WindowProcessor for Count {
        type State = u64;

        async fn process(&self, _: Record<'_>, state: &mut u64) -> Result<(), ProcessError> {
            *state += 1;
            Ok(())
        }

        async fn finish(&self, _: &u64, _: &TumblingWindow<'_>) -> Result<(), ProcessError> {
            Ok(())
        }
    }

    #[test]
    fn windows_refuse_what_does_not_suit_them() {
        let check = |options: OptionsBuilder, expected: &str| {
            let options = options.application("orders").build().expect("options");
            let refused = Windows::new(Count).check(&options);
            assert_eq!(refused.map_err(|error| error.to_string()), Err(expected.to_owned()));
        };
        let builder = Options::builder;
        check(
            builder().concurrency(2),
            "concurrency (KINESIS_HANDLER_CONCURRENCY) cannot be combined with Windows: a state has one user record after the \
             other",
        );
        check(
            builder().journal(JournalOptions::new(Arc::new(MemoryJournal::default()))),
            "journal (KINESIS_HANDLER_JOURNAL_TABLE) cannot be combined with Windows: Lambda keeps the state of a window only up to \
             a Kinesis record, so a batch cannot resume inside one",
        );
        check(
            builder().mirror(MirrorOptions::new(Arc::new(MemoryCheckpoints::default()))),
            "mirror (KINESIS_HANDLER_CHECKPOINT_TABLE) cannot be combined with Windows: a position would stand for records whose \
             only trace is the state of their window",
        );
        assert_eq!(Windows::new(Count).check(&Options::default()), Ok(()));
    }

    #[test]
    fn options_of_single_records_are_refused_with_chunks() {
        let chunks = Chunks::new(async |_: &[Record<'_>]| -> Result<ChunkOutcome, ProcessError> {
            Ok(ChunkOutcome::Processed)
        });
        let check = |concurrency, retry_attempts| {
            let builder = Options::builder().concurrency(concurrency).retry_attempts(retry_attempts);
            chunks.check(&builder.build()?)
        };
        assert_eq!(check(1, 1), Ok(()));
        assert_eq!(
            check(1, 3).map_err(|error| error.to_string()),
            Err("retry_attempts (KINESIS_HANDLER_RETRY_ATTEMPTS): 3 cannot be combined with Chunks: a chunk processor \
                 decides itself which of a chunk to try again in place"
                .to_owned())
        );
        let skips = || Options::builder().skip_failed_after(Duration::from_secs(60));
        let options = skips().build().expect("options");
        assert_eq!(
            chunks.check(&options).map_err(|error| error.to_string()),
            Err("skip_failed_after (KINESIS_HANDLER_AGE_POLICY) without a journal cannot be combined with Chunks: only with \
                 a journal is a user record tried alone before it is skipped for the failure of its chunk"
                .to_owned())
        );
        let journal = JournalOptions::new(Arc::new(MemoryJournal::default()));
        let options = skips().application("orders").journal(journal).build().expect("options");
        assert_eq!(chunks.check(&options), Ok(()));
        assert_eq!(
            check(2, 1).map_err(|error| error.to_string()),
            Err("concurrency (KINESIS_HANDLER_CONCURRENCY): 2 cannot be combined with Chunks: a chunk processor gets one chunk after the other"
                .to_owned())
        );
    }
}
