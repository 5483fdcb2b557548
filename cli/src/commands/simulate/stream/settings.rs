use std::{path::Path, time::Duration};

use kinesis_esm::{Destination, Mapping};
use kinesis_esm_simulator::{Scenario, Simulation};
use serde_json::Value;

use crate::{error::Error, input::Input};

/// The settings of a mapping of the stream.
#[derive(Debug)]
pub(super) struct Settings {
    simulation: Simulation,
    /// Whether the events are of another stream or of a consumer.
    has_source_arn: bool,
}

impl Settings {
    /// Those of a scenario, or the template's.
    pub(super) fn read(scenario: Option<&Path>, seed: Option<u64>) -> Result<Self, Error> {
        let mut settings = match scenario {
            None => Settings::of_the_template(),
            Some(path) => {
                let Input { name, bytes } = Input::read(path)?;
                Settings::of_a_scenario(name, &bytes)?
            }
        };
        // Requests of different runs are not the same ones.
        settings.simulation.seed = seed.unwrap_or_else(|| fastrand::u64(..));
        // Times of a scenario: here it is now.
        settings.simulation.mapping.enabled_at_ms = 0;
        settings.simulation.faults.clear();
        // A stream may be blocked for as long as it is.
        settings.simulation.max_deliveries_without_progress = None;
        Ok(settings)
    }

    fn of_the_template() -> Self {
        let mut simulation = Simulation::default();
        let mapping = &mut simulation.mapping;
        mapping.report_batch_item_failures = true;
        mapping.bisect_batch_on_function_error = true;
        mapping.maximum_retry_attempts = Some(10);
        mapping.maximum_record_age = Some(Duration::from_secs(82_800));
        simulation.undocumented.latest_activation_delay_ms = 0;
        Settings { simulation, has_source_arn: false }
    }

    fn of_a_scenario(name: String, json: &[u8]) -> Result<Self, Error> {
        let scenario = Scenario::parse(json).map_err(|source| Error::Scenario { input: name, source })?;
        let mut simulation = scenario.simulation;
        // What the scenario leaves open is not to be told from what it sets to the default.
        let members: Value = serde_json::from_slice(json).unwrap_or_default();
        let has = |member| members.pointer(member).is_some();
        if !has("/undocumented/latestActivationDelayMs") {
            // A stream for development knows no delay.
            simulation.undocumented.latest_activation_delay_ms = 0;
        }
        Ok(Settings { simulation, has_source_arn: has("/mapping/EventSourceArn") })
    }

    /// The mapping of this stream. If failure records are kept, there is a destination for them in any case: one that
    /// gets the data, too.
    pub(super) fn of_stream(mut self, stream_arn: &str, keeps_failures: bool) -> Simulation {
        let mapping: &mut Mapping = &mut self.simulation.mapping;
        if !self.has_source_arn {
            mapping.event_source_arn = stream_arn.to_owned();
        }
        if keeps_failures {
            mapping.on_failure.get_or_insert_with(bucket);
        }
        self.simulation
    }
}

fn bucket() -> Destination {
    "arn:aws:s3:::failures".parse().expect("it is the ARN of a bucket")
}

#[cfg(test)]
mod tests {
    use kinesis_esm::{DestinationKind, StartingPosition};

    use super::*;

    const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";

    fn of(json: &str) -> Simulation {
        let settings = Settings::of_a_scenario("scenario".to_owned(), json.as_bytes());
        settings.expect("a scenario").of_stream(ARN, true)
    }

    /// The values stand in `template.yaml` in the root of the repository.
    #[test]
    fn without_a_scenario_the_settings_are_the_templates() {
        let template = include_str!("../../../../../template.yaml");
        for line in [
            "FunctionResponseTypes: [ReportBatchItemFailures]",
            "BisectBatchOnFunctionError:\n    Type: String\n    Default: \"true\"\n",
            "MaximumRetryAttempts:\n    Type: Number\n    Default: 10\n",
            "MaximumRecordAgeInSeconds:\n    Type: Number\n    Default: 82800\n",
            "BatchSize:\n    Type: Number\n    Default: 100\n",
            "Timeout:\n    Type: Number\n    Default: 60\n",
        ] {
            assert!(template.contains(line), "{line}");
        }
        let simulation = Settings::read(None, Some(7)).expect("nothing to read").of_stream(ARN, false);
        let mapping = simulation.mapping;
        assert_eq!((mapping.event_source_arn.as_str(), mapping.batch_size), (ARN, 100));
        assert!(mapping.report_batch_item_failures && mapping.bisect_batch_on_function_error);
        assert_eq!(mapping.maximum_retry_attempts, Some(10));
        assert_eq!(mapping.maximum_record_age, Some(Duration::from_secs(82_800)));
        assert_eq!(mapping.starting_position, StartingPosition::TrimHorizon);
        assert_eq!((simulation.function_timeout, simulation.seed), (Duration::from_secs(60), 7));
        assert!(mapping.on_failure.is_none());
    }

    #[test]
    fn a_scenario_has_the_last_word() {
        let simulation = of("{}");
        assert_eq!(simulation.mapping.event_source_arn, ARN);
        assert_eq!(simulation.undocumented.latest_activation_delay_ms, 0);
        assert!(simulation.mapping.on_failure.is_some_and(|kept| kept.kind() == DestinationKind::S3));

        let consumer = format!("{ARN}/consumer/c:1");
        let simulation = of(&format!(
            r#"{{"mapping":{{"EventSourceArn":"{consumer}","DestinationConfig":{{"OnFailure":{{"Destination":
                "arn:aws:sqs:eu-west-1:123456789012:failures"}}}}}},"undocumented":{{"latestActivationDelayMs":75000}},
                "function":{{"timeoutMs":3000}}}}"#
        ));
        assert_eq!(simulation.mapping.event_source_arn, consumer);
        assert_eq!(simulation.undocumented.latest_activation_delay_ms, 75_000);
        assert_eq!(simulation.function_timeout, Duration::from_secs(3));
        assert!(simulation.mapping.on_failure.is_some_and(|kept| kept.kind() == DestinationKind::Sqs));
    }
}
