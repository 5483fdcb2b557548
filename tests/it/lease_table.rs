//! A lease table in a DynamoDB server of its own.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    },
};
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

    /// Checkpoint and sub-sequence number of each lease, by shard.
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

    /// Puts an item into a table of this name, which is created unless it is there, with this key.
    pub(crate) fn put(&self, table: &str, key: &str, item: &[(&str, AttributeValue)]) {
        let attribute = AttributeDefinition::builder()
            .attribute_name(key)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .expect("both members are set");
        let hash = KeySchemaElement::builder().attribute_name(key).key_type(KeyType::Hash).build();
        let create = self
            .client
            .create_table()
            .table_name(table)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute)
            .key_schema(hash.expect("both members are set"));
        // It may be there.
        let _ = self.runtime.block_on(create.send());
        let item = item.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let request = self.client.put_item().table_name(table).set_item(Some(item));
        self.runtime.block_on(request.send()).expect("moto answers");
    }

    /// Deletes the row of a shard.
    pub(crate) fn delete(&self, lease_key: &str) {
        let key = AttributeValue::S(lease_key.to_owned());
        let request = self.client.delete_item().table_name(Self::NAME).key("leaseKey", key);
        self.runtime.block_on(request.send()).expect("moto answers");
    }

    /// The row of a shard.
    pub(crate) fn row(&self, lease_key: &str) -> HashMap<String, AttributeValue> {
        let key = AttributeValue::S(lease_key.to_owned());
        let request =
            self.client.get_item().table_name(Self::NAME).consistent_read(true).key("leaseKey", key);
        self.runtime.block_on(request.send()).expect("moto answers").item.expect("a row of this key")
    }
}
