use std::{collections::BTreeMap, fmt};

use super::{Checkpoint, CheckpointError, CheckpointOutcome, CheckpointPosition, FrozenPosition, Refusal};
use crate::SequenceNumber;

/// A row of the lease table, as far as the mirror knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// Position in the attribute `checkpoint`.
    pub checkpoint: RowCheckpoint,
    /// `checkpointSubSequenceNumber`. A KCL takes none as 0.
    pub sub_sequence_number: Option<u64>,
    /// `leaseCounter`: how often the row was written.
    pub lease_counter: u64,
    /// `leaseOwner`: the KCL worker that processes the shard.
    pub lease_owner: Option<String>,
    /// `kitStream`: ARN of the stream.
    pub stream_arn: Option<String>,
    /// `kitApp`: name of the application.
    pub application: Option<String>,
    /// `kitArrivalAt`: when the stream received the Kinesis record at the checkpoint, in milliseconds since 1970.
    pub arrival_ms: Option<u64>,
    /// `kitUpdatedAt`: when the mirror wrote the row last, in milliseconds since 1970.
    pub updated_ms: Option<u64>,
    /// `streamName`: account, stream and creation epoch as `123456789012:orders:1767225600`, in the lease of a KCL
    /// application that reads several streams. Its `leaseKey` is this and the shard's ID, joined with a colon.
    pub stream_identifier: Option<String>,
    /// `shardId`: the shard of such a lease. Every other lease has the shard's ID as its key.
    pub shard_id: Option<String>,
    /// `cutoverSequence`, `cutoverSub` and `cutoverExpiresAt`: what a pending cut-over has frozen.
    pub frozen: Option<FrozenPosition>,
}

/// Leases of a table, as a scan found them.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct LeaseRows {
    /// Leases that can be read, by their `leaseKey`.
    pub leases: BTreeMap<String, Row>,
    /// Leases that cannot be read, in the order of the scan.
    pub unreadable: Vec<UnreadableLease>,
}

/// A lease that cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub struct UnreadableLease {
    /// Its `leaseKey`, if that is text.
    pub lease_key: Option<String>,
    /// The attribute that cannot be read.
    pub error: CheckpointError,
}

/// The attribute `checkpoint` of a row. The KCL knows no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowCheckpoint {
    /// `TRIM_HORIZON`: nothing is processed, and the oldest record is the first.
    TrimHorizon,
    /// `LATEST`: nothing is processed, and the first record is one that is still to come.
    Latest,
    /// `AT_TIMESTAMP`: nothing is processed, and the first record is that of some time.
    AtTimestamp,
    /// `SHARD_END`: everything is processed, and nothing more will come.
    ShardEnd,
    /// A sequence number.
    At(SequenceNumber),
}

impl RowCheckpoint {
    /// Reads the attribute's text. `None` if no KCL writes such a text.
    pub fn from_attribute(text: &str) -> Option<Self> {
        Some(match text {
            "TRIM_HORIZON" => RowCheckpoint::TrimHorizon,
            "LATEST" => RowCheckpoint::Latest,
            "AT_TIMESTAMP" => RowCheckpoint::AtTimestamp,
            "SHARD_END" => RowCheckpoint::ShardEnd,
            number => RowCheckpoint::At(number.parse().ok()?),
        })
    }
}

/// The attribute's text.
impl fmt::Display for RowCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RowCheckpoint::TrimHorizon => f.write_str("TRIM_HORIZON"),
            RowCheckpoint::Latest => f.write_str("LATEST"),
            RowCheckpoint::AtTimestamp => f.write_str("AT_TIMESTAMP"),
            RowCheckpoint::ShardEnd => f.write_str("SHARD_END"),
            RowCheckpoint::At(sequence_number) => sequence_number.fmt(f),
        }
    }
}

impl Row {
    /// A row that some other program has written: no owner, nothing of the mirror's own.
    pub fn new(checkpoint: RowCheckpoint) -> Self {
        Row {
            checkpoint,
            sub_sequence_number: None,
            lease_counter: 1,
            lease_owner: None,
            stream_arn: None,
            application: None,
            arrival_ms: None,
            updated_ms: None,
            stream_identifier: None,
            shard_id: None,
            frozen: None,
        }
    }

    /// Returns the row of a shard that had none, at the checkpoint.
    pub fn first(checkpoint: &Checkpoint<'_>) -> Self {
        let mut row = Row { lease_counter: 0, ..Row::new(RowCheckpoint::TrimHorizon) };
        row.advance(checkpoint);
        row
    }

    /// Decides whether the row may move to the checkpoint: the rule of the mirror, which every store applies.
    ///
    /// # Errors
    ///
    /// The outcome of a checkpoint that is not written. [`CheckpointOutcome::Written`] is among them: the row is then what an
    /// earlier try of the same write has made of it.
    pub fn admits(&self, checkpoint: &Checkpoint<'_>) -> Result<(), CheckpointOutcome> {
        if let Some(stream_arn) = &self.stream_arn {
            if stream_arn != checkpoint.stream_arn {
                return Err(CheckpointOutcome::Refused(Refusal::OtherStream {
                    stream_arn: stream_arn.clone(),
                }));
            }
            if self.application.as_deref() != Some(checkpoint.application) {
                let application = self.application.clone().unwrap_or_default();
                return Err(CheckpointOutcome::Refused(Refusal::OtherApplication { application }));
            }
        }
        if let Some(owner) = &self.lease_owner {
            return Err(CheckpointOutcome::OwnedByKcl { owner: owner.clone() });
        }
        let sequence_number = match self.checkpoint {
            RowCheckpoint::TrimHorizon | RowCheckpoint::Latest | RowCheckpoint::AtTimestamp => return Ok(()),
            RowCheckpoint::ShardEnd => return Err(CheckpointOutcome::AlreadyAhead { at: None }),
            RowCheckpoint::At(sequence_number) => sequence_number,
        };
        let position = checkpoint.position;
        let Some(sub_sequence_number) = self.sub_sequence_number else {
            // No sub-sequence number counts as less than any.
            if sequence_number <= position.sequence_number {
                return Ok(());
            }
            let at = CheckpointPosition { sequence_number, sub_sequence_number: 0 };
            return Err(CheckpointOutcome::AlreadyAhead { at: Some(at) });
        };
        let at = CheckpointPosition { sequence_number, sub_sequence_number };
        if at < position {
            return Ok(());
        }
        // An answer was lost, and the write tried again: this row is what the first try made of it.
        if at == position && self.updated_ms == Some(checkpoint.now_ms) {
            return Err(CheckpointOutcome::Written);
        }
        Err(CheckpointOutcome::AlreadyAhead { at: Some(at) })
    }

    /// Moves the row to the checkpoint, which ends a cut-over: a row never precedes what is frozen in it.
    pub fn advance(&mut self, checkpoint: &Checkpoint<'_>) {
        self.checkpoint = RowCheckpoint::At(checkpoint.position.sequence_number);
        self.sub_sequence_number = Some(checkpoint.position.sub_sequence_number);
        self.lease_counter += 1;
        self.stream_arn = Some(checkpoint.stream_arn.to_owned());
        self.application = Some(checkpoint.application.to_owned());
        self.arrival_ms = checkpoint.arrival_ms;
        self.updated_ms = Some(checkpoint.now_ms);
        self.frozen = None;
    }
}
