//! Effects that happen once: keys of records, idempotency for repetitions of producers, and claims in transactions.
//!
//! The transactions of DynamoDB are executed by a twin in memory.

use std::{
    collections::BTreeMap,
    future::Future,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use aws_sdk_dynamodb::{
    error::{ErrorMetadata, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    types::{
        AttributeValue, CancellationReason, TransactWriteItem, Update, error::TransactionCanceledException,
    },
};
use futures_util::FutureExt;
use kinesis_handler::{
    Clock, Context, Event, EventMode, Handler, KinesisRecord, Options, OwnedRecord, ProcessError, Record,
    RecordProcessor, SystemClock,
    idempotency::{
        IdempotencyEntry, IdempotencyError, IdempotencyFuture, IdempotencyStore, Idempotent,
        MemoryIdempotency, is_claimed, json_pointer,
    },
    permanent, retryable,
};
use proptest::{collection::vec, prelude::*};
use tokio::{task::yield_now, time::Instant};

use crate::batch::{STREAM_ARN, SUCCESS, aggregate, failure, json, plain};

fn options() -> Options {
    Options::builder().application("orders").build().expect("legal options")
}

async fn handle(processor: impl RecordProcessor, records: &[KinesisRecord<'_>]) -> String {
    let handler = Handler::with_options(processor, options());
    let event = Event::new(records.to_vec()).to_json();
    json(&handler.handle(&event, &Context::default()).await.expect("a response"))
}

#[tokio::test]
async fn each_user_record_has_a_key_that_is_the_same_at_each_delivery() {
    let keys = Mutex::new(Vec::new());
    let processor = async |record: Record<'_>| -> Result<(), ProcessError> {
        let key = record.idempotency_key().map(|key| key.to_string());
        keys.lock().expect("no panic while locked").push(key);
        Ok(())
    };
    let take = || std::mem::take(&mut *keys.lock().expect("no panic while locked"));
    let records = [plain(7, "a"), aggregate(8, &["b", "c"])];
    assert_eq!(handle(&processor, &records).await, SUCCESS);
    let key = |number, sub| Some(format!("{STREAM_ARN}#shardId-000000000000#{number}#{sub}"));
    let expected = [key(7, 0), key(8, 0), key(8, 1)];
    assert_eq!(take(), expected);
    assert_eq!(handle(&processor, &records[1..]).await, SUCCESS);
    assert_eq!(take(), expected[1..]);

    let mut fan_out = plain(7, "a");
    fan_out.event_source_arn = Some(format!("{STREAM_ARN}/consumer/c:1").into());
    let mut somewhere = plain(7, "a");
    somewhere.shard_id = None;
    assert_eq!(handle(&processor, &[fan_out, somewhere]).await, SUCCESS);
    // `kinesis-kit` may deliver a part of an aggregate in this mode, in which user records have other numbers.
    let mut event = Event::new(vec![plain(7, "a")]);
    event.mode = EventMode::Reprocess;
    let handler = Handler::with_options(&processor, options());
    handler.handle(&event.to_json(), &Context::default()).await.expect("a response");
    assert_eq!(take(), [None, None, None]);
}

/// A record with this payload.
fn order(text: &str) -> OwnedRecord {
    OwnedRecord::new(text).with_stream_arn(STREAM_ARN).with_shard_id("shardId-000000000000")
}

pub(crate) const ORDER: &str = r#"{"id":7,"cents":5}"#;

/// A processor that counts its calls, and does what the payload says.
#[derive(Default)]
pub(crate) struct Orders {
    calls: AtomicU32,
}

impl Orders {
    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl RecordProcessor for &Orders {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        yield_now().await;
        match record.text()? {
            text if text.contains("fail") => Err(retryable("asked to")),
            text if text.contains("hang") => std::future::pending().await,
            text if text.contains("panic") => panic!("asked to"),
            _ => Ok(()),
        }
    }
}

pub(crate) async fn answer(processor: &impl RecordProcessor, text: &str) -> String {
    let result = processor.process(order(text).as_record()).await;
    result.map_or_else(|error| format!("{error:?}"), |()| "ok".to_owned())
}

#[tokio::test]
async fn what_a_producer_repeats_is_processed_once() {
    let (orders, store) = (Orders::default(), Arc::new(MemoryIdempotency::default()));
    let repeats = Arc::new(AtomicU32::new(0));
    for remembered in [0, 10] {
        // Each is an environment of its own.
        let repeats = Arc::clone(&repeats);
        let processor = Idempotent::new(&orders, store.clone(), json_pointer("/id"))
            .remember(remembered)
            .on_repeat(move |_| {
                repeats.fetch_add(1, Ordering::Relaxed);
            });
        assert_eq!(answer(&processor, ORDER).await, "ok");
        assert_eq!(answer(&processor, ORDER).await, "ok");
        assert_eq!(
            answer(&processor, r#"{"id":7,"cents":6}"#).await,
            "permanent(idempotency key was used with another payload)"
        );
        assert_eq!(answer(&processor, "{}").await, "permanent(payload has no idempotency key at \"/id\")");
        let lenient = Idempotent::new(&orders, store.clone(), json_pointer("/id")).ignore_payload();
        assert_eq!(answer(&lenient, r#"{"id":7,"cents":6}"#).await, "ok");
    }
    assert_eq!((orders.calls(), repeats.load(Ordering::Relaxed)), (1, 3));
    let entries = store.entries();
    assert_eq!((entries.len(), entries[0].in_progress_until_ms), (1, None));
    assert!(
        !entries[0].id.contains('7') || entries[0].id.len() == 65,
        "no key in plain text: {}",
        entries[0].id
    );
}

#[cfg(feature = "gzip")]
#[tokio::test]
async fn a_payload_that_was_compressed_again_is_the_same() {
    // `{"id":7}`, compressed at two times.
    let compressed = |second| {
        let mut payload =
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\x56\xca\x4c\x51\xb2\x32\xaf\x05\0\x43\x5f\x07\x12\x08\0\0\0"
                .to_vec();
        payload[4] = second;
        OwnedRecord::new(payload).decompressing()
    };
    let (orders, store) = (Orders::default(), Arc::new(MemoryIdempotency::default()));
    let processor = Idempotent::new(&orders, store, json_pointer("/id"));
    for second in [1, 2] {
        processor.process(compressed(second).as_record()).await.expect("the same order");
    }
    assert_eq!(orders.calls(), 1);
}

#[tokio::test]
async fn a_record_without_a_key_is_always_processed() {
    let (orders, store) = (Orders::default(), Arc::new(MemoryIdempotency::default()));
    let processor = Idempotent::new(&orders, store.clone(), |_: Record<'_>| Ok(None));
    assert_eq!(
        (answer(&processor, ORDER).await, answer(&processor, ORDER).await),
        ("ok".into(), "ok".into())
    );
    assert_eq!((orders.calls(), store.entries().len()), (2, 0));
}

#[tokio::test]
async fn a_failure_forgets_the_key_and_a_crash_keeps_it_until_the_deadline() {
    let (orders, store) = (Orders::default(), Arc::new(MemoryIdempotency::default()));
    let processor = Idempotent::new(&orders, store.clone(), |_: Record<'_>| Ok(Some("key".to_owned())));
    assert_eq!(answer(&processor, "fail").await, "retryable(asked to)");
    assert_eq!(store.entries(), []);
    let panicked = AssertUnwindSafe(answer(&processor, "panic")).catch_unwind().await;
    assert_eq!(panicked.map_err(|panic| panic.downcast_ref::<&str>().copied()), Err(Some("asked to")));
    assert_eq!(store.entries(), []);

    // Dropped in the middle.
    assert!(step(processor.process(order("hang").as_record()), 5).is_none());
    let until_ms = store.entries()[0].in_progress_until_ms.expect("in progress");
    let minutes = until_ms.saturating_sub(SystemClock.epoch_ms()).div_ceil(60_000);
    assert_eq!(minutes, 15, "without a deadline");
    assert_eq!(
        answer(&processor, ORDER).await,
        "not now(another record with the same idempotency key is in progress)"
    );
    let entry = store.entries().remove(0);
    store.release(&entry.id, &entry.owner).await.expect("in memory");
    let over = IdempotencyEntry { in_progress_until_ms: Some(SystemClock.epoch_ms()), ..entry };
    assert_eq!(store.begin(&over, 0).await.expect("in memory"), None);
    assert_eq!(answer(&processor, ORDER).await, "ok");
}

/// A store that fails.
#[derive(Debug)]
struct Broken;

fn broken<'a, T>() -> IdempotencyFuture<'a, T> {
    Box::pin(async { Err(IdempotencyError::Store { source: "no table".into() }) })
}

impl IdempotencyStore for Broken {
    fn begin<'a>(
        &'a self,
        _: &'a IdempotencyEntry,
        _: u64,
    ) -> IdempotencyFuture<'a, Option<IdempotencyEntry>> {
        broken()
    }

    fn complete<'a>(&'a self, _: &'a IdempotencyEntry) -> IdempotencyFuture<'a, ()> {
        broken()
    }

    fn release<'a>(&'a self, _: &'a str, _: &'a str) -> IdempotencyFuture<'a, ()> {
        broken()
    }
}

#[tokio::test]
async fn an_outage_of_the_store_is_not_the_record_s_failure() {
    let orders = Orders::default();
    let processor = Idempotent::new(&orders, Arc::new(Broken), json_pointer("/id"));
    assert_eq!(answer(&processor, ORDER).await, "not now(idempotency store failed: no table)");
    assert_eq!(orders.calls(), 0);
}

#[tokio::test]
async fn the_user_records_of_an_aggregate_have_keys_of_their_own() {
    let (orders, store) = (Orders::default(), Arc::new(MemoryIdempotency::default()));
    let by_position = |record: Record<'_>| Ok(record.idempotency_key().map(|key| key.to_string()));
    let processor = Idempotent::new(&orders, store, by_position);
    let handler = Handler::with_options(processor, options());
    let event = Event::new(vec![aggregate(1, &["same", "same", "fail"])]).to_json();
    for _ in 0..2 {
        let response = handler.handle(&event, &Context::default()).await.expect("a response");
        assert_eq!(json(&response), failure(1));
    }
    // Twice the third one.
    assert_eq!(orders.calls(), 4);
}

/// Polls a future so many times, and drops it. `None` if it has not ended by then.
fn step<F: Future>(future: F, polls: u32) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut context = TaskContext::from_waker(Waker::noop());
    (0..polls).find_map(|_| match future.as_mut().poll(&mut context) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    })
}

/// The twin of a DynamoDB table with claims and totals: it executes the transactions of the processor below.
#[derive(Debug, Default)]
struct Twin {
    /// IDs of claims.
    claims: Mutex<BTreeMap<String, String>>,
    totals: Mutex<BTreeMap<String, u64>>,
    calls: AtomicU64,
}

#[expect(clippy::result_large_err, reason = "the SDK's own error, which `is_claimed` takes")]
impl Twin {
    /// Waits before and after the transaction, which is one step: a crash hits before or after it.
    async fn transact(
        &self,
        items: Vec<TransactWriteItem>,
    ) -> Result<(), SdkError<TransactWriteItemsError, ()>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        yield_now().await;
        let result = self.apply(&items);
        yield_now().await;
        result
    }

    fn apply(&self, items: &[TransactWriteItem]) -> Result<(), SdkError<TransactWriteItemsError, ()>> {
        let mut claims = self.claims.lock().expect("no panic while locked");
        for put in items.iter().filter_map(TransactWriteItem::put) {
            assert_eq!(put.condition_expression(), Some("attribute_not_exists(id)"));
            let id = put.item()["id"].as_s().expect("text");
            if claims.contains_key(id) {
                let reason = |item: &TransactWriteItem| {
                    let code = if item.put().is_some() { "ConditionalCheckFailed" } else { "None" };
                    CancellationReason::builder().code(code).build()
                };
                let cancelled = TransactionCanceledException::builder()
                    .set_cancellation_reasons(Some(items.iter().map(reason).collect()))
                    .meta(ErrorMetadata::builder().code("TransactionCanceledException").build())
                    .build();
                let error = TransactWriteItemsError::TransactionCanceledException(cancelled);
                return Err(SdkError::service_error(error, ()));
            }
        }
        for item in items {
            if let Some(put) = item.put() {
                let id = put.item()["id"].as_s().expect("text").clone();
                claims.insert(id, put.table_name().to_owned());
            }
            if let Some(update) = item.update() {
                assert_eq!(update.update_expression(), "ADD amount :amount");
                let customer = update.key()["customer"].as_s().expect("text").clone();
                let values = update.expression_attribute_values().expect("values");
                let amount: u64 = values[":amount"].as_n().expect("a number").parse().expect("digits");
                *self.totals.lock().expect("no panic while locked").entry(customer).or_default() += amount;
            }
        }
        Ok(())
    }
}

