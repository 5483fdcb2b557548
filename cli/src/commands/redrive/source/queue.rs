use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use aws_sdk_sqs::{
    Client,
    types::{ChangeMessageVisibilityBatchRequestEntry, Message, QueueAttributeName},
};
use futures_util::{
    future,
    stream::{self, StreamExt},
};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::{Found, Handle, document};
use crate::{
    aws::{self, Attempts, AwsError, Repeater},
    error::chain,
    output::note::note,
};

/// Visibility timeouts are extended four times as often as they run out, so that a round may fail.
const ROUNDS: u32 = 4;

/// Time for a request that extends visibility timeouts, its repetitions included: the others must not wait for it.
const EXTENSION_TIME: Duration = Duration::from_secs(10);

/// Time by which the number of messages in work may lag.
const LAG_TIME: Duration = Duration::from_secs(3);

/// Requests that extend visibility timeouts at once.
const CONCURRENCY: usize = 16;

/// Time to wait for messages of an empty queue, in seconds. Without it only a part of the queue is asked.
const WAIT_SECONDS: i32 = 2;

/// Most messages that a request returns or changes.
const MAX_MESSAGES: i32 = 10;

/// Number of requests that receive messages at once.
const RECEIVERS: usize = 8;

/// Number of messages that are received before the first of them is worked on, so that those of a shard are in its order, which
/// the queue does not keep.
const MAX_RECEIVED: usize = 10_000;

/// Most bytes of their bodies together.
const MAX_RECEIVED_BYTES: usize = 64 * 1024 * 1024;

/// Most messages that are held, with those that have failed. To extend all of them takes 3,000 requests, 16 at once: at
/// 100 ms for each, 19 seconds of the 30 that a round has by default.
const MAX_HELD: usize = 30_000;

/// An SQS queue that is an on-failure destination, or subscribed to an SNS topic that is one.
#[derive(Debug)]
pub(crate) struct Queue {
    client: Client,
    url: String,
    resource: String,
    repeater: Repeater,
    /// Visibility timeout of received messages.
    visibility: Duration,
    /// Messages that were received and not deleted, by their IDs.
    held: RefCell<BTreeMap<String, HeldMessage>>,
    is_empty: Cell<bool>,
}

#[derive(Debug)]
struct HeldMessage {
    /// Receipt handle of the last time that it was received. A message that is received again, because its visibility
    /// timeout ran out or because SQS delivered it twice, is still the same: only the newest handle is valid.
    receipt: String,
    /// Time until which nobody else receives the message, counted from before the request.
    until: Instant,
}

impl Queue {
    /// Opens the queue of this name, or with this URL.
    pub(super) async fn open(name: &str, visibility: Duration) -> Result<Self, AwsError> {
        let config = aws::config(region_of(name)).await?;
        let client = Client::new(&config);
        let (resource, repeater) = (format!("queue {name}"), Repeater::default());
        let url = if name.contains("://") {
            name.to_owned()
        } else {
            let operation = "GetQueueUrl";
            let request = || client.get_queue_url().queue_name(name).send();
            let answer = repeater.request(&resource, operation, Attempts::Few, request).await?;
            let what = "no URL".to_owned();
            answer.queue_url.ok_or(AwsError::Answer { operation, what })?
        };
        let (held, is_empty) = (RefCell::default(), Cell::new(false));
        let queue = Queue { client, url, resource, repeater, visibility, held, is_empty };
        // Whether it is there shows now.
        queue.in_flight(Attempts::Few).await?;
        Ok(queue)
    }

