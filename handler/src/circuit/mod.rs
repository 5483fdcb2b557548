//! The state of a circuit that several environments share.
//!
//! A [`CircuitBreaker`](crate::CircuitBreaker) has a state of its own in each environment. With
//! [`shared_in`](crate::CircuitBreaker::shared_in) a circuit that opens in one of them is open in all, and one of them lets a user
//! record through. `DynamoDbCircuits` (feature `dynamodb`) is a store in DynamoDB, and [`MemoryCircuits`] one for tests.

#[cfg(feature = "dynamodb")]
mod dynamodb;
mod memory;

use std::{fmt, pin::Pin};

use thiserror::Error;

use crate::BoxError;

#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoDbCircuits;
pub use memory::MemoryCircuits;

/// A circuit that is not closed, as a store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCircuit {
    /// The time since which it is not closed, in milliseconds since 1970.
    pub since_ms: u64,
    /// The time until which the processor is not called, in milliseconds since 1970.
    pub until_ms: u64,
    /// Text of the failure that has opened it, shortened.
    pub error: String,
}

/// Why a store could not be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CircuitError {
    /// The store has failed.
    #[error("circuit store failed")]
    Store {
        /// Error of the store.
        source: BoxError,
    },
    /// An item of the table is not as the kit writes it.
    #[error("circuit item: expected attribute {attribute:?}, found {found}")]
    Item {
        /// Name of the attribute.
        attribute: &'static str,
        /// Text of the attribute, shortened.
        found: String,
    },
    /// The store has not answered in the time that an invocation has for it.
    #[error("circuit store did not answer in the time that an invocation has for it")]
    OutOfTime,
}

/// The future of a store's call.
pub type CircuitFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, CircuitError>> + Send + 'a>>;

/// A store of the circuits that are not closed, by ID.
///
/// # Contract
///
/// - Each call decides and writes in one step that nothing can come between, because several environments call at the same time.
/// - A call may be cancelled, and it may still take effect then.
/// - If a call fails, each environment continues with the state of its own.
///
/// `contract::check_circuits` (feature `contract`) tests a store of your own.
pub trait CircuitStore: fmt::Debug + Send + Sync {
    /// Returns the circuit; `None` if it is closed. A write that has ended before is seen.
    ///
    /// # Errors
    ///
    /// Any [`CircuitError`].
    fn read<'a>(&'a self, id: &'a str) -> CircuitFuture<'a, Option<OpenCircuit>>;

    /// Opens the circuit, or keeps an open one open until this time, unless it is open for longer. One that is open keeps its
    /// `since_ms`.
    ///
    /// # Errors
    ///
    /// Any [`CircuitError`].
    fn open<'a>(&'a self, id: &'a str, circuit: &'a OpenCircuit) -> CircuitFuture<'a, ()>;

    /// Sets `until_ms` of the circuit, if it is open and its `until_ms` is still `read_until_ms`. Returns whether it was: then no
    /// other environment calls the processor until this time.
    ///
    /// # Errors
    ///
    /// Any [`CircuitError`].
    fn claim<'a>(&'a self, id: &'a str, read_until_ms: u64, until_ms: u64) -> CircuitFuture<'a, bool>;

    /// Closes the circuit, if its `until_ms` is still this one: no environment has seen a failure since.
    ///
    /// # Errors
    ///
    /// Any [`CircuitError`].
    fn close<'a>(&'a self, id: &'a str, until_ms: u64) -> CircuitFuture<'a, ()>;
}
