//! Tables for people: rows in aligned columns, which take what a terminal has of room.

mod column;
mod failed_at;
mod layout;

use std::io::{self, Write};

use crate::output::{cell, screen::Screen, tone::Tone};
pub(crate) use column::Column;
pub(crate) use failed_at::FailedAt;
use layout::{CellWidth, GAP, INDENT, Layout};

/// Number of rows that are kept to see how wide the columns must be. A later row that is wider moves the rest of its line.
pub(crate) const SAMPLE_ROWS: usize = 1000;

/// Most bytes of such rows: in a pipe, a row has a whole payload.
const SAMPLE_BYTES: usize = 4 * 1024 * 1024;

/// Output that is gathered before it is written, in bytes.
const WRITE_BYTES: usize = 64 * 1024;

/// Least width of a last cell on the line of other cells, if it is broken between words.
const MIN_WRAPPED_WIDTH: usize = 30;

/// A cell without content.
const BLANK: &str = "-";

/// The column that takes the room that is left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastColumn {
    pub(crate) heading: &'static str,
    /// In less width, the cell begins a line of its own.
    pub(crate) min_width: usize,
}

/// A line of a [`Table`], or several in a narrow terminal.
#[derive(Debug)]
pub(crate) struct Row {
    /// May be fewer than the table's: what is last then follows earlier.
    pub(crate) columns: Vec<String>,
    pub(crate) last: LastCell,
    pub(crate) tone: Tone,
}

impl Row {
    pub(crate) fn new(columns: Vec<String>, last: LastCell) -> Self {
        Row { columns, last, tone: Tone::Plain }
    }

    pub(crate) fn with_tone(self, tone: Tone) -> Self {
        Row { tone, ..self }
    }
}

#[derive(Debug)]
pub(crate) enum LastCell {
    /// Cut if it is wider than the terminal: payloads.
    Cut(String),
    /// A cell that goes on in further lines: sentences.
    Whole(String),
}

impl LastCell {
    fn text(&self) -> &str {
        match self {
            LastCell::Cut(text) | LastCell::Whole(text) => text,
        }
    }
}

/// For people: rows in aligned columns, below their headings.
#[derive(Debug)]
pub(crate) struct Table<W> {
    output: W,
    screen: Screen,
    columns: Vec<Column>,
    last: LastColumn,
    buffer: Vec<u8>,
    sample: Vec<Row>,
    /// Bytes in the cells of the sample.
    sample_bytes: usize,
    /// Known once the sample is complete.
    layout: Option<Layout>,
    /// Whether the last column is left out where it is blank: it would be a line of its own, and the sample has nothing in it.
    hides_last: bool,
}

impl<W: Write> Table<W> {
    pub(crate) fn new(output: W, screen: Screen, columns: impl Into<Vec<Column>>, last: LastColumn) -> Self {
        Table {
            output,
            screen,
            columns: columns.into(),
            last,
            buffer: Vec::new(),
            sample: Vec::new(),
            sample_bytes: 0,
            layout: None,
            hides_last: false,
        }
    }

    /// Returns the output, for what takes the table's place.
    pub(crate) fn output(&mut self) -> &mut W {
        &mut self.output
    }

    /// As much of a last cell as can be shown after so many columns.
    pub(crate) fn last_width(&self, columns: usize) -> usize {
        let Some(terminal_width) = self.screen.width else { return usize::MAX };
        // As long as there is a sample, it is cut later.
        let Some(layout) = &self.layout else { return terminal_width };
        self.room(taken(layout, columns), terminal_width)
    }

