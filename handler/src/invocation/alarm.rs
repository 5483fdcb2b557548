use std::{
    fmt,
    sync::{
        Arc, Condvar, LazyLock, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

/// A flag that is set at an instant of the system's time. Looking at it costs less than reading a clock.
///
/// One thread of the process sets the flags of all alarms. An alarm that is dropped is forgotten.
pub struct Alarm {
    is_due: Arc<AtomicBool>,
    key: Key,
}

/// The instant of an alarm, and a number that no other alarm has.
type Key = (Instant, u64);

impl Alarm {
    /// Sets an alarm. `None` if its thread cannot be started.
    pub(crate) fn at(instant: Instant) -> Option<Self> {
        let timer = TIMER.as_ref()?;
        let is_due = Arc::new(AtomicBool::new(false));
        let mut state = timer.lock();
        let key = (instant, state.next_number);
        state.next_number += 1;
        state.pending.push((key, Arc::clone(&is_due)));
        // Deadlines mostly become later, so the thread is seldom woken for nothing.
        if state.wakes_at.is_none_or(|wakes_at| instant < wakes_at) {
            timer.changed.notify_one();
        }
        Some(Alarm { is_due, key })
    }

    /// Whether the instant has come. It may take the thread some time to say so.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.is_due.load(Ordering::Relaxed)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(timer) = &*TIMER {
            timer.lock().pending.retain(|(key, _)| *key != self.key);
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("is_due", &self.is_due()).finish_non_exhaustive()
    }
}

/// Starts with the first alarm; `None` if the system has no thread to spare.
static TIMER: LazyLock<Option<Arc<Timer>>> = LazyLock::new(|| {
    let timer = Arc::new(Timer::default());
    let run = Arc::clone(&timer);
    let thread = thread::Builder::new().name("deadlines".to_owned()).spawn(move || run.run());
    thread.is_ok().then_some(timer)
});

#[derive(Default)]
struct Timer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Alarms that have not come, in any order. There are as many as invocations at once, and the list keeps its memory.
    pending: Vec<(Key, Arc<AtomicBool>)>,
    next_number: u64,
    /// The instant until which the thread sleeps. `None` if it waits for the next alarm.
    wakes_at: Option<Instant>,
}

impl Timer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            state.pending.retain(|((instant, _), is_due)| {
                let is_later = *instant > now;
                is_due.store(!is_later, Ordering::Relaxed);
                is_later
            });
            state.wakes_at = state.pending.iter().map(|((instant, _), _)| *instant).min();
            let wait = match state.wakes_at {
                Some(wakes_at) => self
                    .changed
                    .wait_timeout(state, wakes_at.saturating_duration_since(now))
                    .map(|woken| woken.0)
                    .ok(),
                None => self.changed.wait(state).ok(),
            };
            state = wait.expect("nothing panics while it holds the lock");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Waits until the alarm is due; fails after a minute.
    fn await_due(alarm: &Alarm) {
        let give_up_at = Instant::now() + Duration::from_secs(60);
        while !alarm.is_due() {
            assert!(Instant::now() < give_up_at, "the alarm never came");
            thread::yield_now();
        }
    }

    #[test]
    fn each_alarm_comes_at_its_own_instant() {
        let now = Instant::now();
        let alarm = |milliseconds| {
            (now + Duration::from_millis(milliseconds), Alarm::at(now + Duration::from_millis(milliseconds)))
        };
        let hour = Alarm::at(now + Duration::from_secs(3_600)).expect("a thread");
        // The later one first: the thread must be woken for the earlier one.
        for (instant, alarm) in [alarm(30), alarm(10), alarm(20), alarm(0)] {
            let alarm = alarm.expect("a thread");
            await_due(&alarm);
            assert!(Instant::now() >= instant);
        }
        assert!(!hour.is_due());
    }

    #[test]
    fn an_alarm_that_was_dropped_is_forgotten() {
        let key = Alarm::at(Instant::now() + Duration::from_secs(3_600)).expect("a thread").key;
        let timer = TIMER.as_ref().expect("a thread");
        assert!(timer.lock().pending.iter().all(|(pending, _)| *pending != key));
    }
}
