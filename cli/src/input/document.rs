use std::fmt;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Deserializer, value::RawValue};

use super::{
    base64_text,
    member::{self, object},
    record::RawRecord,
};
use crate::{
    error::{Mismatch, chain},
    input::kinesis_record::{InvalidRecord, KinesisRecord},
};

/// Number of documents that may be inside each other: a payload in a failure record in an SNS message in an SQS event
/// are nine.
const MAX_DEPTH: usize = 12;

/// Messages of the MultiLangDaemon that hold no records, as JSON.
///
/// <https://github.com/awslabs/amazon-kinesis-client/tree/master/amazon-kinesis-client-multilang>
const DAEMON_ACTIONS: [&str; 6] = [
    r#""initialize""#,
    r#""leaseLost""#,
    r#""shardEnded""#,
    r#""checkpoint""#,
    r#""shutdown""#,
    r#""shutdownRequested""#,
];

/// The form in which a document holds Kinesis records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Event,
    GetRecords,
    Pipe,
    Firehose,
    Analytics,
    Daemon,
    Flat,
    Base64,
    /// A list without anything in it.
    Empty,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Event => "a Lambda event",
            Form::GetRecords => "get-records output",
            Form::Pipe => "an event of EventBridge Pipes",
            Form::Firehose => "a Firehose event",
            Form::Analytics => "a Kinesis Data Analytics event",
            Form::Daemon => "messages to a MultiLangDaemon client",
            Form::Flat => "a list of records",
            Form::Base64 => "base64",
            Form::Empty => "an empty list",
        })
    }
}

/// The Kinesis records of a JSON text.
#[derive(Debug, Default)]
pub(super) struct Documents<'a> {
    pub(super) records: Vec<KinesisRecord<'a>>,
    /// The form of each document that was read, without repetitions.
    pub(super) forms: Vec<Form>,
    /// The documents around it, from the inside out.
    carriers: Vec<&'static str>,
}

/// Names the forms, and what they were in.
impl fmt::Display for Documents<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, form) in self.forms.iter().enumerate() {
            let separator = if index == 0 { "" } else { " and " };
            write!(f, "{separator}{form}")?;
        }
        self.carriers.iter().try_for_each(|carrier| write!(f, " in {carrier}"))
    }
}

/// The members by which a JSON object shows what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline<'a> {
    #[serde(borrow, rename = "Records")]
    upper_records: Option<&'a RawValue>,
    #[serde(rename = "NextShardIterator")]
    next_shard_iterator: Option<IgnoredAny>,
    #[serde(rename = "MillisBehindLatest")]
    millis_behind_latest: Option<IgnoredAny>,

    #[serde(borrow)]
    records: Option<&'a RawValue>,
    delivery_stream_arn: Option<IgnoredAny>,
    application_arn: Option<IgnoredAny>,
    /// Member of a message from the MultiLangDaemon.
    #[serde(borrow)]
    action: Option<&'a RawValue>,

    /// Member of a failure record; the payload is there if it comes from S3.
    #[serde(rename = "KinesisBatchInfo")]
    kinesis_batch_info: Option<IgnoredAny>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,

    /// Member of `aws sqs receive-message`, and of each message in it.
    #[serde(borrow, rename = "Messages")]
    messages: Option<&'a RawValue>,
    #[serde(borrow, rename = "Body")]
    upper_body: Option<&'a RawValue>,
    /// Member of an SQS record.
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    /// Member of an SNS record, and of its content.
    #[serde(borrow, rename = "Sns")]
    sns: Option<&'a RawValue>,
    #[serde(borrow, rename = "Message")]
    message: Option<&'a RawValue>,
    #[serde(rename = "TopicArn")]
    topic_arn: Option<IgnoredAny>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
    #[serde(borrow)]
    request_payload: Option<&'a RawValue>,

    #[serde(borrow, alias = "EventSource")]
    event_source: Option<&'a RawValue>,
}

impl<'a> Documents<'a> {
    /// Reads JSON: one document, or several one after the other.
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, Mismatch> {
        Self::at_depth(json, 0)
    }

    /// Whether there is nothing but an event, not carried by anything else.
    pub(super) fn is_event(&self) -> bool {
        matches!(self.forms[..], [Form::Event | Form::Pipe]) && self.carriers.is_empty()
    }

