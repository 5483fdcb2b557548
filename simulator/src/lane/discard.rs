//! The end of records that are discarded or dropped (rules 23 to 26).

use kinesis_esm::{
    Condition, DestinationKind, FailureRecord, KinesisBatchInfo, RequestContext, ResponseContext,
    SharedRecord,
    event::event_json,
    failure_record::{object_key, timestamp},
};

use crate::{
    FaultKind, Observer, Source, StepKind,
    lane::Lane,
    step::{Delivery, Discarded},
};

/// Records that are given up, and what the failure record tells of it.
#[derive(Debug)]
pub(crate) struct GivenUp {
    pub(crate) records: Vec<SharedRecord>,
    pub(crate) condition: Condition,
    pub(crate) request_id: String,
    pub(crate) approximate_invoke_count: u32,
    /// Error of the function's last answer (`functionError`), if there was an answer (rule 23).
    pub(crate) answered: Option<Option<String>>,
}

impl<S: Source, F, O: Observer> Lane<'_, S, F, O> {
    pub(crate) fn discard(&mut self, mut given_up: GivenUp) {
        if !self.world.undocumented.consolidate_discarded {
            return self.send(given_up);
        }
        // Rule 25.
        match self.held.take() {
            Some(mut held) if held.condition == given_up.condition => {
                held.records.append(&mut given_up.records);
                given_up.records = held.records;
            }
            Some(held) => self.send(held),
            None => {}
        }
        self.held = Some(given_up);
    }

    /// Sends what waits for neighbours. There will be none: something else comes next in the shard.
    pub(crate) fn release_discarded(&mut self) {
        if let Some(held) = self.held.take() {
            self.send(held);
        }
    }

    fn send(&mut self, given_up: GivenUp) {
        let GivenUp { records, condition, request_id, approximate_invoke_count, answered } = given_up;
        let Some(kinesis_batch_info) = KinesisBatchInfo::new(&records, &self.id.origin) else { return };
        let now_ms = self.world.clock.now_ms();
        let delivery = match &self.world.mapping.on_failure {
            None => Delivery::NoDestination,
            Some(_) if self.world.faults.strikes(FaultKind::DestinationFailure, now_ms) => Delivery::Failed,
            Some(destination) => {
                let to_bucket = destination.kind() == DestinationKind::S3;
                let object_uuid = self.pace.uuid();
                let object_key = to_bucket
                    .then(|| object_key(&self.world.mapping_uuid, &self.id.shard_id, now_ms, &object_uuid));
                let payload = to_bucket.then(|| {
                    let event = event_json(&records, &self.id.origin, None);
                    String::from_utf8(event).expect("JSON is UTF-8")
                });
                let request_context = RequestContext {
                    request_id,
                    function_arn: self.world.mapping.function_arn.clone(),
                    condition: Some(condition),
                    approximate_invoke_count,
                };
                let response_context = answered.map(|function_error| ResponseContext {
                    status_code: 200,
                    executed_version: "$LATEST".to_owned(),
                    function_error,
                });
                let record = Box::new(FailureRecord {
                    request_context,
                    response_context,
                    version: "1.0".to_owned(),
                    timestamp: timestamp(now_ms),
                    kinesis_batch_info,
                    payload,
                });
                Delivery::Delivered { record, object_key }
            }
        };
        let discarded = Discarded { records, condition, approximate_invoke_count, delivery };
        self.world.step(&self.id, StepKind::Discarded(discarded));
    }
}