    /// Receives the next messages, as many as are worked on at once; none if there are no more.
    pub(super) async fn receive(&self) -> Result<Vec<Found>, AwsError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        while found.len() < MAX_RECEIVED && bytes < MAX_RECEIVED_BYTES && !self.is_empty.get() {
            if self.held.borrow().len() >= MAX_HELD {
                note(format_args!("{MAX_HELD} messages are held: run again for the others"));
                self.is_empty.set(true);
                break;
            }
            let until = Instant::now() + self.visibility;
            let received = (0..RECEIVERS).map(|_| self.receive_some());
            for message in future::try_join_all(received).await?.into_iter().flatten() {
                let (Some(receipt), Some(id)) = (message.receipt_handle, message.message_id) else {
                    continue;
                };
                let message_of_run = HeldMessage { receipt, until };
                if self.held.borrow_mut().insert(id.clone(), message_of_run).is_some() {
                    continue;
                }
                let body = message.body.unwrap_or_default();
                bytes += body.len();
                let record = document::failure_record(body.as_bytes());
                found.push(Found { name: id.clone(), record, handle: Handle::Message(id) });
            }
        }
        Ok(found)
    }

    async fn receive_some(&self) -> Result<Vec<Message>, AwsError> {
        let seconds = self.visibility_seconds();
        let request = || {
            let request = self.client.receive_message().queue_url(&self.url);
            let request = request.max_number_of_messages(MAX_MESSAGES).wait_time_seconds(WAIT_SECONDS);
            request.visibility_timeout(seconds).send()
        };
        let answer = self.repeater.request(&self.resource, "ReceiveMessage", Attempts::Endless, request);
        let messages = answer.await?.messages.unwrap_or_default();
        if messages.is_empty() {
            self.is_empty.set(true);
        }
        Ok(messages)
    }

    fn visibility_seconds(&self) -> i32 {
        i32::try_from(self.visibility.as_secs()).unwrap_or(i32::MAX)
    }

    /// Returns whether nobody else can have received a message since this run has.
    pub(super) fn holds(&self, id: &str) -> bool {
        self.held.borrow().get(id).is_some_and(|message| Instant::now() < message.until)
    }

    /// Deletes a message that this run holds.
    pub(super) async fn delete(&self, id: &str) -> Result<(), AwsError> {
        let receipt = self.held.borrow().get(id).map(|message| message.receipt.clone());
        let Some(receipt) = receipt else { return Ok(()) };
        let request = || self.client.delete_message().queue_url(&self.url).receipt_handle(&receipt).send();
        self.repeater.request(&self.resource, "DeleteMessage", Attempts::Bounded, request).await?;
        self.held.borrow_mut().remove(id);
        Ok(())
    }

    /// Extends the visibility timeouts of all messages again and again. It never ends: messages whose timeouts cannot be
    /// extended are no longer [held](Self::holds), and the others go on.
    pub(super) async fn hold(&self) {
        let period = self.visibility / ROUNDS;
        let mut rounds = interval_at(Instant::now() + period, period);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut has_noted = false;
        loop {
            rounds.tick().await;
            if let Err(error) = self.change_visibility(self.visibility).await
                && !std::mem::replace(&mut has_noted, true)
            {
                note(format_args!(
                    "visibility timeouts cannot be extended: {}; the next round tries again",
                    chain(&error)
                ));
            }
        }
    }

    /// Makes all messages visible that were not deleted. Returns how many messages others are working on.
    pub(super) async fn release(&self) -> Result<u64, AwsError> {
        self.change_visibility(Duration::ZERO).await?;
        // The number is approximate, and lags behind.
        if self.in_flight(Attempts::Few).await? == 0 {
            return Ok(0);
        }
        sleep(LAG_TIME).await;
        self.in_flight(Attempts::Few).await
    }

    /// Returns the number of messages that somebody has received and not deleted.
    async fn in_flight(&self, attempts: Attempts) -> Result<u64, AwsError> {
        let attribute = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let request = || {
            let request = self.client.get_queue_attributes().queue_url(&self.url);
            request.attribute_names(attribute.clone()).send()
        };
        let answer = self.repeater.request(&self.resource, "GetQueueAttributes", attempts, request).await?;
        let attributes = answer.attributes.unwrap_or_default();
        Ok(attributes.get(&attribute).and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Changes the visibility timeouts of all held messages, from now on. Returns the first error, after all were tried.
    async fn change_visibility(&self, visibility: Duration) -> Result<(), AwsError> {
        let now = Instant::now();
        let is_held = |message: &HeldMessage| visibility.is_zero() || now < message.until;
        let held: Vec<(String, String)> = self
            .held
            .borrow()
            .iter()
            .filter(|(_, message)| is_held(message))
            .map(|(id, message)| (id.clone(), message.receipt.clone()))
            .collect();
        let changes = stream::iter(held.chunks(MAX_MESSAGES as usize));
        let changes = changes.map(|messages| self.change_some(messages, visibility));
        let mut changes = std::pin::pin!(changes.buffer_unordered(CONCURRENCY));
        let mut result = Ok(());
        while let Some(changed) = changes.next().await {
            result = result.and(changed);
        }
        result
    }

    async fn change_some(&self, messages: &[(String, String)], visibility: Duration) -> Result<(), AwsError> {
        let entries = messages.iter().enumerate().map(|(index, (_, receipt))| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt)
                .visibility_timeout(i32::try_from(visibility.as_secs()).unwrap_or(i32::MAX))
                .build()
                .expect("an entry with ID and receipt is whole")
        });
        let entries: Vec<_> = entries.collect();
        let operation = "ChangeMessageVisibilityBatch";
        let request = || {
            let request = self.client.change_message_visibility_batch().queue_url(&self.url);
            request.set_entries(Some(entries.clone())).send()
        };
        let until = Instant::now() + visibility;
        let answer = self.repeater.request(&self.resource, operation, Attempts::Bounded, request);
        let Ok(answer) = timeout(EXTENSION_TIME, answer).await else {
            let what = format!("nothing within {} seconds", EXTENSION_TIME.as_secs());
            return Err(AwsError::Answer { operation, what });
        };
        // Messages that are not named in the answer are not held for longer than before.
        for entry in answer?.successful {
            self.set_until(messages, &entry.id, until);
        }
        Ok(())
    }

    /// Notes until when a message of a request is held, unless it was received again or deleted meanwhile.
    fn set_until(&self, messages: &[(String, String)], entry_id: &str, until: Instant) {
        let Some((id, receipt)) = entry_id.parse().ok().and_then(|index: usize| messages.get(index)) else {
            return;
        };
        if let Some(message) =
            self.held.borrow_mut().get_mut(id).filter(|message| message.receipt == *receipt)
        {
            message.until = until;
        }
    }
}

/// Returns the region of `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`.
fn region_of(url: &str) -> Option<&str> {
    let host = url.split_once("://")?.1.split('/').next()?;
    let mut parts = host.split('.');
    (parts.next() == Some("sqs") && host.contains(".amazonaws.")).then(|| parts.next()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_that_of_the_url() {
        assert_eq!(region_of("https://sqs.eu-west-1.amazonaws.com/123456789012/failures"), Some("eu-west-1"));
        assert_eq!(region_of("https://sqs.cn-north-1.amazonaws.com.cn/1/f"), Some("cn-north-1"));
        assert_eq!(region_of("http://127.0.0.1:5000/123456789012/failures"), None);
        assert_eq!(region_of("failures"), None);
    }
}
