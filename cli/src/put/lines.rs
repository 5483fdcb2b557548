use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    thread,
};

use tokio::sync::mpsc;

use crate::{error::Error, input};

/// The longest line: 10 MiB in base64, and keys.
const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;

/// Lines that are read ahead: a few, because each may be that long.
const READ_AHEAD: usize = 4;

/// The lines of an input, with their numbers, read on a thread of its own: whoever writes them may pause.
#[derive(Debug)]
pub(super) struct Lines {
    receiver: mpsc::Receiver<(u64, io::Result<Vec<u8>>)>,
}

impl Lines {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read { input: path.display().to_string(), source };
        let input: Box<dyn Read + Send> = match path.as_os_str() == "-" {
            true => {
                input::note_terminal();
                Box::new(io::stdin())
            }
            false => Box::new(File::open(path).map_err(failed)?),
        };
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        thread::spawn(move || {
            let mut reader = BufReader::with_capacity(64 * 1024, input);
            for number in 1.. {
                let line = next_line(&mut reader);
                let is_last = !matches!(line, Ok(Some(_)));
                // An error means that nobody wants it any more.
                if let Some(line) = line.transpose()
                    && sender.blocking_send((number, line)).is_err()
                {
                    return;
                }
                if is_last {
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

fn next_line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
    if line.len() > MAX_LINE_BYTES {
        let what = format!("a line has more than {MAX_LINE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok((!line.is_empty()).then_some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_end_is_one_and_an_endless_one_is_refused() {
        let mut reader = &b"one\n\ntwo"[..];
        assert_eq!(next_line(&mut reader).expect("bytes"), Some(b"one\n".to_vec()));
        assert_eq!(next_line(&mut reader).expect("bytes"), Some(b"\n".to_vec()));
        assert_eq!(next_line(&mut reader).expect("bytes"), Some(b"two".to_vec()));
        assert_eq!(next_line(&mut reader).expect("bytes"), None);
        let mut endless = BufReader::new(io::repeat(b'x'));
        let error = next_line(&mut endless).expect_err("too long");
        assert_eq!(error.to_string(), "a line has more than 16777216 bytes");
    }
}