/// Adds the amount of each record to the total of its customer: the example of `Record::claim`.
struct Totals<'t> {
    twin: &'t Twin,
    claims: bool,
}

impl RecordProcessor for Totals<'_> {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let text = record.text()?;
        let (customer, amount) = text.split_once(' ').ok_or_else(|| permanent("no amount"))?;
        let add = Update::builder()
            .table_name("totals")
            .key("customer", AttributeValue::S(customer.to_owned()))
            .update_expression("ADD amount :amount")
            .expression_attribute_values(":amount", AttributeValue::N(amount.to_owned()))
            .build()?;
        let claim = record.claim("claims").filter(|_| self.claims);
        let items = claim.into_iter().chain([TransactWriteItem::builder().update(add).build()]).collect();
        match self.twin.transact(items).await {
            Err(error) if is_claimed(&error, 0) => Ok(()),
            Err(_) => Err(retryable("cancelled")),
            Ok(()) => Ok(()),
        }
    }
}

/// Delivers a batch again and again: the first times it crashes after so many polls. Returns the totals.
fn totals(
    orders: &[Vec<(u8, u8)>],
    crashes: &[u32],
    concurrency: u32,
    claims: bool,
) -> BTreeMap<String, u64> {
    let text = |(customer, amount): &(u8, u8)| format!("customer-{customer} {amount}");
    let records: Vec<_> = (1..)
        .zip(orders)
        .map(|(number, orders)| match &orders[..] {
            [order] => plain(number, &text(order)),
            orders => {
                let texts: Vec<_> = orders.iter().map(text).collect();
                aggregate(number, &texts.iter().map(String::as_str).collect::<Vec<_>>())
            }
        })
        .collect();
    let twin = Twin::default();
    let options =
        || Options::builder().application("orders").concurrency(concurrency).build().expect("legal options");
    let mut batch = &records[..];
    let mut crashes = crashes.iter();
    loop {
        let handler = Handler::with_options(Totals { twin: &twin, claims }, options());
        let (event, context) = (Event::new(batch.to_vec()).to_json(), Context::default());
        let polls = crashes.next().copied().unwrap_or(u32::MAX);
        // A crash or a response that was lost: the mapping delivers the same batch again.
        if let Some(response) = step(handler.handle(&event, &context), polls)
            && crashes.len() == 0
        {
            let response = response.expect("a response");
            match response.batch_item_failure() {
                None => break,
                Some(failed) => {
                    let first = batch.iter().position(|record| record.sequence_number == failed);
                    batch = &batch[first.expect("a record of the batch")..];
                }
            }
        }
    }
    twin.totals.into_inner().expect("no panic while locked")
}

