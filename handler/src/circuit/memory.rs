use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{CircuitFuture, CircuitStore, OpenCircuit};

/// A store in memory, for tests.
#[derive(Debug, Default)]
pub struct MemoryCircuits {
    circuits: Mutex<BTreeMap<String, OpenCircuit>>,
    reads: Mutex<u32>,
}

impl MemoryCircuits {
    /// Returns the circuits that are not closed, by ID.
    pub fn circuits(&self) -> BTreeMap<String, OpenCircuit> {
        lock(&self.circuits).clone()
    }

    /// Returns the number of reads so far.
    pub fn reads(&self) -> u32 {
        *lock(&self.reads)
    }
}

impl CircuitStore for MemoryCircuits {
    fn read<'a>(&'a self, id: &'a str) -> CircuitFuture<'a, Option<OpenCircuit>> {
        Box::pin(async move {
            *lock(&self.reads) += 1;
            Ok(lock(&self.circuits).get(id).cloned())
        })
    }

    fn open<'a>(&'a self, id: &'a str, circuit: &'a OpenCircuit) -> CircuitFuture<'a, ()> {
        Box::pin(async move {
            let mut circuits = lock(&self.circuits);
            match circuits.get_mut(id) {
                Some(found) if found.until_ms < circuit.until_ms => {
                    *found = OpenCircuit { since_ms: found.since_ms, ..circuit.clone() };
                }
                Some(_) => {}
                None => drop(circuits.insert(id.to_owned(), circuit.clone())),
            }
            Ok(())
        })
    }

    fn claim<'a>(&'a self, id: &'a str, read_until_ms: u64, until_ms: u64) -> CircuitFuture<'a, bool> {
        Box::pin(async move {
            let mut circuits = lock(&self.circuits);
            let found = circuits.get_mut(id).filter(|found| found.until_ms == read_until_ms);
            let is_claimed = found.is_some();
            if let Some(found) = found {
                found.until_ms = until_ms;
            }
            Ok(is_claimed)
        })
    }

    fn close<'a>(&'a self, id: &'a str, until_ms: u64) -> CircuitFuture<'a, ()> {
        Box::pin(async move {
            let mut circuits = lock(&self.circuits);
            if circuits.get(id).is_some_and(|found| found.until_ms == until_ms) {
                circuits.remove(id);
            }
            Ok(())
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs while it is locked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
