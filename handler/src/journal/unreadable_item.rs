/// The key of an item in the journal's table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    /// Value of `pk`.
    pub partition_key: String,
    /// Value of `sk`.
    pub sort_key: String,
}

/// An item of the journal's table that the journal cannot read: damaged, incomplete, or written by something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableItem {
    /// The item's key, with which it can be deleted.
    pub key: ItemKey,
    /// Reason why it cannot be read: an attribute and its value, without payloads.
    pub reason: String,
}

/// The sort key and the reason: the partition key is that of the shard, which is logged with it.
impl std::fmt::Display for UnreadableItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "item {} cannot be read: {}", self.key.sort_key, self.reason)
    }
}
