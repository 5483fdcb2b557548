//! Tables of the kit's functions, created as the template creates them.

mod definition;

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    types::{
        PointInTimeRecoverySpecification, SseSpecification, SseType, TableStatus, Tag,
        TimeToLiveSpecification,
    },
};
use tokio::time::{Instant, sleep};

use crate::{
    args::CreateTableArgs,
    aws::{self, ApiFailure, AwsError},
    error::{Completion, Error},
    output::note::note,
};
pub(crate) use definition::{CHECKPOINTS, JOURNAL, TableDefinition};
use definition::{Difference, Switch};

/// Longest time until a new table can be used.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// Time between two looks at a table that is being created.
const INTERVAL: Duration = Duration::from_secs(1);

/// Creates a table and waits until it can be used, unless it exists and fits. If an earlier run was interrupted after it had
/// created the table, it is completed.
pub(crate) async fn create(
    definition: &TableDefinition,
    args: &CreateTableArgs,
) -> Result<Completion, Error> {
    let table = Table { name: &args.table, client: aws::dynamodb(None).await? };
    match table.status().await? {
        Some(TableStatus::Deleting) => {
            return Err(Error::Usage(format!("table {} is being deleted: try again later", args.table)));
        }
        Some(_) => {
            table.wait().await?;
            return table.check(definition).await;
        }
        None => note(format_args!("creating table {}", args.table)),
    }
    table.create(definition, args).await?;
    table.wait().await?;
    if let Some(expiry) = definition.expiry() {
        table.switch_on(expiry).await?;
    }
    table.switch_on(Switch::Recovery).await?;
    note(format_args!("table {} can be used", args.table));
    Ok(Completion::Done)
}

struct Table<'a> {
    name: &'a str,
    client: Client,
}

impl Table<'_> {
    fn error(&self, operation: &'static str, failure: impl Into<ApiFailure>) -> Error {
        let resource = format!("table {}", self.name);
        Error::Aws(AwsError::Unusable { resource, operation, source: failure.into() })
    }

    /// Returns the status of the table; `None` if there is no such table.
    async fn status(&self) -> Result<Option<TableStatus>, Error> {
        match self.client.describe_table().table_name(self.name).send().await {
            Ok(found) => Ok(found.table.and_then(|table| table.table_status)),
            Err(error) => match ApiFailure::from(error) {
                failure if failure.is("ResourceNotFoundException") => Ok(None),
                failure => Err(self.error("DescribeTable", failure)),
            },
        }
    }

    async fn create(&self, definition: &TableDefinition, args: &CreateTableArgs) -> Result<(), Error> {
        let tag = |(key, value): &(String, String)| {
            Tag::builder().key(key).value(value).build().expect("key and value are set")
        };
        let encryption = SseSpecification::builder()
            .enabled(true)
            .sse_type(SseType::Kms)
            .set_kms_master_key_id(args.key.clone());
        let request = self
            .client
            .create_table()
            .table_name(self.name)
            .billing_mode(TableDefinition::billing_mode())
            .set_attribute_definitions(Some(definition.attributes().collect()))
            .set_key_schema(Some(definition.key_schema()))
            .set_global_secondary_indexes(definition.index().map(|index| vec![index]))
            .sse_specification(encryption.build())
            .deletion_protection_enabled(true)
            .set_tags((!args.tag.is_empty()).then(|| args.tag.iter().map(tag).collect()));
        request.send().await.map_err(|error| self.error("CreateTable", error))?;
        Ok(())
    }

    async fn wait(&self) -> Result<(), Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.status().await? {
                Some(TableStatus::Active | TableStatus::Updating) => return Ok(()),
                status if Instant::now() >= end => {
                    let status = status.map_or("missing".to_owned(), |status| status.as_str().to_owned());
                    let what = format!("table {} is {status} after five minutes", self.name);
                    return Err(Error::Aws(AwsError::Answer { operation: "DescribeTable", what }));
                }
                _ => sleep(INTERVAL).await,
            }
        }
    }

    async fn switch_on(&self, switch: Switch) -> Result<(), Error> {
        match switch {
            Switch::Expiry(attribute) => self.expire(attribute).await,
            Switch::Recovery => self.keep_backups().await,
        }
    }

    async fn expire(&self, attribute: &str) -> Result<(), Error> {
        let expiry = TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute);
        let request = self
            .client
            .update_time_to_live()
            .table_name(self.name)
            .time_to_live_specification(expiry.build().expect("both members are set"));
        request.send().await.map_err(|error| self.error("UpdateTimeToLive", error))?;
        Ok(())
    }

    async fn keep_backups(&self) -> Result<(), Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            let recovery = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true);
            let request = self
                .client
                .update_continuous_backups()
                .table_name(self.name)
                .point_in_time_recovery_specification(recovery.build().expect("its member is set"));
            match request.send().await.map_err(ApiFailure::from) {
                Ok(_) => return Ok(()),
                // For some seconds after the table became active.
                Err(failure)
                    if failure.is("ContinuousBackupsUnavailableException") && Instant::now() < end =>
                {
                    sleep(INTERVAL).await;
                }
                Err(failure) => return Err(self.error("UpdateContinuousBackups", failure)),
            }
        }
    }

    /// Compares an existing table with what it should be, and completes one that lacks nothing but what is set after its
    /// creation.
    async fn check(&self, definition: &TableDefinition) -> Result<Completion, Error> {
        let found = self.client.describe_table().table_name(self.name).send().await;
        let found = found.map_err(|error| self.error("DescribeTable", error))?.table;
        let expiry = match definition.expiry() {
            Some(_) => {
                let expiry = self.client.describe_time_to_live().table_name(self.name).send().await;
                expiry.map_err(|error| self.error("DescribeTimeToLive", error))?.time_to_live_description
            }
            None => None,
        };
        let backups = self.client.describe_continuous_backups().table_name(self.name).send().await;
        let backups = backups.map_err(|error| self.error("DescribeContinuousBackups", error))?;
        let differences = definition.differences(
            &found.unwrap_or_else(|| aws_sdk_dynamodb::types::TableDescription::builder().build()),
            expiry.as_ref(),
            backups.continuous_backups_description.as_ref(),
        );
        if differences.is_empty() {
            note(format_args!("table {} exists, and fits", self.name));
            return Ok(Completion::Done);
        }
        // In this state an interrupted run leaves it: all else is set when the table is created.
        if let Some(switches) = differences.iter().map(Difference::switch).collect::<Option<Vec<_>>>() {
            for (switch, difference) in switches.into_iter().zip(&differences) {
                note(format_args!("{difference}: switching it on"));
                self.switch_on(switch).await?;
            }
            note(format_args!("table {} can be used", self.name));
            return Ok(Completion::Done);
        }
        for difference in &differences {
            note(difference);
        }
        Err(Error::Usage(format!("table {} exists, and differs: nothing was changed", self.name)))
    }
}
