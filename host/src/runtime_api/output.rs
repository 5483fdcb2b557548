use std::{
    collections::VecDeque,
    io::{self, Write},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
};

use rustix::io::{Errno, read};
use tokio::{
    net::unix::pipe,
    task::{JoinSet, yield_now},
};

use super::OutputObserver;

/// Number of bytes of the output's end that are kept, for the line that says why a program could not start.
const KEPT_BYTES: usize = 16 * 1024;

/// Most bytes that are passed on at once: what a pipe can hold. A process that never stops writing must not keep everything else
/// from being done.
const FORWARDED_BYTES: usize = 64 * 1024;

/// The output of a process: passed on as it comes, and its end is kept.
#[derive(Debug)]
pub(super) struct Output {
    pipe: Arc<Pipe>,
    /// The one task in it passes the output on.
    _forwarding: JoinSet<()>,
}

#[derive(Debug)]
struct Pipe {
    receiver: pipe::Receiver,
    log: Option<OutputObserver>,
    observer: Option<OutputObserver>,
    kept: Mutex<VecDeque<u8>>,
}

impl Output {
    /// Opens a pipe. Returns its other end, for the process to write to.
    pub(super) fn open(
        log: Option<OutputObserver>,
        observer: Option<OutputObserver>,
    ) -> io::Result<(Self, OwnedFd)> {
        let (sender, receiver) = pipe::pipe()?;
        let pipe = Arc::new(Pipe { receiver, log, observer, kept: Mutex::default() });
        let mut forwarding = JoinSet::new();
        forwarding.spawn({
            let pipe = Arc::clone(&pipe);
            async move {
                while pipe.receiver.readable().await.is_ok() && pipe.forward() {
                    yield_now().await;
                }
            }
        });
        Ok((Output { pipe, _forwarding: forwarding }, sender.into_blocking_fd()?))
    }

    /// Passes on all that the process has written up to now.
    pub(super) fn flush(&self) {
        self.pipe.forward();
    }

    /// Returns the line that is most likely to say why the process has ended: the last one, without what runtimes print
    /// after an error. A line of more than 16 KiB loses its beginning.
    pub(super) fn last_line(&self) -> Option<String> {
        self.flush();
        let mut kept = self.pipe.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(kept.make_contiguous());
        last_line(&text).map(str::to_owned)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Pipe {
    /// Passes on what is there, and not what is written meanwhile. `false` if nothing will follow.
    fn forward(&self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let mut forwarded = 0;
        while forwarded < FORWARDED_BYTES {
            // Not through tokio, which knows of new bytes only after it has polled the system.
            match read(&self.receiver, &mut buffer) {
                Ok(0) => return false,
                Ok(length) => {
                    self.pass_on(&buffer[..length]);
                    forwarded += length;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    // Clears tokio's notion that there is something.
                    let is_empty = self.receiver.try_read(&mut buffer);
                    match is_empty {
                        Ok(0) => return false,
                        Ok(length) => {
                            self.pass_on(&buffer[..length]);
                            forwarded += length;
                        }
                        Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }

    fn pass_on(&self, bytes: &[u8]) {
        match &self.log {
            Some(log) => log.observe(bytes),
            // The caller's standard output is for results. If standard error is closed, there is no better place.
            None => drop(io::stderr().lock().write_all(bytes)),
        }
        if let Some(observer) = &self.observer {
            observer.observe(bytes);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        let excess = kept.len().saturating_sub(KEPT_BYTES);
        kept.drain(..excess);
    }
}

fn last_line(output: &str) -> Option<&str> {
    let is_remark = |line: &str| {
        // After a panic in Rust, below a stack trace or the causes of an error of anyhow, and after an error in Node.js.
        line.starts_with("note: ")
            || line.starts_with([' ', '\t'])
            || matches!(line, "Caused by:" | "Stack backtrace:" | "stack backtrace:")
            || line.starts_with("Node.js v")
    };
    let mut lines = output.lines().rev().filter(|line| !line.trim().is_empty());
    lines.clone().find(|line| !is_remark(line)).or_else(|| lines.next()).map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    #[tokio::test]
    async fn a_process_that_never_stops_writing_holds_up_nothing() {
        const ENOUGH_BYTES: usize = 8 * 1024 * 1024;
        let (output, writer) = Output::open(Some(OutputObserver::new(|_| {})), None).expect("a pipe");
        let (is_over, mut written) = (Arc::new(AtomicBool::new(false)), 0);
        let stop = Arc::clone(&is_over);
        let process = thread::spawn(move || {
            let mut writer = File::from(writer);
            while !stop.load(Ordering::Relaxed) && written < ENOUGH_BYTES {
                written += writer.write(&[b'\n'; 1024]).expect("somebody reads");
            }
            written
        });
        output.flush();
        yield_now().await;
        is_over.store(true, Ordering::Relaxed);
        let closing = thread::spawn(move || process.join().expect("no panic"));
        while !closing.is_finished() {
            output.flush();
        }
        let written = closing.join().expect("no panic");
        assert!(written < ENOUGH_BYTES, "only the end of the output was waited for");
    }

    #[track_caller]
    fn check(output: &str, expected: Option<&str>) {
        assert_eq!(last_line(output), expected, "{output}");
    }

    #[test]
    fn the_last_line_is_that_of_the_error() {
        check("", None);
        check("\n \n", None);
        check("{\"level\":\"INFO\"}\nError: no table\n", Some("Error: no table"));
        check(
            "thread 'main' (1) panicked at src/main.rs:2:5:\nno table\nnote: run with `RUST_BACKTRACE=1` environment variable\n",
            Some("no table"),
        );
        check(
            "Traceback (most recent call last):\n  File \"f.py\"\nValueError: no table\n",
            Some("ValueError: no table"),
        );
        check(
            "f.js:1\nthrow 1\n^\n\nError: no table\n    at f.js:1:7\n\nNode.js v22.1.0\n",
            Some("Error: no table"),
        );
        check(
            "Error: no URL\n\nCaused by:\n    not found\n\nStack backtrace:\n   0: main\n             at ./src/main.rs:1:1\n",
            Some("Error: no URL"),
        );
        check("    only this\n", Some("only this"));
    }
}