    fn at_depth(json: &'a [u8], depth: usize) -> Result<Self, Mismatch> {
        let values: Vec<&'a RawValue> =
            Deserializer::from_slice(json).into_iter().collect::<Result<_, _>>().map_err(Mismatch::Json)?;
        match values[..] {
            [] => {
                let nothing = serde_json::from_slice::<IgnoredAny>(json);
                Err(nothing.map_or_else(Mismatch::Json, |_| Mismatch::NoRecords))
            }
            [value] => Self::of_value(value, depth),
            _ => Self::of_list(&values, depth),
        }
    }

    fn of_value(value: &'a RawValue, depth: usize) -> Result<Self, Mismatch> {
        if depth == MAX_DEPTH {
            return Err(Mismatch::TooDeep);
        }
        match member::found(value) {
            "an object" => Self::of_object(value, depth),
            "an array" => Self::of_list(&elements(value)?, depth),
            "text" => Self::of_text(value, depth),
            found => Err(Mismatch::Value { found }),
        }
    }

    fn of_object(value: &'a RawValue, depth: usize) -> Result<Self, Mismatch> {
        let outline: Outline<'a> =
            object(value, "document").map_err(|invalid| Mismatch::Object(Box::new(invalid)))?;
        if let Some(records) = outline.upper_records {
            let records = list_in("Records", records)?;
            let is_of_get_records =
                outline.next_shard_iterator.is_some() || outline.millis_behind_latest.is_some();
            if records.is_empty() {
                let form = if is_of_get_records { Form::GetRecords } else { Form::Event };
                return Ok(Documents::of_form(form, Vec::new()));
            }
            let (raw, form) = recognise(&records, 1);
            return match form {
                Some(form) => Ok(Documents::of_form(form, raw)),
                None => Self::of_documents(&records, depth),
            };
        }
        if let Some(records) = outline.records {
            let records = list_in("records", records)?;
            let form = match &outline {
                Outline { delivery_stream_arn: Some(_), .. } => Form::Firehose,
                Outline { application_arn: Some(_), .. } => Form::Analytics,
                Outline { action: Some(_), .. } => Form::Daemon,
                _ => Form::Flat,
            };
            let (raw, recognised) = recognise(&records, 1);
            return match recognised {
                Some(Form::Flat) => Ok(Documents::of_form(form, raw)),
                Some(other) => Ok(Documents::of_form(other, raw)),
                None if records.is_empty() => Ok(Documents::of_form(form, raw)),
                None => Self::of_documents(&records, depth),
            };
        }
        if let Some(messages) = outline.messages {
            return Self::of_documents(&list_in("Messages", messages)?, depth);
        }
        if outline.kinesis_batch_info.is_some() {
            let payload = outline.payload.ok_or(Mismatch::FailureRecord)?;
            return Self::carried(payload, "a failure record", depth);
        }
        let carriers = [
            (outline.body.or(outline.upper_body), "an SQS message"),
            (outline.sns, "an SNS event"),
            (outline.message.filter(|_| outline.topic_arn.is_some()), "an SNS message"),
            (outline.detail, "an EventBridge event"),
            (outline.request_payload, "a record of an asynchronous invocation"),
        ];
        if let Some((content, carrier)) =
            carriers.into_iter().find_map(|(content, carrier)| Some((content?, carrier)))
        {
            return Self::carried(content, carrier, depth);
        }
        let (raw, form) = recognise(&[value], 2);
        if let Some(form) = form {
            return Ok(Documents::of_form(form, raw));
        }
        if outline.action.is_some_and(|action| DAEMON_ACTIONS.contains(&action.get())) {
            return Ok(Documents::of_form(Form::Daemon, Vec::new()));
        }
        match outline.event_source.map(RawValue::get) {
            Some(source) if source.starts_with('"') && source != r#""aws:kinesis""# => {
                Err(Mismatch::OtherSource { source_name: source.chars().take(64).collect() })
            }
            _ => Err(if depth == 0 { Mismatch::NoRecords } else { Mismatch::NoRecord }),
        }
    }

    /// Reads the elements of an array, or documents that follow each other.
    fn of_list(values: &[&'a RawValue], depth: usize) -> Result<Self, Mismatch> {
        let (raw, form) = recognise(values, 2);
        match form {
            _ if values.is_empty() => Ok(Documents::of_form(Form::Empty, Vec::new())),
            Some(form) => Ok(Documents::of_form(form, raw)),
            None => Self::of_documents(values, depth),
        }
    }

    /// Reads each value by itself. One that cannot be read is an invalid record, unless no other can, either.
    fn of_documents(values: &[&'a RawValue], depth: usize) -> Result<Self, Mismatch> {
        let mut all = Documents::default();
        let mut mismatch = None;
        for (index, value) in values.iter().enumerate() {
            match Self::of_value(value, depth + 1) {
                Ok(documents) => all.append(documents),
                Err(source) => {
                    let invalid = InvalidRecord::Document { reason: chain(&source) };
                    all.records.push(KinesisRecord::invalid(invalid));
                    mismatch.get_or_insert(Mismatch::Element { index, source: Box::new(source) });
                }
            }
        }
        match mismatch {
            Some(mismatch) if all.forms.is_empty() => Err(mismatch),
            _ => Ok(all),
        }
    }

    /// Reads what another document carries, as it is or as text.
    fn carried(content: &'a RawValue, carrier: &'static str, depth: usize) -> Result<Self, Mismatch> {
        match Self::of_value(content, depth + 1) {
            Ok(mut documents) => {
                documents.carriers.push(carrier);
                Ok(documents)
            }
            Err(source) => Err(Mismatch::Carried { carrier, source: Box::new(source) }),
        }
    }

    /// Reads JSON text that holds JSON or base64.
    fn of_text(value: &'a RawValue, depth: usize) -> Result<Self, Mismatch> {
        let text = member::text(Some(value), "text", "text")
            .map_err(|invalid| Mismatch::Object(Box::new(invalid)))?
            .unwrap_or_default();
        if text.trim_start().starts_with(['{', '[', '"']) {
            return Ok(Documents::at_depth(text.as_bytes(), depth + 1)?.into_owned());
        }
        let data = base64_text::decode(text.as_bytes()).map_err(|_| Mismatch::Value { found: "text" })?;
        let records = data.into_iter().map(KinesisRecord::of_data).collect();
        Ok(Documents { records, forms: vec![Form::Base64], carriers: Vec::new() })
    }

    fn of_form(form: Form, records: Vec<Result<RawRecord<'a>, InvalidRecord>>) -> Self {
        let read = |record: Result<RawRecord<'a>, InvalidRecord>| match (record, form) {
            (Err(invalid), _) => KinesisRecord::invalid(invalid),
            (Ok(record), Form::Event) => record.into_record_of_event(),
            (Ok(record), Form::GetRecords) => record.into_record_of_api(),
            (Ok(record), _) => record.into_flat_record(),
        };
        let records = records.into_iter().map(read).collect();
        Documents { records, forms: vec![form], carriers: Vec::new() }
    }

    fn append(&mut self, other: Documents<'a>) {
        self.records.extend(other.records);
        for form in other.forms {
            if !self.forms.contains(&form) {
                self.forms.push(form);
            }
        }
        if self.carriers.is_empty() {
            self.carriers = other.carriers;
        }
    }

    fn into_owned(self) -> Documents<'static> {
        let Documents { records, forms, carriers } = self;
        let records = records.into_iter().map(KinesisRecord::into_owned).collect();
        Documents { records, forms, carriers }
    }
}

