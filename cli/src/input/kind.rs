use std::borrow::Cow;

use super::{
    Input, base64_text,
    document::{Document, DocumentKind},
};
use crate::{
    args::InputKind,
    error::{self, Error, Mismatch},
    kinesis_record::KinesisRecord,
    note::note,
};

const EVENT: &str = "a Lambda event";
const RECORDS: &str = "get-records output";
const BASE64: &str = "base64";
const RAW: &str = "raw bytes";

/// The Kinesis records of an input that is of this kind.
pub(crate) fn kinesis_records(input: &Input, kind: InputKind) -> Result<Vec<KinesisRecord<'_>>, Error> {
    let bytes = &input.bytes[..];
    let (expected, records) = match kind {
        InputKind::Auto => {
            let (records, taken_as) = recognise(bytes);
            note(format_args!("took {} as {taken_as}", input.name));
            return Ok(records);
        }
        InputKind::Event => (EVENT, of_document(bytes, DocumentKind::Event)),
        InputKind::Records => (RECORDS, of_document(bytes, DocumentKind::Records)),
        InputKind::Base64 => (BASE64, base64_text::decode(bytes).map(of_data)),
        InputKind::Raw => (RAW, Ok(of_data(bytes))),
    };
    records.map_err(|source| Error::Input { input: input.name.clone(), expected, source })
}

fn of_document(json: &[u8], kind: DocumentKind) -> Result<Vec<KinesisRecord<'_>>, Mismatch> {
    let document = Document::parse(json)?;
    match kind {
        _ if document.has(kind) => Ok(document.into_kinesis_records(kind)),
        DocumentKind::Event => Err(Mismatch::NoEventRecords),
        DocumentKind::Records => Err(Mismatch::NoApiRecords),
    }
}

fn of_data<'a>(data: impl Into<Cow<'a, [u8]>>) -> Vec<KinesisRecord<'a>> {
    vec![KinesisRecord::of_data(data)]
}

/// Takes the input as the first kind that fits, and says as what.
fn recognise(bytes: &[u8]) -> (Vec<KinesisRecord<'_>>, String) {
    if bytes.is_empty() {
        return (of_data(bytes), "one record without data: it is empty".to_owned());
    }
    let no_document = match Document::parse(bytes).and_then(|document| Ok((document.kind()?, document))) {
        Ok((DocumentKind::Event, document)) => {
            return (document.into_kinesis_records(DocumentKind::Event), EVENT.to_owned());
        }
        Ok((DocumentKind::Records, document)) => {
            return (document.into_kinesis_records(DocumentKind::Records), RECORDS.to_owned());
        }
        Err(mismatch) => mismatch,
    };
    let no_base64 = match base64_text::decode(bytes) {
        Ok(data) => return (of_data(data), BASE64.to_owned()),
        Err(mismatch) => mismatch,
    };
    // Why it is not what was probably meant.
    let is_like_json = bytes.trim_ascii_start().starts_with(b"{");
    let reason = error::chain(if is_like_json { &no_document } else { &no_base64 });
    (of_data(bytes), format!("{RAW} ({reason})"))
}
