//! `kinesis-kit checkpoint cutover`: a function continues with a new event source mapping exactly where the old one has ended.
//!
//! The steps are in [`Cutover::run`]. Each may be repeated, so a command that was interrupted is given again. Only between the
//! deletion of the old mapping and the end, what is to be made is known from the progress file alone.

mod function;
mod frozen;
mod mapping;
mod saved;

use std::io::{self, Write};

use kinesis_esm::stream_arn::is_consumer;

use self::{
    frozen::Frozen,
    function::TargetFunction,
    mapping::{OldMapping, QUIET_MS},
    saved::{Plan, SavedPlan},
};
use super::{
    Positions,
    start::{MappingStart, Start},
};
use crate::{
    args::CheckpointCutoverArgs,
    aws::{lambda_mappings::LambdaMappings, mapping_settings::MappingSettings},
    error::{Completion, Error},
    lease_table::Leases,
    output::{
        cell,
        note::{count, note, success, warning},
    },
    run::{self, halt::Halt},
    stream::now_ms,
};

/// Runs the command.
pub(super) async fn run(args: &CheckpointCutoverArgs) -> Result<Completion, Error> {
    run::until_interrupted(cut_over(args), &Halt::default()).await
}

async fn cut_over(args: &CheckpointCutoverArgs) -> Result<Completion, Error> {
    let positions = Positions::open(&args.of).await?;
    let lambda = LambdaMappings::connect(positions.stream.arn.split(':').nth(3)).await?;
    Cutover { args, positions, lambda }.run().await
}

/// A cut-over of one function, while it runs.
struct Cutover<'a> {
    args: &'a CheckpointCutoverArgs,
    positions: Positions,
    lambda: LambdaMappings,
}

