use std::{env, io, io::IsTerminal};

use anstream::{AutoStream, ColorChoice};

/// Least width, so that a mistake does not make every word a line.
const MIN_COLUMNS: usize = 20;

/// Greatest width. No terminal is wider, and sums of widths stay numbers.
const MAX_COLUMNS: usize = u16::MAX as usize;

/// Width of a terminal that does not know its own.
const DEFAULT_COLUMNS: usize = 80;

/// The form of standard output: a terminal of some width, or a file or pipe, which takes lines of any length.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Screen {
    /// Columns of a line; absent if there is no limit.
    pub(crate) width: Option<usize>,
    /// Whether escape sequences of colours are shown as colours.
    pub(crate) has_colours: bool,
}

impl Screen {
    /// Returns the form of standard output. The variable `COLUMNS` goes before the terminal's own width, and limits the
    /// lines of files and pipes, too. Colours are off in files and pipes, and if `NO_COLOR` is set.
    pub(crate) fn of_stdout() -> Self {
        let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        Screen {
            width: columns
                .or_else(terminal_width)
                .map(|columns: usize| columns.clamp(MIN_COLUMNS, MAX_COLUMNS)),
            has_colours: AutoStream::choice(&io::stdout()) != ColorChoice::Never,
        }
    }
}

fn terminal_width() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    match rustix::termios::tcgetwinsize(stdout) {
        Ok(size) if size.ws_col > 0 => Some(size.ws_col.into()),
        Ok(_) | Err(_) => Some(DEFAULT_COLUMNS),
    }
}
