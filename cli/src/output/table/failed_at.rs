use std::{
    fmt::Display,
    io::{self, Write},
};

use super::{LastCell, LastColumn, Row, Table};
use crate::output::{cell, note::count, screen::Screen, tone::Tone};

/// Largest number of positions that are listed.
const MAX_POSITIONS: usize = 1_000;

/// Widest position that is shown whole.
const MAX_WIDTH: usize = 1_000;

const FAILED_AT: LastColumn = LastColumn { heading: "FAILED AT", min_width: 21 };

/// The records that failed, below a table of what they stopped: a position takes a whole line, and other commands take it.
#[derive(Debug, Default)]
pub(crate) struct FailedAt {
    positions: Vec<String>,
    /// Number of positions that are not listed.
    omitted: u64,
}

impl FailedAt {
    /// Adds a Kinesis record, or one of its user records, of this shard.
    pub(crate) fn push(&mut self, shard_id: &str, at: impl Display) {
        if self.positions.len() < MAX_POSITIONS {
            self.positions.push(format!("{shard_id}/{at}"));
        } else {
            self.omitted += 1;
        }
    }

    /// Writes an empty line and the list, unless it is empty.
    pub(crate) fn write(&self, output: &mut dyn Write, screen: Screen) -> io::Result<()> {
        if self.positions.is_empty() {
            return Ok(());
        }
        output.write_all(b"\n")?;
        let mut table = Table::new(&mut *output, screen, [], FAILED_AT);
        for position in &self.positions {
            let row = Row::new(vec![], LastCell::Whole(cell::text(position, MAX_WIDTH)));
            table.push(row.with_tone(Tone::Error))?;
        }
        table.finish()?;
        match self.omitted {
            0 => Ok(()),
            more => writeln!(output, "and {}: see --format json", count(more, "more position")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_failed_records_have_lines_of_their_own() {
        let written = |failed: &FailedAt| {
            let mut output = Vec::new();
            let screen = Screen { width: Some(40), has_colours: false };
            failed.write(&mut output, screen).expect("memory takes it");
            String::from_utf8(output).expect("text")
        };
        let mut failed = FailedAt::default();
        assert_eq!(written(&failed), "");
        failed.push("shardId-000000000001", "49590338271490256608559692538361571095921575989136588898:3");
        assert_eq!(
            written(&failed),
            "\nFAILED AT\nshardId-000000000001/49590338271490256608559692538361571095921575989136588898:3\n"
        );
        (0..1_001).for_each(|number| failed.push("s", number));
        assert!(written(&failed).ends_with("\ns/998\nand 2 more positions: see --format json\n"));
    }
}