fn fold(orders: &[Vec<(u8, u8)>]) -> BTreeMap<String, u64> {
    let mut totals = BTreeMap::new();
    for (customer, amount) in orders.iter().flatten() {
        *totals.entry(format!("customer-{customer}")).or_default() += u64::from(*amount);
    }
    totals
}

proptest! {
    #[test]
    fn with_a_crash_at_every_await_the_table_is_the_fold_of_the_stream(
        orders in vec(vec((0_u8..3, any::<u8>()), 1..4), 1..5),
        crashes in vec(0_u32..40, 0..8),
        concurrency in 1_u32..4,
    ) {
        prop_assert_eq!(totals(&orders, &crashes, concurrency, true), fold(&orders));
    }
}

#[test]
fn a_crash_at_each_await_of_a_batch_repeats_no_effect_because_of_the_claims() {
    let orders = [vec![(1, 10)], vec![(1, 5), (2, 7)], vec![(2, 1)]];
    for polls in 0..30 {
        assert_eq!(totals(&orders, &[polls], 1, true), fold(&orders), "{polls}");
    }
    // Without a claim, a crash between the effect and the response repeats it.
    assert!((0..30).any(|polls| totals(&orders, &[polls], 1, false) != fold(&orders)));
}

#[tokio::test]
async fn a_claim_names_its_application_and_expires() {
    let claim = Mutex::new(None);
    let processor = async |record: Record<'_>| -> Result<(), ProcessError> {
        *claim.lock().expect("no panic while locked") = record.claim("claims");
        Ok(())
    };
    assert_eq!(handle(&processor, &[plain(7, "a")]).await, SUCCESS);
    let claim = claim.into_inner().expect("no panic while locked").expect("a claim");
    let put = claim.put().expect("a put");
    let id = format!("orders#{STREAM_ARN}#shardId-000000000000#7#0");
    assert_eq!((put.table_name(), put.item()["id"].as_s()), ("claims", Ok(&id)));
    assert_eq!(put.condition_expression(), Some("attribute_not_exists(id)"));
    let expires_s: u64 = put.item()["expiresAt"].as_n().expect("a number").parse().expect("digits");
    let days = (expires_s - SystemClock.epoch_ms() / 1000).div_ceil(86_400);
    assert_eq!(days, 366);
}

/// Within an invocation, a key is in progress until the deadline.
#[tokio::test]
async fn a_key_in_progress_is_bounded_by_the_deadline() {
    let (orders, store) = (Orders::default(), Arc::new(MemoryIdempotency::default()));
    let processor = Idempotent::new(&orders, store.clone(), |_: Record<'_>| Ok(Some("key".to_owned())));
    let handler = Handler::with_options(processor, options());
    let mut context = Context::default();
    context.deadline = SystemClock.epoch_ms() + 300;
    let event = Event::new(vec![plain(1, "hang")]).to_json();
    let begin = Instant::now();
    assert_eq!(json(&handler.handle(&event, &context).await.expect("a response")), failure(1));
    assert!(begin.elapsed() < Duration::from_secs(5));
    let until_ms = store.entries()[0].in_progress_until_ms.expect("in progress");
    assert!(until_ms.abs_diff(context.deadline) < 100, "{until_ms}");
}
