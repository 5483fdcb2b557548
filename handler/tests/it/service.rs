//! Composition with tower, tokio and the types of other crates.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use kinesis_handler::{
    BatchResponse, ChunkOutcome, Chunks, Context, Event, Handler, LambdaEvent, Options, OptionsError,
    OwnedRecord, ProcessError, RawEvent, RawEventLayer, Record, RecordProcessor, permanent,
};
use lambda_runtime::{Diagnostic, Runtime};
use tower::{Service, ServiceBuilder, ServiceExt, buffer::Buffer, util::BoxCloneService};

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

/// Handles the event twice at once, in tasks that may move between threads.
async fn check_spawned<S>(service: S)
where
    S: Service<LambdaEvent<RawEvent>, Response = BatchResponse> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: std::fmt::Debug + Send,
{
    let event = || LambdaEvent::new(RawEvent::from(event()), Context::default());
    let handles = [service.clone(), service].map(|service| tokio::spawn(service.oneshot(event())));
    for handle in handles {
        let response = handle.await.expect("no panic").expect("a response");
        assert_eq!((json(&response), response.counts().user_records), (SUCCESS.to_owned(), 3));
    }
}

#[tokio::test]
async fn every_form_of_a_processor_makes_a_service_that_can_be_sent() {
    struct Waiting(Arc<AtomicU64>);

    impl RecordProcessor for Waiting {
        async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
            let text = record.text()?;
            tokio::task::yield_now().await;
            self.0.fetch_add(text.len() as u64, Ordering::Relaxed);
            Ok(())
        }
    }

    async fn waiting(record: Record<'_>) -> Result<(), ProcessError> {
        let text = record.text()?;
        tokio::task::yield_now().await;
        if text.is_empty() { Err(permanent("empty")) } else { Ok(()) }
    }

    let bytes = Arc::new(AtomicU64::new(0));
    check_spawned(Handler::new(Waiting(Arc::clone(&bytes))).into_send_service()).await;
    assert_eq!(bytes.load(Ordering::Relaxed), 2 * "texttextother".len() as u64);
    check_spawned(Handler::new(waiting).into_send_service()).await;
    let chunks = Chunks::new(async |chunk: &[Record<'_>]| -> Result<ChunkOutcome, ProcessError> {
        tokio::task::yield_now().await;
        chunk.iter().try_for_each(|record| record.text().map(drop))?;
        Ok(ChunkOutcome::Processed)
    });
    check_spawned(Handler::new(chunks).into_send_service()).await;
    let shared = Arc::clone(&bytes);
    let closure = async move |record: Record<'_>| {
        tokio::task::yield_now().await;
        shared.fetch_add(record.data().len() as u64, Ordering::Relaxed);
        Ok(())
    };
    check_spawned(Handler::new(closure).into_send_service()).await;
    assert_eq!(bytes.load(Ordering::Relaxed), 4 * "texttextother".len() as u64);
    // Layers that need it.
    check_spawned(BoxCloneService::new(Handler::new(waiting).into_send_service())).await;
    check_spawned(Buffer::new(Handler::new(waiting).into_send_service(), 2)).await;
}

/// Compiles: that is the test.
#[test]
fn the_runtime_of_lambda_runs_it_concurrently() {
    #[expect(dead_code, reason = "there is no Lambda Runtime API here")]
    async fn run() -> Result<(), kinesis_handler::Error> {
        let service = Handler::new(only_text).into_send_service();
        Runtime::new(service).layer(RawEventLayer).run_concurrent().await
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

#[test]
fn a_handler_cannot_be_made_with_options_that_do_not_suit_its_processor() {
    let chunks = || {
        Chunks::new(async |_: &[Record<'_>]| -> Result<ChunkOutcome, ProcessError> {
            Ok(ChunkOutcome::Processed)
        })
    };
    let refused = |options: Options| Handler::try_with_options(chunks(), options).map(drop);
    assert_eq!(refused(Options::default()), Ok(()));
    let at_once = Options::builder().concurrency(2).build().expect("legal options");
    assert!(matches!(refused(at_once), Err(OptionsError::Excludes { other: "Chunks", .. })));
}