/// Reads the records of a list and tells their form. One bad record does not change what a list is.
///
/// Flat records and those of the API need at least so many of their members: beside a name for the list one will do,
/// while a list or an object without one may as well be the payload of a record.
fn recognise<'a>(
    values: &[&'a RawValue],
    members: usize,
) -> (Vec<Result<RawRecord<'a>, InvalidRecord>>, Option<Form>) {
    let records: Vec<Result<RawRecord<'a>, InvalidRecord>> =
        values.iter().map(|value| object(value, "record")).collect();
    let read = || records.iter().flatten();
    let form = if read().any(|record| record.is_of_event()) {
        Some(Form::Event)
    } else if read().any(|record| record.api_members() >= members) {
        Some(Form::GetRecords)
    } else if read().any(|record| record.flat_members() >= members) {
        Some(if read().any(|record| record.is_of_pipe()) { Form::Pipe } else { Form::Flat })
    } else {
        None
    };
    (records, form)
}

fn list_in<'a>(member: &'static str, value: &'a RawValue) -> Result<Vec<&'a RawValue>, Mismatch> {
    match member::found(value) {
        "an array" => elements(value),
        found => Err(Mismatch::Member { member, found }),
    }
}

fn elements(array: &RawValue) -> Result<Vec<&RawValue>, Mismatch> {
    serde_json::from_str(array.get()).map_err(Mismatch::Json)
}
