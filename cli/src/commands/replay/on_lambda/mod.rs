//! `kinesis-kit replay --on-lambda`: Lambda replays a range, by a second event source mapping on an alias of the function.

mod estimate;
mod failures;
mod lambda;
mod report;
mod shards;

use std::{cell::RefCell, collections::HashSet, rc::Rc, time::Duration};

use kinesis_handler::{
    journal::DynamoDbJournal,
    replay::{DynamoDbReplayPositions, ReplayRange},
};
use tokio::time::sleep;

use super::BEGAN;
use crate::{
    args::ReplayArgs,
    aws::{self, Attempts},
    delivery::{
        progress_file::{ProgressFile, ProgressPoint},
        target::TargetOptions,
    },
    error::{Completion, Error},
    output::{
        meter::Meter,
        note::{note, success, warning},
    },
    run::{self, halt::Halt},
    stream::{Api, Description, now_ms, point::StreamPoint},
};
use estimate::{Load, Settings};
use failures::Failures;
use lambda::{Lambda, LiveFunction, MappingState, ReplayAlias, ReplayMapping, bucket_name};
use report::{Report, summary};
use shards::{ShardProgress, Shards};

/// Records of a read: mostly, only the first of them that is not processed counts, and the mappings need the rest of what a shard can
/// be read. A second of a busy shard after the end of the range takes ten reads.
const READ_LIMIT: i32 = 100;

/// Entry of a replay that is complete, except what its mapping has discarded.
const COMPLETE: &str = "complete";

pub(super) async fn run(args: &ReplayArgs) -> Result<Completion, Error> {
    let TargetOptions::Function(name) = args.target.options() else {
        return Err(Error::Usage("--on-lambda needs --function".to_owned()));
    };
    let api = Api::connect(args.stream.clone()).await?.with_attempts(Attempts::Bounded);
    let api = Rc::new(api.with_read_limit(READ_LIMIT));
    let stream = api.describe().await?;
    let mut progress = if args.dry_run { None } else { Some(open_progress(args, &stream.arn, &name)?) };
    let range = range(args, progress.as_mut())?;
    let region = stream.arn.split(':').nth(3);
    let lambda = Lambda::connect(region).await?;
    // The live mapping may be gone.
    if let Some(progress) = progress.take_if(|_| args.lambda.remove) {
        let alias = ReplayAlias { function_arn: lambda.function_arn(&name).await?, range };
        return remove(&lambda, &alias, &stream.arn, progress).await;
    }
    let function = lambda.live_function(&name, &stream.arn).await?;
    let table = function.journal_table.clone();
    let client = aws::dynamodb(region).await?;
    let shards = Shards {
        api,
        range,
        application: range.application(&function.application),
        positions: DynamoDbReplayPositions::with_client(&table, client.clone()),
        journal: DynamoDbJournal::with_client(&table, client),
        table,
        stream_arn: stream.arn.clone(),
    };
    let alias = ReplayAlias { function_arn: function.arn.clone(), range };
    let replay = Replay { args, lambda, function, alias, stream, shards, seen: RefCell::default() };
    let Some(mut progress) = progress else { return replay.estimate().await };
    let halt = Halt::default();
    let ended = run::until_interrupted(replay.follow(&mut progress), &halt).await;
    if let Err(Error::Interrupted) = ended {
        Report::new(args.format).finish(&replay.seen.borrow())?;
        note(
            "the replay goes on without this command: run it again to see its progress and to end it, or add --remove",
        );
    }
    match ended? {
        Completion::Done => {
            progress.delete()?;
            Ok(Completion::Done)
        }
        Completion::SomeFailed => Ok(Completion::SomeFailed),
    }
}

fn open_progress(args: &ReplayArgs, stream_arn: &str, function: &str) -> Result<ProgressFile, Error> {
    let of = format!("replay {stream_arn} from {} to {} on Lambda by {function}", args.from, args.to);
    let path = args.progress.progress.as_deref();
    Ok(ProgressFile::open(path, &of, args.progress.restart)?)
}

