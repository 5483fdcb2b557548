use std::io::{self, Write};

use crate::output::cell;

/// Spaces between columns.
const GAP: usize = 2;

/// Number of rows that are kept to see how wide the columns must be. A later row that is wider moves the rest of its line.
pub(crate) const SAMPLE_ROWS: usize = 1000;

/// Output that is gathered before it is written, in bytes.
const WRITE_BYTES: usize = 64 * 1024;

/// A column that is as wide as its cells need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) heading: &'static str,
    /// Numbers are aligned to the right.
    pub(crate) is_number: bool,
}

/// The column that takes the room that is left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastColumn {
    pub(crate) heading: &'static str,
    /// Width if it need not fit a terminal.
    pub(crate) width: usize,
    /// Less would say nothing, even if lines of the terminal then wrap.
    pub(crate) min_width: usize,
}

/// A line of a [`Table`].
#[derive(Debug)]
pub(crate) struct Row {
    /// May be fewer than the table's: what is last then follows earlier.
    pub(crate) columns: Vec<String>,
    pub(crate) last: LastCell,
}

#[derive(Debug)]
pub(crate) enum LastCell {
    /// Cut if it is too wide.
    Cut(String),
    /// A cell that is never cut.
    Whole(String),
}

/// For people: rows in aligned columns, below their headings.
pub(crate) struct Table<W> {
    output: W,
    terminal_width: Option<usize>,
    columns: Vec<Column>,
    last: LastColumn,
    buffer: Vec<u8>,
    sample: Vec<Row>,
    /// Known once the sample is complete.
    widths: Option<Vec<usize>>,
}

/// Returns the width of standard output, if it is a terminal.
pub(crate) fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| width.0.into())
}

impl<W: Write> Table<W> {
    /// The width is that of the terminal, if it is one that the table goes to.
    pub(crate) fn new(
        output: W,
        terminal_width: Option<usize>,
        columns: impl Into<Vec<Column>>,
        last: LastColumn,
    ) -> Self {
        Table {
            output,
            terminal_width,
            columns: columns.into(),
            last,
            buffer: Vec::new(),
            sample: Vec::new(),
            widths: None,
        }
    }

    /// Returns the output, for what takes the table's place.
    pub(crate) fn output(&mut self) -> &mut W {
        &mut self.output
    }

    /// As much of a last cell as can be shown behind so many columns, if not less.
    pub(crate) fn last_width(&self, columns: usize) -> usize {
        // As long as there is a sample, it is cut later.
        let taken = self.widths.iter().flatten().take(columns).map(|width| width + GAP).sum();
        self.width_behind(taken)
    }

    fn width_behind(&self, taken: usize) -> usize {
        let Some(width) = self.terminal_width else { return self.last.width };
        // Odd: `0x`, whole bytes and `…` fill it.
        (width.saturating_sub(taken).saturating_sub(1) | 1).max(self.last.min_width)
    }

    /// Adds a row. Its cells are escaped: they may hold what a producer, or a service, has written.
    pub(crate) fn push(&mut self, mut row: Row) -> io::Result<()> {
        let whole = match &mut row.last {
            LastCell::Whole(last) => Some(last),
            // Escaped where it is cut.
            LastCell::Cut(_) => None,
        };
        for cell in row.columns.iter_mut().chain(whole) {
            if !cell.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                *cell = cell::escape(cell);
            }
        }
        if self.widths.is_some() {
            self.print(row);
        } else {
            self.sample.push(row);
        }
        if self.sample.len() == SAMPLE_ROWS {
            self.print_sample();
        }
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what is left. Without any row there are no headings.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if !self.sample.is_empty() {
            self.print_sample();
        }
        self.flush()
    }

    /// Prints the headings and the sample, in columns as wide as both need.
    fn print_sample(&mut self) {
        let sample = std::mem::take(&mut self.sample);
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.heading.len()).collect();
        for row in &sample {
            for (width, cell) in widths.iter_mut().zip(&row.columns) {
                *width = cell::width(cell).max(*width);
            }
        }
        self.widths = Some(widths);
        let columns = self.columns.iter().map(|column| column.heading.to_owned()).collect();
        self.print(Row { columns, last: LastCell::Whole(self.last.heading.to_owned()) });
        sample.into_iter().for_each(|row| self.print(row));
    }

    fn print(&mut self, row: Row) {
        let last_width = self.last_width(row.columns.len());
        let buffer = &mut self.buffer;
        let widths = self.widths.iter().flatten();
        for ((cell, &width), column) in row.columns.iter().zip(widths).zip(&self.columns) {
            // Not the formatter's own padding: that counts characters.
            let padding = width.saturating_sub(cell::width(cell));
            let before = if column.is_number { padding } else { 0 };
            buffer.resize(buffer.len() + before, b' ');
            buffer.extend_from_slice(cell.as_bytes());
            buffer.resize(buffer.len() + padding - before + GAP, b' ');
        }
        let last = match row.last {
            LastCell::Cut(last) => cell::text(&last, last_width),
            LastCell::Whole(last) => last,
        };
        buffer.extend_from_slice(last.as_bytes());
        buffer.push(b'\n');
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.write_all(&self.buffer)?;
        self.buffer.clear();
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_acts_on_the_terminal() {
        let mut output = Vec::new();
        let columns = [Column { heading: "A", is_number: false }];
        let mut table =
            Table::new(&mut output, None, columns, LastColumn { heading: "B", width: 9, min_width: 9 });
        for last in [LastCell::Cut("\u{1b}[2J".to_owned()), LastCell::Whole("\u{202e}x".to_owned())] {
            table.push(Row { columns: vec!["a\n\u{feff}…".to_owned()], last }).expect("memory takes it");
        }
        table.finish().expect("memory takes it");
        drop(table);
        assert_eq!(
            String::from_utf8(output).expect("text"),
            "A             B\na\\n\\u{feff}…  \\u{1b}[2J\na\\n\\u{feff}…  \\u{202e}x\n"
        );
    }
}
