use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use proptest::{collection::vec, prelude::*};

use super::*;

fn digests(implementation: Implementation, messages: &[&[u8]]) -> Vec<[u8; 16]> {
    let mut digests = vec![None; messages.len()];
    Md5Lanes::new(implementation).digest_all(
        messages.len(),
        |position| Some(messages[position]),
        |position, digest| assert_eq!(digests[position].replace(digest), None, "one digest for each message"),
    );
    digests.into_iter().map(|digest| digest.expect("a digest for each message")).collect()
}

/// Digests the messages with all implementations.
#[track_caller]
fn check(messages: &[&[u8]]) {
    let expected: Vec<[u8; 16]> = messages.iter().map(|message| Md5::digest(message).into()).collect();
    for implementation in Implementation::available() {
        assert_eq!(digests(implementation, messages), expected, "{implementation:?}");
    }
}

/// Returns bytes that differ between all places.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32).map(|index| (index.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

#[test]
fn digests_are_those_of_rfc_1321() {
    let messages: [&[u8]; 7] = [
        b"",
        b"a",
        b"abc",
        b"message digest",
        b"abcdefghijklmnopqrstuvwxyz",
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
        b"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
    ];
    let expected = [
        0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e_u128,
        0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661,
        0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72,
        0xf96b_697d_7cb7_938d_525a_2f31_aaf1_61d0,
        0xc3fc_d3d7_6192_e400_7dfb_496c_ca67_e13b,
        0xd174_ab98_d277_d9f5_a561_1c2c_9f41_9d9f,
        0x57ed_f4a2_2be3_c955_ac49_da2e_2107_b67a,
    ]
    .map(u128::to_be_bytes);
    for implementation in Implementation::available() {
        assert_eq!(digests(implementation, &messages), expected, "{implementation:?}");
    }
}

#[test]
fn every_length_has_its_padding() {
    let bytes = bytes(260);
    let messages: Vec<_> = (0..=260).map(|length| &bytes[..length]).collect();
    check(&messages);
}

#[test]
fn any_number_of_messages_is_digested() {
    let bytes = bytes(1000);
    for count in 0..=100 {
        let messages: Vec<_> = (0..count).map(|index| &bytes[index..][..7 * index]).collect();
        check(&messages);
    }
}

#[test]
fn a_long_message_outlives_all_others() {
    let bytes = bytes(4 << 20);
    let mut messages = vec![&bytes[..100]; 40];
    messages[20] = &bytes;
    check(&messages);
}

#[test]
fn a_position_without_a_message_has_no_digest() {
    for implementation in Implementation::available() {
        let mut positions = Vec::new();
        let odd = |position| (position % 2 == 1).then_some(&b"message"[..]);
        Md5Lanes::new(implementation).digest_all(100, odd, |position, _| positions.push(position));
        positions.sort_unstable();
        assert!(positions.into_iter().eq((0..100).filter(|position| position % 2 == 1)));
    }
}

proptest! {
    #[test]
    fn all_implementations_have_the_same_digests(
        ranges in vec(
            (0..64usize, prop_oneof![
                Just(0),
                prop::sample::select(vec![55, 56, 63, 64, 65, 119, 120, 128]),
                0..300usize,
                0..20_000usize,
            ]),
            0..150,
        ),
        seed in any::<u8>(),
    ) {
        let bytes: Vec<u8> = bytes(20_064).into_iter().map(|byte| byte ^ seed).collect();
        let messages: Vec<_> = ranges.iter().map(|&(start, length)| &bytes[start..][..length]).collect();
        check(&messages);
    }
}

/// Run with `cargo test --release -p kpl-deaggregation throughput -- --ignored --nocapture`.
#[test]
#[ignore = "measures the throughput of each implementation"]
#[expect(clippy::print_stdout, reason = "the result of a measurement")]
fn throughput() {
    let bytes = bytes(118 * 50_000);
    let lengths = (0..118).map(|index| 25_000 + index * 7_919 % 25_000);
    let records: Vec<_> = bytes.chunks(50_000).zip(lengths).map(|(chunk, length)| &chunk[..length]).collect();
    let few: Vec<_> = (1..=5).map(|count| vec![&bytes[..25_000]; count]).collect();
    for implementation in Implementation::available() {
        println!("{implementation:?}: {:.2} GB/s", gigabytes_per_second(implementation, &records));
        for messages in &few {
            let speed = gigabytes_per_second(implementation, messages);
            println!("  messages: {}, {speed:.2} GB/s", messages.len());
        }
    }
}

/// Returns the best of many repetitions, because other processes disturb some.
fn gigabytes_per_second(implementation: Implementation, messages: &[&[u8]]) -> f64 {
    let mut lanes = Md5Lanes::new(implementation);
    let mut best = Duration::MAX;
    for _ in 0..100 {
        let mut digests = 0;
        let start = Instant::now();
        lanes.digest_all(messages.len(), |position| Some(messages[position]), |_, _| digests += 1);
        best = best.min(start.elapsed());
        assert_eq!(digests, messages.len());
    }
    let bytes: usize = messages.iter().map(|message| message.len()).sum();
    bytes as f64 / best.as_secs_f64() / 1e9
}
