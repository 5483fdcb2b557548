//! Whatever protobuf message a frame holds, the crate keeps its promises and agrees with prost wherever prost can read
//! it; whatever data a Kinesis record has, nothing of a plain one is lost.
//!
//! Run with `make fuzz`.

#![no_main]

use kpl_deaggregation::{Content, Deaggregator, InvalidAggregatePolicy};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/oracle.rs"]
mod oracle;

fuzz_target!(|input: &[u8]| {
    oracle::assert_agrees_with_prost(input);

    let mut deaggregator = Deaggregator::new(InvalidAggregatePolicy::Raw);
    let user_records =
        deaggregator.deaggregate(b"key", input).expect("no frame is an error with this policy");
    if user_records.content() != Content::Aggregated {
        assert!(user_records.map(|user_record| user_record.data).eq([input]));
    }
});
