//! The machine, without which figures mean little.

use std::{env::consts::ARCH, fs, thread::available_parallelism};

use serde::Serialize;

/// Number of running threads above which a measurement is disturbed.
const BUSY_LOAD: f64 = 0.7;

/// The parts of a machine that decide how fast a function is.
#[derive(Serialize)]
pub(crate) struct Machine {
    architecture: &'static str,
    processor: Option<String>,
    cores: Option<usize>,
    /// Average number of running threads in the minute before the measurement.
    load: Option<f64>,
    /// Whether the processor has the vector instructions that the goals for all features are set for.
    pub(crate) has_avx512: bool,
}

impl Machine {
    /// Returns the machine that this program runs on.
    pub(crate) fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        #[cfg(target_arch = "x86_64")]
        let has_avx512 = is_x86_feature_detected!("avx512bw");
        #[cfg(not(target_arch = "x86_64"))]
        let has_avx512 = false;
        Machine {
            architecture: ARCH,
            processor: model.map(|(_, name)| name.to_owned()),
            load: load(),
            cores: available_parallelism().ok().map(usize::from),
            has_avx512,
        }
    }

    /// Warns of figures that are worse than this machine can do.
    pub(crate) fn warn_if_busy(&self) {
        if let Some(load) = self.load.filter(|load| *load > BUSY_LOAD) {
            eprintln!("this machine is busy (load {load:.1}): times will be too high, and ratios off");
        }
    }
}

fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
