//! A Lambda function for the end-to-end tests: each user record's text says how to misbehave.

use std::{fs, time::Duration};

use kinesis_handler::{Function, ProcessError, Record, permanent, retryable};

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    match record.text()? {
        "panic" => panic!("asked to"),
        "retryable" => Err(retryable("asked to")),
        "permanent" => Err(permanent("asked to")),
        "wait" => std::future::pending().await,
        "busy" => {
            std::thread::sleep(Duration::from_millis(100));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// With `HOOKS` in the environment, the hooks write into the folder that it names.
#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    let function = Function::new(process);
    let Some(folder) = std::env::var_os("HOOKS").map(std::path::PathBuf::from) else {
        return function.run().await;
    };
    let started = folder.join("started");
    let stopped = folder.join("stopped");
    function
        .on_start(|| async move { Ok(fs::write(started, "")?) })
        .on_shutdown(|| async move { fs::write(stopped, "").expect("the test's folder is writable") })
        .run()
        .await
}
