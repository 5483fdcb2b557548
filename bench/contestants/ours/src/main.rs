//! Sums the lengths of user records. Logs and metrics are the crate's defaults.

use std::sync::atomic::{AtomicU64, Ordering};

use kinesis_handler::{ProcessError, Record};

static BYTES: AtomicU64 = AtomicU64::new(0);

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    BYTES.fetch_add(record.data().len() as u64, Ordering::Relaxed);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), kinesis_handler::Error> {
    #[cfg(feature = "count-allocations")]
    bench_allocations::report_on_demand();
    kinesis_handler::run(process).await
}
