use std::io::{self, Write};

use super::{Line, Sink, WRITE_BYTES, cell, short_number::ShortNumbers};
use crate::kinesis_record::KinesisRecord;

const HEADINGS: Columns<&str> = ["SEQUENCE NUMBER", "SUB", "KEY", "HASH KEY", "ARRIVAL (UTC)", "SIZE"];

/// Numbers are aligned to the right.
const IS_NUMBER: Columns<bool> = [false, true, false, false, false, true];

/// Stands above the last column, which takes the room that is left.
const DATA_HEADING: &str = "DATA";

/// Between columns.
const GAP: usize = 2;

/// Room for every sequence number: 192 bits have 58 digits.
const SEQUENCE_NUMBER_WIDTH: usize = 58;

/// Room for a UUID.
const KEY_WIDTH: usize = 36;

/// Room for every hash key: 2^128 has 39 digits.
const HASH_KEY_WIDTH: usize = 39;

/// How wide the data is shown if it need not fit a terminal. As every width of data, it is odd: `0x`, whole bytes
/// and `…` fill it.
const DATA_WIDTH: usize = 65;

/// Less of the data would say nothing, even if lines of the terminal then wrap.
const MIN_DATA_WIDTH: usize = 21;

/// How many rows are kept to see how wide the columns must be. A later row that is wider moves the rest of its line.
const SAMPLE_ROWS: usize = 1000;

type Columns<T> = [T; 6];

/// For people: a row for each line, in aligned columns.
pub(super) struct Table<W> {
    output: W,
    terminal_width: Option<usize>,
    buffer: Vec<u8>,
    short_numbers: ShortNumbers,
    /// What all rows of a Kinesis record share.
    sequence_number: String,
    arrival: String,
    sample: Vec<Row>,
    /// Known once the sample is complete.
    layout: Option<Layout>,
}

struct Row {
    columns: Columns<String>,
    last: LastCell,
}

enum LastCell {
    Data(String),
    /// Why there is none.
    Invalid(String),
}

#[derive(Clone, Copy)]
struct Layout {
    widths: Columns<usize>,
    data_width: usize,
}

impl<W: Write> Table<W> {
    /// `kinesis_records` are those that all lines come from. The width is that of the terminal, if it is one that the
    /// table goes to.
    pub(super) fn new(
        output: W,
        terminal_width: Option<usize>,
        kinesis_records: &[KinesisRecord<'_>],
    ) -> Self {
        let numbers = kinesis_records.iter().filter_map(|record| record.sequence_number.as_deref());
        Table {
            output,
            terminal_width,
            buffer: Vec::new(),
            short_numbers: ShortNumbers::telling_apart(numbers),
            sequence_number: String::new(),
            arrival: String::new(),
            sample: Vec::new(),
            layout: None,
        }
    }

    fn row(&self, line: &Line<'_>) -> Row {
        let key = |key: Option<&str>, max_width| or_dash(key.map(|key| cell::text(key, max_width)));
        // Those of the sample are cut later.
        let data_width = self.layout.map_or_else(|| self.data_width(0), |layout| layout.data_width);
        Row {
            columns: [
                self.sequence_number.clone(),
                or_dash(line.sub_sequence_number.map(|number| number.to_string())),
                key(line.partition_key.as_deref(), KEY_WIDTH),
                key(line.explicit_hash_key.as_deref(), HASH_KEY_WIDTH),
                self.arrival.clone(),
                or_dash(line.data.map(|data| data.len().to_string())),
            ],
            last: match &line.invalid {
                Some(reason) => LastCell::Invalid(format!("INVALID: {reason}")),
                None => LastCell::Data(or_dash(line.data.map(|data| cell::data(data, data_width)))),
            },
        }
    }

    /// Prints the headings and the sample, in columns as wide as both need.
    fn print_sample(&mut self) {
        let sample = std::mem::take(&mut self.sample);
        let mut widths = HEADINGS.map(str::len);
        for row in &sample {
            for (width, cell) in widths.iter_mut().zip(&row.columns) {
                *width = cell::width(cell).max(*width);
            }
        }
        let taken = widths.iter().map(|width| width + GAP).sum();
        let layout = Layout { widths, data_width: self.data_width(taken) };
        self.layout = Some(layout);

        let headings =
            Row { columns: HEADINGS.map(str::to_owned), last: LastCell::Data(DATA_HEADING.to_owned()) };
        self.print(&headings, layout);
        for mut row in sample {
            if let LastCell::Data(data) = &mut row.last {
                *data = cell::text(data, layout.data_width);
            }
            self.print(&row, layout);
        }
    }

    /// What is left for the data if the other columns take so much.
    fn data_width(&self, taken: usize) -> usize {
        let Some(width) = self.terminal_width else { return DATA_WIDTH };
        let left = width.saturating_sub(taken);
        (left.saturating_sub(1) | 1).max(MIN_DATA_WIDTH)
    }

    fn print(&mut self, row: &Row, layout: Layout) {
        let buffer = &mut self.buffer;
        for ((cell, width), is_number) in row.columns.iter().zip(layout.widths).zip(IS_NUMBER) {
            // Not the formatter's own padding: that counts characters.
            let padding = width.saturating_sub(cell::width(cell));
            let before = if is_number { padding } else { 0 };
            buffer.resize(buffer.len() + before, b' ');
            buffer.extend_from_slice(cell.as_bytes());
            buffer.resize(buffer.len() + padding - before + GAP, b' ');
        }
        let (LastCell::Data(last) | LastCell::Invalid(last)) = &row.last;
        buffer.extend_from_slice(last.as_bytes());
        buffer.push(b'\n');
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.write_all(&self.buffer)?;
        self.buffer.clear();
        self.output.flush()
    }
}

impl<W: Write> Sink for Table<W> {
    fn begin(&mut self, kinesis_record: &KinesisRecord<'_>) {
        let number = kinesis_record.sequence_number.as_deref();
        let shortened = number.map(|number| self.short_numbers.shorten(number));
        self.sequence_number = or_dash(shortened.map(|number| cell::text(&number, SEQUENCE_NUMBER_WIDTH)));
        self.arrival = or_dash(kinesis_record.arrival.map(|arrival| arrival.to_string()));
    }

