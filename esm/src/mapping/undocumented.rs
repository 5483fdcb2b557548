use serde::Deserialize;

/// A choice for each behaviour of event source mappings that AWS does not document. Defaults were observed on AWS where the
/// comment says so; others are the harder case for a function, or the likelier one.
///
/// Rule numbers are those of `docs/internals/mapping-rules.md`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Undocumented {
    /// Rule 17: from a failed attempt to the first retry, in milliseconds. About 222 was seen.
    pub first_retry_delay_ms: u64,
    /// Rule 17: by how much each further delay is longer than the one before. Doubling fits what was seen.
    pub retry_delay_factor: f64,
    /// Rule 17: the longest delay between retries, in milliseconds. Also for throttled invocations.
    pub max_retry_delay_ms: u64,
    /// Rule 17: how far a delay may be off to either side, as a part of it; the seed decides.
    pub retry_delay_jitter: f64,
    /// Rule 16: the shortest time from an answer to the next batch made of the same records. 30 was seen.
    pub min_progress_delay_ms: u64,
    /// Rule 16: the longest such time. 42 was seen.
    pub max_progress_delay_ms: u64,
    /// Rule 3: with LATEST, how long after the mapping is enabled its position is taken, in milliseconds. More than 70
    /// seconds were seen.
    pub latest_activation_delay_ms: u64,
    /// Rule 4: from a read that found nothing to the next, in milliseconds.
    pub poll_interval_ms: u64,
    /// Rule 8: what a lane whose batch fails does to the other lanes of its shard. Each lane has a checkpoint of its own
    /// either way.
    pub failing_lane: FailingLane,
    /// Rule 9: what a member outside of the shard's range does to its aggregate.
    pub out_of_range_user_record: OutOfRangeUserRecord,
    /// Rule 14: what a response is that has no member `batchItemFailures` but others, or that is no object.
    pub unknown_response: UnknownResponse,
    /// Rule 14: what a response is that is no JSON.
    pub invalid_json: UnknownResponse,
    /// Rule 25: whether neighbouring records that are discarded one after the other share a failure record. It has the
    /// request ID and the count of the last of them.
    pub consolidate_discarded: bool,
    /// Rule 28: what becomes of the state that comes together with failures.
    pub state_with_failures: StateWithFailures,
    /// Rule 28: how long after its end a window without a further record is closed, in milliseconds: at most two
    /// minutes.
    pub idle_window_delay_ms: u64,
    /// Time that a poller takes to start again (the fault `restart`), in milliseconds.
    pub restart_delay_ms: u64,
}

/// The effect of a failing concurrent batch on the other batches of its shard (rule 8, `concurrent-batches`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailingLane {
    /// The other batches continue.
    #[default]
    Independent,
    /// The others start no new batch until the failing one has made progress.
    Stall,
}

/// The effect of a user record outside the shard's range on its aggregated record (rule 9, `fan-out-deaggregation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OutOfRangeUserRecord {
    /// The whole aggregated record disappears, as observed.
    #[default]
    DropsAggregate,
    /// Only that user record disappears, as documented.
    DropsUserRecord,
}

/// The meaning of a response that AWS does not define (rule 14, `response-meaning`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UnknownResponse {
    /// The whole batch counts as processed.
    Success,
    /// The whole batch fails.
    Failure,
}

/// The fate of a window's state that is returned together with failures (rule 28, `window-boundaries`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StateWithFailures {
    /// The next invocation gets the returned state.
    #[default]
    Kept,
    /// The next invocation gets the state that the failed one got.
    Discarded,
}

impl Default for Undocumented {
    fn default() -> Self {
        Undocumented {
            first_retry_delay_ms: 222,
            retry_delay_factor: 2.0,
            max_retry_delay_ms: 60_000,
            retry_delay_jitter: 0.05,
            min_progress_delay_ms: 30,
            max_progress_delay_ms: 42,
            latest_activation_delay_ms: 75_000,
            poll_interval_ms: 1_000,
            failing_lane: FailingLane::default(),
            out_of_range_user_record: OutOfRangeUserRecord::default(),
            unknown_response: UnknownResponse::Success,
            invalid_json: UnknownResponse::Failure,
            consolidate_discarded: false,
            state_with_failures: StateWithFailures::default(),
            idle_window_delay_ms: 120_000,
            restart_delay_ms: 1_000,
        }
    }
}
