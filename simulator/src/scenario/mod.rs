//! A simulation as JSON: what `kinesis-kit simulate --scenario` reads.

mod error;
mod check;
mod ids;
mod record;
mod records;
mod report;

use std::{collections::HashMap, rc::Rc, time::Duration};

use bytes::Bytes;
use kinesis_esm::{Mapping, ShardInfo, Undocumented};
use kinesis_handler::BoxError;
use kpl_deaggregation::HashKeyRange;
use lambda_host::Function;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

pub use error::ScenarioError;
pub use ids::Ids;
use records::Records;
pub use report::{Fates, Report};

use crate::{
    FailureKind, Fault, ScriptedFailure, ScriptedFunction, Shard, Simulation, SimulationClock, Stream,
};

/// When every scenario starts: 2026-01-01T00:00:00Z, in milliseconds since 1970.
pub const SCENARIO_START_MS: u64 = 1_767_225_600_000;

/// A mapping, a stream with all that is ever written to it, a function, and what goes wrong.
///
/// All times count virtual milliseconds from [`SCENARIO_START_MS`]. The format is described in the crate's README.
#[derive(Debug)]
pub struct Scenario {
    /// The mapping and its world. The seed is zero.
    pub simulation: Simulation,
    /// The function that the scenario describes.
    pub function: ScriptedFunction,
    /// IDs of the records, in the order in which the scenario lists them.
    pub ids: Rc<Ids>,
    retention: Duration,
    shards: Vec<Shard>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawScenario {
    #[serde(default)]
    mapping: Mapping,
    #[serde(default)]
    stream: RawStream,
    #[serde(default)]
    records: Records,
    #[serde(default)]
    function: RawFunction,
    #[serde(default)]
    faults: Vec<Fault>,
    #[serde(default)]
    undocumented: Undocumented,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawStream {
    retention_hours: f64,
    shards: Vec<RawShard>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawShard {
    shard_id: String,
    #[serde(default)]
    parents: Vec<String>,
    hash_key_range: Option<RawHashKeyRange>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawHashKeyRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

impl Default for RawStream {
    fn default() -> Self {
        let shard_id = "shardId-000000000000".to_owned();
        let shards = vec![RawShard { shard_id, parents: Vec::new(), hash_key_range: None }];
        RawStream { retention_hours: 24.0, shards }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct RawFunction {
    duration_ms: u64,
    timeout_ms: u64,
    fails: Vec<RawFailure>,
    #[serde(deserialize_with = "present")]
    response: Option<Box<RawValue>>,
}

/// A response of `null` is a response.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

impl Default for RawFunction {
    fn default() -> Self {
        RawFunction { duration_ms: 5, timeout_ms: 60_000, fails: Vec::new(), response: None }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawFailure {
    #[serde(deserialize_with = "record::id")]
    id: String,
    #[serde(default)]
    times: Option<u32>,
    #[serde(default)]
    how: FailureKind,
}

/// Longest retention of a stream: a year.
const MAX_RETENTION_HOURS: f64 = 8760.0;

/// Longest timeout of a function that a mapping invokes: 90 minutes on Lambda Managed Instances, 30 minutes elsewhere.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_TIMEOUT_MS: u64 = 5_400_000;

/// Number of deliveries without progress after which a scenario ends: 600,000 tries of a single record. A record that
/// blocks its shard for a year, the longest retention, is tried 525,600 times with the default delays.
const MAX_DELIVERIES_WITHOUT_PROGRESS: u64 = 30_000_000;

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// Any [`ScenarioError`], saying what is wrong and where.
    pub fn parse(json: &[u8]) -> Result<Self, ScenarioError> {
        // The derived reader would take an array for an object with its members in order.
        if json.trim_ascii_start().starts_with(b"[") {
            return Err(ScenarioError::NotAnObject);
        }
        let raw: RawScenario = serde_json::from_slice(json).map_err(ScenarioError::Json)?;
        check::undocumented(&raw.undocumented)?;
        check::faults(&raw.faults)?;
        check::time("mapping.enabledAtMs", raw.mapping.enabled_at_ms)?;
        check::time("function.durationMs", raw.function.duration_ms)?;
        let hours = raw.stream.retention_hours;
        if !(hours > 0.0 && hours <= MAX_RETENTION_HOURS) {
            return Err(ScenarioError::Value {
                member: "stream.retentionHours".to_owned(),
                value: hours.to_string(),
                expected: "above 0 and at most 8760",
            });
        }
        let timeout_ms = raw.function.timeout_ms;
        if !(1..=MAX_TIMEOUT_MS).contains(&timeout_ms) {
            return Err(ScenarioError::Value {
                member: "function.timeoutMs".to_owned(),
                value: timeout_ms.to_string(),
                expected: "1 to 5400000 (up to 1800000 unless on Lambda Managed Instances)",
            });
        }
        let (shards, ids) = raw.records.fill(shards(&raw.stream.shards)?)?;
        let simulation = Simulation {
            mapping: raw.mapping,
            undocumented: raw.undocumented,
            function_timeout: Duration::from_millis(timeout_ms),
            faults: raw.faults,
            seed: 0,
            max_deliveries_without_progress: Some(MAX_DELIVERIES_WITHOUT_PROGRESS),
        };
        let mut function = ScriptedFunction::default();
        function.duration = Duration::from_millis(raw.function.duration_ms);
        function.response = raw
            .function
            .response
            .map(|response| Bytes::from(String::from(Box::<str>::from(response)).into_bytes()));
        for RawFailure { id, times, how } in raw.function.fails {
            let number = ids.number(&id).ok_or(ScenarioError::UnknownRecord { id })?;
            function.fails(number, ScriptedFailure { times, how });
        }
        let retention = Duration::from_secs_f64(hours * 3600.0);
        Ok(Scenario { simulation, function, ids: Rc::new(ids), retention, shards })
    }

    /// Runs the scenario with the function that it describes, and returns what happened.
    ///
    /// # Errors
    ///
    /// As [`Simulation::run`].
    pub async fn run(mut self, seed: u64) -> Result<Report, BoxError> {
        let function = std::mem::take(&mut self.function);
        self.run_with(seed, |_| function).await
    }

    /// Runs the scenario with another function, which may need to know the clock, and returns what happened.
    ///
    /// # Errors
    ///
    /// As [`Simulation::run`].
    pub async fn run_with<F: Function>(
        self,
        seed: u64,
        function: impl FnOnce(&Rc<SimulationClock>) -> F,
    ) -> Result<Report, BoxError> {
        let clock = Rc::new(self.simulation.clock(SCENARIO_START_MS));
        let (mut simulation, stream, _, ids) = self.into_parts(Rc::clone(&clock));
        simulation.seed = seed;
        let report = Report::new(ids);
        let function = function(&clock);
        simulation.run(clock, stream, function, report.clone()).await?;
        Ok(report)
    }

    /// The shards of its stream with all of their records, parents before children.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The scenario's stream, under this clock, and what remains of the scenario.
    pub fn into_parts(self, clock: Rc<SimulationClock>) -> (Simulation, Stream, ScriptedFunction, Rc<Ids>) {
        (self.simulation, Stream::new(clock, self.retention, self.shards), self.function, self.ids)
    }
}

/// The shards without their records, parents before children.
fn shards(raw: &[RawShard]) -> Result<Vec<ShardInfo>, ScenarioError> {
    let mut by_id = HashMap::new();
    for (position, shard) in raw.iter().enumerate() {
        if by_id.insert(shard.shard_id.as_str(), position).is_some() {
            return Err(ScenarioError::SameShard { shard_id: shard.shard_id.clone() });
        }
    }
    for shard in raw {
        if let Some(parent) = shard.parents.iter().find(|parent| !by_id.contains_key(parent.as_str())) {
            let (shard_id, parent) = (shard.shard_id.clone(), parent.clone());
            return Err(ScenarioError::UnknownParent { shard_id, parent });
        }
        if shard.parents.len() > 2 {
            let shard_id = shard.shard_id.clone();
            return Err(ScenarioError::TooManyParents { shard_id, parents: shard.parents.len() });
        }
    }
    let mut order: Vec<usize> = (0..raw.len()).collect();
    let generations = generations(raw, &by_id)?;
    order.sort_by_key(|&position| generations[position]);
    order.into_iter().map(|position| info(&raw[position])).collect()
}

/// Returns how many times each shard's line of ancestors goes back in the list: sorted by that, parents come first.
fn generations(raw: &[RawShard], positions: &HashMap<&str, usize>) -> Result<Vec<usize>, ScenarioError> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); raw.len()];
    let mut waits_for: Vec<usize> = raw.iter().map(|shard| shard.parents.len()).collect();
    for (child, shard) in raw.iter().enumerate() {
        for parent in &shard.parents {
            children[positions[parent.as_str()]].push(child);
        }
    }
    let mut generations = vec![0; raw.len()];
    let mut placed: Vec<usize> = (0..raw.len()).filter(|&shard| waits_for[shard] == 0).collect();
    let mut next = 0;
    while let Some(&parent) = placed.get(next) {
        next += 1;
        for &child in &children[parent] {
            let generation = generations[parent] + usize::from(child < parent);
            generations[child] = generations[child].max(generation);
            waits_for[child] -= 1;
            if waits_for[child] == 0 {
                placed.push(child);
            }
        }
    }
    match waits_for.iter().position(|&parents| parents > 0) {
        None => Ok(generations),
        Some(stuck) => Err(ScenarioError::CyclicParents { shard_id: raw[stuck].shard_id.clone() }),
    }
}

fn info(shard: &RawShard) -> Result<ShardInfo, ScenarioError> {
    let hash_key_range = match &shard.hash_key_range {
        None => HashKeyRange::FULL,
        Some(RawHashKeyRange { starting_hash_key, ending_hash_key }) => {
            HashKeyRange::from_decimal(starting_hash_key, ending_hash_key)
                .map_err(|source| ScenarioError::HashKeyRange { shard_id: shard.shard_id.clone(), source })?
        }
    };
    Ok(ShardInfo { id: shard.shard_id.clone(), parents: shard.parents.clone(), hash_key_range })
}
