use std::error::Error;

use thiserror::Error;

use crate::{BoxError, ProcessError};

/// An error of one item of a user record.
#[derive(Debug, Error)]
#[error("item {index}")]
pub struct ItemError {
    /// Zero-based index of the item in the user record.
    pub index: usize,
    /// Error of the item.
    source: BoxError,
}

impl ItemError {
    /// Returns the item's error.
    pub fn error(&self) -> &(dyn Error + 'static) {
        &*self.source
    }
}

/// Calls a closure for one item of a user record after the other, up to the first that fails.
///
/// To process the items after one that fails, let the closure return `Ok` for it.
///
/// # Errors
///
/// The error of the first item that fails, retryable or permanent as the closure says, as an [`ItemError`] with the zero-based
/// index of the item: `item 2: connection lost`.
pub async fn each<I: IntoIterator, F>(items: I, process: F) -> Result<(), ProcessError>
where
    F: AsyncFn(I::Item) -> Result<(), ProcessError>,
{
    for (index, item) in items.into_iter().enumerate() {
        process(item).await.map_err(|error| error.map(|source| ItemError { index, source }.into()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{permanent, retryable};

    #[tokio::test]
    async fn an_error_has_the_number_of_its_item_and_stays_what_it_was() {
        let calls = Cell::new(0);
        let fail = async |item: &str| {
            calls.set(calls.get() + 1);
            match item {
                "ok" => Ok(()),
                "bad" => Err(permanent("bad item")),
                _ => Err(retryable("connection lost")),
            }
        };
        let error = each(["ok", "bad", "ok"], fail).await.expect_err("a bad item");
        assert_eq!((format!("{error:?}"), calls.get()), ("permanent(item 1: bad item)".to_owned(), 2));
        let error = each(["ok", "ok", "down"], fail).await.expect_err("no connection");
        assert_eq!(format!("{error:?}"), "retryable(item 2: connection lost)");
        let error = error.error().downcast_ref::<ItemError>().expect("an error of an item");
        assert_eq!((error.index, error.error().to_string()), (2, "connection lost".to_owned()));
        assert!(each(["ok"; 3], fail).await.is_ok());
    }
}