/// Returns the range. Its end must be over, so that it can be told that nothing more comes.
fn range(args: &ReplayArgs, progress: Option<&mut ProgressFile>) -> Result<ReplayRange, Error> {
    let now_ms = now_ms();
    let usage = |text: &str| Err(Error::Usage(text.to_owned()));
    let began = progress.as_ref().and_then(|progress| progress.through(BEGAN));
    let is_relative = matches!(args.from, StreamPoint::Ago(_))
        || matches!(args.to, StreamPoint::Ago(_) | StreamPoint::Latest);
    if args.lambda.remove && is_relative && began.is_none() {
        return usage(
            "--remove: no run on this machine has begun this replay; name its times, which its alias has",
        );
    }
    let began_ms = began.map_or(now_ms, |began| began.sequence_number.to_string().parse().unwrap_or(now_ms));
    let from_ms = match args.from.clone().since(began_ms) {
        StreamPoint::TrimHorizon => 0,
        StreamPoint::Time(time) => time.epoch_milliseconds(),
        _ => return usage("--on-lambda: --from is a time, a duration ago or trim-horizon"),
    };
    let until_ms = match args.to.clone().since(began_ms) {
        StreamPoint::Latest => began_ms,
        StreamPoint::Time(time) => time.epoch_milliseconds(),
        _ => return usage("--on-lambda: --to is a time, a duration ago or latest"),
    };
    if until_ms > now_ms {
        return usage(
            "--on-lambda: --to is in the future, so nobody knows when all of the range is processed",
        );
    }
    let Ok(range) = ReplayRange::new(from_ms, until_ms) else {
        return usage("--to is not later than --from");
    };
    // What is relative must be the same in the next run.
    if let Some(progress) = progress.filter(|progress| !progress.has_begun() && !args.lambda.remove) {
        let began = began_ms.to_string().parse().expect("a number has digits");
        progress.note(BEGAN, ProgressPoint::whole(began))?;
    }
    Ok(range)
}

/// A replay on Lambda.
struct Replay<'r> {
    args: &'r ReplayArgs,
    lambda: Lambda,
    function: LiveFunction,
    alias: ReplayAlias,
    stream: Description,
    shards: Shards,
    /// The shards, as they were seen last.
    seen: RefCell<Vec<ShardProgress>>,
}

