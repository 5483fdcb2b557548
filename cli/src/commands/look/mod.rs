//! `kinesis-kit tail` and `kinesis-kit inspect --stream`: the user records of a live stream.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    args::{DataStyle, Format, InspectArgs, LookArgs, TailArgs},
    commands::inspect::{self, Inspection, Keys, Selection},
    error::{Completion, Error},
    output::{
        meter::{Meter, Stdout},
        note::note,
    },
    run::{self, halt::Halt},
    stream::{
        Api, Position, ReadPace, ShardReader, Visit, Visited, Walk,
        name::StreamName,
        now_ms,
        point::{self, StreamPoint},
        record_position::RecordPosition,
    },
};

/// Leaves three of the five reads of a second to others.
const READ_INTERVAL: Duration = Duration::from_millis(500);

/// All at once: a shard that waits is one whose records are not seen.
const CONCURRENCY: usize = usize::MAX;

/// The records that are shown.
#[derive(Debug)]
struct Look<'a> {
    stream: &'a StreamName,
    args: &'a LookArgs,
    /// The only record that is shown.
    at: Option<&'a RecordPosition>,
    format: Format,
    data: DataStyle,
    keys: Keys,
    /// Whether to wait for records that are still to come.
    follows: bool,
}

/// Runs `kinesis-kit tail`.
pub(crate) fn tail(args: &TailArgs) -> Result<Completion, Error> {
    let TailArgs { stream, look: args, format, data, full_keys } = args;
    let keys = Keys::of_option(*full_keys);
    look(&Look { stream, args, at: None, format: *format, data: *data, keys, follows: true })
}

/// `kinesis-kit inspect --stream`
pub(crate) fn inspect(stream: &StreamName, args: &InspectArgs) -> Result<Completion, Error> {
    let InspectArgs { look: args, at, format, data, full_keys, .. } = args;
    let keys = Keys::of_option(*full_keys);
    look(&Look { stream, args, at: at.as_ref(), format: *format, data: *data, keys, follows: false })
}

/// Shows user records until there is nothing more to show.
fn look(look: &Look<'_>) -> Result<Completion, Error> {
    run::block_on(async {
        let halt = Halt::default();
        let api = Rc::new(Api::connect(look.stream.clone()).await?);
        let (begin, selection) = start(look)?;
        let shard_ids = shards(look)?;
        // A stream that is not there shows now.
        api.describe().await?;
        let inspection = Inspection::of_stream(
            Stdout::new(),
            look.format,
            look.data,
            look.keys,
            look.args.count,
            selection,
        );
        let (inspection, is_full) = (RefCell::new(inspection), Cell::new(false));
        let meter = Meter::new(if look.follows { "tail" } else { "inspect" });
        let looking = Looking { look, meter, shard_ids, api, begin, halt: &halt, inspection, is_full };
        let work = async {
            tokio::select! {
                biased;
                ended = looking.all() => ended,
                () = halt.asked() => Ok(()),
                () = time_is_up(look.args.seconds) => Ok(()),
            }
        };
        let ended = run::until_interrupted(work, &halt).await;
        let Looking { inspection, is_full, meter, .. } = looking;
        drop(meter);
        let summary = inspection.into_inner().finish()?;
        ended?;
        let outcome = match look.at {
            Some(position) => inspect::conclude_at(position, &summary)?,
            None => inspect::conclude(&summary, look.format)?,
        };
        // A signal is how one ends following a stream, but not how one reads all of it.
        if halt.is_asked_for() && !is_full.get() && !look.follows {
            return Err(Error::Interrupted);
        }
        Ok(outcome)
    })
}

async fn time_is_up(seconds: Option<u64>) {
    match seconds {
        Some(seconds) => sleep(Duration::from_secs(seconds)).await,
        None => std::future::pending().await,
    }
}

/// Returns the position from which reading begins, and the user records to show.
fn start(look: &Look<'_>) -> Result<(Position, Selection), Error> {
    if let Some(position) = look.at {
        return Ok((Position::At(position.sequence_number), Selection::At(position.clone())));
    }
    let default = if look.follows { StreamPoint::Latest } else { StreamPoint::TrimHorizon };
    let from = look.args.from.clone().unwrap_or(default);
    let position = match from.since(now_ms()) {
        StreamPoint::TrimHorizon => Position::TrimHorizon,
        StreamPoint::Latest => Position::Latest,
        StreamPoint::Time(time) => Position::AtTimestamp(time.epoch_milliseconds()),
        StreamPoint::Ago(_) => unreachable!("it was made a time"),
        StreamPoint::At { sequence_number, sub_sequence_number, .. } => {
            let first = sub_sequence_number.unwrap_or(0);
            return Ok((Position::At(sequence_number), Selection::From(sequence_number, first)));
        }
        StreamPoint::Checkpoint => unreachable!("the command line refuses it"),
    };
    Ok((position, Selection::All))
}

/// Returns the shards to read; none are all.
fn shards(look: &Look<'_>) -> Result<Vec<String>, Error> {
    if let Some(position) = look.at {
        let mut shards = look.args.shards.clone();
        point::add_shard(&mut shards, position.shard_id.as_deref(), position)?;
        return Ok(shards);
    }
    point::shards(&look.args.shards, &look.args.from.iter().collect::<Vec<_>>())
}

struct Looking<'l> {
    look: &'l Look<'l>,
    /// Shards to read; none are all.
    shard_ids: Vec<String>,
    api: Rc<Api>,
    begin: Position,
    halt: &'l Halt,
    inspection: RefCell<Inspection>,
    meter: Meter,
    /// Whether as many user records were shown as were asked for.
    is_full: Cell<bool>,
}

impl Looking<'_> {
    async fn all(&self) -> Result<(), Error> {
        let walk = Walk {
            api: &self.api,
            shard_ids: &self.shard_ids,
            // Of a closed parent there is nothing after the latest record.
            waits_for_parents: self.begin != Position::Latest,
            follows: self.look.follows && self.shard_ids.is_empty(),
            concurrency: CONCURRENCY,
        };
        walk.visit(async |visit| self.shard(visit).await).await?;
        if self.look.follows && !self.is_full.get() {
            note("all shards have ended");
        }
        Ok(())
    }

    async fn shard(&self, Visit { shard, is_new }: Visit) -> Result<Visited, Error> {
        let begin = if is_new { Position::TrimHorizon } else { self.begin };
        let began_ms = now_ms();
        let pace = Rc::new(ReadPace::every(READ_INTERVAL));
        let mut reader = ShardReader::begin(Rc::clone(&self.api), pace, &shard.id, begin).await?;
        while let Some(page) = reader.page().await? {
            let is_full = self.inspection.borrow_mut().add(&shard.id, &page.records)?;
            self.meter.add(page.records.len() as u64);
            if is_full {
                self.is_full.set(true);
                self.halt.ask();
                return Ok(Visited::InPart);
            }
            if !self.look.follows && page.has_reached(began_ms) {
                break;
            }
        }
        Ok(Visited::Whole)
    }
}
