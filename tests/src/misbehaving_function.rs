//! A Lambda function for the end-to-end tests: each user record's text says how to misbehave.

use std::{
    env, fs,
    fs::{File, OpenOptions},
    io::{self, Write},
    sync::LazyLock,
    time::Duration,
};

use kinesis_handler::{Function, ProcessError, Record, permanent, retryable};

/// With `MENDED` in the environment it misbehaves no more.
static IS_MENDED: LazyLock<bool> = LazyLock::new(|| env::var_os("MENDED").is_some());

/// The file that gets a line for each user record that is processed, if there is one.
static PROCESSED: LazyLock<Option<io::Result<File>>> = LazyLock::new(|| {
    let path = env::var_os("PROCESSED")?;
    Some(OpenOptions::new().create(true).append(true).open(path))
});

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    let fetched = record.fetch().await?;
    let text = fetched.as_record().text()?;
    if !*IS_MENDED {
        misbehave(text).await?;
    }
    match &*PROCESSED {
        Some(Ok(file)) => Ok((&*file).write_all(format!("{text}\n").as_bytes())?),
        Some(Err(error)) => Err(retryable(error.to_string())),
        None => Ok(()),
    }
}

async fn misbehave(text: &str) -> Result<(), ProcessError> {
    match text {
        "panic" => panic!("asked to"),
        "retryable" => Err(retryable("asked to")),
        "permanent" => Err(permanent("asked to")),
        "wait" => std::future::pending().await,
        "busy" => {
            std::thread::sleep(Duration::from_millis(100));
            Ok(())
        }
        "wait 500 ms" => {
            tokio::time::sleep(Duration::from_millis(500)).await;
            metrics::counter!("Waits").increment(1);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// With `HOOKS` in the environment, the hooks write into the folder that it names.
#[tokio::main]
async fn main() -> Result<(), kinesis_handler::Error> {
    let function = Function::new(process);
    let Some(folder) = env::var_os("HOOKS").map(std::path::PathBuf::from) else {
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
