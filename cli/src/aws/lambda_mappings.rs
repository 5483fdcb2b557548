//! Event source mappings that are looked at, deleted and made one by one, and the functions that they invoke.

use std::collections::HashMap;

use aws_sdk_lambda::{
    Client,
    operation::{
        get_event_source_mapping::GetEventSourceMappingOutput,
        get_function_configuration::GetFunctionConfigurationOutput,
    },
};

use crate::aws::{self, Attempts, AwsError, Repeater, mapping_settings::MappingSettings};

/// Lambda in a region, as far as it is about mappings.
#[derive(Debug)]
pub(crate) struct LambdaMappings {
    client: Client,
    repeater: Repeater,
}

impl LambdaMappings {
    pub(crate) async fn connect(region: Option<&str>) -> Result<Self, AwsError> {
        Ok(LambdaMappings { client: Client::new(&aws::config(region).await?), repeater: Repeater::default() })
    }

    /// Returns the settings of a function, or of a version or alias of it.
    pub(crate) async fn function(&self, name: &str) -> Result<GetFunctionConfigurationOutput, AwsError> {
        let request = || self.client.get_function_configuration().function_name(name).send();
        let resource = format!("function {name}");
        self.repeater.request(&resource, "GetFunctionConfiguration", Attempts::Bounded, request).await
    }

    /// Returns a mapping; `None` if there is none.
    pub(crate) async fn mapping(&self, uuid: &str) -> Result<Option<GetEventSourceMappingOutput>, AwsError> {
        let request = || self.client.get_event_source_mapping().uuid(uuid).send();
        let resource = format!("mapping {uuid}");
        match self.repeater.request(&resource, "GetEventSourceMapping", Attempts::Bounded, request).await {
            Ok(mapping) => Ok(Some(mapping)),
            Err(error) if error.is("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the tags of a mapping, given its ARN.
    pub(crate) async fn tags(&self, arn: &str) -> Result<HashMap<String, String>, AwsError> {
        let request = || self.client.list_tags().resource(arn).send();
        let tags = self.repeater.request(arn, "ListTags", Attempts::Bounded, request).await?;
        Ok(tags.tags.unwrap_or_default())
    }

    /// Asks for a mapping to be deleted, which takes some seconds. One that is gone, or is being deleted, is no error.
    pub(crate) async fn delete(&self, uuid: &str) -> Result<(), AwsError> {
        let request = || self.client.delete_event_source_mapping().uuid(uuid).send();
        let resource = format!("mapping {uuid}");
        match self.repeater.request(&resource, "DeleteEventSourceMapping", Attempts::Bounded, request).await {
            Err(error) if !error.is("ResourceNotFoundException") && !error.is("ResourceInUseException") => {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Makes a mapping that starts at a time in seconds since 1970, or at `TRIM_HORIZON`, and returns its UUID. `None` if the source
    /// has a mapping to the function.
    pub(crate) async fn create(
        &self,
        settings: &MappingSettings,
        start_s: Option<u64>,
    ) -> Result<Option<String>, AwsError> {
        let request = || settings.apply(self.client.create_event_source_mapping(), start_s).send();
        let resource = format!("mapping to {}", settings.function);
        match self.repeater.request(&resource, "CreateEventSourceMapping", Attempts::Bounded, request).await {
            Ok(made) => Ok(Some(made.uuid.unwrap_or_default())),
            Err(error) if error.is("ResourceConflictException") => Ok(None),
            Err(error) => Err(error),
        }
    }
}
