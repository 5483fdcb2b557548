//! The results of `bench-in-process`.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

/// Times without transport, as that program has written them.
pub(crate) struct InProcess(Value);

impl InProcess {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(InProcess(
            serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", path.display()))?,
        ))
    }

    pub(crate) fn json(&self) -> &Value {
        &self.0
    }

    /// Returns the time for an event, divided by the sum of those of its stages.
    pub(crate) fn whole_to_stages(&self, event: &str) -> Option<f64> {
        let stages = self.0["stages"].as_array()?;
        stages.iter().find(|stages| stages["event"] == event)?["whole_to_stages"].as_f64()
    }

    /// Returns the cost of a record in the largest event, divided by the smallest.
    pub(crate) fn growth(&self, curve: &str) -> Option<f64> {
        self.0[curve]["growth"].as_f64()
    }

    /// Returns a figure of user records that wait, with that many of them at once.
    fn waiting(&self, concurrency: u32, figure: &str) -> Option<f64> {
        let points = self.0["waiting"]["points"].as_array()?;
        points.iter().find(|point| point["concurrency"] == concurrency)?[figure].as_f64()
    }

    /// Returns the wall time of user records that wait, divided by that of the waits alone.
    pub(crate) fn wall_to_waits(&self, concurrency: u32) -> Option<f64> {
        Some(self.waiting(concurrency, "wall_ms")? / self.waiting(concurrency, "ideal_ms")?)
    }

    /// Returns the CPU time of a user record, divided by that of one by one.
    pub(crate) fn cpu_to_one_by_one(&self, concurrency: u32) -> Option<f64> {
        Some(self.waiting(concurrency, "record_ns")? / self.waiting(1, "record_ns")?)
    }

    /// Returns numbers of records with the cost of each beyond the first in nanoseconds.
    pub(crate) fn record_ns(&self, curve: &str) -> Vec<(f64, f64)> {
        let points = self.0[curve]["points"].as_array();
        let point = |point: &Value| Some((point["records"].as_f64()?, point["record_ns"].as_f64()?));
        points.into_iter().flatten().filter_map(point).collect()
    }
}
