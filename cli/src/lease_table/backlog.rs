use std::rc::Rc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Counted, LeaseTable, Processed, Unread, passed, unread};
use crate::{
    error::Error,
    output::{cell, note::count},
    stream::{Api, Description, ReadPace, now_ms},
};

/// Most shards that are read at once.
pub(crate) const READERS: usize = 16;

/// The records of a stream that wait to be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Backlog {
    /// Number of shards that have any.
    shards: u64,
    /// Number of shards of which it is not known.
    unknown_shards: u64,
    /// When the oldest of them arrived, in milliseconds since 1970. Absent if there is none.
    pub(crate) oldest_ms: Option<u64>,
    /// The numbers of Kinesis records and of user records, if they were counted.
    counted: Option<Counted>,
}

/// The longest time for which a record may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WaitLimit {
    pub(crate) ms: u64,
    /// The setting that makes it the limit.
    pub(crate) setting: &'static str,
}

impl WaitLimit {
    /// The limit of a stream.
    pub(crate) fn retention(retention_ms: u64) -> Self {
        WaitLimit { ms: retention_ms, setting: "the stream's retention" }
    }
}

impl Backlog {
    /// Adds what is not processed of a shard; `None` if that is not known.
    pub(crate) fn add(&mut self, unread: Option<Unread>) {
        let Some(Unread { first_arrival_ms, counted }) = unread else {
            self.unknown_shards += 1;
            return;
        };
        self.shards += u64::from(first_arrival_ms.is_some());
        self.oldest_ms = [self.oldest_ms, first_arrival_ms].into_iter().flatten().min();
        if let Some(more) = counted {
            let all = self.counted.get_or_insert_default();
            all.kinesis_records += more.kinesis_records;
            all.user_records += more.user_records;
        }
    }

    /// Reads each shard up to its first record that is not processed, or to the newest one if they are counted. `processed` says
    /// of a shard how far it is processed, if that is known.
    async fn read(
        api: &Rc<Api>,
        shard_ids: impl IntoIterator<Item = String>,
        processed: impl Fn(&str) -> Option<Processed>,
        counts: bool,
    ) -> Result<Self, Error> {
        let read = async |shard_id: String| match processed(&shard_id) {
            Some(processed) => {
                unread(api, &Rc::new(ReadPace::default()), &shard_id, processed, counts).await.map(Some)
            }
            None => Ok(None),
        };
        let mut backlog = Backlog::default();
        let mut shards = std::pin::pin!(stream::iter(shard_ids).map(read).buffer_unordered(READERS));
        while let Some(unread) = shards.try_next().await? {
            backlog.add(unread);
        }
        Ok(backlog)
    }

    /// Reads what is not processed according to a checkpoint mirror, or to a KCL application.
    pub(crate) async fn of_table(
        api: &Rc<Api>,
        stream: &Description,
        table: &str,
        counts: bool,
    ) -> Result<Self, Error> {
        let shards = api.shards().await?;
        let leases = LeaseTable::open(table, &stream.arn).await?.read_all(stream, &shards).await?;
        let rows = leases.iter().map(|(id, lease)| (id.clone(), lease.row.clone())).collect();
        let passed = passed(&shards, &rows);
        let processed = |id: &str| Processed::of_shard(leases.get(id), passed.contains(id));
        Self::read(api, shards.iter().map(|shard| shard.id.clone()), processed, counts).await
    }

    /// Counts what has arrived since a time, in milliseconds since 1970.
    pub(crate) async fn since(api: &Rc<Api>, time_ms: u64) -> Result<Self, Error> {
        let shards = api.shards().await?;
        let shards = shards.into_iter().map(|shard| shard.id);
        Self::read(api, shards, |_| Some(Processed::Before(time_ms)), true).await
    }

    /// Describes it for people, with the time that is left until the limit.
    pub(crate) fn text(&self, limit: WaitLimit) -> String {
        self.text_at(now_ms(), limit)
    }

    fn text_at(&self, now_ms: u64, limit: WaitLimit) -> String {
        let Some(oldest_ms) = self.oldest_ms else {
            return format!("no record waits{}", self.unknown());
        };
        let records = match self.counted {
            Some(Counted { kinesis_records, user_records }) => {
                format!(
                    "{} in {}",
                    count(user_records, "user record"),
                    count(kinesis_records, "Kinesis record")
                )
            }
            None => "records".to_owned(),
        };
        let age_ms = now_ms.saturating_sub(oldest_ms);
        let rest = match limit.ms.checked_sub(age_ms) {
            Some(left_ms) => format!("{} of {} are left", cell::duration(left_ms), limit.setting),
            None => format!("longer than {} ({})", limit.setting, cell::duration(limit.ms)),
        };
        format!(
            "waiting: {records} of {}, the oldest for {} (since {} UTC); {rest}{}",
            count(self.shards, "shard"),
            cell::duration(age_ms),
            cell::time(oldest_ms),
            self.unknown()
        )
    }

    fn unknown(&self) -> String {
        match self.unknown_shards {
            0 => String::new(),
            shards => format!("; the position of {} is not known", count(shards, "shard")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    /// The time of the tests: noon on 1 January 2026.
    const NOW_MS: u64 = 1_767_268_800_000;

    fn unread(hours: u64, counted: Option<Counted>) -> Option<Unread> {
        Some(Unread { first_arrival_ms: Some(NOW_MS - hours * HOUR_MS), counted })
    }

    #[track_caller]
    fn check(shards: impl IntoIterator<Item = Option<Unread>>, expected: &str) {
        let mut backlog = Backlog::default();
        shards.into_iter().for_each(|shard| backlog.add(shard));
        assert_eq!(backlog.text_at(NOW_MS, WaitLimit::retention(24 * HOUR_MS)), expected);
    }

    #[test]
    fn the_oldest_record_of_all_shards_counts() {
        let counted = |kinesis_records, user_records| Some(Counted { kinesis_records, user_records });
        check([], "no record waits");
        check([Some(Unread::default()), None], "no record waits; the position of 1 shard is not known");
        check(
            [unread(3, None), unread(5, None), Some(Unread::default())],
            "waiting: records of 2 shards, the oldest for 5 h (since 2026-01-01 07:00:00 UTC); 19 h of the stream's retention are left",
        );
        check(
            [unread(3, counted(1, 4)), unread(2, counted(2, 3))],
            "waiting: 7 user records in 3 Kinesis records of 2 shards, the oldest for 3 h (since 2026-01-01 09:00:00 UTC); 21 h of the stream's retention are \
             left",
        );
        check(
            [unread(25, None), None],
            "waiting: records of 1 shard, the oldest for 25 h (since 2025-12-31 11:00:00 UTC); longer than the stream's retention (24 h); the position of 1 \
             shard is not known",
        );
    }
}
