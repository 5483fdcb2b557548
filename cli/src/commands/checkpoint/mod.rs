//! `kinesis-kit checkpoint`: the positions that a checkpoint mirror, or a KCL application, keeps in its lease table.

mod start;
mod cutover;
mod status;
mod status_table;
mod complete;
mod release;
mod reset;
mod export;
mod import;

use std::{
    collections::{BTreeMap, HashSet},
    rc::Rc,
};

use crate::{
    args::{CheckpointArgs, CheckpointCommand, LeaseTableArgs},
    aws::Attempts,
    error::{Completion, Error},
    lease_table::{Lease, LeaseTable},
    run,
    stream::{Api, Description, Shard},
    table,
};

pub(crate) fn run(args: &CheckpointArgs) -> Result<Completion, Error> {
    match &args.command {
        CheckpointCommand::Create(args) => run::block_on(table::create(&table::CHECKPOINTS, &args.create)),
        CheckpointCommand::Cutover(args) => run::block_on(cutover::run(args)).map_err(Error::of_work),
        CheckpointCommand::Status(args) => run::block_on(status::run(args)),
        CheckpointCommand::Complete(args) => run::block_on(complete::run(args)).map_err(Error::of_work),
        CheckpointCommand::Release(args) => run::block_on(release::run(args)).map_err(Error::of_work),
        CheckpointCommand::Reset(args) => run::block_on(reset::run(args)).map_err(Error::of_work),
        CheckpointCommand::Export(args) => run::block_on(export::run(args)),
        CheckpointCommand::Import(args) => run::block_on(import::run(args)).map_err(Error::of_work),
    }
}

/// A stream and the table with its positions.
struct Positions {
    api: Rc<Api>,
    stream: Description,
    /// All shards of the stream, parents before their children.
    shards: Vec<Shard>,
    table: LeaseTable,
}

impl Positions {
    async fn open(args: &LeaseTableArgs) -> Result<Self, Error> {
        let api = Api::connect(args.stream.clone()).await?.with_attempts(Attempts::Bounded);
        let stream = api.describe().await?;
        let shards = api.shards().await?;
        let table = LeaseTable::open(&args.table, &stream.arn).await?;
        Ok(Positions { api: Rc::new(api), stream, shards, table })
    }

    /// Lists the shards again, and returns whether there are new ones, because others were split or merged meanwhile.
    async fn list_new_shards(&mut self) -> Result<bool, Error> {
        let shards = self.api.shards().await?;
        let has_new = {
            let known: HashSet<&str> = self.shards.iter().map(|shard| shard.id.as_str()).collect();
            shards.iter().any(|shard| !known.contains(shard.id.as_str()))
        };
        self.shards = shards;
        Ok(has_new)
    }

    /// Reads the leases of the stream's shards, of which there is at least one.
    async fn leases(&self) -> Result<BTreeMap<String, Lease>, Error> {
        self.table.read_all(&self.stream, &self.shards).await
    }

    fn shard(&self, shard_id: &str) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.id == shard_id)
    }

    /// Returns an error if a row of the table, with this key, is named by more than a shard: a row of this command would be none to
    /// its application.
    fn check_may_add(&self, of_several_streams: Option<&str>) -> Result<(), Error> {
        match of_several_streams {
            Some(key) => Err(Error::Usage(format!(
                "table {} is of a KCL application for several streams ({key}): no row can be added to it",
                self.table.name()
            ))),
            None => Ok(()),
        }
    }

    /// Returns an error if the stream has not all of these shards.
    fn check_shards(&self, shard_ids: &[String]) -> Result<(), Error> {
        match shard_ids.iter().find(|id| self.shard(id).is_none()) {
            Some(unknown) => Err(Error::NoShard { shard_id: unknown.clone() }),
            None => Ok(()),
        }
    }
}

/// Whether a shard is selected: by its ID, or because none is.
fn is_selected(shard_ids: &[String], shard_id: &str) -> bool {
    shard_ids.is_empty() || shard_ids.iter().any(|selected| selected == shard_id)
}