    /// Returns the room after so many columns of a line, or of a line of its own.
    fn room(&self, taken: usize, terminal_width: usize) -> usize {
        // Odd: `0x`, whole bytes and `…` fill it.
        let room = terminal_width.saturating_sub(taken).saturating_sub(1) | 1;
        if room >= self.last.min_width { room } else { (terminal_width - INDENT - 1) | 1 }
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
        if self.layout.is_some() {
            self.print(row);
        } else {
            self.sample_bytes += row.columns.iter().map(String::len).sum::<usize>() + row.last.text().len();
            self.sample.push(row);
        }
        if self.sample.len() == SAMPLE_ROWS || self.sample_bytes >= SAMPLE_BYTES {
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
        self.sample_bytes = 0;
        let mut widths: Vec<CellWidth> = self.columns.iter().map(CellWidth::of).collect();
        let mut last_width = cell::width(self.last.heading);
        for row in &sample {
            for ((width, column), cell) in widths.iter_mut().zip(&self.columns).zip(&row.columns) {
                width.add(column, cell);
            }
            if row.columns.len() == self.columns.len() {
                last_width = last_width.max(cell::width(row.last.text()));
            }
        }
        // Room that no cell needs is not kept.
        self.last.min_width = self.last.min_width.min(last_width);
        let layout = |last| Layout::new(&self.columns, &widths, last, self.screen.width);
        let with_last = layout(self.last.min_width);
        let is_blank = sample.iter().all(|row| row.last.text() == BLANK);
        self.hides_last = is_blank && with_last.breaks_before_last;
        self.layout = Some(if self.hides_last { layout(0) } else { with_last });
        let columns = self.columns.iter().map(|column| column.heading.to_owned()).collect();
        let headings = Row::new(columns, LastCell::Whole(self.last.heading.to_owned()));
        self.print(headings.with_tone(Tone::Heading));
        sample.into_iter().for_each(|row| self.print(row));
    }

    fn print(&mut self, row: Row) {
        let Some(layout) = &self.layout else { return };
        let style = if self.screen.has_colours { row.tone.style() } else { Tone::Plain.style() };
        let mut text = style.to_string();
        let mut taken = 0;
        for ((cell, place), column) in row.columns.iter().zip(&layout.places).zip(&self.columns) {
            if place.is_hidden {
                continue;
            }
            if place.begins_line {
                taken = break_line(&mut text, INDENT);
            }
            // A heading is not shortened: the column is as wide as it.
            let cell =
                if place.is_short && row.tone != Tone::Heading { column.shorten(cell) } else { cell.clone() };
            // Not the formatter's own padding: that counts characters.
            let padding = place.width.saturating_sub(cell::width(&cell));
            let before = if column.is_number { padding } else { 0 };
            push_spaces(&mut text, before);
            text.push_str(&cell);
            push_spaces(&mut text, padding - before + GAP);
            taken += place.width + GAP;
        }
        // A line of its own would have nothing in it.
        let is_blank = row.last.text() == BLANK && (self.hides_last || layout.breaks_before_last);
        let is_hidden = is_blank || (self.hides_last && row.tone == Tone::Heading);
        if let Some(terminal_width) = self.screen.width.filter(|_| !is_hidden) {
            let room = terminal_width.saturating_sub(taken);
            let is_full = row.columns.len() == self.columns.len();
            let needed = match &row.last {
                // In a few long lines a sentence reads better than in many short ones.
                LastCell::Whole(last) if cell::width(last) > 2 * room => cell::width(last),
                _ if is_full => 0,
                LastCell::Cut(last) => cell::width(last).min(self.last.min_width),
                LastCell::Whole(last) => cell::width(last).min(MIN_WRAPPED_WIDTH),
            };
            if is_full && layout.breaks_before_last || room < needed {
                taken = break_line(&mut text, INDENT);
            }
        }
        match row.last {
            _ if is_hidden => {}
            LastCell::Cut(last) => {
                let room = self.screen.width.map_or(usize::MAX, |width| self.room(taken, width));
                text.push_str(&cell::text(&last, room));
            }
            LastCell::Whole(last) => match self.screen.width {
                Some(width) => wrap(&mut text, &last, taken, width),
                None => text.push_str(&last),
            },
        }
        text.truncate(text.trim_end_matches(' ').len());
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.extend_from_slice(style.render_reset().to_string().as_bytes());
        self.buffer.push(b'\n');
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.write_all(&self.buffer)?;
        self.buffer.clear();
        self.output.flush()
    }
}

/// Returns the columns of the line that so many cells take.
fn taken(layout: &Layout, columns: usize) -> usize {
    let mut taken = 0;
    for place in layout.places.iter().take(columns).filter(|place| !place.is_hidden) {
        taken = if place.begins_line { INDENT } else { taken } + place.width + GAP;
    }
    if columns >= layout.places.len() && layout.breaks_before_last { INDENT } else { taken }
}

/// Begins a line with so many spaces. Returns the number of its columns that are taken.
fn break_line(text: &mut String, indent: usize) -> usize {
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
    push_spaces(text, indent);
    indent
}

fn push_spaces(text: &mut String, number: usize) {
    text.extend(std::iter::repeat_n(' ', number));
}

/// Adds a cell that begins after so many columns, in lines that are broken between words. A word that is wider than a line
/// is left whole, so that it can be copied.
pub(crate) fn wrap(text: &mut String, last: &str, indent: usize, terminal_width: usize) {
    let mut taken = indent;
    for word in last.split_inclusive(' ') {
        let width = cell::width(word.trim_end_matches(' '));
        if taken + width > terminal_width && taken > indent {
            taken = break_line(text, indent);
        }
        text.push_str(word);
        taken += cell::width(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] =
        [Column::text("POSITION"), Column::text("APPLICATION").cut(12), Column::number("SIZE")];
    const ERROR: LastColumn = LastColumn { heading: "ERROR", min_width: 21 };

    fn table(screen: Screen, rows: impl IntoIterator<Item = Row>) -> String {
        let mut output = Vec::new();
        let mut table = Table::new(&mut output, screen, COLUMNS, ERROR);
        rows.into_iter().for_each(|row| table.push(row).expect("memory takes it"));
        table.finish().expect("memory takes it");
        drop(table);
        String::from_utf8(output).expect("text")
    }

    fn row(last: LastCell) -> Row {
        let columns = ["shardId-000000000000/49590338271490256608559692:3", "orders", "44"];
        Row::new(columns.map(str::to_owned).into(), last)
    }

    fn error() -> Row {
        row(LastCell::Whole("the warehouse is not available, and nobody knows for how long".to_owned()))
    }

    const NARROW: Screen = Screen { width: Some(60), has_colours: false };

    #[test]
    fn no_cell_acts_on_the_terminal() {
        let last = [LastCell::Cut("\u{1b}[2J".to_owned()), LastCell::Whole("\u{202e}x".to_owned())];
        let rows = last.map(|last| Row::new(vec!["a\n\u{feff}…".to_owned()], last));
        assert_eq!(
            table(Screen::default(), rows),
            "POSITION      APPLICATION  SIZE  ERROR\na\\n\\u{feff}…  \\u{1b}[2J\na\\n\\u{feff}…  \\u{202e}x\n"
        );
    }

    #[test]
    fn a_pipe_takes_lines_of_any_length() {
        assert_eq!(
            table(Screen::default(), [error(), row(LastCell::Cut("x".repeat(1_000)))]),
            format!(
                "POSITION                                           APPLICATION  SIZE  ERROR\n\
                 shardId-000000000000/49590338271490256608559692:3  orders         44  \
                 the warehouse is not available, and nobody knows for how long\n\
                 shardId-000000000000/49590338271490256608559692:3  orders         44  {}\n",
                "x".repeat(1_000)
            )
        );
    }

    #[test]
    fn large_rows_are_written_before_there_are_many() {
        let mut output = Vec::new();
        let mut table = Table::new(&mut output, Screen::default(), COLUMNS, ERROR);
        for _ in 0..5 {
            table.push(row(LastCell::Cut("x".repeat(SAMPLE_BYTES / 4)))).expect("memory takes it");
        }
        assert!(table.sample.is_empty() && table.buffer.is_empty());
        table.finish().expect("memory takes it");
        assert_eq!(String::from_utf8(output).expect("text").lines().count(), 6);
    }

    #[test]
    fn rows_of_a_narrow_terminal_have_several_lines_and_break_between_words() {
        assert_eq!(
            table(NARROW, [error(), row(LastCell::Cut("x".repeat(1_000)))]),
            format!(
                "POSITION\n  \
                   APPLICATION  SIZE  ERROR\n\
                 shardId-000000000000/49590338271490256608559692:3\n  \
                   orders         44  the warehouse is not available, and\n                     \
                                      nobody knows for how long\n\
                 shardId-000000000000/49590338271490256608559692:3\n  \
                   orders         44  {}…\n",
                "x".repeat(38)
            )
        );
    }

    #[test]
    fn a_last_column_without_content_takes_no_line_of_its_own() {
        let blank = || row(LastCell::Whole("-".to_owned()));
        let screen = Screen { width: Some(71), has_colours: false };
        let position = "shardId-000000000000/49590338271490256608559692:3";
        assert_eq!(
            table(screen, [blank()]),
            format!("{:49}  APPLICATION  SIZE\n{position}  orders         44\n", "POSITION")
        );
        let mixed = table(screen, [blank(), error()]);
        let lines: Vec<&str> = mixed.lines().collect();
        assert_eq!(
            (lines[1], lines[2], lines[3]),
            ("  ERROR", &*format!("{position}  orders         44"), lines[2])
        );
        assert_eq!(
            table(Screen::default(), [blank()]).lines().nth(1),
            Some(&*format!("{position}  orders         44  -"))
        );
    }

    #[test]
    fn a_row_with_fewer_cells_ends_earlier() {
        let rows = || {
            let last = "DISCARDED 3 records: 1, 2, 3; RetryAttemptsExhausted".to_owned();
            [row(LastCell::Whole("-".to_owned())), Row::new(vec!["1.5 s".to_owned()], LastCell::Whole(last))]
        };
        let last_line = |screen| table(screen, rows()).lines().last().expect("a line").to_owned();
        let wide = Screen { width: Some(120), has_colours: false };
        assert!(last_line(wide).ends_with("  DISCARDED 3 records: 1, 2, 3; RetryAttemptsExhausted"));
        assert_eq!(last_line(NARROW), "  DISCARDED 3 records: 1, 2, 3; RetryAttemptsExhausted");
    }

    #[test]
    fn colours_are_shown_where_they_are_wanted() {
        let failed = |screen| table(screen, [error().with_tone(Tone::Error)]);
        assert!(!failed(Screen::default()).contains('\u{1b}'));
        let coloured = failed(Screen { width: None, has_colours: true });
        let lines: Vec<_> = coloured.lines().collect();
        assert!(lines[0].starts_with("\u{1b}[1mPOSITION") && lines[0].ends_with("\u{1b}[0m"), "{coloured:?}");
        assert!(
            lines[1].starts_with("\u{1b}[31mshardId-") && lines[1].ends_with("\u{1b}[0m"),
            "{coloured:?}"
        );
    }
}
