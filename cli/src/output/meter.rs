use std::{cell::Cell, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

/// Shows on standard error how far a long work has come, if that is a terminal.
#[derive(Debug)]
pub(crate) struct Meter {
    bar: ProgressBar,
    records: Cell<u64>,
}

impl Meter {
    pub(crate) fn new(what: &str) -> Self {
        let style = ProgressStyle::with_template(
            "{spinner} {prefix}: {human_pos} records, {per_sec}, {elapsed} {msg}",
        );
        let bar = ProgressBar::new_spinner()
            .with_style(style.expect("the template is legal"))
            .with_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Meter { bar, records: Cell::new(0) }
    }

    pub(crate) fn add(&self, records: u64) {
        self.records.set(self.records.get() + records);
        self.bar.set_position(self.records.get());
    }

    pub(crate) fn say(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
