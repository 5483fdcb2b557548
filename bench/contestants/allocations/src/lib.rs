//! Counts the allocations of the program that links it.

use std::{
    alloc::System,
    io::{self, Read},
    thread,
};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Writes the number of allocations and reallocations so far to standard error, in a line for each byte that standard
/// input gets. This itself allocates nothing after the first byte.
pub fn report_on_demand() {
    thread::spawn(|| {
        let mut input = io::stdin().lock();
        while input.read_exact(&mut [0]).is_ok() {
            let stats = ALLOCATOR.stats();
            eprintln!("allocations {}", stats.allocations + stats.reallocations);
        }
    });
}
