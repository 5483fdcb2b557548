use crate::{
    aws::{Item, Unreadable, text, unreadable},
    journal::{ItemKey, UnreadableItem},
};

pub(super) const PARTITION_KEY: &str = "pk";
pub(super) const SORT_KEY: &str = "sk";

pub(super) fn sort_key(item: &Item) -> Result<&str, Unreadable> {
    text(item, SORT_KEY)?.ok_or_else(|| unreadable(item, SORT_KEY))
}

/// Returns the item's key. DynamoDB keeps no item without one in a table with this key.
pub(super) fn key(item: &Item) -> ItemKey {
    let value = |name| text(item, name).ok().flatten().unwrap_or_default().to_owned();
    ItemKey { partition_key: value(PARTITION_KEY), sort_key: value(SORT_KEY) }
}

pub(super) fn unreadable_item(item: &Item, Unreadable { attribute, found }: Unreadable) -> UnreadableItem {
    UnreadableItem { key: key(item), reason: format!("{attribute} is {found}") }
}
