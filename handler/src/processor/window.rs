use serde::{Serialize, de::DeserializeOwned};

use crate::{ProcessError, Record, event::TumblingWindow};

/// A processor of tumbling windows: it keeps a state for the user records of a shard that arrive in the same window of time, and
/// gets it at the window's end. [`Windows`] makes what a handler takes of it.
///
/// Lambda keeps the state from one invocation to the next. An invocation that fails, or stops at a user record, leaves the state
/// of the Kinesis records before that one, so every user record counts once. Whatever [`process`](Self::process) does besides
/// changing the state may be repeated, as with a [`RecordProcessor`](crate::RecordProcessor).
///
/// ```no_run
/// use kinesis_handler::{ProcessError, Record, WindowProcessor, Windows, event::TumblingWindow, run};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Sales { orders: u64, cents: u64 }
///
/// #[derive(Deserialize)]
/// struct Order { cents: u64 }
///
/// struct Totals;
///
/// impl WindowProcessor for Totals {
///     type State = Sales;
///
///     async fn process(&self, record: Record<'_>, sales: &mut Sales) -> Result<(), ProcessError> {
///         let order: Order = record.json()?;
///         sales.orders += 1;
///         sales.cents += order.cents;
///         Ok(())
///     }
///
///     async fn finish(&self, sales: &Sales, window: &TumblingWindow<'_>) -> Result<(), ProcessError> {
///         println!("{} orders, {} cents from {} on", sales.orders, sales.cents, window.start);
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kinesis_handler::Error> {
/// run(Windows::new(Totals)).await
/// # }
/// ```
pub trait WindowProcessor {
    /// The state of a window, of one shard. A window begins with the default. Its JSON must be an object of at most
    /// [`TumblingWindow::MAX_STATE_BYTES`]. It is cloned before each Kinesis record, to return to it if that one fails.
    type State: Clone + Default + Serialize + DeserializeOwned;

    /// Adds a user record to the state of its window.
    ///
    /// # Errors
    ///
    /// Whatever keeps the record from being processed. The batch stops at its Kinesis record, and all changes that the user records
    /// of that one have made to the state are undone.
    #[expect(
        async_fn_in_trait,
        reason = "a Send bound would exclude futures that are not; callers see through to the future"
    )]
    async fn process(&self, record: Record<'_>, state: &mut Self::State) -> Result<(), ProcessError>;

    /// Gets the state at the end of a window, also of one without records in its last invocation. May be called more than once for
    /// a window, if Lambda does not learn of the success.
    ///
    /// # Errors
    ///
    /// Whatever keeps the window from being finished. The invocation fails, and Lambda repeats it; until then the shard waits.
    #[expect(
        async_fn_in_trait,
        reason = "a Send bound would exclude futures that are not; callers see through to the future"
    )]
    async fn finish(&self, state: &Self::State, window: &TumblingWindow<'_>) -> Result<(), ProcessError>;
}

/// A [`WindowProcessor`] as a [`Handler`](crate::Handler), a [`Function`](crate::Function) and [`run`](crate::run) take it.
#[derive(Debug, Clone)]
#[must_use]
pub struct Windows<P> {
    pub(crate) processor: P,
}

impl<P: WindowProcessor> Windows<P> {
    /// Returns the processor for a mapping with `TumblingWindowInSeconds`.
    pub fn new(processor: P) -> Self {
        Windows { processor }
    }
}
