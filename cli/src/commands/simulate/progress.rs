use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kinesis_esm::SharedRecord;
use kinesis_esm_simulator::{Observer, SCENARIO_START_MS, Step, StepKind};
use kinesis_handler::SequenceNumber;

use super::elapsed::Elapsed;

/// Nobody needs a bar for less.
const PATIENCE: Duration = Duration::from_secs(1);

const INTERVAL: Duration = Duration::from_millis(100);

/// Passes steps on, and shows on standard error how far they have come, if that is a terminal.
pub(super) struct Progress<O> {
    observer: O,
    bar: ProgressBar,
    records: u64,
    settled: u64,
    last: Option<SequenceNumber>,
    show_at: Instant,
}

impl<O> Progress<O> {
    /// Makes an observer of so many Kinesis records in all.
    pub(super) fn new(observer: O, records: usize) -> Self {
        let records = records as u64;
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} records, {msg} virtual time");
        let bar = ProgressBar::with_draw_target(Some(records), ProgressDrawTarget::hidden())
            .with_style(style.expect("the template is legal"));
        let show_at = Instant::now() + PATIENCE;
        Progress { observer, bar, records, settled: 0, last: None, show_at }
    }

    fn settle(&mut self, records: &[SharedRecord]) {
        for record in records {
            // Members of one aggregate are one.
            let number = Some(record.sequence_number);
            self.settled += u64::from(self.last != number);
            self.last = number;
        }
    }

    fn show(&mut self, at_ms: u64) {
        let now = Instant::now();
        if now < self.show_at {
            return;
        }
        self.show_at = now + INTERVAL;
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_message(Elapsed(at_ms.saturating_sub(SCENARIO_START_MS)).to_string());
        self.bar.set_position(self.settled.min(self.records));
    }
}

impl<O: Observer> Observer for Progress<O> {
    fn observe(&mut self, step: Step) {
        match &step.kind {
            StepKind::Acknowledged(records) | StepKind::Dropped(records, _) => self.settle(records),
            StepKind::Discarded(discarded) => self.settle(&discarded.records),
            _ => {}
        }
        self.show(step.at_ms);
        self.observer.observe(step);
    }
}

impl<O> Drop for Progress<O> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
