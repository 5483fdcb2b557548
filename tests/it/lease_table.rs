//! A lease table in a DynamoDB server of its own.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use aws_sdk_kinesis::types::Shard;
use tokio::runtime::Runtime;

use crate::{
    fault_proxy::FaultProxy,
    moto::{self, Moto},
};

/// An empty table as the template makes it. Table and server end with this value.
pub(crate) struct LeaseTable {
    _moto: Moto,
    /// Lets one request in at a time: without it, a row is seen while it is being written.
    proxy: FaultProxy,
    runtime: Runtime,
    client: Client,
}

impl LeaseTable {
    pub(crate) const NAME: &str = "orders-mirror";

    pub(crate) fn start() -> Self {
        let moto = Moto::start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let proxy = FaultProxy::start(moto.port);
        let client = Client::new(&runtime.block_on(moto::config(proxy.port)));
        runtime.block_on(moto::create_table(&client, Self::NAME));
        LeaseTable { _moto: moto, proxy, runtime, client }
    }

    pub(crate) fn url(&self) -> String {
        moto::endpoint(self.proxy.port)
    }

    /// Checkpoint and sub-sequence number of each row, by shard.
    pub(crate) fn positions(&self) -> BTreeMap<String, (String, u64)> {
        let request = self.client.scan().table_name(Self::NAME).consistent_read(true);
        let rows = self.runtime.block_on(request.send()).expect("moto answers").items.unwrap_or_default();
        let position = |row: std::collections::HashMap<String, AttributeValue>| {
            let text = |name: &str| row[name].as_s().expect("text").clone();
            let sub = row["checkpointSubSequenceNumber"].as_n().expect("a number");
            (text("leaseKey"), (text("checkpoint"), sub.parse().expect("digits")))
        };
        rows.into_iter().map(position).collect()
    }

    /// Does what an operator has to do before a KCL takes over: with rows in its table, it does not look for shards.
    ///
    /// The function writes no row for a shard of which it has done nothing, and does not know parents and hash ranges.
    pub(crate) fn complete(&self, shards: &[Shard]) {
        for shard in shards {
            let range = shard.hash_key_range.as_ref().expect("a shard has a range");
            let parents: Vec<_> = [&shard.parent_shard_id, &shard.adjacent_parent_shard_id]
                .into_iter()
                .flatten()
                .cloned()
                .collect();
            let mut update = "SET startingHashKey = :start, endingHashKey = :end, \
                checkpoint = if_not_exists(checkpoint, :trim_horizon), \
                checkpointSubSequenceNumber = if_not_exists(checkpointSubSequenceNumber, :zero), \
                leaseCounter = if_not_exists(leaseCounter, :zero), \
                ownerSwitchesSinceCheckpoint = if_not_exists(ownerSwitchesSinceCheckpoint, :zero)"
                .to_owned();
            let mut request = self
                .client
                .update_item()
                .table_name(Self::NAME)
                .key("leaseKey", AttributeValue::S(shard.shard_id.clone()))
                .expression_attribute_values(":start", AttributeValue::S(range.starting_hash_key.clone()))
                .expression_attribute_values(":end", AttributeValue::S(range.ending_hash_key.clone()))
                .expression_attribute_values(":trim_horizon", AttributeValue::S("TRIM_HORIZON".to_owned()))
                .expression_attribute_values(":zero", AttributeValue::N("0".to_owned()));
            if !parents.is_empty() {
                update.push_str(", parentShardId = :parents");
                request = request.expression_attribute_values(":parents", AttributeValue::Ss(parents));
            }
            self.runtime.block_on(request.update_expression(update).send()).expect("moto answers");
        }
    }
}
