use std::{io, path::Path, thread};

use tokio::sync::mpsc;

use crate::{error::Error, input};

/// Lines that are read ahead: a few, because each may be that long.
const READ_AHEAD: usize = 4;

/// The lines of an input, with their numbers, read on a thread of its own: whoever writes them may pause.
#[derive(Debug)]
pub(super) struct Lines {
    receiver: mpsc::Receiver<(u64, io::Result<Vec<u8>>)>,
}

impl Lines {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let lines = input::Lines::open(path)?;
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        thread::spawn(move || {
            for line in lines {
                // An error means that nobody wants it any more.
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Lines { receiver })
    }

    pub(super) async fn next(&mut self) -> Option<(u64, io::Result<Vec<u8>>)> {
        self.receiver.recv().await
    }
}
