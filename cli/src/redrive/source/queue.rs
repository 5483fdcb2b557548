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
    stream::{self, StreamExt, TryStreamExt},
};
use tokio::time::sleep;

use super::{Found, Handle, document};
use crate::{
    aws::{self, Attempts, AwsError, Repeater},
    note::note,
};

/// How long others do not see a message that was received, in seconds. As long comes nobody to it if this is killed.
const VISIBILITY_SECONDS: i32 = 60;

/// A third of it, so that a request may fail once.
const HOLD_INTERVAL: Duration = Duration::from_secs(20);

/// How long the number of messages in work may lag behind.
const SETTLING_TIME: Duration = Duration::from_secs(3);

/// How many requests that hold messages are sent at once.
const CONCURRENCY: usize = 16;

/// How long an empty queue is waited for, in seconds. Without it only a part of the queue is asked.
const WAIT_SECONDS: i32 = 2;

/// Most messages that a request returns or changes.
const MAX_MESSAGES: i32 = 10;

/// How many requests that receive messages are sent at once.
const RECEIVERS: usize = 8;

/// How many messages are received before the first of them is worked on, so that those of a shard are in its order, which
/// the queue does not keep.
const MAX_RECEIVED: usize = 10_000;

/// How long their bodies may be together.
const MAX_RECEIVED_BYTES: usize = 64 * 1024 * 1024;

/// Most messages that are held, with those that have failed: SQS allows 120,000 in flight.
const MAX_HELD: usize = 100_000;

/// An SQS queue that is an on-failure destination, or subscribed to an SNS topic that is one.
#[derive(Debug)]
pub(crate) struct Queue {
    client: Client,
    url: String,
    resource: String,
    repeater: Repeater,
    /// Receipt handles of the messages that were received and not deleted, by their IDs. One is received again if
    /// holding it has failed.
    held: RefCell<BTreeMap<String, String>>,
    is_empty: Cell<bool>,
}

impl Queue {
    /// The queue of this name, or with this URL.
    pub(super) async fn open(name: &str) -> Result<Self, AwsError> {
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
        let queue =
            Queue { client, url, resource, repeater, held: RefCell::default(), is_empty: Cell::new(false) };
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
                note(format_args!("{MAX_HELD} messages are held: run again for those after them"));
                self.is_empty.set(true);
                break;
            }
            let received = (0..RECEIVERS).map(|_| self.receive_some());
            for message in future::try_join_all(received).await?.into_iter().flatten() {
                let (Some(receipt), Some(id)) = (message.receipt_handle, message.message_id) else {
                    continue;
                };
                // The newest receipt handle counts.
                if self.held.borrow_mut().insert(id.clone(), receipt).is_some() {
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
        let request = || {
            let request = self.client.receive_message().queue_url(&self.url);
            let request = request.max_number_of_messages(MAX_MESSAGES).wait_time_seconds(WAIT_SECONDS);
            request.visibility_timeout(VISIBILITY_SECONDS).send()
        };
        let answer = self.repeater.request(&self.resource, "ReceiveMessage", Attempts::Endless, request);
        let messages = answer.await?.messages.unwrap_or_default();
        if messages.is_empty() {
            self.is_empty.set(true);
        }
        Ok(messages)
    }

    pub(super) async fn delete(&self, id: &str) -> Result<(), AwsError> {
        let Some(receipt) = self.held.borrow().get(id).cloned() else { return Ok(()) };
        let request = || self.client.delete_message().queue_url(&self.url).receipt_handle(&receipt).send();
        self.repeater.request(&self.resource, "DeleteMessage", Attempts::Endless, request).await?;
        self.held.borrow_mut().remove(id);
        Ok(())
    }

    pub(super) async fn hold(&self) -> Result<(), AwsError> {
        loop {
            sleep(HOLD_INTERVAL).await;
            self.change_visibility(VISIBILITY_SECONDS).await?;
        }
    }

    pub(super) async fn release(&self) -> Result<u64, AwsError> {
        self.change_visibility(0).await?;
        // The number is approximate, and lags behind.
        if self.in_flight(Attempts::Few).await? == 0 {
            return Ok(0);
        }
        sleep(SETTLING_TIME).await;
        self.in_flight(Attempts::Few).await
    }

    /// How many messages somebody has received and not deleted.
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

    /// A message that does not let it be changed is received again, by whomever.
    async fn change_visibility(&self, seconds: i32) -> Result<(), AwsError> {
        let held: Vec<String> = self.held.borrow().values().cloned().collect();
        stream::iter(held.chunks(MAX_MESSAGES as usize))
            .map(Ok)
            .try_for_each_concurrent(CONCURRENCY, |receipts| self.change_some(receipts, seconds))
            .await
    }

    async fn change_some(&self, receipts: &[String], seconds: i32) -> Result<(), AwsError> {
        let entries = receipts.iter().enumerate().map(|(index, receipt)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(receipt)
                .visibility_timeout(seconds)
                .build()
                .expect("an entry with ID and receipt is whole")
        });
        let entries: Vec<_> = entries.collect();
        let request = || {
            let request = self.client.change_message_visibility_batch().queue_url(&self.url);
            request.set_entries(Some(entries.clone())).send()
        };
        let operation = "ChangeMessageVisibilityBatch";
        self.repeater.request(&self.resource, operation, Attempts::Endless, request).await?;
        Ok(())
    }
}

/// Of `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`.
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
