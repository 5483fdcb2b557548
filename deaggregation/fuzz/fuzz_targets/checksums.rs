//! Whatever Kinesis records there are, their checksums are the same with all vector instructions, with AVX2 at most, and without.
//!
//! Run with `make fuzz`.

#![no_main]

use kpl_deaggregation::{Checksum, ChecksumVerifier, VectorInstructions};
use libfuzzer_sys::fuzz_target;
use md5::{Digest, Md5};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// Takes a record off the front of the input: its kind, the length of a text, how often that is repeated, and the text.
fn take_record(input: &mut &[u8]) -> Option<(Vec<u8>, Checksum)> {
    let [kind, length, times, rest @ ..] = *input else { return None };
    let (text, rest) = rest.split_at(usize::from(*length).min(rest.len()));
    *input = rest;
    let message = text.repeat(usize::from(*times));
    let mut digest = Md5::digest(&message);
    let checksum = match kind % 3 {
        0 => Checksum::Matches,
        1 => {
            digest[usize::from(kind % 16)] ^= 1 << (kind >> 5);
            Checksum::Mismatch
        }
        _ => return Some((message, Checksum::NotAggregated)).filter(|(data, _)| !data.starts_with(&MAGIC)),
    };
    // Data of no more than 20 bytes is a plain record.
    let checksum = if message.is_empty() { Checksum::NotAggregated } else { checksum };
    Some(([&MAGIC[..], &message, &digest].concat(), checksum))
}

fuzz_target!(|input: &[u8]| {
    let mut input = input;
    let (records, expected): (Vec<_>, Vec<_>) = std::iter::from_fn(|| take_record(&mut input)).unzip();
    let records: Vec<_> = records.iter().map(Vec::as_slice).collect();
    for instructions in [VectorInstructions::All, VectorInstructions::Avx2, VectorInstructions::None] {
        let mut verifier = ChecksumVerifier::with_vector_instructions(instructions);
        assert_eq!(verifier.verify(&records), expected, "{instructions:?}");
    }
});
