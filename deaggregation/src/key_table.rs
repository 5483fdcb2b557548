use std::collections::HashMap;

/// The position of each key in the key table of a frame in the making. Keys have the order in which they were first
/// seen.
#[derive(Debug, Default)]
pub(crate) struct KeyTable {
    indices: HashMap<Vec<u8>, u64>,
}

impl KeyTable {
    pub(crate) fn len(&self) -> u64 {
        self.indices.len() as u64
    }

    /// Returns the index of a key, if the table has it.
    pub(crate) fn position(&self, key: &[u8]) -> Option<u64> {
        self.indices.get(key).copied()
    }

    /// Returns the index of a key, which is added to `table` if it is new.
    pub(crate) fn index_of(&mut self, key: &[u8], table: &mut Vec<Vec<u8>>) -> u64 {
        if let Some(index) = self.position(key) {
            return index;
        }
        let index = table.len() as u64;
        table.push(key.to_vec());
        self.indices.insert(key.to_vec(), index);
        index
    }
}
