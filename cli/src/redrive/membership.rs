use std::{cell::RefCell, collections::HashMap};

use aws_sdk_lambda::Client;

use super::failure_record::{FailureRecord, Owner, stream_of};
use crate::{
    aws::{self, Attempts, AwsError, Repeater},
    error::Error,
    function_name::FunctionName,
    stream_name::StreamName,
};

/// The failure records that belong to the target. Anyone who may write to a queue or bucket could have others redriven.
#[derive(Debug)]
pub(super) enum Membership {
    Any,
    Stream(StreamName),
    Function(Box<Mappings>),
}

/// The event source mappings of a function.
#[derive(Debug)]
pub(super) struct Mappings {
    client: Client,
    repeater: Repeater,
    function: FunctionName,
    /// ARNs of event sources, by the version or alias that the mapping invokes; empty for none.
    event_sources: RefCell<HashMap<String, Vec<String>>>,
}

impl Membership {
    pub(super) fn any() -> Self {
        Membership::Any
    }

    pub(super) fn of_stream(stream: StreamName) -> Self {
        Membership::Stream(stream)
    }

    /// Asks for the mappings of the function, so that a missing permission shows before anything is done.
    pub(super) async fn of_function(name: &str) -> Result<Self, Error> {
        let region = name.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
        let mappings = Mappings {
            client: Client::new(&aws::config(region).await?),
            repeater: Repeater::default(),
            function: FunctionName::parse(name),
            event_sources: RefCell::default(),
        };
        mappings.event_sources(&mappings.function.qualifier).await.map_err(|error| {
            let error = crate::error::chain(&error);
            Error::Usage(format!(
                "the event source mappings of the function cannot be listed, so that failure records of other streams \
                 could be redriven: {error}; allow lambda:ListEventSourceMappings, or give --stream or --any-stream"
            ))
        })?;
        Ok(Membership::Function(Box::new(mappings)))
    }

    /// Returns why a failure record does not belong to the target; `None` if it does.
    pub(super) async fn refusal(&self, record: &FailureRecord) -> Option<String> {
        let stream_arn = record.stream.as_str();
        match self {
            Membership::Any => None,
            Membership::Stream(StreamName::Arn(arn)) if arn.as_str() == stream_arn => None,
            Membership::Stream(StreamName::Name(name)) if name == record.stream.name() => None,
            Membership::Stream(stream) => {
                Some(format!("it names the stream {stream_arn}, not {stream}: confirm with --any-stream"))
            }
            Membership::Function(mappings) => mappings.refusal(record).await,
        }
    }
}

impl Mappings {
    async fn refusal(&self, record: &FailureRecord) -> Option<String> {
        let of = &self.function.name;
        let (qualifier, is_journal) = match &record.owner {
            Owner::Function(arn) => {
                let owner = FunctionName::parse(arn);
                if !owner.is_same_function(&self.function) {
                    return Some(format!(
                        "it names the function {arn:?}, not {of}: confirm with --any-stream"
                    ));
                }
                (owner.qualifier, false)
            }
            Owner::Journal(_) => (self.function.qualifier.clone(), true),
        };
        // The function's own, and those of the version or alias that the failure record names.
        for qualifier in [&self.function.qualifier, &qualifier] {
            let sources = match self.event_sources(qualifier).await {
                Ok(sources) => sources,
                Err(error) if error.is("ResourceNotFoundException") => continue,
                Err(error) => return Some(crate::error::chain(&error)),
            };
            // The journal names the stream of a fan-out consumer.
            let is_of = |source: &String| match is_journal {
                true => stream_of(source).0 == record.stream.as_str(),
                false => *source == record.event_source_arn,
            };
            if sources.iter().any(is_of) {
                return None;
            }
        }
        let arn = &record.event_source_arn;
        Some(format!("no event source mapping of {of} reads {arn}: confirm with --any-stream"))
    }

    async fn event_sources(&self, qualifier: &str) -> Result<Vec<String>, AwsError> {
        if let Some(known) = self.event_sources.borrow().get(qualifier) {
            return Ok(known.clone());
        }
        let name = match qualifier {
            "" => self.function.base.clone(),
            _ => format!("{}:{qualifier}", self.function.base),
        };
        let resource = format!("function {name}");
        let (mut sources, mut marker) = (Vec::new(), None::<String>);
        loop {
            let request = || {
                let request = self.client.list_event_source_mappings().function_name(&name);
                request.set_marker(marker.clone()).send()
            };
            let page =
                self.repeater.request(&resource, "ListEventSourceMappings", Attempts::Few, request).await?;
            let mappings = page.event_source_mappings.unwrap_or_default();
            sources.extend(mappings.into_iter().filter_map(|mapping| mapping.event_source_arn));
            match page.next_marker.filter(|next| !next.is_empty()) {
                None => break,
                next => marker = next,
            }
        }
        self.event_sources.borrow_mut().insert(qualifier.to_owned(), sources.clone());
        Ok(sources)
    }
}
