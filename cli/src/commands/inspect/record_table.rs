use std::io::{self, Write};

use super::{InspectLine, Sink, shown_key::ShownKey};
use crate::{
    args::DataStyle,
    input::kinesis_record::KinesisRecord,
    output::{
        cell,
        screen::Screen,
        table::{Column, LastCell, LastColumn, Row, Table},
        tone::Tone,
    },
};

/// Column for a stream only: in a file, the sub-sequence numbers of its neighbours tell.
const AGGREGATED: Column = Column::text("AGGREGATED");

const COLUMNS: [Column; 5] = [
    // Whole, so that it can be given to other commands.
    Column::text("POSITION"),
    Column::text("KEY").cut(10),
    Column::text("HASH KEY").cut(12).optional(),
    Column::text("ARRIVAL (UTC)"),
    Column::number("SIZE"),
];

const DATA: LastColumn = LastColumn { heading: "DATA", min_width: 21 };

/// Room for every sequence number: 192 bits have 58 digits.
const SEQUENCE_NUMBER_WIDTH: usize = 58;

/// The longest shard ID that Kinesis takes.
const SHARD_WIDTH: usize = 128;

/// The longest partition key that Kinesis takes.
const KEY_WIDTH: usize = 256;

/// For people: a row for each line.
pub(super) struct RecordTable<W> {
    table: Table<W>,
    shows_aggregated: bool,
    data: DataStyle,
    /// The position of the Kinesis record, which its rows share; empty if the input does not have it.
    position: String,
    arrival: String,
}

impl<W: Write> RecordTable<W> {
    /// Records of a file.
    pub(super) fn of_input(output: W, screen: Screen) -> Self {
        RecordTable {
            table: Table::new(output, screen, COLUMNS, DATA),
            shows_aggregated: false,
            data: DataStyle::Auto,
            position: String::new(),
            arrival: String::new(),
        }
    }

    /// Records of several shards, in the order in which they are read.
    pub(super) fn of_stream(output: W, screen: Screen) -> Self {
        let columns: Vec<Column> = COLUMNS.into_iter().chain([AGGREGATED]).collect();
        RecordTable {
            table: Table::new(output, screen, columns, DATA),
            shows_aggregated: true,
            data: DataStyle::Auto,
            position: String::new(),
            arrival: String::new(),
        }
    }

    pub(super) fn with_data(mut self, data: DataStyle) -> Self {
        self.data = data;
        self
    }

    fn row(&self, line: &InspectLine<'_>) -> Row {
        let key =
            |key: &Option<ShownKey<'_>>| or_dash(key.as_ref().map(|key| cell::text(&key.text, KEY_WIDTH)));
        let mut columns = vec![
            match line.sub_sequence_number {
                Some(number) => format!("{}:{number}", self.position),
                None if self.position.is_empty() => "-".to_owned(),
                None => self.position.clone(),
            },
            key(&line.partition_key),
            key(&line.explicit_hash_key),
            self.arrival.clone(),
            or_dash(line.data.map(|data| data.len().to_string())),
        ];
        if self.shows_aggregated {
            let aggregated = line.aggregated.map(|aggregated| if aggregated { "yes" } else { "no" });
            columns.push(or_dash(aggregated.map(str::to_owned)));
        }
        let data_width = self.table.last_width(columns.len());
        let data = |data: &[u8]| match self.data {
            DataStyle::Auto => cell::payload(data, data_width),
            DataStyle::Text => cell::payload_text(data, data_width),
            DataStyle::Hex => cell::hex(data, data_width),
        };
        match &line.invalid {
            Some(reason) => {
                Row::new(columns, LastCell::Whole(format!("INVALID: {reason}"))).with_tone(Tone::Error)
            }
            None => Row::new(columns, LastCell::Cut(or_dash(line.data.map(data)))),
        }
    }
}

impl<W: Write> Sink for RecordTable<W> {
    fn begin(&mut self, kinesis_record: &KinesisRecord<'_>) {
        let shard = kinesis_record.shard_id.as_deref().map(|id| cell::text(id, SHARD_WIDTH));
        let number = kinesis_record.sequence_number.as_deref();
        let number = number.map(|number| cell::text(number, SEQUENCE_NUMBER_WIDTH));
        self.position = match (shard, number) {
            (Some(shard), Some(number)) => format!("{shard}/{number}"),
            (_, number) => number.unwrap_or_default(),
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

    const NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";

    /// A table of one plain record for each sequence number, with its own number as data.
    fn table(width: Option<usize>, numbers: &[&str]) -> Vec<String> {
        let mut records = Vec::new();
        for number in numbers {
            let mut record = KinesisRecord::of_data(number.as_bytes());
            record.sequence_number = Some((*number).to_owned().into());
            record.shard_id = Some("shardId-000000000003".into());
            record.partition_key = Some("ключ".into());
            record.arrival = Some("1545084650.987".parse().expect("a time"));
            records.push(record);
        }
        let mut output = Vec::new();
        let screen = Screen { width, has_colours: false };
        let mut table = RecordTable::of_input(&mut output, screen);
        for record in &records {
            table.begin(record);
            let data = record.decode().expect("bytes");
            table
                .write(&InspectLine::of_deaggregated_record(record, &data, Keys::default()))
                .expect("memory takes it");
        }
        table.finish().expect("memory takes it");
        drop(table);
        String::from_utf8(output).expect("text").lines().map(str::to_owned).collect()
    }

    #[test]
    fn positions_and_data_take_the_room_that_is_there() {
        assert_eq!(
            table(None, &[NUMBER]),
            [
                format!("{:77}  KEY   HASH KEY  ARRIVAL (UTC)            SIZE  DATA", "POSITION"),
                format!(
                    "shardId-000000000003/{NUMBER}  ключ  -         2018-12-17 22:10:50.987    56  {NUMBER}"
                )
            ]
        );
        assert_eq!(table(Some(200), &[NUMBER]), table(None, &[NUMBER]));
        assert_eq!(
            table(Some(150), &[NUMBER])[1],
            format!(
                "shardId-000000000003/{NUMBER}  ключ  -         2018-12-17 22:10:50.987    56  {}…",
                &NUMBER[..22]
            )
        );
        assert_eq!(
            table(Some(80), &[NUMBER]),
            [
                "POSITION",
                "  KEY   ARRIVAL (UTC)            SIZE  DATA",
                &format!("shardId-000000000003/{NUMBER}"),
                "  ключ  2018-12-17 22:10:50.987    56  4959033827149025660855969253836157109592…"
            ]
        );
        assert_eq!(
            table(Some(40), &[NUMBER]),
            [
                "POSITION",
                "  KEY   ARRIVAL (UTC)            SIZE",
                "  DATA",
                &format!("shardId-000000000003/{NUMBER}"),
                "  ключ  2018-12-17 22:10:50.987    56",
                "  495903382714902566085596925383615710…"
            ]
        );
    }

    #[test]
    fn the_columns_are_those_of_the_first_rows() {
        let mut numbers = vec!["1"; SAMPLE_ROWS];
        numbers.push("1234567890");
        let table = table(None, &numbers);
        assert_eq!(table.len(), 1 + SAMPLE_ROWS + 1);
        let row = "shardId-000000000003/1  ключ  -         2018-12-17 22:10:50.987     1  1";
        assert_eq!((&*table[1], &*table[SAMPLE_ROWS]), (row, row));
        let row =
            "shardId-000000000003/1234567890  ключ  -         2018-12-17 22:10:50.987    10  1234567890";
        assert_eq!(table[SAMPLE_ROWS + 1], row);
    }
}
