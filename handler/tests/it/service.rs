//! Composition with tower, tokio and the types of other crates.

use bytes::Bytes;
use kinesis_handler::{
    Context, Event, Handler, LambdaEvent, OwnedRecord, ProcessError, RawEvent, Record, RecordProcessor,
};
use lambda_runtime::Diagnostic;
use tower::{Service, ServiceBuilder};

use crate::batch::{SUCCESS, aggregate, failure, json, plain};

async fn only_text(record: Record<'_>) -> Result<(), ProcessError> {
    record.text()?;
    Ok(())
}

/// A processor with state, as a service would have clients.
struct Prefixed {
    prefix: &'static str,
}

impl RecordProcessor for Prefixed {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        tokio::task::yield_now().await;
        if record.text()?.starts_with(self.prefix) {
            Ok(())
        } else {
            Err(kinesis_handler::retryable("prefix"))
        }
    }
}

fn event() -> Bytes {
    Event::new(vec![plain(1, "text"), aggregate(2, &["text", "other"])]).to_json().into()
}

#[tokio::test]
async fn is_a_service_for_layers() {
    let mut service = ServiceBuilder::new()
        .map_response(|response: kinesis_handler::BatchResponse| (json(&response), *response.counts()))
        .service(Handler::new(Prefixed { prefix: "text" }));
    let event = LambdaEvent::new(RawEvent::from(event()), Context::default());
    let (response, counts) = service.call(event).await.expect("a response");
    assert_eq!((response, counts.user_records), (failure(2), 2));
}

#[tokio::test]
async fn can_be_spawned_and_shared() {
    let handler = Handler::new(only_text);
    let handles = [1, 2].map(|_| {
        let handler = handler.clone();
        tokio::spawn(async move {
            handler.handle(&event(), &Context::default()).await.map(|response| json(&response))
        })
    });
    for handle in handles {
        assert_eq!(handle.await.expect("no panic"), Ok(SUCCESS.to_owned()));
    }
}

#[tokio::test]
async fn processors_are_tested_one_record_at_a_time() {
    let error = only_text.process(OwnedRecord::new(b"\xff").as_record()).await.expect_err("not text");
    assert!(error.is_permanent());
    assert!(Prefixed { prefix: "a" }.process(OwnedRecord::new("abc").as_record()).await.is_ok());
}

#[tokio::test]
async fn an_error_of_the_invocation_names_its_type_and_cause() {
    let handler = Handler::new(only_text);
    let diagnostic = async |event: &str| {
        Diagnostic::from(
            handler.handle(event.as_bytes(), &Context::default()).await.map(drop).expect_err("no event"),
        )
    };
    assert_eq!(
        diagnostic("{}").await,
        Diagnostic {
            error_type: "KinesisHandler.InvalidEvent".into(),
            error_message:
                "not a Kinesis event: expected an object with an array \"Records\", which is missing".into(),
        }
    );
    // What `lambda_runtime` logs.
    let error = handler.handle(b"", &Context::default()).await.map(drop).expect_err("no event");
    assert_eq!(format!("{error:?}"), "KinesisHandler.InvalidEvent: the event is not JSON (line 1, column 0)");
    assert_eq!(
        diagnostic(r#"{"Records":[{"kinesis":{"sequenceNumber":"x"}}]}"#).await.error_message,
        "record 0: invalid sequenceNumber: invalid character in the sequence number at byte 0, expected a digit"
    );
}
