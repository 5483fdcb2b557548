//! The write capacity of a partition of a DynamoDB table.

use std::time::Instant;

use base64::prelude::*;
use serde_json::Value;

/// The write units that all items of one partition key share: so many in a second, and a burst that was not used before.
///
/// A request is taken as long as anything is left, also if it needs more. A unit is 1 KB of an item, in a transaction half
/// of that.
#[derive(Debug)]
pub(crate) struct Capacity {
    per_second: f64,
    burst: f64,
    left: f64,
    as_of: Instant,
    written: Vec<String>,
}

impl Capacity {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let burst = f64::from(burst);
        Capacity {
            per_second: per_second.into(),
            burst,
            left: burst,
            as_of: Instant::now(),
            written: Vec::new(),
        }
    }

    /// Whether a request is taken. What is no write of items always is.
    pub(crate) fn takes(&mut self, request: &Value) -> bool {
        let (items, factor) = match (&request["Item"], request["TransactItems"].as_array()) {
            (_, Some(items)) => (items.iter().map(|item| &item["Put"]["Item"]).collect(), 2),
            (Value::Object(_), None) => (vec![&request["Item"]], 1),
            _ => return true,
        };
        let now = Instant::now();
        let gained = now.duration_since(self.as_of).as_secs_f64() * self.per_second;
        self.left = (self.left + gained).min(self.burst);
        self.as_of = now;
        if self.left <= 0.0 {
            return false;
        }
        let units: usize = items.iter().map(|item| bytes_of_map(item).div_ceil(1024) * factor).sum();
        self.left -= units as f64;
        let key = |item: &&Value| item["sk"]["S"].as_str().unwrap_or_default().to_owned();
        self.written.extend(items.iter().map(key));
        true
    }

    pub(crate) fn written(&self) -> &[String] {
        &self.written
    }
}

fn bytes_of_map(map: &Value) -> usize {
    map.as_object().into_iter().flatten().map(|(name, value)| name.len() + bytes(value)).sum()
}

/// The size of an attribute's value, about as DynamoDB counts it.
fn bytes(value: &Value) -> usize {
    let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else { return 0 };
    let text = |value: &Value| value.as_str().map_or(0, str::len);
    match kind.as_str() {
        "B" => BASE64_STANDARD.decode(value.as_str().unwrap_or_default()).map_or(0, |bytes| bytes.len()),
        "SS" => value.as_array().into_iter().flatten().map(text).sum(),
        "M" => 3 + bytes_of_map(value),
        _ => text(value),
    }
}
