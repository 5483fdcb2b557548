use std::{
    io::{self, Read},
    path::Path,
    thread,
};

use tokio::sync::mpsc;

use crate::{error::Error, input};

/// Batches of lines that are read ahead: a few, because each may have a line of the greatest length.
const READ_AHEAD: usize = 4;

/// Bytes of lines after which a batch is handed over. To wake the other thread for each line takes longer than all other
/// work on it.
const BATCH_BYTES: usize = 64 * 1024;

/// The lines of an input in batches, read on a thread of its own: whoever writes them may pause.
#[derive(Debug)]
pub(super) struct Lines {
    receiver: mpsc::Receiver<io::Result<LineBatch>>,
}

/// Successive lines, at least one.
#[derive(Debug, Default)]
pub(super) struct LineBatch {
    /// Number of the first line, from one.
    first: u64,
    text: Vec<u8>,
    /// Offset behind each line in the text.
    ends: Vec<usize>,
}

impl Lines {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let mut lines = input::Lines::open(path)?;
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        thread::spawn(move || send_all(&mut lines, |batch| sender.blocking_send(batch).is_ok()));
        Ok(Lines { receiver })
    }

    /// Waits for the next batch. There is none after an error.
    pub(super) async fn next(&mut self) -> Option<io::Result<LineBatch>> {
        self.receiver.recv().await
    }
}

impl LineBatch {
    /// Returns the lines with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let lines = starts.zip(&self.ends).map(|(start, &end)| &self.text[start..end]);
        (self.first..).zip(lines)
    }
}

/// Sends all lines until `send` returns that nobody wants any more.
///
/// A batch never waits for the input: it ends with the last line that has been read already.
fn send_all(lines: &mut input::Lines<impl Read>, mut send: impl FnMut(io::Result<LineBatch>) -> bool) {
    let mut batch = LineBatch::default();
    while let Some(read) = lines.read_into(&mut batch.text) {
        let failure = match read {
            Ok(number) => {
                if batch.ends.is_empty() {
                    batch.first = number;
                }
                batch.ends.push(batch.text.len());
                if batch.text.len() < BATCH_BYTES && lines.has_line_at_hand() {
                    continue;
                }
                None
            }
            Err(error) => Some(error),
        };
        if !batch.ends.is_empty() && !send(Ok(std::mem::take(&mut batch))) {
            return;
        }
        if let Some(error) = failure {
            // There is no line after it.
            send(Err(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An input that yields these pieces, each in a read of its own, and then fails if it shall.
    struct Pieces {
        pieces: Vec<Vec<u8>>,
        fails: bool,
    }

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.pieces.is_empty() {
                return if self.fails { Err(io::Error::other("gone")) } else { Ok(0) };
            }
            let piece = &mut self.pieces[0];
            let read = piece.len().min(buffer.len());
            buffer[..read].copy_from_slice(&piece[..read]);
            piece.drain(..read);
            if piece.is_empty() {
                self.pieces.remove(0);
            }
            Ok(read)
        }
    }

    /// Returns the batches, each with the numbers and texts of its lines, and the error as a batch without a number.
    fn batches(pieces: &[&str], fails: bool) -> Vec<Vec<(u64, String)>> {
        let pieces = pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect();
        let mut lines = input::Lines::new("input".to_owned(), Pieces { pieces, fails });
        let mut sent = Vec::new();
        send_all(&mut lines, |batch| {
            sent.push(match batch {
                Ok(batch) => batch.iter().map(|(number, line)| (number, text(line))).collect(),
                Err(error) => vec![(0, error.to_string())],
            });
            true
        });
        sent
    }

    fn text(line: &[u8]) -> String {
        String::from_utf8_lossy(line).into_owned()
    }

    #[track_caller]
    fn check(pieces: &[&str], fails: bool, expected: &[&[(u64, &str)]]) {
        let batches = batches(pieces, fails);
        let found: Vec<Vec<_>> = batches
            .iter()
            .map(|batch| batch.iter().map(|(at, line)| (*at, line.as_str())).collect())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_batch_has_the_lines_that_are_there_and_waits_for_none() {
        // The first read finds out the encoding, and has four bytes.
        check(
            &["1\n2\n", "\n4\n5", "5\n6"],
            false,
            &[&[(1, "1\n"), (2, "2\n")], &[(3, "\n"), (4, "4\n")], &[(5, "55\n")], &[(6, "6")]],
        );
        check(&[], false, &[]);
    }

    #[test]
    fn lines_before_an_error_are_handed_over_first() {
        check(&["1\n2\n", "3\n4"], true, &[&[(1, "1\n"), (2, "2\n")], &[(3, "3\n")], &[(0, "gone")]]);
        let long = "x".repeat(16 * 1024 * 1024);
        check(
            &["1\n2\n", &long, "y"],
            false,
            &[&[(1, "1\n"), (2, "2\n")], &[(0, "line 3 has more than 16777216 bytes")]],
        );
    }

    #[test]
    fn batches_are_bounded_and_their_lines_are_those_of_the_input() {
        let input: String = (1..=50_000).map(|number| format!("line {number}\n")).collect();
        let batches = batches(&[&input], false);
        let bytes = |batch: &Vec<(u64, String)>| batch.iter().map(|(_, line)| line.len()).sum::<usize>();
        assert!(batches.iter().all(|batch| bytes(batch) < BATCH_BYTES + "line 50000\n".len()));
        assert!(batches.len() < 2 * input.len() / BATCH_BYTES, "{} batches", batches.len());
        let lines: Vec<_> = batches.into_iter().flatten().collect();
        assert!(
            lines.iter().enumerate().all(|(at, line)| *line == (at as u64 + 1, format!("line {}\n", at + 1)))
        );
        assert_eq!(lines.len(), 50_000);
    }

    #[test]
    fn the_input_is_not_read_on_once_nobody_wants_lines() {
        let mut lines = input::Lines::new("input".to_owned(), io::repeat(b'\n'));
        let mut sent = 0;
        send_all(&mut lines, |_| {
            sent += 1;
            sent < 3
        });
        assert_eq!(sent, 3);
    }
}
