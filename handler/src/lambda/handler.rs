use std::{
    collections::HashSet,
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task,
    time::Duration,
};

use futures_util::future::join;
use kpl_deaggregation::Deaggregator;
use lambda_runtime::{Context, LambdaEvent};
use tower::{Service, service_fn};
use tracing::Instrument;

use crate::{
    BatchOutcome, BatchResponse, Counts, EventMode, Options, OptionsError, Processor, RawEvent,
    RecordOutcome, RecordProcessor,
    batch::{
        cursor::{Cursor, Passed},
        failure_rules::SkipRule,
        fates::FateLog,
        payload_decoder::PayloadDecoder,
        process_batch, process_in_groups,
        response::{ResponseDetails, StoppedRecord},
        run::Driver,
        stop::{Failure, Stop, StopReason},
        walk::BatchPosition,
        workspace::{Workspace, Workspaces, recycled},
    },
    checkpoint::mirror::{Mirror, Mirrored, whole_text},
    event::{Event, KinesisRecord},
    hash_range::filter::{BatchRange, HashRangeFilter},
    hooks::{self, AsyncHook, ShardStart},
    invocation::{Invocation, deadline::DeadlineCheck, invocation_span, stage_span},
    journal::{batch_journal::BatchJournal, retry_journal::RetryJournal, shorten},
    lambda::{
        batch_log::{log_batch, log_stop},
        handler_error::HandlerError,
        metrics,
    },
    replay::{self, ReplayRange},
};

/// Makes a Lambda function's handler out of a [`Processor`].
///
/// It is a [`tower::Service`] of [`LambdaEvent<RawEvent>`](RawEvent), to be composed with layers and given to
/// [`lambda_runtime::Runtime`]; [`run`](crate::run) does that for the usual case. Clones share everything.
///
/// For each event it calls the processor for one user record after the other, in order, and stops at the first one that
/// is not done: because the processor failed or panicked, its Kinesis record cannot be read, its aggregate is invalid,
/// or the deadline is near. That record's Kinesis sequence number is the response's one batch item failure. What
/// precedes it is done; Lambda delivers the rest again. If the options have a [retry journal](crate::journal), user records
/// that it has as done are not processed again, and with the quarantine a batch does not stop at one that is given up. If
/// they have a [checkpoint mirror](crate::checkpoint), that is told how far the batch has come.
pub struct Handler<P> {
    shared: Arc<Shared<P>>,
}

struct Shared<P> {
    processor: P,
    options: Options,
    workspaces: Workspaces,
    journal: Option<RetryJournal>,
    mirror: Option<Mirror>,
    /// Positions of replays on Lambda.
    replays: Option<Mirror>,
    hash_range: Option<HashRangeFilter>,
    /// Streams and shards for which the hook was called.
    started_shards: Mutex<HashSet<(Option<String>, Option<String>)>>,
}

/// An invocation that has come to the end of its batch.
struct Handled {
    response: Result<BatchResponse, HandlerError>,
    /// The outcome of each user record, if somebody wants to know it.
    outcome: Option<BatchOutcome>,
}

impl<P> Clone for Handler<P> {
    fn clone(&self) -> Self {
        Handler { shared: Arc::clone(&self.shared) }
    }
}

impl<P: RecordProcessor> Handler<P> {
    /// Makes a handler of a processor of one record, which any options suit.
    pub fn with_options(processor: P, options: Options) -> Self {
        Self::build(processor, options)
    }
}

impl<P: Processor> Handler<P> {
    /// Makes a handler with the default options.
    pub fn new(processor: P) -> Self {
        // They suit every kind of processor.
        Self::build(processor, Options::default())
    }

