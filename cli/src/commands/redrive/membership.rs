use std::{cell::RefCell, collections::HashMap, rc::Rc};

use aws_sdk_lambda::types::EventSourceMappingConfiguration;
use tokio::sync::OnceCell;

use super::discarded_range::{DiscardedRange, Owner};
use crate::{
    aws::{
        AwsError,
        event_source_mappings::{MappingReader, invokes},
        function_name::FunctionName,
    },
    error::{Error, chain},
    stream::name::StreamName,
};

/// The failure records that belong to the target. Anyone who may write to a queue or bucket could have others redriven.
#[derive(Debug)]
pub(super) enum Membership {
    Any,
    Stream(StreamName),
    Function(Box<Mappings>),
}

/// A reason not to deliver the records of a failure record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Objection {
    /// It does not belong to the target.
    Foreign { why: String },
    /// The mappings of its event source cannot be listed.
    Unknown { why: String },
}

/// The event source mappings of a function.
#[derive(Debug)]
pub(super) struct Mappings {
    reader: MappingReader,
    function: FunctionName,
    /// The answers by event source. Asking again for each of many failure records would take hours.
    event_sources: RefCell<HashMap<String, Rc<OnceCell<IsEventSource>>>>,
}

/// Whether a mapping delivers an event source to the function, or why that is not known.
type IsEventSource = Result<bool, String>;

impl Membership {
    pub(super) fn any() -> Self {
        Membership::Any
    }

    pub(super) fn of_stream(stream: StreamName) -> Self {
        Membership::Stream(stream)
    }

    /// Asks for the mappings of the function, so that a missing permission shows before anything is done.
    pub(super) async fn of_function(name: &str) -> Result<Self, Error> {
        let function = FunctionName::parse(name);
        let region = name.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
        let reader = MappingReader::connect(region).await?;
        reader.check(&function.base).await.map_err(|error| {
            let error = chain(&error);
            Error::Usage(format!(
                "the event source mappings of the function cannot be listed, so that failure records of other streams \
                 could be redriven: {error}; allow lambda:ListEventSourceMappings, or give --stream or --any-stream"
            ))
        })?;
        Ok(Membership::Function(Box::new(Mappings { reader, function, event_sources: RefCell::default() })))
    }

    /// Returns why the records of a failure record are not delivered; `None` if it belongs to the target.
    pub(super) async fn objection(&self, record: &DiscardedRange) -> Option<Objection> {
        let stream_arn = record.stream.as_str();
        match self {
            Membership::Any => None,
            Membership::Stream(StreamName::Arn(arn)) if arn.as_str() == stream_arn => None,
            Membership::Stream(StreamName::Name(name)) if name == record.stream.name() => None,
            Membership::Stream(stream) => {
                Some(Objection::foreign(format!("it names the stream {stream_arn}, not {stream}")))
            }
            Membership::Function(mappings) => mappings.objection(record).await,
        }
    }
}

impl Objection {
    fn foreign(why: String) -> Self {
        Objection::Foreign { why: format!("{why}: confirm with --any-stream") }
    }
}

impl Mappings {
    async fn objection(&self, record: &DiscardedRange) -> Option<Objection> {
        let of = &self.function.name;
        let (region, stream_region) = (self.reader.region(), record.stream.region());
        // A mapping, its stream and its function are in one region.
        if region != stream_region {
            return Some(Objection::foreign(format!(
                "its stream is in {stream_region}, and {of} in {region}"
            )));
        }
        let source = &record.event_source_arn;
        let is_of_function = match &record.owner {
            Owner::Function(arn) if !FunctionName::parse(arn).is_same_function(&self.function) => {
                return Some(Objection::foreign(format!("it names the function {arn:?}, not {of}")));
            }
            Owner::Function(_) => self.is_event_source(source, Sources::One).await,
            // These name the stream of a fan-out consumer.
            Owner::Journal(_) | Owner::Skipped { .. } => {
                self.is_event_source(source, Sources::WithConsumers).await
            }
        };
        match is_of_function {
            Ok(true) => None,
            Ok(false) => Some(Objection::foreign(format!("no event source mapping of {of} reads {source}"))),
            Err(error) => {
                let why =
                    format!("whether an event source mapping of {of} reads {source} is not known: {error}");
                Some(Objection::Unknown { why })
            }
        }
    }

    /// Whether a mapping delivers the event source to the function, or to a version or alias of it.
    async fn is_event_source(&self, arn: &str, sources: Sources) -> IsEventSource {
        let cell = Rc::clone(self.event_sources.borrow_mut().entry(arn.to_owned()).or_default());
        let list = async || {
            let is_any = |mappings: Vec<EventSourceMappingConfiguration>| {
                mappings.iter().any(|mapping| invokes(mapping, &self.function))
            };
            let mut is_known = self.reader.list(Some(arn)).await.map(is_any);
            if let (Ok(false), Sources::WithConsumers) = (&is_known, sources) {
                is_known = self.reader.of_consumers(arn).await.map(is_any);
            }
            match is_known {
                Err(error) if is_no_source(&error) => Ok(false),
                is_known => is_known.map_err(|error| chain(&error)),
            }
        };
        cell.get_or_init(list).await.clone()
    }
}

/// The event sources of a failure record.
#[derive(Debug, Clone, Copy)]
enum Sources {
    /// The one that it names.
    One,
    /// A stream and its consumers with enhanced fan-out.
    WithConsumers,
}

/// Whether Lambda or Kinesis has answered that there is no such event source.
fn is_no_source(error: &AwsError) -> bool {
    ["ResourceNotFoundException", "InvalidParameterValueException", "ValidationException"]
        .iter()
        .any(|code| error.is(code))
}
