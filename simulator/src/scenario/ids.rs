use std::collections::{HashMap, hash_map::Entry};

use kinesis_handler::SequenceNumber;

/// Which record of a scenario has which ID.
#[derive(Debug, Default)]
pub struct Ids {
    ids: Vec<String>,
    numbers: Vec<SequenceNumber>,
    by_id: HashMap<String, usize>,
    by_number: HashMap<SequenceNumber, usize>,
}

impl Ids {
    /// Gives the ID back if there is one like it.
    pub(super) fn insert(&mut self, id: String, number: SequenceNumber) -> Result<(), String> {
        let position = self.ids.len();
        match self.by_id.entry(id) {
            Entry::Occupied(entry) => return Err(entry.key().clone()),
            Entry::Vacant(entry) => {
                self.ids.push(entry.key().clone());
                entry.insert(position);
            }
        }
        self.numbers.push(number);
        self.by_number.insert(number, position);
        Ok(())
    }

    /// The sequence number of the record with this ID.
    pub fn number(&self, id: &str) -> Option<SequenceNumber> {
        self.by_id.get(id).map(|&position| self.numbers[position])
    }

    /// The ID of the record with this sequence number.
    pub fn id(&self, number: SequenceNumber) -> Option<&str> {
        self.position(number).map(|position| self.ids[position].as_str())
    }

    /// Where the record with this sequence number stands in the scenario, counted from zero.
    pub fn position(&self, number: SequenceNumber) -> Option<usize> {
        self.by_number.get(&number).copied()
    }

    /// All IDs, as the scenario lists them.
    pub fn all(&self) -> &[String] {
        &self.ids
    }
}