    /// Makes a handler of any kind of processor, if these options suit it. In general use [`with_options`](Self::with_options), which
    /// cannot fail; [`Chunks`](crate::Chunks) and [`Windows`](crate::Windows) need this one.
    ///
    /// ```
    /// use kinesis_handler::{ChunkOutcome, Chunks, Handler, Options, ProcessError, Record};
    ///
    /// async fn process(chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
    ///     kinesis_handler::tracing::info!(records = chunk.len());
    ///     Ok(ChunkOutcome::Processed)
    /// }
    ///
    /// # fn main() -> Result<(), kinesis_handler::OptionsError> {
    /// let handler = Handler::try_with_options(Chunks::new(process), Options::default())?;
    /// let at_once = Options::builder().concurrency(16).build()?;
    /// assert!(Handler::try_with_options(Chunks::new(process), at_once).is_err());
    /// # let _ = handler;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`OptionsError::Excludes`] or [`OptionsError::Unsuited`] for an option that the kind of processor cannot do with.
    pub fn try_with_options(processor: P, options: Options) -> Result<Self, OptionsError> {
        processor.check(&options)?;
        Ok(Self::build(processor, options))
    }

    /// Makes a handler with options that suit the processor.
    fn build(processor: P, options: Options) -> Self {
        let workspaces = Workspaces::new(options.vector_instructions);
        let (journal, mirror) = (RetryJournal::new(&options), Mirror::new(&options));
        let replays = Mirror::of_replays(&options);
        let hash_range = HashRangeFilter::new(&options);
        let started_shards = Mutex::default();
        let shared =
            Shared { processor, options, workspaces, journal, mirror, replays, hash_range, started_shards };
        Handler { shared: Arc::new(shared) }
    }

    /// Turns the handler into a service whose futures are `Send` if those of the processor are.
    ///
    /// In general, use the handler as the service that it is. Use this one where futures move between threads:
    /// [`tokio::spawn`](https://docs.rs/tokio/latest/tokio/task/fn.spawn.html), `tower`'s `BoxService`, `BoxCloneService` and
    /// `Buffer`, and `lambda_runtime`'s `run_concurrent`:
    ///
    /// ```
    /// use kinesis_handler::{Handler, ProcessError, Record};
    /// use tower::util::BoxCloneService;
    ///
    /// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    ///     record.text()?;
    ///     Ok(())
    /// }
    ///
    /// let service = BoxCloneService::new(Handler::new(process).into_send_service());
    /// # let _ = service;
    /// ```
    ///
    /// The compiler decides for the concrete processor, so in code that is generic over the processor the futures are not
    /// known to be `Send`. The `Service` implementation of the handler itself has to name its future, and no bound on a
    /// processor can say that futures of `async fn` and of async closures are `Send`.
    pub fn into_send_service(
        self,
    ) -> impl Service<
        LambdaEvent<RawEvent>,
        Response = BatchResponse,
        Error = HandlerError,
        Future = impl Future<Output = Result<BatchResponse, HandlerError>> + use<P>,
    > + Clone
    + use<P> {
        service_fn(move |event: LambdaEvent<RawEvent>| {
            let handler = self.clone();
            async move { handler.handle(event.payload.as_ref(), &event.context).await }
        })
    }

    /// Handles one invocation, given the event's JSON.
    ///
    /// # Errors
    ///
    /// Any [`HandlerError`]. Nothing was processed then, except where a window processor has a state that cannot be returned or a
    /// window that could not be finished: Lambda delivers these records again, so metrics do not count them.
    pub async fn handle(&self, event: &[u8], context: &Context) -> Result<BatchResponse, HandlerError> {
        let fates = self.shared.options.hooks.batch_end.as_ref().map(|_| Arc::default());
        Ok(self.handle_event(event, context, fates).await?.0)
    }

    /// Handles one invocation, and returns the outcome of each user record, too.
    pub(crate) async fn handle_and_observe(
        &self,
        event: &[u8],
        context: &Context,
    ) -> Result<(BatchResponse, BatchOutcome), HandlerError> {
        let (response, outcome) = self.handle_event(event, context, Some(Arc::default())).await?;
        Ok((response, outcome.expect("an invocation that notes fates has an outcome")))
    }

