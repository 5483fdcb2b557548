use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt,
    io::{self, IsTerminal, Write},
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::output::cell;

/// Time after which it is shown what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Widest text about what is waited for.
const WAIT_WIDTH: usize = 60;

/// Redraws of the line per second, so that it moves whatever the work does.
const TICK: Duration = Duration::from_millis(200);

/// The last line of the terminal, if standard error is one. It is shared by all of the process, because whatever else writes to
/// the terminal has to know of it.
static LINE: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// The things that are waited for, and since when, in the order in which that began.
static WAITS: Mutex<BTreeMap<u64, (String, Instant)>> = Mutex::new(BTreeMap::new());

static NEXT_WAIT: AtomicU64 = AtomicU64::new(0);

/// Milliseconds that the reading of each shard is behind.
static LAGS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// A line on standard error, if that is a terminal, that shows how far a long work has come: its records, their rate, how far
/// reading is behind the stream, and what is waited for.
#[derive(Debug)]
pub(crate) struct Meter {
    bar: ProgressBar,
    records: Cell<u64>,
}

impl Meter {
    pub(crate) fn new(what: &str) -> Self {
        let style = ProgressStyle::with_template(
            "{spinner} {prefix}: {records}, {rate}, {elapsed}{lag}{wait}{wide_msg}",
        );
        let style = style
            .expect("the template is legal")
            .with_key("records", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                let plural = if state.pos() == 1 { "" } else { "s" };
                let _ = write!(text, "{} record{plural}", HumanCount(state.pos()));
            })
            .with_key("rate", |state: &ProgressState, text: &mut dyn std::fmt::Write| {
                let _ = text.write_str(&rate(state.per_sec()));
            })
            .with_key("lag", |_: &ProgressState, text: &mut dyn std::fmt::Write| {
                let _ = text.write_str(&lag());
            })
            .with_key("wait", |_: &ProgressState, text: &mut dyn std::fmt::Write| {
                let _ = text.write_str(&waited_for());
            });
        let bar = LINE.add(ProgressBar::new_spinner()).with_style(style).with_prefix(what.to_owned());
        bar.enable_steady_tick(TICK);
        Meter { bar, records: Cell::new(0) }
    }

    pub(crate) fn add(&self, records: u64) {
        self.records.set(self.records.get() + records);
        self.bar.set_position(self.records.get());
    }

    /// Shows a message at the end of the line, as far as the terminal has room for it.
    pub(crate) fn say(&self, message: impl fmt::Display) {
        self.bar.set_message(format!("; {message}"));
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Something that is waited for, until this value is dropped.
#[derive(Debug)]
pub(crate) struct Waiting(u64);

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&WAITS).remove(&self.0);
    }
}

/// Shows on the line of the meter what is waited for, once that takes long.
pub(crate) fn wait(what: impl Into<String>) -> Waiting {
    let number = NEXT_WAIT.fetch_add(1, Ordering::Relaxed);
    lock(&WAITS).insert(number, (what.into(), Instant::now()));
    Waiting(number)
}

/// Notes how far the reading of a shard is behind the newest record, in milliseconds.
pub(crate) fn set_lag(shard_id: &str, milliseconds: u64) {
    let mut lags = lock(&LAGS);
    match lags.get_mut(shard_id) {
        Some(lag) => *lag = milliseconds,
        None => drop(lags.insert(shard_id.to_owned(), milliseconds)),
    }
}

/// Writes to the terminal while the line of the meter is not there.
pub(crate) fn beside<T>(write: impl FnOnce() -> T) -> T {
    LINE.suspend(write)
}

/// Standard output, which may be the terminal that has the line of a meter.
#[derive(Debug)]
pub(crate) struct Stdout {
    output: io::Stdout,
    is_terminal: bool,
}

impl Stdout {
    pub(crate) fn new() -> Self {
        let output = io::stdout();
        let is_terminal = output.is_terminal();
        Stdout { output, is_terminal }
    }

    fn with<T>(&mut self, write: impl FnOnce(&mut io::Stdout) -> T) -> T {
        match self.is_terminal {
            true => beside(|| write(&mut self.output)),
            false => write(&mut self.output),
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|output| output.write(bytes))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.with(|output| output.write_all(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Returns a number of records per second, with one digit after the point if it is small.
fn rate(per_second: f64) -> String {
    match per_second {
        0.05..9.95 => format!("{per_second:.1}/s"),
        _ => format!("{per_second:.0}/s"),
    }
}

/// Returns how far the slowest shard is behind, if that is known.
fn lag() -> String {
    match lock(&LAGS).values().max() {
        Some(&milliseconds) => format!(", {} behind", cell::duration(milliseconds)),
        None => String::new(),
    }
}

/// Returns what has been waited for longest, if that takes long.
fn waited_for() -> String {
    let waits = lock(&WAITS);
    let Some((what, since)) = waits.values().next() else { return String::new() };
    match since.elapsed() {
        elapsed if elapsed < PATIENCE => String::new(),
        elapsed => format!(", waiting for {} ({} s)", cell::text(what, WAIT_WIDTH), elapsed.as_secs()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No change to it can be interrupted by a panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_longest_is_shown_once_it_takes_long() {
        let first = wait("GetRecords: throttled");
        let _second = wait("the function");
        assert_eq!(waited_for(), "");
        for (_, since) in lock(&WAITS).values_mut() {
            *since -= Duration::from_secs(12);
        }
        assert_eq!(waited_for(), ", waiting for GetRecords: throttled (12 s)");
        drop(first);
        assert_eq!(waited_for(), ", waiting for the function (12 s)");
    }

    #[test]
    fn a_rate_has_no_digits_that_say_nothing() {
        let rates: Vec<_> = [0.0, 0.4268, 9.97, 20.7808, 12_345.6].map(rate).into();
        assert_eq!(rates, ["0/s", "0.4/s", "10/s", "21/s", "12346/s"]);
    }

    #[test]
    fn the_lag_is_that_of_the_slowest_shard() {
        set_lag("a", 90_000);
        set_lag("b", 3_000);
        assert_eq!(lag(), ", 90 s behind");
        set_lag("a", 0);
        assert_eq!(lag(), ", 3.0 s behind");
    }
}
