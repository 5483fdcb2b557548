//! Claims and idempotency keys in a real DynamoDB API.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        TransactWriteItem, Update,
    },
};
use kinesis_handler::{
    CircuitBreaker, Context, Event, Handler, KinesisRecord, Options, OwnedRecord, ProcessError, Record,
    RecordProcessor,
    circuit::DynamoDbCircuits,
    idempotency::{DynamoDbIdempotency, Idempotent, is_claimed, json_pointer},
    retryable,
};

use crate::moto::{self, Moto};

const TABLE: &str = "effects";

async fn start() -> (Moto, Client) {
    let moto = Moto::start();
    let client = Client::new(&moto::config(moto.port).await);
    let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash);
    client
        .create_table()
        .table_name(TABLE)
        .attribute_definitions(id.build().expect("name and type"))
        .key_schema(key.build().expect("name and type"))
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .expect("moto makes a table");
    (moto, client)
}

/// Adds the record's number to a total, and then fails if the text says so: the response is lost.
struct Totals {
    client: Client,
    failures: AtomicU32,
}

impl RecordProcessor for &Totals {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let add = Update::builder()
            .table_name(TABLE)
            .key("id", AttributeValue::S("total".to_owned()))
            .update_expression("ADD amount :amount")
            .expression_attribute_values(":amount", AttributeValue::N(record.parse::<u64>()?.to_string()))
            .build()?;
        let claim = record.claim(TABLE).ok_or_else(|| retryable("no key"))?;
        let items = vec![claim, TransactWriteItem::builder().update(add).build()];
        match self.client.transact_write_items().set_transact_items(Some(items)).send().await {
            Err(error) if is_claimed(&error, 0) => return Ok(()),
            sent => drop(sent?),
        }
        match self.failures.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Err(retryable("failed after the effect")),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn an_effect_with_a_claim_happens_once() {
    let (_moto, client) = start().await;
    let totals = Totals { client: client.clone(), failures: AtomicU32::new(0) };
    let options = Options::builder().application("orders").build().expect("legal options");
    let handler = Handler::with_options(&totals, options);
    let records: Vec<_> = (1..=4_u64)
        .map(|number| {
            let sequence_number = number.to_string().parse().expect("digits");
            let mut record = KinesisRecord::new(sequence_number, "key", number.to_string().as_bytes());
            record.shard_id = Some("shardId-000000000000".into());
            record.event_source_arn = Some("arn:aws:kinesis:us-east-1:123456789012:stream/orders".into());
            record
        })
        .collect();
    let event = Event::new(records).to_json();
    let mut invocations = 1;
    // Always the whole batch, as after a crash.
    while handler
        .handle(&event, &Context::default())
        .await
        .expect("a response")
        .batch_item_failure()
        .is_some()
    {
        invocations += 1;
    }
    assert_eq!(invocations, 3);
    let total = client.get_item().table_name(TABLE).key("id", AttributeValue::S("total".to_owned()));
    let total = total.consistent_read(true).send().await.expect("moto answers").item.expect("a total");
    assert_eq!(total["amount"], AttributeValue::N("10".to_owned()));
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn keys_in_the_table_are_of_all_environments() {
    let (moto, client) = start().await;
    let store = Arc::new(DynamoDbIdempotency::with_config(TABLE, moto::config(moto.port).await));
    let calls = AtomicU32::new(0);
    let process = async |record: Record<'_>| -> Result<(), ProcessError> {
        match calls.fetch_add(1, Ordering::Relaxed) {
            0 => Err(retryable("asked to")),
            _ if record.data().ends_with(b" ") => std::future::pending().await,
            _ => Ok(()),
        }
    };
    let environment = || Idempotent::new(&process, store.clone(), json_pointer("/id"));
    let answer = async |text: &str| {
        let record = OwnedRecord::new(text);
        let result = environment().process(record.as_record()).await;
        result.map_or_else(|error| format!("{error:?}"), |()| "ok".to_owned())
    };
    let order = r#"{"id":1,"cents":5}"#;
    assert_eq!(answer(order).await, "retryable(asked to)");
    assert_eq!((answer(order).await, answer(order).await), ("ok".to_owned(), "ok".to_owned()));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    assert_eq!(
        answer(r#"{"id":1,"cents":6}"#).await,
        "permanent(idempotency key was used with another payload)"
    );
    // Dropped while it is processed, as by the deadline guard or a crash.
    let (crashed, record) = (environment(), OwnedRecord::new(r#"{"id":2} "#));
    let crashed = crashed.process(record.as_record());
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), crashed).await;
    assert_eq!(
        answer(r#"{"id":2}"#).await,
        "not now(another record with the same idempotency key is in progress)"
    );
    let entries = client.scan().table_name(TABLE).send().await.expect("moto answers");
    assert_eq!(entries.count, 2);
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn circuits_in_the_table_keep_the_contract() {
    let (moto, _) = start().await;
    let store = DynamoDbCircuits::with_config(TABLE, moto::config(moto.port).await);
    kinesis_handler::contract::check_circuits(&store).await;
}

#[tokio::test]
#[ignore = "needs moto: make test"]
async fn a_circuit_in_the_table_is_that_of_all_environments() {
    let (moto, client) = start().await;
    let config = moto::config(moto.port).await;
    let (calls, is_down) = (AtomicU32::new(0), AtomicBool::new(true));
    let process = async |_: Record<'_>| -> Result<(), ProcessError> {
        calls.fetch_add(1, Ordering::Relaxed);
        match is_down.load(Ordering::Relaxed) {
            true => Err(retryable("down")),
            false => Ok(()),
        }
    };
    let open_time = std::time::Duration::from_secs(2);
    let environment = || {
        // Each with a connection of its own.
        let store = Arc::new(DynamoDbCircuits::with_config(TABLE, config.clone()));
        CircuitBreaker::new(&process).max_failures(1).open_time(open_time).shared_in(store, "warehouse")
    };
    let [first, second] = [environment(), environment()];
    let mut invocation = 0;
    let mut is_processed = async |breaker: &CircuitBreaker<_>| {
        invocation += 1;
        let record = OwnedRecord::new("a").with_request_id(invocation.to_string());
        breaker.process(record.as_record()).await.is_ok()
    };
    assert!(!is_processed(&first).await);
    let item = client.scan().table_name(TABLE).send().await.expect("moto answers").items.unwrap_or_default();
    assert_eq!(item.len(), 1);
    assert_eq!(item[0]["error"], AttributeValue::S("down".to_owned()));
    assert!(!is_processed(&second).await);
    assert_eq!(calls.load(Ordering::Relaxed), 1);

    is_down.store(false, Ordering::Relaxed);
    tokio::time::sleep(open_time).await;
    assert!(is_processed(&second).await);
    assert!(is_processed(&first).await);
    assert_eq!(client.scan().table_name(TABLE).send().await.expect("moto answers").count, 0);

    // Without the table, records are processed.
    client.delete_table().table_name(TABLE).send().await.expect("moto answers");
    assert!(is_processed(&first).await && is_processed(&second).await);
}