    async fn handle_event(
        &self,
        event: &[u8],
        context: &Context,
        fates: Option<Arc<FateLog>>,
    ) -> Result<(BatchResponse, Option<BatchOutcome>), HandlerError> {
        let Shared { options, workspaces, .. } = &*self.shared;
        let replay = self.replay(context)?;
        let mut invocation = Invocation::arrive(context, options);
        invocation.fates = fates;
        let mut workspace = workspaces.take();
        let mut event = Event::parse_into(event, recycled(mem::take(&mut workspace.records)))?;
        invocation.is_reprocessing = event.mode == EventMode::Reprocess;
        if let Some(range) = replay {
            invocation.is_replay = true;
            invocation.application = range.application(&options.application).into();
            leave_out_others(&mut event, range);
        }
        // What an operator redelivers or replays is old.
        invocation.skip_rule =
            SkipRule::new(options).filter(|_| event.mode == EventMode::Mapping && !invocation.is_replay);
        invocation.stream = event.stream_name();
        invocation.shard_id = event.shard_id();
        let span = invocation_span!(invocation);
        if let Some(filter) = &self.shared.hash_range {
            invocation.hash_range = filter.of_batch(&event, &invocation).instrument(span.clone()).await?;
        }
        let handled = self.handle_batch(&event, &mut invocation, &mut workspace);
        let handled = handled.instrument(span.clone()).await;
        let hook = options.hooks.batch_end.as_ref().map(|hook| (hook, invocation.store_by_from_now()));
        workspace.records = recycled(mem::take(&mut event.records));
        let Handled { response, outcome } = handled?;
        if let (Some((hook, by)), Some(outcome)) = (hook, &outcome) {
            hooks::call("on_batch_end", hook, outcome.clone(), by).instrument(span).await;
        }
        Ok((response?, outcome))
    }