    fn write(&mut self, line: &Line<'_>) -> io::Result<()> {
        let row = self.row(line);
        match self.layout {
            Some(layout) => self.print(&row, layout),
            None => self.sample.push(row),
        }
        if self.sample.len() == SAMPLE_ROWS {
            self.print_sample();
        }
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        if !self.sample.is_empty() {
            self.print_sample();
        }
        self.flush()
    }
}

/// What is not known is a dash.
fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of one plain record for each sequence number, with its own number as data, ten times.
    fn table(terminal_width: Option<usize>, numbers: &[&str]) -> String {
        let mut records = Vec::new();
        for number in numbers {
            let mut record = KinesisRecord::of_data(number.repeat(10).into_bytes());
            record.sequence_number = Some((*number).to_owned().into());
            record.partition_key = Some("ключ".into());
            records.push(record);
        }
        let mut output = Vec::new();
        let mut table = Table::new(&mut output, terminal_width, &records);
        for record in &records {
            table.begin(record);
            let data = record.decode().expect("bytes");
            table.write(&Line::of_fan_out_record(record, &data)).expect("memory takes it");
        }
        table.finish().expect("memory takes it");
        drop(table);
        String::from_utf8(output).expect("text")
    }

    #[test]
    fn the_data_takes_the_room_that_is_left() {
        assert_eq!(
            table(None, &["1234567"]),
            "SEQUENCE NUMBER  SUB  KEY   HASH KEY  ARRIVAL (UTC)  SIZE  DATA\n\
             1234567            -  ключ  -         -                70  \
             1234567123456712345671234567123456712345671234567123456712345671…\n"
        );
        assert_eq!(
            table(Some(88), &["1234567"]),
            "SEQUENCE NUMBER  SUB  KEY   HASH KEY  ARRIVAL (UTC)  SIZE  DATA\n\
             1234567            -  ключ  -         -                70  1234567123456712345671234567…\n"
        );
        assert_eq!(table(Some(88), &["1234567"]), table(Some(89), &["1234567"]));
        assert_eq!(
            table(Some(200), &["1234567"]).lines().last(),
            Some(
                "1234567            -  ключ  -         -                70  \
                 1234567123456712345671234567123456712345671234567123456712345671234567"
            )
        );
        assert_eq!(
            table(Some(40), &["1234567"]).lines().last(),
            Some("1234567            -  ключ  -         -                70  12345671234567123456…")
        );
    }

    #[test]
    fn the_columns_are_those_of_the_first_rows() {
        let mut numbers = vec!["1"; SAMPLE_ROWS];
        let long = "1234567890".repeat(100);
        numbers.push(&long);
        let table = table(None, &numbers);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 1 + SAMPLE_ROWS + 1);
        assert_eq!(lines[1], "1                  -  ключ  -         -                10  1111111111");
        assert_eq!(lines[SAMPLE_ROWS], lines[1]);
        assert_eq!(
            lines[SAMPLE_ROWS + 1],
            "…34567890          -  ключ  -         -              10000  \
             1234567890123456789012345678901234567890123456789012345678901234…"
        );
    }
}
