use std::{borrow::Cow, io};

use serde::de::IgnoredAny;

use super::{
    Input, base64_text,
    document::{Documents, Form},
};
use crate::{
    args::InputKind,
    error::{self, Error, Mismatch},
    input::kinesis_record::KinesisRecord,
    output::note::note,
};

const RAW: &str = "raw bytes";

/// Returns the Kinesis records of an input of this kind. `text` is the input's text.
pub(crate) fn kinesis_records<'a>(
    input: &'a Input,
    text: &'a io::Result<Vec<u8>>,
    kind: InputKind,
) -> Result<Vec<KinesisRecord<'a>>, Error> {
    let bytes = &input.bytes[..];
    let text = match (kind, text) {
        (InputKind::Raw, _) => return Ok(of_data(bytes)),
        (_, Ok(text)) => &text[..],
        (InputKind::Auto, Err(error)) => {
            note(format_args!("took {} as {RAW} ({error})", input.name));
            return Ok(of_data(bytes));
        }
        (_, Err(error)) => {
            let source = io::Error::new(error.kind(), error.to_string());
            return Err(Error::Read { input: input.name.clone(), source });
        }
    };
    let (expected, records) = match kind {
        InputKind::Event => ("a Lambda event", of_event(text)),
        InputKind::Records => ("get-records output", of_get_records(text)),
        InputKind::Base64 => ("base64", base64_text::decode(text).map(of_all_data)),
        InputKind::Auto | InputKind::Raw => {
            let recognised = recognise(bytes, text).map(|(records, taken_as)| {
                note(format_args!("took {} as {taken_as}", input.name));
                records
            });
            ("Kinesis records", recognised)
        }
    };
    records.map_err(|source| Error::Input { input: input.name.clone(), expected, source })
}

/// Returns whether the text is one Lambda event, or one that EventBridge Pipes delivers, and nothing else. Its records may be
/// invalid.
pub(crate) fn is_event(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
        && Documents::parse(text).is_ok_and(|documents| documents.is_event())
}

fn of_event(text: &[u8]) -> Result<Vec<KinesisRecord<'_>>, Mismatch> {
    let Documents { records, forms, .. } = Documents::parse(text)?;
    let is_event = |form: &Form| matches!(form, Form::Event | Form::Pipe);
    if records.is_empty() || forms.iter().all(is_event) { Ok(records) } else { Err(Mismatch::NoEventRecords) }
}

fn of_get_records(text: &[u8]) -> Result<Vec<KinesisRecord<'_>>, Mismatch> {
    let Documents { records, forms, .. } = Documents::parse(text)?;
    let is_of_api = |form: &Form| *form == Form::GetRecords;
    if records.is_empty() || forms.iter().all(is_of_api) { Ok(records) } else { Err(Mismatch::NoApiRecords) }
}

fn of_data<'a>(data: impl Into<Cow<'a, [u8]>>) -> Vec<KinesisRecord<'a>> {
    vec![KinesisRecord::of_data(data)]
}

fn of_all_data<'a>(data: Vec<Vec<u8>>) -> Vec<KinesisRecord<'a>> {
    data.into_iter().map(KinesisRecord::of_data).collect()
}

/// Returns whether the text has several lines, each of which is a JSON object.
fn has_payload_lines(text: &[u8]) -> bool {
    let mut lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let is_object =
        |line: &[u8]| line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok();
    lines.clone().nth(1).is_some() && lines.all(is_object)
}

/// Reads the input as the first kind that fits, and names that kind.
///
/// # Errors
///
/// A [`Mismatch`] that names the kind of the input, if that kind holds no Kinesis records.
fn recognise<'a>(bytes: &'a [u8], text: &'a [u8]) -> Result<(Vec<KinesisRecord<'a>>, String), Mismatch> {
    // Also if there is a byte order mark.
    if text.is_empty() {
        return Ok((Vec::new(), "empty".to_owned()));
    }
    let no_document = match Documents::parse(text) {
        Ok(documents) => {
            let taken_as = documents.to_string();
            return Ok((documents.records, taken_as));
        }
        Err(mismatch) if mismatch.is_certain() => return Err(mismatch),
        Err(mismatch) => mismatch,
    };
    let no_base64 = match base64_text::decode(text) {
        Ok(data) => {
            let taken_as = match data.len() {
                1 => "base64".to_owned(),
                records => format!("the base64 of {records} records"),
            };
            return Ok((of_all_data(data), taken_as));
        }
        Err(mismatch) => mismatch,
    };
    let start = text.trim_ascii_start().first();
    let is_json =
        !matches!(no_document, Mismatch::Json(_)) || start.is_some_and(|byte| b"{[\"".contains(byte));
    let reason = error::chain(if is_json { &no_document } else { &no_base64 });
    let lines = match has_payload_lines(text) {
        true => {
            "; if each line is a payload, name the field of its partition key: kinesis-kit aggregate --key FIELD packs them, \
             kinesis-kit invoke --key FIELD delivers them"
        }
        false => "",
    };
    Ok((of_data(bytes), format!("{RAW} ({reason}){lines}")))
}