impl Replay<'_> {
    fn range(&self) -> ReplayRange {
        self.shards.range
    }

    async fn estimate(&self) -> Result<Completion, Error> {
        let shards = self.shards.api.shards().await?;
        let oldest_ms = now_ms().saturating_sub(self.stream.retention_ms);
        let load = Load::sample(&self.shards.api, &shards, self.range(), oldest_ms).await?;
        let settings = Settings::of(&self.function, self.args.lambda.invocation_ms);
        load.estimate(&settings).write(self.args.format)?;
        note(format_args!(
            "each invocation is taken to last {} ms (--invocation-ms): up to as many run at once as there are shards, out of the \
             concurrency that the function shares with its live mapping",
            self.args.lambda.invocation_ms
        ));
        match self.destination() {
            Ok(_) => note(format_args!(
                "it would make alias {} on version {}, and a mapping with the settings of the live one",
                self.range(),
                self.function.version
            )),
            Err(error) => warning(format_args!("warning: {error}")),
        }
        Ok(Completion::Done)
    }

    /// Begins the replay, unless it has begun, and follows it until all shards have passed the range.
    async fn follow(&self, progress: &mut ProgressFile) -> Result<Completion, Error> {
        if progress.through(COMPLETE).is_some() {
            // The run that has noted it may have been killed before it deleted the mapping.
            if let Some(mapping) = self.mapping().await? {
                self.lambda.delete_mapping(&mapping.uuid).await?;
            }
            note(
                "the range was replayed, except for what the mapping discarded: redrive that, and then add --remove",
            );
            return Ok(Completion::SomeFailed);
        }
        let mut mapping = self.mapping().await?;
        let mut shards = self.new_shards(Vec::new()).await?;
        if self.args.progress.restart {
            if mapping.is_some() {
                return Err(Error::Usage(
                    "--restart: the replay is under way; end it with --remove first".to_owned(),
                ));
            }
            self.shards.forget(&shards).await?;
        }
        // One that cannot be used is refused before anything is made.
        let destination = match &mapping {
            Some(mapping) => mapping.on_failure.clone(),
            None => self.destination()?,
        };
        let mut report = Report::new(self.args.format);
        let meter = Meter::new("replay on Lambda");
        let mut failures = match &mapping {
            Some(mapping) => self.failures(mapping).await?,
            None => None,
        };
        let mut state = MappingState::default();
        let mut passed = None;
        loop {
            shards = self.shards.look(shards, failures.as_ref()).await?;
            self.seen.borrow_mut().clone_from(&shards);
            report.note_passed(&shards)?;
            meter.say(summary(&shards));
            let now_passed = shards.iter().filter(|shard| shard.has_passed).count();
            if passed.replace(now_passed) != Some(now_passed) {
                note(summary(&shards));
            }
            if now_passed == shards.len() {
                break;
            }
            let current = match mapping.take() {
                Some(mapping) => mapping,
                None => {
                    if shards.iter().any(|shard| shard.position.is_some()) {
                        warning(
                            "warning: an earlier run has processed a part of the range, and its mapping is gone: the new one processes \
                             that part again",
                        );
                    }
                    self.begin(&destination).await?
                }
            };
            if failures.is_none() {
                failures = self.failures(&current).await?;
            }
            state = self.watch(&current.uuid, state).await?;
            mapping = Some(current);
            sleep(Duration::from_secs(self.args.lambda.interval)).await;
            shards = self.new_shards(shards).await?;
        }
        drop(meter);
        self.end(mapping, failures, shards, report, progress).await
    }

    /// Deletes what the replay needed, and reports.
    async fn end(
        &self,
        mapping: Option<ReplayMapping>,
        failures: Option<Failures>,
        mut shards: Vec<ShardProgress>,
        mut report: Report,
        progress: &mut ProgressFile,
    ) -> Result<Completion, Error> {
        let Some(mapping) = mapping else {
            delete(&self.lambda, &self.alias, None).await?;
            report.finish(&shards)?;
            note("nothing is left to be replayed in the range; to replay all of it again, add --restart");
            return Ok(Completion::Done);
        };
        let ReplayMapping { uuid, on_failure } = mapping;
        if let Some(failures) = &failures {
            // A failure record may have come after its shard had passed.
            failures.read_all().await?;
            for shard in &mut shards {
                shard.discarded = failures.known_discarded(&shard.shard_id);
            }
        }
        report.finish(&shards)?;
        let Some(failures) = failures.filter(|_| shards.iter().any(|shard| shard.discarded > 0)) else {
            delete(&self.lambda, &self.alias, Some(&uuid)).await?;
            success(format_args!("the range is replayed; mapping {uuid} and its alias are deleted"));
            if bucket_name(&on_failure).is_none() {
                note(format_args!("what the mapping has discarded, if anything, is in {on_failure}"));
            }
            self.note_quarantine();
            return Ok(Completion::Done);
        };
        // First, so that no run begins the replay again if this one is killed.
        progress.note(COMPLETE, ProgressPoint::nowhere())?;
        self.lambda.delete_mapping(&uuid).await?;
        warning(format_args!(
            "the range is replayed, except for what the mapping discarded; mapping {uuid} is deleted. Redrive the rest by the alias, \
             so that records outside of the range are left out: `kinesis-kit redrive --s3 {} --function {}`; then run this command \
             with --remove",
            failures.url(),
            self.alias.arn()
        ));
        self.note_quarantine();
        Ok(Completion::SomeFailed)
    }

    fn note_quarantine(&self) {
        note(format_args!(
            "quarantined records of the replay, if any: `kinesis-kit quarantine list --table {} --application {}`",
            self.function.journal_table, self.shards.application
        ));
    }

    /// Returns the replay's mapping, if there is one.
    async fn mapping(&self) -> Result<Option<ReplayMapping>, Error> {
        Ok(self.lambda.replay_mapping(&self.alias, &self.stream.arn).await?)
    }

    /// Returns the failure records of the replay's mapping, if they are in a bucket.
    async fn failures(&self, mapping: &ReplayMapping) -> Result<Option<Failures>, Error> {
        let Some(bucket) = bucket_name(&mapping.on_failure) else { return Ok(None) };
        let region = self.stream.arn.split(':').nth(3);
        Ok(Some(Failures::open(bucket, &mapping.uuid, region).await?))
    }

    /// Adds shards that were not known.
    async fn new_shards(&self, mut shards: Vec<ShardProgress>) -> Result<Vec<ShardProgress>, Error> {
        let known: HashSet<String> = shards.iter().map(|shard| shard.shard_id.clone()).collect();
        let listed = self.shards.api.shards().await?;
        shards.extend(listed.iter().filter(|shard| !known.contains(&shard.id)).map(ShardProgress::new));
        Ok(shards)
    }

    /// Returns the destination of what the mapping of the replay discards.
    fn destination(&self) -> Result<String, Error> {
        let destination = self.args.lambda.on_failure.as_deref().or(self.function.failure_bucket());
        destination.map(str::to_owned).ok_or_else(|| {
            Error::Usage(
                "the live mapping has no bucket as on-failure destination: name a destination for the replay with --on-failure"
                    .to_owned(),
            )
        })
    }

    /// Makes the alias and the mapping of the replay.
    async fn begin(&self, destination: &str) -> Result<ReplayMapping, Error> {
        let oldest_ms = now_ms().saturating_sub(self.stream.retention_ms);
        if (1..oldest_ms).contains(&self.range().from_ms()) {
            warning(
                "warning: the range begins before the stream's retention: its first records have left the stream",
            );
        }
        if self
            .function
            .mapping
            .filter_criteria
            .as_ref()
            .is_some_and(|criteria| !criteria.filters().is_empty())
        {
            warning("warning: the live mapping has a filter, and the replay has none");
        }
        self.lambda.create_alias(&self.alias, &self.function.version).await?;
        let mapping = self
            .lambda
            .create_mapping(&self.alias, &self.function.mapping, &self.stream.arn, destination)
            .await?;
        note(format_args!(
            "mapping {} of alias {} (version {}) replays the range; live mapping, mirror and journal stay untouched",
            mapping.uuid,
            self.range(),
            self.function.version
        ));
        Ok(mapping)
    }

    /// Looks at the mapping, and says when its state has changed, or it has a problem.
    async fn watch(&self, uuid: &str, before: MappingState) -> Result<MappingState, Error> {
        let Some(state) = self.lambda.mapping_state(uuid).await? else {
            return Err(Error::Usage(format!("mapping {uuid} is gone: it was deleted by somebody else")));
        };
        if state.state != before.state {
            note(format_args!("mapping {uuid}: {}", state.state));
        }
        if state.last_result != before.last_result && state.last_result.starts_with("PROBLEM") {
            warning(format_args!("mapping {uuid}: {}", state.last_result));
        }
        Ok(state)
    }
}

/// Ends a replay, wherever it is.
async fn remove(
    lambda: &Lambda,
    alias: &ReplayAlias,
    stream_arn: &str,
    progress: ProgressFile,
) -> Result<Completion, Error> {
    let mapping = lambda.replay_mapping(alias, stream_arn).await?.map(|mapping| mapping.uuid);
    delete(lambda, alias, mapping.as_deref()).await?;
    progress.delete()?;
    match mapping {
        Some(uuid) => note(format_args!("mapping {uuid} and alias {} are deleted", alias.range)),
        None => note(format_args!("there is no mapping of alias {}; the alias is deleted", alias.range)),
    }
    Ok(Completion::Done)
}

/// Deletes the mapping and the alias of a replay.
async fn delete(lambda: &Lambda, alias: &ReplayAlias, uuid: Option<&str>) -> Result<(), Error> {
    if let Some(uuid) = uuid {
        lambda.delete_mapping(uuid).await?;
    }
    if lambda.is_used(alias, uuid).await? {
        warning(format_args!("alias {} stays, because the mapping of another stream is on it", alias.range));
        return Ok(());
    }
    lambda.delete_alias(alias).await?;
    Ok(())
}
