//! The hash-range filter with the shards of a stand-in for Kinesis, before and after a reshard.

use std::sync::Arc;

use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
};
use kinesis_handler::{
    Context, Event, Handler, KinesisRecord, Options, ProcessError, Record,
    hash_range::{KinesisShardRanges, ShardRangeSource, StreamRanges},
};
use kpl_deaggregation::{HashKeyRange, UserRecord, encode};
use tokio::runtime::Runtime;

use crate::kinesis::Kinesis;

const STREAM: &str = "orders";
const STREAM_ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
const PARENT: &str = "shardId-000000000000";

fn source(kinesis: &Kinesis) -> KinesisShardRanges {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .endpoint_url(kinesis.url())
        .build();
    KinesisShardRanges::with_client(Client::from_conf(config))
}

#[test]
#[ignore = "needs kinesis-local: make test"]
fn user_records_that_a_reshard_has_put_into_the_wrong_shard_are_passed_over() {
    let kinesis = Kinesis::start();
    kinesis.create_stream(STREAM, 1);
    let runtime = Runtime::new().expect("a runtime");
    let process = async |record: Record<'_>| -> Result<(), ProcessError> {
        record.text()?;
        Ok(())
    };
    let environment = || {
        let options = Options::builder().hash_range_filter(Arc::new(source(&kinesis)));
        Handler::with_options(process, options.build().expect("legal options"))
    };
    // User records at both ends of the hash key space.
    let last = u128::MAX.to_string();
    let user_records = [("a", "0"), ("b", &*last), ("c", "1")].map(|(data, hash_key)| {
        let mut user_record = UserRecord::new(b"key", data.as_bytes());
        user_record.explicit_hash_key = Some(hash_key.as_bytes());
        user_record
    });
    let data = encode(user_records).expect("user records");
    let check = |environment: &Handler<_>, shard_id: &str, expected| {
        let mut record = KinesisRecord::new("1".parse().expect("digits"), "a", &data);
        record.event_source_arn = Some(STREAM_ARN.into());
        record.shard_id = Some(shard_id.to_owned().into());
        let event = Event::new(vec![record]).to_json();
        let response = runtime.block_on(environment.handle(&event, &Context::default()));
        let counts = *response.expect("a response").counts();
        assert_eq!(
            (counts.user_records, counts.out_of_range, counts.hash_range_errors),
            expected,
            "{shard_id}"
        );
    };
    check(&environment(), PARENT, (3, 0, 0));

    kinesis.split_shard(STREAM, PARENT);
    let listed = runtime.block_on(source(&kinesis).list(STREAM_ARN)).expect("the stream is there");
    let StreamRanges::Shards(mut shards) = listed else { panic!("{listed:?}") };
    shards.sort_by_key(|shard| shard.range.start());
    let ids: Vec<_> = shards.iter().map(|shard| &*shard.shard_id).collect();
    assert_eq!(ids.len(), 3);
    assert!(shards.iter().any(|shard| shard.shard_id == PARENT && shard.range == HashKeyRange::FULL));
    let environment = environment();
    check(&environment, "shardId-000000000001", (2, 1, 0));
    check(&environment, "shardId-000000000002", (1, 2, 0));
    check(&environment, PARENT, (3, 0, 0));
}