impl Cutover<'_> {
    async fn run(&mut self) -> Result<Completion, Error> {
        let mut saved = match self.args.yes && !self.args.no_mapping {
            true => Some(SavedPlan::open(self.args, &self.positions.stream.arn)?),
            false => None,
        };
        if let Some(saved) = &mut saved
            && let Some(plan) = saved.plan()
        {
            let is_made = self.made(&plan).await?.is_some();
            if is_made || self.is_deleted(&plan).await? {
                if !is_made {
                    self.check_frozen(&plan).await?;
                }
                note("continuing an earlier cut-over, whose old mapping is deleted or whose new one is made");
                self.replace(&plan).await?;
                return self.finish(&plan, saved);
            }
        }
        let old = self.old_mapping().await?;
        let target = match (&self.args.to, &old) {
            (Some(to), _) => to.clone(),
            (None, Some(old)) => old.settings.function.clone(),
            (None, None) => self.args.function.clone(),
        };
        let function = TargetFunction::read(&self.lambda, &target).await?;
        function.check(&self.args.of.table)?;
        let Some(old) = old else { return self.prepare(&function).await };
        old.check(self.args)?;
        self.announce(&old, &target);
        if !self.args.yes {
            let began_ms = now_ms();
            let leases = self.leases(&function).await?;
            let start = Start::find(&self.positions, &leases, began_ms).await?;
            report(&start, "as of now, the new mapping would start");
            let frozen = frozen::positions(&leases, &start) as u64;
            note(format_args!("{} would be frozen", count(frozen, "position")));
            return Ok(self.end_of_plan());
        }
        // What is refused once the mapping is disabled is refused before, too.
        self.leases(&function).await?;
        let timeout_s = TargetFunction::read(&self.lambda, &old.settings.function).await?.timeout_s;
        let stopped = self.stop(&old, timeout_s).await?;
        let frozen = self.freeze(&function).await?;
        let Some(Frozen { start, expires_ms, unknown }) = frozen else { return Ok(Completion::SomeFailed) };
        // Environments that have read a row before read it again after this time.
        stopped.wait_until_quiet().await;
        let Some(mut saved) = saved else { return self.print_start(start, Some(&old)) };
        let settings = MappingSettings { function: target, ..old.settings.clone() };
        let plan = Plan {
            old_uuid: old.uuid,
            replaces_old: self.args.to.is_none(),
            start_s: start.seconds(),
            expires_ms,
            unknown,
            quiet_ms: stopped.at_ms + QUIET_MS,
            settings,
        };
        saved.save(&plan)?;
        self.replace(&plan).await?;
        self.finish(&plan, &mut saved)
    }

    /// Freezes the positions of a function that no mapping delivers to.
    async fn prepare(&mut self, function: &TargetFunction) -> Result<Completion, Error> {
        let (stream, name) = (&self.positions.stream.arn, &self.args.function);
        if !self.args.no_mapping {
            return Err(Error::Usage(format!(
                "no event source mapping delivers {stream} to {name}; if a cut-over has deleted it, give its progress file, or take \
                 --no-mapping to find the start of a new one"
            )));
        }
        note(format_args!("no event source mapping delivers {stream} to {name}: the positions are final"));
        if !self.args.yes {
            return Ok(self.end_of_plan());
        }
        // It may have been deleted a moment ago.
        let stopped = self.wait_for_last_invocation(function.timeout_s).await?;
        let Some(Frozen { start, .. }) = self.freeze(function).await? else {
            return Ok(Completion::SomeFailed);
        };
        stopped.wait_until_quiet().await;
        self.print_start(start, None)
    }

    /// Says what is going to happen.
    fn announce(&self, old: &OldMapping, target: &str) {
        note(
            "changing the function's code, the version behind its alias, or a setting of the mapping keeps the position, and needs no \
             cut-over",
        );
        let then = match (&self.args.to, self.args.no_mapping) {
            (Some(_), _) => format!("disabled, and a new mapping made to {target}"),
            (None, true) => "disabled".to_owned(),
            (None, false) => "disabled, deleted, and made again with the same settings".to_owned(),
        };
        let OldMapping { uuid, settings, .. } = old;
        let MappingSettings { event_source_arn, function, .. } = settings;
        note(format_args!("mapping {uuid} from {event_source_arn} to {function}: will be {then}"));
        if is_consumer(event_source_arn) {
            warning("an enhanced fan-out consumer processes the last Kinesis record of each shard again");
        }
    }

    fn end_of_plan(&self) -> Completion {
        if self.args.dry_run {
            return Completion::Done;
        }
        note("nothing was changed: add --yes");
        Completion::SomeFailed
    }

    /// Reads the rows, of which all may be written by the function.
    async fn leases(&self, function: &TargetFunction) -> Result<Leases, Error> {
        let leases = self.positions.table.read(&self.positions.stream, &self.positions.shards).await?;
        self.positions.check_may_add(leases.of_several_streams.as_deref())?;
        if leases.by_shard.is_empty() {
            return Err(Error::Usage(format!(
                "table {} has no position of the stream: everything would be processed again",
                self.positions.table.name()
            )));
        }
        for (shard_id, lease) in &leases.by_shard {
            if let Some(owner) = &lease.row.lease_owner {
                return Err(Error::Usage(format!(
                    "{shard_id}: {owner} owns the lease: stop that KCL application, and take the lease with `checkpoint release`"
                )));
            }
            if let Some(application) =
                lease.row.application.as_ref().filter(|&name| *name != function.application)
            {
                return Err(Error::Usage(format!(
                    "{shard_id}: the row is of application {application}, and the function's is {}",
                    function.application
                )));
            }
        }
        Ok(leases)
    }

    /// Writes the start to standard output, and says what remains to be done.
    fn print_start(&self, start: MappingStart, old: Option<&OldMapping>) -> Result<Completion, Error> {
        let parameters = match start {
            MappingStart::TrimHorizon => "StartingPosition=TRIM_HORIZON".to_owned(),
            MappingStart::AtTimestamp(seconds) => {
                format!("StartingPosition=AT_TIMESTAMP StartingTimestamp={seconds}")
            }
        };
        let mut output = io::stdout().lock();
        writeln!(output, "{parameters}")?;
        output.flush()?;
        if let Some(OldMapping { uuid, .. }) = old {
            note(format_args!(
                "make the new mapping with this start; one of the same function and source needs mapping {uuid} to be deleted first"
            ));
        }
        Ok(Completion::Done)
    }

    fn finish(&self, plan: &Plan, saved: &mut SavedPlan) -> Result<Completion, Error> {
        saved.delete()?;
        success(format_args!(
            "cut-over done: `kinesis-kit checkpoint status --table {} --stream {}` shows the shards in which it is pending",
            self.args.of.table, self.args.of.stream
        ));
        if !plan.replaces_old {
            note(format_args!(
                "mapping {} stays disabled: delete it when the new one works, and never enable it again",
                plan.old_uuid
            ));
        }
        Ok(Completion::Done)
    }
}

/// Says where the new mapping starts, and why.
fn report(start: &Start, starts: &str) {
    for (shard_id, reason) in &start.unknown {
        warning(format_args!("{shard_id}: its position is not known, so it is processed again: {reason}"));
    }
    if let Some(shard_id) = start.without_row.first() {
        let shards = count(start.without_row.len() as u64, "shard");
        note(format_args!("{shards} without a row, such as {shard_id}: no record there counts as processed"));
    }
    match &start.first {
        Some((shard_id, arrival_ms)) if start.unknown.is_empty() => note(format_args!(
            "{starts} {}: the first record that is not processed is in {shard_id}, and arrived at {} UTC",
            start.at,
            cell::time(*arrival_ms)
        )),
        _ if start.unknown.is_empty() => {
            note(format_args!("{starts} {}: all records are processed", start.at));
        }
        _ => note(format_args!("{starts} {}", start.at)),
    }
}
