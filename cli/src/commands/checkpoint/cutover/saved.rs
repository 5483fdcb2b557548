use serde::{Deserialize, Serialize};

use crate::{
    args::CheckpointCutoverArgs,
    aws::mapping_settings::MappingSettings,
    delivery::progress_file::{ProgressError, ProgressFile, ProgressPoint},
};

/// Whatever is needed to make the new mapping when the old one is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    pub(super) old_uuid: String,
    /// Whether the old mapping is deleted, because the new one has the same function and source.
    pub(super) replaces_old: bool,
    /// Start in seconds since 1970; absent for `TRIM_HORIZON`.
    pub(super) start_s: Option<u64>,
    /// The time from which the frozen positions do not count any more, in milliseconds since 1970.
    pub(super) expires_ms: u64,
    /// Shards whose positions were not known, so that they were not frozen.
    pub(super) unknown: Vec<String>,
    /// The time from which the new mapping may deliver, in milliseconds since 1970.
    pub(super) quiet_ms: u64,
    /// Settings of the new mapping.
    pub(super) settings: MappingSettings,
}

/// The plan in the progress file, of which each line is one: the last counts.
pub(super) struct SavedPlan {
    file: Option<ProgressFile>,
}

impl SavedPlan {
    pub(super) fn open(args: &CheckpointCutoverArgs, stream_arn: &str) -> Result<Self, ProgressError> {
        let of = &args.of.table;
        let to = args.to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default();
        let run = format!("cutover {of} {stream_arn} {}{to}", args.function);
        Ok(SavedPlan { file: Some(ProgressFile::open(args.progress.as_deref(), &run, false)?) })
    }

    /// Returns the plan of an earlier run.
    pub(super) fn plan(&self) -> Option<Plan> {
        self.file.as_ref()?.entries().find_map(|(text, _)| serde_json::from_str(text).ok())
    }

    /// Replaces the plan.
    pub(super) fn save(&mut self, plan: &Plan) -> Result<(), ProgressError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let text = serde_json::to_string(plan).expect("text and numbers are always JSON");
        let before: Vec<String> =
            file.entries().map(|(of, _)| of.to_owned()).filter(|of| *of != text).collect();
        for of in before {
            file.forget(&of)?;
        }
        file.note(&text, ProgressPoint::nowhere())
    }

    /// Deletes the file: there is nothing left to continue with.
    pub(super) fn delete(&mut self) -> Result<(), ProgressError> {
        self.file.take().map_or(Ok(()), ProgressFile::delete)
    }
}
