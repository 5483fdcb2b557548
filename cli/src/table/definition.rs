use std::fmt;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, ContinuousBackupsDescription, GlobalSecondaryIndex, KeySchemaElement,
    KeyType, PointInTimeRecoveryStatus, Projection, ProjectionType, ScalarAttributeType, SseStatus,
    TableDescription, TimeToLiveDescription, TimeToLiveStatus,
};

/// The properties of a table that the kit's functions use.
#[derive(Debug)]
pub(crate) struct TableDefinition {
    keys: &'static [&'static str],
    index: Option<IndexDefinition>,
    /// The attribute with the time at which an item expires.
    expires_at: Option<&'static str>,
}

/// A secondary index with keys only.
#[derive(Debug)]
struct IndexDefinition {
    name: &'static str,
    keys: &'static [&'static str],
}

/// The table of a retry journal, which has the quarantine, too.
pub(crate) const JOURNAL: TableDefinition =
    TableDefinition { keys: &["pk", "sk"], index: None, expires_at: Some("expiresAt") };

/// The table of a checkpoint mirror.
pub(crate) const CHECKPOINTS: TableDefinition = TableDefinition {
    keys: &["leaseKey"],
    // KCL 3 asks for it. No row of the mirror has an owner, so it stays empty.
    index: Some(IndexDefinition { name: "LeaseOwnerToLeaseKeyIndex", keys: &["leaseOwner", "leaseKey"] }),
    expires_at: None,
};

/// A property of an existing table that is not the expected one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    property: &'static str,
    expected: String,
    found: String,
    /// The setting that removes the difference, if there is one that changes nothing else.
    switch: Option<Switch>,
}

/// A setting of a table that is made after the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Switch {
    /// Items expire at the time in this attribute.
    Expiry(&'static str),
    /// Backups for point-in-time recovery are kept.
    Recovery,
}

impl Difference {
    pub(super) fn switch(&self) -> Option<Switch> {
        self.switch
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { property, expected, found, .. } = self;
        write!(f, "{property}: expected {expected}, found {found}")
    }
}

impl TableDefinition {
    pub(super) fn expiry(&self) -> Option<Switch> {
        self.expires_at.map(Switch::Expiry)
    }

    pub(super) fn attributes(&self) -> impl Iterator<Item = AttributeDefinition> {
        let of_index = self.index.iter().flat_map(|index| index.keys);
        let mut names: Vec<&str> = self.keys.iter().chain(of_index).copied().collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| {
            let definition = AttributeDefinition::builder().attribute_name(name);
            definition.attribute_type(ScalarAttributeType::S).build().expect("name and type are set")
        })
    }

    pub(super) fn key_schema(&self) -> Vec<KeySchemaElement> {
        schema(self.keys)
    }

    pub(super) fn index(&self) -> Option<GlobalSecondaryIndex> {
        let index = self.index.as_ref()?;
        let keys_only = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
        let index = GlobalSecondaryIndex::builder()
            .index_name(index.name)
            .set_key_schema(Some(schema(index.keys)))
            .projection(keys_only);
        Some(index.build().expect("name and keys are set"))
    }

    /// Returns what an existing table has otherwise. Settings without an effect on the kit, such as the billing mode, may be
    /// any.
    pub(super) fn differences(
        &self,
        table: &TableDescription,
        expiry: Option<&TimeToLiveDescription>,
        backups: Option<&ContinuousBackupsDescription>,
    ) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut compare = |property, expected: String, found: String, switch: Option<Switch>| {
            if expected != found {
                differences.push(Difference { property, expected, found, switch });
            }
        };
        let types =
            |keys: &[&str]| keys.iter().map(|key| format!("{key} (S)")).collect::<Vec<_>>().join(", ");
        let found_keys = |keys: &[KeySchemaElement]| {
            let keys = keys.iter().map(|key| {
                let name = key.attribute_name();
                let attribute = table.attribute_definitions().iter().find(|of| of.attribute_name() == name);
                format!("{name} ({})", attribute.map_or("?", |of| of.attribute_type().as_str()))
            });
            keys.collect::<Vec<_>>().join(", ")
        };
        compare("key", types(self.keys), found_keys(table.key_schema()), None);
        if let Some(index) = &self.index {
            let found =
                table.global_secondary_indexes().iter().find(|of| of.index_name() == Some(index.name));
            let found = found.map_or_else(|| "none".to_owned(), |of| found_keys(of.key_schema()));
            compare("index LeaseOwnerToLeaseKeyIndex", types(index.keys), found, None);
        }
        if let Some(attribute) = self.expires_at {
            let is_on = |expiry: &&TimeToLiveDescription| {
                matches!(
                    expiry.time_to_live_status(),
                    Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
                )
            };
            let found = expiry.filter(is_on).and_then(|expiry| expiry.attribute_name());
            // Another attribute is a decision of someone.
            let switch = if found.is_none() { self.expiry() } else { None };
            let found = found.unwrap_or("off").to_owned();
            compare("time to live", attribute.to_owned(), found, switch);
        }
        let on_or_off = |is_on| if is_on { "on" } else { "off" }.to_owned();
        let encryption = table.sse_description().and_then(|encryption| encryption.status());
        let is_encrypted =
            matches!(encryption, Some(SseStatus::Enabled | SseStatus::Enabling | SseStatus::Updating));
        compare("encryption with KMS", on_or_off(true), on_or_off(is_encrypted), None);
        let recovery = backups.and_then(|backups| backups.point_in_time_recovery_description());
        let recovers = recovery.and_then(|recovery| recovery.point_in_time_recovery_status())
            == Some(&PointInTimeRecoveryStatus::Enabled);
        let recovery = Some(Switch::Recovery);
        compare("point-in-time recovery", on_or_off(true), on_or_off(recovers), recovery);
        let is_protected = table.deletion_protection_enabled().unwrap_or_default();
        compare("deletion protection", on_or_off(true), on_or_off(is_protected), None);
        differences
    }

    pub(super) fn billing_mode() -> BillingMode {
        BillingMode::PayPerRequest
    }
}

fn schema(keys: &[&str]) -> Vec<KeySchemaElement> {
    let kinds = [KeyType::Hash, KeyType::Range];
    let element = |(name, kind): (&&str, KeyType)| {
        let element = KeySchemaElement::builder().attribute_name(*name).key_type(kind);
        element.build().expect("name and type are set")
    };
    keys.iter().zip(kinds).map(element).collect()
}