    /// Handles a batch. An error is one of an invocation that has processed nothing.
    async fn handle_batch(
        &self,
        event: &Event<'_>,
        invocation: &mut Invocation<'_>,
        workspace: &mut Workspace,
    ) -> Result<Handled, HandlerError> {
        let Shared { processor, options, journal, mirror, replays, .. } = &*self.shared;
        let of_shards = if invocation.is_replay { replays } else { mirror };
        let mirror = of_shards.as_ref().filter(|_| Mirror::applies_to(event));
        let journal = journal.as_ref().filter(|_| RetryJournal::applies_to(event));
        if let Some(mirror) = mirror {
            if event.window.is_some() {
                return Err(HandlerError::WindowWithMirror);
            }
            // The journal's read connects.
            if journal.is_none() {
                mirror.warm_up();
            }
        }
        // Nothing of it may belong to a replay.
        let has_shard = !event.records.is_empty() || event.window.is_some();
        if let Some(hook) = options.hooks.shard_start.as_ref().filter(|_| has_shard) {
            // An event of `kinesis-kit` may be the first one, and the next has no hook.
            self.start_shard(hook, of_shards.as_ref(), event, invocation).await;
        }

        let deaggregator = workspace.deaggregator.take().unwrap_or_else(|| {
            Deaggregator::new(options.invalid_aggregate).with_max_key_bytes(options.max_key_bytes)
        });
        let mut driver = Driver::begin(processor, options, event)?;
        let hash_range_errors = u64::from(invocation.hash_range == BatchRange::Unknown);
        let mut counts = Counts { hash_range_errors, ..Counts::default() };
        if let Some(mirror) = mirror {
            let frozen = mirror.frozen(event, invocation, &mut counts);
            let frozen = frozen.instrument(stage_span!(invocation, "read frozen position")).await;
            let unread = |error| HandlerError::FrozenPositionUnread { error: whole_text(&error) };
            invocation.frozen = frozen.map_err(unread)?;
        }
        let invocation = &*invocation;
        let passed = Passed::before_cutover(&event.records, invocation.frozen);
        let skipped = passed.position.kinesis_record;
        if let Some(fates) = invocation.fates.as_deref().filter(|_| skipped > 0) {
            fates.insert_skipped(0..skipped);
        }
        counts.cutover_skipped = skipped as u64;
        let mut journaled = None;
        let (processed, position) = match journal {
            None if !processor.looks_ahead(options) => {
                let records = &event.records;
                let processed = process_in_groups(
                    &mut driver,
                    records,
                    passed,
                    deaggregator,
                    invocation,
                    workspace,
                    &mut counts,
                );
                processed.await
            }
            journal => {
                let mut decoder = PayloadDecoder::new(&event.records, workspace.decoder_memory());
                let mut journal = match journal {
                    Some(journal) => {
                        let read = journal.read(event, invocation, &mut counts);
                        let read = read.instrument(stage_span!(invocation, "read journal"));
                        let decode = decoder.decode_all().instrument(stage_span!(invocation, "decode"));
                        join(read, decode).await.0
                    }
                    None => None,
                };
                if let Some(journal) = &mut journal {
                    journal.include_frozen(invocation.frozen);
                }
                let mut deadline = DeadlineCheck::new(invocation);
                let mut cursor = Cursor::new(&event.records, decoder, deaggregator, invocation, passed);
                let processed =
                    process_batch(&mut driver, &mut cursor, &mut journal, &mut deadline, &mut counts);
                let processed = processed.await;
                let position = cursor.position();
                journaled = Some((cursor, journal));
                (processed, position)
            }
        };
        let stop = processed.err();
        match stop.as_ref().map(|stop| &stop.reason) {
            Some(StopReason::DeadlineBeforeFirst) => {
                let budget =
                    invocation.stop_at.map_or(Duration::ZERO, |stop_at| stop_at - invocation.arrived);
                return Err(HandlerError::DeadlineBeforeFirstRecord { budget });
            }
            Some(StopReason::Failed(Failure::NotNow(_))) => counts.paused = 1,
            Some(StopReason::Failed(_)) => counts.failed = 1,
            Some(StopReason::Deadline) => counts.deadline_stops = 1,
            None => {}
        }
        let stopped = stop.as_ref().map(|stop| {
            // A batch that stops does so at one of its records, so the reported one is always part of it.
            let kinesis_record = &event.records[position.kinesis_record];
            log_stop(&stop.reason, kinesis_record, position.sub_sequence_number);
            let sequence_number = kinesis_record.sequence_number;
            let error = shorten(&stop.reason.text());
            StoppedRecord { sequence_number, sub_sequence_number: position.sub_sequence_number, error }
        });
        let stopped_at = stopped.as_ref().map(|_| position.kinesis_record);
        // A window processor, which has no journal and no mirror, may fail here, and then Lambda delivers the whole batch again.
        let ended = driver.end(event, stopped_at, invocation.stop_at).await;
        let mut failed = stopped.as_ref().map(|stopped| stopped.sequence_number);
        if let Some(mirror) = mirror
            && {
                let write = mirror.write(event, position, invocation, &mut counts);
                write.instrument(stage_span!(invocation, "write mirror")).await == Mirrored::NoAndStrict
            }
            && failed.is_none()
        {
            failed = event.records.last().map(|last| last.sequence_number);
        }
        if let Some((cursor, Some(journal))) = &mut journaled {
            let finish = journal.finish(stop.as_ref(), failed, cursor, &mut counts);
            finish.instrument(stage_span!(invocation, "write journal")).await;
        }
        if ended.is_ok() {
            log_batch(event.records.len(), failed, &counts);
            metrics::record(event, &counts, invocation);
        }
        let mut quarantined = Vec::new();
        if let Some((cursor, journal)) = journaled {
            quarantined = journal.map(BatchJournal::into_quarantined).unwrap_or_default();
            let (_, decoder, deaggregator) = cursor.into_parts();
            workspace.lists = decoder.into_lists();
            workspace.deaggregator = Some(deaggregator);
        }
        let outcome = invocation.fates.as_deref().map(|fates| BatchOutcome {
            stream_arn: event.stream_arn().map(str::to_owned),
            shard_id: invocation.shard_id.map(str::to_owned),
            request_id: invocation.request_id.clone().into_owned(),
            reported: failed,
            error: ended.as_ref().err().map(ToString::to_string),
            records: outcomes(fates, (position, stop.as_ref()), &event.records, invocation, workspace),
        });
        let response = ended.map(|state| {
            let response = BatchResponse::new(failed, state, counts);
            match event.mode {
                EventMode::Mapping => response,
                EventMode::Reprocess | EventMode::Resume => {
                    response.with_details(ResponseDetails { quarantined, failed: stopped })
                }
            }
        });
        Ok(Handled { response, outcome })
    }
}

