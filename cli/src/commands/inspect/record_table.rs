use std::io::{self, Write};

use super::{InspectLine, Sink, short_number::ShortNumbers, shown_key::ShownKey};
use crate::{
    args::DataStyle,
    input::kinesis_record::KinesisRecord,
    output::{
        cell,
        table::{Column, LastCell, LastColumn, Row, Table},
    },
};

const SHARD: Column = Column { heading: "SHARD", is_number: false };

/// Column for a stream only: in a file, the sub-sequence numbers of its neighbours tell.
const AGGREGATED: Column = Column { heading: "AGGREGATED", is_number: false };

const COLUMNS: [Column; 6] = [
    Column { heading: "SEQUENCE NUMBER", is_number: false },
    Column { heading: "SUB", is_number: true },
    Column { heading: "KEY", is_number: false },
    Column { heading: "HASH KEY", is_number: false },
    Column { heading: "ARRIVAL (UTC)", is_number: false },
    Column { heading: "SIZE", is_number: true },
];

const DATA: LastColumn = LastColumn { heading: "DATA", width: 65, min_width: 21 };

/// Room for every sequence number: 192 bits have 58 digits.
const SEQUENCE_NUMBER_WIDTH: usize = 58;

/// Room for a UUID.
const KEY_WIDTH: usize = 36;

/// Room for every hash key: 2^128 has 39 digits.
const HASH_KEY_WIDTH: usize = 39;

/// For people: a row for each line.
pub(super) struct RecordTable<W> {
    table: Table<W>,
    /// Shortened numbers; absent for a stream, whose numbers are not known in advance.
    short_numbers: Option<ShortNumbers>,
    data: DataStyle,
    /// Cells that all rows of a Kinesis record share: the shard, if it is a column, and the sequence number.
    first_columns: Vec<String>,
    arrival: String,
}

impl<W: Write> RecordTable<W> {
    /// `kinesis_records` are those that all lines come from. The width is that of the terminal, if it is one that the
    /// table goes to.
    pub(super) fn of_input(
        output: W,
        terminal_width: Option<usize>,
        kinesis_records: &[KinesisRecord<'_>],
    ) -> Self {
        let numbers = kinesis_records.iter().filter_map(|record| record.sequence_number.as_deref());
        RecordTable {
            table: Table::new(output, terminal_width, COLUMNS, DATA),
            short_numbers: Some(ShortNumbers::telling_apart(numbers)),
            data: DataStyle::Auto,
            first_columns: Vec::new(),
            arrival: String::new(),
        }
    }

    /// Records of several shards, in the order in which they are read.
    pub(super) fn of_stream(output: W, terminal_width: Option<usize>) -> Self {
        let mut columns: Vec<Column> = [SHARD].into_iter().chain(COLUMNS).collect();
        columns.push(AGGREGATED);
        RecordTable {
            table: Table::new(output, terminal_width, columns, DATA),
            short_numbers: None,
            data: DataStyle::Auto,
            first_columns: Vec::new(),
            arrival: String::new(),
        }
    }

    pub(super) fn with_data(mut self, data: DataStyle) -> Self {
        self.data = data;
        self
    }

    fn row(&self, line: &InspectLine<'_>) -> Row {
        let key = |key: &Option<ShownKey<'_>>, max_width| {
            or_dash(key.as_ref().map(|key| cell::text(&key.text, max_width)))
        };
        let mut columns = self.first_columns.clone();
        columns.extend([
            or_dash(line.sub_sequence_number.map(|number| number.to_string())),
            key(&line.partition_key, KEY_WIDTH),
            key(&line.explicit_hash_key, HASH_KEY_WIDTH),
            self.arrival.clone(),
            or_dash(line.data.map(|data| data.len().to_string())),
        ]);
        if self.short_numbers.is_none() {
            let aggregated = line.aggregated.map(|aggregated| if aggregated { "yes" } else { "no" });
            columns.push(or_dash(aggregated.map(str::to_owned)));
        }
        let data_width = self.table.last_width(columns.len());
        let data = |data: &[u8]| match self.data {
            DataStyle::Auto => cell::data(data, data_width),
            DataStyle::Text => cell::text(&String::from_utf8_lossy(data), data_width),
            DataStyle::Hex => cell::hex(data, data_width),
        };
        Row {
            columns,
            last: match &line.invalid {
                Some(reason) => LastCell::Whole(format!("INVALID: {reason}")),
                None => LastCell::Cut(or_dash(line.data.map(data))),
            },
        }
    }
}

impl<W: Write> Sink for RecordTable<W> {
    fn begin(&mut self, kinesis_record: &KinesisRecord<'_>) {
        let number = kinesis_record.sequence_number.as_deref();
        self.first_columns = match &self.short_numbers {
            Some(short_numbers) => {
                let shortened = number.map(|number| short_numbers.shorten(number));
                vec![or_dash(shortened.map(|number| cell::text(&number, SEQUENCE_NUMBER_WIDTH)))]
            }
            None => vec![
                or_dash(kinesis_record.shard_id.as_deref().map(|id| cell::text(id, KEY_WIDTH))),
                or_dash(number.map(|number| cell::text(number, SEQUENCE_NUMBER_WIDTH))),
            ],
        };
        self.arrival = or_dash(kinesis_record.arrival.map(|arrival| arrival.to_string()));
    }

    fn write(&mut self, line: &InspectLine<'_>) -> io::Result<()> {
        self.table.push(self.row(line))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.table.finish()
    }
}

/// Returns the cell, or a dash if it is not known.
fn or_dash(cell: Option<String>) -> String {
    cell.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::shown_key::Keys, *};
    use crate::output::table::SAMPLE_ROWS;

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
        let mut table = RecordTable::of_input(&mut output, terminal_width, &records);
        for record in &records {
            table.begin(record);
            let data = record.decode().expect("bytes");
            table
                .write(&InspectLine::of_deaggregated_record(record, &data, Keys::default()))
                .expect("memory takes it");
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
