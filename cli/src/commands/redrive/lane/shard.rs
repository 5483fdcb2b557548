use kinesis_esm::{SharedRecord, StreamArn};
use kinesis_handler::SequenceNumber;

use super::{
    super::{
        Redrive,
        discarded_range::DiscardedRange,
        range_reader::{Range, RangeReader},
    },
    LaneWork,
};
use crate::{
    aws::AwsError,
    error::{Error, chain},
};

/// Failure records in a row for which a shard is read in vain, before the rest of them is not tried: each takes up to half a
/// minute, and there may be thousands.
const MAX_FAILURES: u32 = 3;

/// The shard that is read.
pub(super) struct Shard {
    stream: StreamArn,
    id: String,
    /// Without one, why it is not read.
    reader: Result<RangeReader, Unread>,
    /// Failure records in a row for which it could not be read.
    failures: u32,
}

/// Why a range was not read.
#[derive(Clone)]
pub(super) enum Unread {
    /// The stream or shard does not exist.
    Gone,
    /// It must not or cannot be read.
    Failed(String),
    /// The run was asked to end.
    Halted,
}

impl Shard {
    /// Whether another failure record is worth the time of reading once more.
    fn may_be_read(&self) -> bool {
        match self.reader {
            Ok(_) => true,
            Err(Unread::Gone | Unread::Halted) => false,
            Err(Unread::Failed(_)) => self.failures < MAX_FAILURES,
        }
    }

    fn fail(&mut self, unread: Unread) {
        self.failures += 1;
        self.reader = Err(unread);
    }
}

impl LaneWork<'_, '_> {
    /// Makes the shard of a failure record the one that is read.
    pub(super) async fn use_shard(&mut self, record: &DiscardedRange) -> Result<(), Error> {
        let (stream, shard_id) = (&record.stream, &record.shard_id);
        let known = self.shard.as_ref().filter(|shard| shard.stream == *stream && shard.id == *shard_id);
        if known.is_some_and(|shard| shard.reader.is_ok() || !shard.may_be_read()) {
            return Ok(());
        }
        let failures = known.map_or(0, |shard| shard.failures);
        let api = self.run.api(stream).await?;
        let reader = Ok(RangeReader::new(api, self.run.pace(stream, shard_id), shard_id));
        self.shard = Some(Shard { stream: stream.clone(), id: shard_id.clone(), reader, failures });
        Ok(())
    }

    pub(super) async fn begin(
        &mut self,
        record: &DiscardedRange,
        done: Option<SequenceNumber>,
    ) -> Result<Result<Range, Unread>, Error> {
        let run = self.run;
        let shard = self.shard.as_mut().expect("use_shard was called");
        let reader = match &mut shard.reader {
            Ok(reader) => reader,
            Err(unread) => return Ok(Err(unread.clone())),
        };
        let range = attempt(run, reader.begin((record.first, record.last), done)).await?;
        if let Err(unread) = &range {
            shard.fail(unread.clone());
        }
        Ok(range)
    }

    pub(super) async fn next(
        &mut self,
        range: &mut Range,
    ) -> Result<Result<Option<Vec<SharedRecord>>, Unread>, Error> {
        let run = self.run;
        let shard = self.shard.as_mut().expect("use_shard was called");
        let reader = match &mut shard.reader {
            Ok(reader) => reader,
            Err(unread) => return Ok(Err(unread.clone())),
        };
        let records = attempt(run, reader.next(range)).await?;
        match &records {
            Ok(_) => shard.failures = 0,
            Err(unread) => shard.fail(unread.clone()),
        }
        Ok(records)
    }
}

/// Reads until there is an answer, or the run is asked to end. An error is that of the run, not of the stream.
async fn attempt<T>(
    run: &Redrive<'_>,
    read: impl Future<Output = Result<T, AwsError>>,
) -> Result<Result<T, Unread>, Error> {
    let read = tokio::select! {
        read = read => read,
        () = run.delivery.halt.asked() => return Ok(Err(Unread::Halted)),
    };
    match read {
        Ok(read) => {
            run.has_read.set(true);
            Ok(Ok(read))
        }
        Err(error @ (AwsError::NoRegion | AwsError::NoCredentials(_))) => Err(error.into()),
        Err(error) if error.is("ResourceNotFoundException") => {
            run.has_read.set(true);
            Ok(Err(Unread::Gone))
        }
        Err(error) => {
            let text = chain(&error);
            if error.is_unanswered() {
                run.unreachable.borrow_mut().get_or_insert(error);
            } else {
                run.has_read.set(true);
            }
            Ok(Err(Unread::Failed(text)))
        }
    }
}
