use std::collections::HashMap;

use kinesis_handler::SequenceNumber;

/// The IDs of a scenario's records.
///
/// There may be a million of them, so no ID is held twice.
#[derive(Debug, Default)]
pub struct Ids {
    ids: Vec<String>,
    numbers: Vec<SequenceNumber>,
    /// Positions, in the order of the IDs.
    by_id: Vec<u32>,
    by_number: HashMap<SequenceNumber, u32>,
}

impl Ids {
    /// Takes IDs and numbers in the order of the scenario, as many of the one as of the other.
    ///
    /// If two IDs are the same, gives back the first one that stands before, and the position of its repetition.
    pub(super) fn new(ids: Vec<String>, numbers: Vec<SequenceNumber>) -> Result<Self, (String, usize)> {
        let mut by_id: Vec<u32> = (0..).take(ids.len()).collect();
        let id = |&position: &u32| ids[position as usize].as_str();
        // Stable: of those with one ID, the first comes first.
        by_id.sort_by(|one, other| id(one).cmp(id(other)));
        let same = by_id.windows(2).filter(|pair| id(&pair[0]) == id(&pair[1])).map(|pair| pair[1]);
        if let Some(position) = same.min() {
            return Err((id(&position).to_owned(), position as usize));
        }
        let by_number = numbers.iter().copied().zip(0..).collect();
        Ok(Ids { ids, numbers, by_id, by_number })
    }

    /// The sequence number of the record with this ID.
    pub fn number(&self, id: &str) -> Option<SequenceNumber> {
        let place = self.by_id.binary_search_by(|&position| self.ids[position as usize].as_str().cmp(id));
        place.ok().map(|place| self.numbers[self.by_id[place] as usize])
    }

    /// The ID of the record with this sequence number.
    pub fn id(&self, number: SequenceNumber) -> Option<&str> {
        self.position(number).map(|position| self.ids[position].as_str())
    }

    /// Returns the position of the record with this sequence number in the scenario, counted from zero.
    pub fn position(&self, number: SequenceNumber) -> Option<usize> {
        self.by_number.get(&number).map(|&position| position as usize)
    }

    /// All IDs, as the scenario lists them.
    pub fn all(&self) -> &[String] {
        &self.ids
    }
}
