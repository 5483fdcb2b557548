use crate::{
    dynamodb::{Item, Unreadable, text, unreadable},
    journal::JournalError,
};

pub(super) const PARTITION_KEY: &str = "pk";
pub(super) const SORT_KEY: &str = "sk";

pub(super) fn sort_key(item: &Item) -> Result<&str, JournalError> {
    text(item, SORT_KEY)
        .and_then(|key| key.ok_or_else(|| unreadable(item, SORT_KEY)))
        .map_err(|wrong| named(item, wrong))
}

/// The error, with the item that it is about.
pub(super) fn named(item: &Item, Unreadable { attribute, found }: Unreadable) -> JournalError {
    let sort_key = text(item, SORT_KEY).ok().flatten().unwrap_or_default().to_owned();
    JournalError::UnreadableItem { sort_key, attribute, found }
}
