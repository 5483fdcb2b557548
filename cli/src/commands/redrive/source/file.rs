use std::{cell::RefCell, path::Path};

use kinesis_esm::FailureRecordError;
use serde_json::value::RawValue;

use super::{Found, FoundError, Handle, document};
use crate::{
    error::{Error, json_fault},
    input::Input,
    output::note::count,
};

/// A file with failure records: JSON values one after the other, as `simulate --failures` writes them, or lists and
/// envelopes of them.
#[derive(Debug)]
pub(crate) struct FailureFile {
    found: RefCell<Vec<Found>>,
}

impl FailureFile {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let input = Input::read(path)?;
        let mut found = Vec::new();
        for record in records(&input.bytes) {
            let name = format!("{}#{}", input.name, found.len() + 1);
            found.push(Found { name, record, handle: Handle::None });
        }
        Ok(FailureFile { found: RefCell::new(found) })
    }

    /// Returns all of them, once.
    pub(super) fn take(&self) -> Vec<Found> {
        self.found.take()
    }
}

/// Reads values one after the other. After one that is not JSON, reading resumes at the next line that begins a value.
fn records(json: &[u8]) -> Vec<Result<super::DiscardedRange, FoundError>> {
    let mut records = Vec::new();
    let mut offset = 0;
    // Line breaks before the offset.
    let mut lines_before = 0;
    loop {
        let mut values = serde_json::Deserializer::from_slice(&json[offset..]).into_iter::<&RawValue>();
        let error = loop {
            match values.next() {
                Some(Ok(value)) => records.extend(document::failure_records(value)),
                Some(Err(error)) => break error,
                None => return records,
            }
        };
        let start = offset + values.byte_offset();
        let place = lines_before + error.line();
        let next = next_value(json, start);
        let skipped = line_breaks(&json[start..next]);
        lines_before += line_breaks(&json[offset..next]);
        let skipped = match skipped {
            0 | 1 => String::new(),
            lines => format!("; {} skipped", count(lines as u64, "line")),
        };
        let fault = format!("{} (line {place}, column {}){skipped}", json_fault(&error), error.column());
        records.push(Err(FailureRecordError::Json { fault }.into()));
        offset = next;
    }
}

fn line_breaks(json: &[u8]) -> usize {
    json.iter().filter(|&&byte| byte == b'\n').count()
}

/// Returns the position of the next line that begins an object or an array.
fn next_value(json: &[u8], start: usize) -> usize {
    // The faulty value itself may begin a line: its first byte is passed first.
    let from = (start..json.len()).find(|&at| !json[at].is_ascii_whitespace()).unwrap_or(json.len());
    let begins = |at: &usize| json[at - 1] == b'\n' && matches!(json[*at], b'{' | b'[');
    (from + 1..json.len()).find(begins).unwrap_or(json.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &[&str]) {
        let text = |record: &Result<super::super::DiscardedRange, FoundError>| match record {
            Ok(record) => record.first.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(records(json.as_bytes()).iter().map(text).collect::<Vec<_>>(), expected);
    }

    fn failure(number: u64) -> String {
        let arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";
        serde_json::json!({ "KinesisBatchInfo": { "shardId": "s", "startSequenceNumber": number.to_string(),
            "endSequenceNumber": number.to_string(), "batchSize": 1, "streamArn": arn } })
        .to_string()
    }

    #[test]
    fn what_follows_a_bad_line_is_read() {
        let (a, b) = (failure(1), failure(2));
        check(&format!("{a}\n{b}"), &["1", "2"]);
        check(&format!("{a} {b}\n\n"), &["1", "2"]);
        check("", &[]);
        let fault = "not JSON: key must be a string (line 2, column 2)";
        check(&format!("{a}\n{{oops}}\n{b}\n"), &["1", fault, "2"]);
        check(&format!("{a}\n{{oops}}\nand\nmore"), &["1", &format!("{fault}; 2 lines skipped")]);
        // Killed in the middle of a line.
        let torn = "not JSON: EOF while parsing a string (line 2, column 10)";
        check(&format!("{a}\n{}", &b[..10]), &["1", torn]);
        // Lines are counted once, however many are bad.
        let bad = "{oops}\n".repeat(200_000);
        let began = std::time::Instant::now();
        let errors = records(bad.as_bytes());
        let last = errors.last().map(|error| error.as_ref().map(drop).map_err(ToString::to_string));
        assert_eq!(last, Some(Err("not JSON: key must be a string (line 200000, column 2)".to_owned())));
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
        // Two bad lines are two.
        let second = "not JSON: key must be a string (line 3, column 2)";
        check(&format!("{a}\n{{oops}}\n{{oops}}\n{b}"), &["1", fault, second, "2"]);
    }
}
