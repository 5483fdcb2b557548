use std::collections::HashSet;

use crate::{
    ChunkOutcome, ChunkProcessor, ProcessError, Record,
    batch::{
        ahead::Place,
        run::{Next, Run},
        steps::Pause,
        stop::Failure,
        walk::Walk,
    },
    processor::chunk::ChunkLimits,
    record::BatchRecord,
    retryable,
};

/// Calls a processor for one chunk of user records after the other.
pub(crate) async fn drive(
    processor: &impl ChunkProcessor,
    limits: ChunkLimits,
    run: &mut Run<'_, '_>,
) -> Pause {
    let mut collector = Collector { limits, walk: None, next: None, alone_through: None };
    let mut chunk = Vec::new();
    loop {
        let attempt = match run.next() {
            Next::Process(attempt) => attempt,
            Next::Pause(pause) => return pause,
        };
        run.begin_here(attempt);
        collector.collect(run, &mut chunk);
        let records: Vec<_> = chunk.iter().map(|(_, record)| Record::of_batch(record)).collect();
        let outcome = processor.process(&records).await;
        drop(records);
        if let Err(error) = &outcome
            && error.is_permanent()
            && let [(_, first), .., (last, _)] = chunk[..]
        {
            tracing::warn!(
                position = %first.kinesis_record.position(first.sub_sequence_number),
                %error,
                records = chunk.len(),
                "chunk failed with a permanent error, each of its user records is processed alone"
            );
            collector.go_back_for_single_records(last);
            chunk.clear();
            continue;
        }
        let results = results(outcome, chunk.len());
        for ((place, record), result) in chunk.drain(..).zip(results) {
            run.ahead.insert(place, record, result);
        }
    }
}

/// Returns the outcomes of the first user records of a chunk of this length. The others were not begun.
fn results(outcome: Result<ChunkOutcome, ProcessError>, length: usize) -> Vec<Result<(), Failure>> {
    let failed = |error: ProcessError| Err(Failure::from(error));
    let illegal = |text: String| vec![failed(retryable(text))];
    match outcome {
        Ok(ChunkOutcome::Processed) => (0..length).map(|_| Ok(())).collect(),
        Ok(ChunkOutcome::ProcessedUpTo { records, error }) if records < length => {
            (0..records).map(|_| Ok(())).chain([failed(error)]).collect()
        }
        Ok(ChunkOutcome::Each(results)) if results.len() == length => {
            results.into_iter().map(|result| result.map_err(Failure::from)).collect()
        }
        Err(error) => vec![failed(error)],
        Ok(ChunkOutcome::ProcessedUpTo { records, .. }) => illegal(format!(
            "chunk processor says that {records} user records of a chunk of {length} are processed and the next one has failed"
        )),
        Ok(ChunkOutcome::Each(results)) => illegal(format!(
            "chunk processor has returned {} results for a chunk of {length} user records",
            results.len()
        )),
    }
}

/// Collects the user records of chunks.
struct Collector<'b> {
    limits: ChunkLimits,
    walk: Option<Walk<'b>>,
    /// The user record that did not fit into the last chunk.
    next: Option<(Place, BatchRecord<'b>)>,
    /// Place of the last user record of a chunk that has failed with a permanent error, which is about one of them.
    alone_through: Option<Place>,
}

impl<'b> Collector<'b> {
    /// Continues at the cursor, and makes a chunk of each user record up to this place.
    fn go_back_for_single_records(&mut self, through: Place) {
        *self = Collector { limits: self.limits, walk: None, next: None, alone_through: Some(through) };
    }

    /// Collects the next chunk, from the user record at the cursor on, into a list that is empty.
    fn collect(&mut self, run: &mut Run<'_, 'b>, chunk: &mut Vec<(Place, BatchRecord<'b>)>) {
        let clock = self.limits.time.map(|time| (run.now(), time));
        let mut bytes = 0_usize;
        let mut keys = HashSet::new();
        while chunk.len() < self.limits.records.get() {
            let Some((place, record)) = self.next.take().or_else(|| run.look_ahead(&mut self.walk)) else {
                break;
            };
            bytes = bytes.saturating_add(record.data.len());
            let is_alone = record.attempt.is_some_and(|attempt| attempt > 1)
                || self.alone_through.is_some_and(|through| place <= through);
            let is_late = || clock.is_some_and(|(start, time)| run.now().duration_since(start) >= time);
            // What is held must not be in the chunk of the one behind which it is held.
            let is_repeated = run.is_holding() && !keys.insert(record.partition_key);
            if !chunk.is_empty() && (is_alone || is_repeated || bytes > self.limits.bytes || is_late()) {
                self.next = Some((place, record));
                break;
            }
            chunk.push((place, record));
            if is_alone {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permanent;

    #[track_caller]
    fn check(outcome: Result<ChunkOutcome, ProcessError>, expected: &[Result<(), &str>]) {
        let results = results(outcome, 3);
        let texts: Vec<_> =
            results.iter().map(|result| result.as_ref().map(|&()| ()).map_err(ToString::to_string)).collect();
        let expected: Vec<_> = expected.iter().map(|result| result.map_err(str::to_owned)).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn an_outcome_is_that_of_the_first_user_records() {
        let up_to = |records| Ok(ChunkOutcome::ProcessedUpTo { records, error: permanent("bad") });
        check(Ok(ChunkOutcome::Processed), &[Ok(()), Ok(()), Ok(())]);
        check(up_to(0), &[Err("bad")]);
        check(up_to(2), &[Ok(()), Ok(()), Err("bad")]);
        check(Err(retryable("busy")), &[Err("busy")]);
        check(
            Ok(ChunkOutcome::Each(vec![Ok(()), Err(permanent("bad")), Ok(())])),
            &[Ok(()), Err("bad"), Ok(())],
        );
    }

    #[test]
    fn an_outcome_that_does_not_fit_is_a_failure() {
        check(
            Ok(ChunkOutcome::ProcessedUpTo { records: 3, error: permanent("bad") }),
            &[Err(
                "chunk processor says that 3 user records of a chunk of 3 are processed and the next one has failed",
            )],
        );
        check(
            Ok(ChunkOutcome::Each(vec![Ok(())])),
            &[Err("chunk processor has returned 1 results for a chunk of 3 user records")],
        );
    }
}
