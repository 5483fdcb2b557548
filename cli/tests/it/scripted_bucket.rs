use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, MutexGuard},
};

use serde_json::json;

use crate::scripted_kinesis::Answer;

/// The name of the bucket.
pub(crate) const BUCKET: &str = "failures";

/// A bucket in memory, as far as `redrive` uses the API of S3.
#[derive(Debug, Default)]
pub(crate) struct ScriptedBucket {
    objects: Mutex<BTreeMap<String, String>>,
}

impl ScriptedBucket {
    pub(crate) fn of<K: Into<String>>(objects: impl IntoIterator<Item = (K, String)>) -> Self {
        let objects = objects.into_iter().map(|(key, body)| (key.into(), body)).collect();
        ScriptedBucket { objects: Mutex::new(objects) }
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// The key of a request for an object.
    pub(crate) fn key(operation: &str) -> Option<String> {
        Some(decode(operation.split_once(&format!("/{BUCKET}/"))?.1)).filter(|key| !key.is_empty())
    }

    /// Returns the answer of the API; `None` if the request is not about the bucket.
    pub(crate) fn answer(&self, operation: &str) -> Option<Answer> {
        match (operation.split_once(' ').map_or("GET", |(method, _)| method), Self::key(operation)) {
            ("GET", None) if operation.starts_with(&format!("/{BUCKET}")) => Some((200, json!(self.list()))),
            ("GET", Some(key)) => Some(match self.lock().get(&key) {
                Some(body) => (200, json!(body)),
                None => failure(404, "NoSuchKey"),
            }),
            ("DELETE", Some(key)) => {
                self.lock().remove(&key);
                Some((204, json!("")))
            }
            _ => None,
        }
    }

    fn list(&self) -> String {
        let mut xml =
            "<ListBucketResult><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>".to_owned();
        for (key, body) in self.lock().iter() {
            let mut encoded = String::new();
            for byte in key.bytes() {
                if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
                    encoded.push(char::from(byte));
                } else {
                    write!(encoded, "%{byte:02X}").expect("a String takes everything");
                }
            }
            let size = body.len();
            write!(xml, "<Contents><Key>{encoded}</Key><Size>{size}</Size></Contents>")
                .expect("a String takes everything");
        }
        xml + "</ListBucketResult>"
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.objects.lock().expect("no panic while locked")
    }
}

/// An error as S3 answers it.
pub(crate) fn failure(status: u16, code: &str) -> Answer {
    (status, json!(format!("<Error><Code>{code}</Code><Message>asked to</Message></Error>")))
}

fn decode(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digits = str::from_utf8(&after[..2]).expect("ASCII");
            bytes.push(u8::from_str_radix(digits, 16).expect("hexadecimal digits"));
            rest = &after[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}
