use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{IdempotencyEntry, IdempotencyFuture, IdempotencyStore};

/// A store in memory, for tests.
#[derive(Debug, Default)]
pub struct MemoryIdempotency {
    entries: Mutex<HashMap<String, IdempotencyEntry>>,
}

impl MemoryIdempotency {
    /// Returns all entries, in the order of their IDs.
    pub fn entries(&self) -> Vec<IdempotencyEntry> {
        let mut entries: Vec<_> = self.lock().values().cloned().collect();
        entries.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        entries
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, IdempotencyEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IdempotencyStore for MemoryIdempotency {
    fn begin<'a>(
        &'a self,
        entry: &'a IdempotencyEntry,
        now_ms: u64,
    ) -> IdempotencyFuture<'a, Option<IdempotencyEntry>> {
        Box::pin(async move {
            let mut entries = self.lock();
            match entries.get(&entry.id) {
                Some(found) if !found.is_over(now_ms) && found.owner != entry.owner => {
                    Ok(Some(found.clone()))
                }
                _ => {
                    entries.insert(entry.id.clone(), entry.clone());
                    Ok(None)
                }
            }
        })
    }

    fn complete<'a>(&'a self, entry: &'a IdempotencyEntry) -> IdempotencyFuture<'a, ()> {
        Box::pin(async move {
            if let Some(found) = self.lock().get_mut(&entry.id).filter(|found| found.owner == entry.owner) {
                *found = entry.clone();
            }
            Ok(())
        })
    }

    fn release<'a>(&'a self, id: &'a str, owner: &'a str) -> IdempotencyFuture<'a, ()> {
        Box::pin(async move {
            let mut entries = self.lock();
            if entries.get(id).is_some_and(|found| found.owner == owner) {
                entries.remove(id);
            }
            Ok(())
        })
    }
}
