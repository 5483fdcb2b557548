//! The steps of a lane with the first batch of its backlog.

use bytes::Bytes;
use kinesis_esm::{
    Condition, MAX_EVENT_BYTES, Origin, SharedRecord, StateWithFailures, Verdict,
    backlog::{Exhausted, Expiry, Pace},
    event::ENVELOPE_BYTES,
    judge,
    window::OpenWindow,
};
use kinesis_handler::BoxError;
use kinesis_handler::event::TumblingWindow;
use lambda_host::{Answer, Fate, Function, Invocation};

use crate::{
    FaultKind, Invoked, Observer, Outcome, Source, StepKind, TooLarge,
    lane::{Lane, discard::GivenUp},
    step::DropReason,
};

/// The outcome of one invocation.
struct Attempt {
    invoked: Invoked,
    /// Interpretation of the answer; absent if the function was not reached.
    verdict: Option<Verdict>,
    response: Option<Bytes>,
}

impl<S: Source, F: Function, O: Observer> Lane<'_, S, F, O> {
    /// One step towards having nothing left to deliver.
    pub(crate) async fn deliver(&mut self) -> Result<(), BoxError> {
        let Some(batch) = self.backlog.first() else { return Ok(()) };
        // Rule 21: whoever waits for a retry does not wait longer than there is something to retry.
        let expires_ms = batch.records.first().map_or(u64::MAX, |first| self.age_limits().expires_ms(first));
        self.world.clock.sleep_until_ms(batch.not_before_ms.min(expires_ms)).await;
        let now_ms = self.world.clock.now_ms();
        if let Some((records, expiry, request_id)) =
            self.backlog.take_expired(now_ms, self.age_limits(), &mut self.pace)
        {
            match expiry {
                // Rule 21: counted once, however often it was tried.
                Expiry::Age => self.discard(GivenUp {
                    records,
                    condition: Condition::RecordAgeExceeded,
                    request_id,
                    approximate_invoke_count: 1,
                    answered: None,
                }),
                Expiry::Retention => {
                    self.release_discarded();
                    self.world.step(&self.id, StepKind::Dropped(records, DropReason::Trimmed));
                }
            }
            return Ok(());
        }
        let Some(batch) = self.backlog.first() else { return Ok(()) };
        let (records, request_id) = (batch.records.clone(), batch.request_id.clone());
        if let Some(too_large) = too_large(&records, &self.id.origin) {
            if batch.attempts == 0 {
                self.world.step(&self.id, StepKind::TooLarge(too_large));
            }
            // Rule 5: it spends its attempts without an invocation.
            self.world.try_delivery(&self.id, 1)?;
            self.settle(&Verdict::Failure, None);
            return Ok(());
        }
        if let Some(length) = self.world.mapping.tumbling_window
            && let Some(first) = records.first()
        {
            if self.window.as_ref().is_some_and(|window| !window.holds(first.arrival_ms)) {
                return self.close_window().await;
            }
            self.window.get_or_insert_with(|| OpenWindow::of(first.arrival_ms, length));
        }
        let window = self.window.as_ref().map(|window| window.in_event(&self.id.origin));

        let mut attempt = self.attempt(&records, &request_id, window.as_ref()).await?;
        let Some(verdict) = attempt.verdict else {
            self.world.step(&self.id, StepKind::Invoked(attempt.invoked));
            self.backlog.throttled(self.world.clock.now_ms(), &mut self.pace);
            return Ok(());
        };
        let (began_ms, error) = (attempt.invoked.began_ms, attempt.invoked.error.clone());
        let ended_ms = self.world.clock.now_ms().max(began_ms + 1);
        let restarts = self.world.faults.strikes_within(FaultKind::Restart, began_ms, ended_ms);
        attempt.invoked.is_ignored = restarts;
        let is_plain = attempt.invoked.fate == Fate::Normal;
        self.world.step(&self.id, StepKind::Invoked(attempt.invoked));
        // What is too old by now is not delivered again, either.
        let now_ms = self.world.clock.now_ms();
        let limits = self.age_limits();
        let is_young = records.first().is_none_or(|record| limits.expiry(record, now_ms).is_none());
        if is_plain && is_young && self.world.faults.strikes(FaultKind::Duplicate, began_ms) {
            let mut again = self.attempt(&records, &request_id, window.as_ref()).await?;
            again.invoked.is_ignored = true;
            self.world.step(&self.id, StepKind::Invoked(again.invoked));
        }
        if restarts {
            // Rule 7: what was not acknowledged is read again, into other batches.
            let records = self.backlog.take_all();
            self.intake.put_back(records);
            let restarted_ms = self.world.clock.now_ms() + self.world.undocumented.restart_delay_ms.max(1);
            self.world.clock.sleep_until_ms(restarted_ms).await;
            self.batching_since_ms = self.world.clock.now_ms();
            // What has arrived since then comes with it.
            return self.intake.read(self.world, &self.id).await;
        }
        self.take_state(&verdict, attempt.response.as_deref());
        let function_error = error.map(|_| "Unhandled".to_owned());
        self.settle(&verdict, Some(function_error));
        if self.window.as_ref().is_some_and(OpenWindow::is_too_large) {
            return self.close_window().await;
        }
        Ok(())
    }

    /// `answered` is `None` if the function was not invoked, else the `functionError` of the answer.
    fn settle(&mut self, verdict: &Verdict, answered: Option<Option<String>>) {
        let now_ms = self.world.clock.now_ms();
        let settlement = self.backlog.settle(verdict, now_ms, &self.world.mapping, &mut self.pace);
        if !settlement.acknowledged.is_empty() {
            self.release_discarded();
            self.world.step(&self.id, StepKind::Acknowledged(settlement.acknowledged));
        }
        if let Some(Exhausted { records, request_id, attempts, .. }) = settlement.exhausted {
            self.discard(GivenUp {
                records,
                condition: Condition::RetryAttemptsExhausted,
                request_id,
                approximate_invoke_count: attempts,
                answered,
            });
        }
        self.batching_since_ms = now_ms;
    }

    /// Rule 28: the last invocation of the open window, until it succeeds. Until then, the shard waits.
    pub(crate) async fn close_window(&mut self) -> Result<(), BoxError> {
        let Some(window) = self.window.take() else { return Ok(()) };
        let event = window.in_last_event(&self.id.origin);
        let request_id = self.pace.request_id();
        let give_up_ms = window.end_ms() + self.world.source.retention_ms();
        let mut tries = 0;
        loop {
            let Attempt { invoked, verdict, .. } = self.attempt(&[], &request_id, Some(&event)).await?;
            self.world.step(&self.id, StepKind::Invoked(invoked));
            let now_ms = self.world.clock.now_ms();
            if verdict == Some(Verdict::Success) || now_ms >= give_up_ms {
                self.world.made_progress();
                return Ok(());
            }
            tries += 1;
            let retry_ms = now_ms + self.pace.retry_delay(tries).as_millis() as u64;
            self.world.clock.sleep_until_ms(retry_ms).await;
        }
    }

    /// Takes the state of the open window out of a response that has got the batch on.
    fn take_state(&mut self, verdict: &Verdict, response: Option<&[u8]>) {
        let Some(window) = &mut self.window else { return };
        let counts = match verdict {
            Verdict::Success => true,
            Verdict::Partial(positions) => {
                let makes_progress = positions.first().is_some_and(|&first| first > 0);
                makes_progress && self.world.undocumented.state_with_failures == StateWithFailures::Kept
            }
            Verdict::Failure => false,
        };
        if counts && let Some(state) = response.and_then(OpenWindow::state_of) {
            window.set_state(state);
        }
    }

    async fn attempt(
        &mut self,
        records: &[SharedRecord],
        request_id: &str,
        window: Option<&TumblingWindow<'static>>,
    ) -> Result<Attempt, BoxError> {
        let world = self.world;
        world.try_delivery(&self.id, records.len())?;
        let began_ms = world.clock.now_ms();
        let throttled = world.faults.strikes(FaultKind::Throttle, began_ms);
        let fate = if throttled { Fate::Normal } else { world.faults.fate(began_ms) };
        let answer = if throttled {
            Answer::Throttled
        } else {
            let invocation = Invocation {
                request_id,
                records,
                origin: &self.id.origin,
                window,
                function_arn: &world.mapping.function_arn,
                timeout: world.function_timeout,
                fate,
                steps_before_fault: self.pace.steps(),
                clock: &*world.clock,
            };
            world.function.invoke(invocation).await?
        };
        let (verdict, response, error) = match answer {
            Answer::Response(response) => {
                // Rule 27: until the window ends, a response must have its state.
                let needs_state = window.is_some_and(|window| !window.is_final_invoke);
                let verdict = if needs_state && OpenWindow::state_of(&response).is_none() {
                    Verdict::Failure
                } else {
                    let numbers = records.iter().map(|record| record.sequence_number);
                    judge(&response, numbers, &world.mapping, &world.undocumented)
                };
                (Some(verdict), Some(response), None)
            }
            Answer::Error(error) => (Some(Verdict::Failure), None, Some(error)),
            Answer::Throttled => (None, None, None),
        };
        let outcome = match &verdict {
            Some(Verdict::Success) => Outcome::Success,
            Some(Verdict::Partial(_)) => Outcome::Partial,
            Some(Verdict::Failure) => Outcome::Failure,
            None => Outcome::Throttled,
        };
        let reported = match &verdict {
            Some(Verdict::Partial(positions)) => {
                positions.iter().map(|&position| records[position].sequence_number).collect()
            }
            _ => Vec::new(),
        };
        let invoked = Invoked {
            began_ms,
            request_id: request_id.to_owned(),
            records: records.to_vec(),
            outcome,
            reported,
            error,
            fate,
            is_ignored: false,
        };
        Ok(Attempt { invoked, verdict, response })
    }
}

/// Returns the record of a batch whose event alone exceeds the limit (rule 5, `oversize`).
fn too_large(records: &[SharedRecord], origin: &Origin) -> Option<TooLarge> {
    // Batches are made to fit.
    let [record] = records else { return None };
    let event_bytes = ENVELOPE_BYTES + record.json_bytes(origin);
    (event_bytes > MAX_EVENT_BYTES).then(|| TooLarge { record: SharedRecord::clone(record), event_bytes })
}