impl<P> Handler<P> {
    /// Returns the range of the replay to which an invocation belongs, as the alias says by which the function is invoked.
    fn replay(&self, context: &Context) -> Result<Option<ReplayRange>, HandlerError> {
        let alias = replay::qualifier(&context.invoked_function_arn);
        let error = |reason: &dyn fmt::Display| HandlerError::Replay {
            alias: alias.to_owned(),
            reason: reason.to_string(),
        };
        match ReplayRange::of_qualifier(alias) {
            Ok(Some(_)) if self.shared.replays.is_none() => {
                Err(error(&"set KINESIS_HANDLER_REPLAYS=on, or delete the event source mapping of the alias"))
            }
            Ok(range) => Ok(range),
            Err(wrong) => Err(error(&wrong)),
        }
    }

    /// Calls the hook for the first batch of a shard in this environment.
    async fn start_shard(
        &self,
        hook: &AsyncHook<ShardStart>,
        mirror: Option<&Mirror>,
        event: &Event<'_>,
        invocation: &Invocation<'_>,
    ) {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let stream_arn = owned(event.stream_arn());
        let shard_id = owned(invocation.shard_id);
        let shard = (stream_arn.clone(), shard_id.clone());
        // Nothing panics while it holds the lock.
        if !self.shared.started_shards.lock().unwrap_or_else(PoisonError::into_inner).insert(shard) {
            return;
        }
        let now = invocation.clock.instant();
        let by = invocation.stop_at.map(|stop_at| now + stop_at.saturating_duration_since(now) / 4);
        let checkpoint = match mirror {
            Some(mirror) => mirror.read(stream_arn.as_deref(), invocation, by).await,
            None => None,
        };
        hooks::call("on_shard_start", hook, ShardStart { stream_arn, shard_id, checkpoint }, by).await;
    }
}

/// Leaves out the Kinesis records that do not belong to a replay.
fn leave_out_others(event: &mut Event<'_>, range: ReplayRange) {
    let delivered = event.records.len();
    event.records.retain(|record| range.includes(record));
    let left_out = delivered - event.records.len();
    if left_out > 0 {
        tracing::debug!(leftOut = left_out, "records outside of the replay's range are left out");
    }
}

/// Returns the outcome of each user record of a batch, whose workspace is free again.
fn outcomes(
    fates: &FateLog,
    end: (BatchPosition, Option<&Stop>),
    records: &[KinesisRecord<'_>],
    invocation: &Invocation<'_>,
    workspace: &mut Workspace,
) -> Vec<RecordOutcome> {
    let Some(deaggregator) = workspace.deaggregator.take() else { return Vec::new() };
    let payloads = PayloadDecoder::new(records, workspace.decoder_memory());
    let (outcomes, payloads, deaggregator) = fates.outcomes(records, payloads, deaggregator, invocation, end);
    workspace.lists = payloads.into_lists();
    workspace.deaggregator = Some(deaggregator);
    outcomes
}

impl<P: Processor + 'static> Service<LambdaEvent<RawEvent>> for Handler<P> {
    type Response = BatchResponse;
    type Error = HandlerError;
    type Future = Pin<Box<dyn Future<Output = Result<BatchResponse, HandlerError>>>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), HandlerError>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: LambdaEvent<RawEvent>) -> Self::Future {
        let handler = self.clone();
        Box::pin(async move { handler.handle(event.payload.as_ref(), &event.context).await })
    }
}
