use std::{
    io::{ErrorKind, Write},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

/// The exit code and the output of a run of the binary.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) exit_code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `kinesis-kit` with arguments that are separated by spaces.
pub(crate) fn kit(args: &str, stdin: impl AsRef<[u8]>) -> Run {
    kit_with(args.split_whitespace(), stdin)
}

/// Runs `kinesis-kit` with these arguments.
pub(crate) fn kit_with<'a>(args: impl IntoIterator<Item = &'a str>, stdin: impl AsRef<[u8]>) -> Run {
    kit_where(&[], args, stdin)
}

/// Runs `kinesis-kit` with these variables in its environment.
pub(crate) fn kit_where<'a>(
    variables: &[(&str, &str)],
    args: impl IntoIterator<Item = &'a str>,
    stdin: impl AsRef<[u8]>,
) -> Run {
    finish(spawn(variables, args), stdin, |_| {})
}

/// Runs `kinesis-kit`, and sends it SIGINT as soon as `is_time`. Also returns the time from there to its end.
pub(crate) fn kit_interrupted<'a>(
    variables: &[(&str, &str)],
    args: impl IntoIterator<Item = &'a str>,
    stdin: impl AsRef<[u8]>,
    is_time: impl Fn() -> bool + Send + Sync,
) -> (Run, Duration) {
    let sent = OnceLock::new();
    let run = finish(spawn(variables, args), stdin, |id| {
        while !is_time() {
            thread::sleep(Duration::from_millis(10));
        }
        let id = id.to_string();
        let signal = Command::new("kill").args(["-INT", &id]).status();
        assert!(signal.expect("kill is there").success(), "it has ended before the signal");
        sent.set(Instant::now()).expect("this is the only signal");
    });
    (run, sent.get().expect("it was sent").elapsed())
}

/// Runs `kinesis-kit` with a standard output that nobody reads.
pub(crate) fn kit_unread<'a>(
    variables: &[(&str, &str)],
    args: impl IntoIterator<Item = &'a str>,
    stdin: impl AsRef<[u8]>,
) -> Run {
    let mut child = spawn(variables, args);
    // Before it gets its input, so before it writes.
    drop(child.stdout.take());
    finish(child, stdin, |_| {})
}

fn spawn<'a>(variables: &[(&str, &str)], args: impl IntoIterator<Item = &'a str>) -> Child {
    Command::new(env!("CARGO_BIN_EXE_kinesis-kit"))
        .args(args)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

/// Waits for the end. `meanwhile` gets the process's ID.
fn finish(mut child: Child, stdin: impl AsRef<[u8]>, meanwhile: impl FnOnce(u32) + Send) -> Run {
    let id = child.id();
    let stdin = stdin.as_ref();
    let mut pipe = child.stdin.take().expect("piped");
    let output = thread::scope(|scope| {
        // At the same time, so that neither side waits for the other with a full pipe.
        scope.spawn(move || match pipe.write_all(stdin) {
            // It need not read its input.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.expect("input"),
        });
        scope.spawn(move || meanwhile(id));
        child.wait_with_output().expect("output")
    });
    Run {
        exit_code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Starts `kinesis-kit`, to be killed or to lose its output.
pub(crate) fn start(variables: &[(&str, &str)], args: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_kinesis-kit"))
        .args(args.split_whitespace())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs")
}

/// Checks all that a run leaves behind in a terminal of so many columns.
#[track_caller]
pub(crate) fn check_in_columns(
    columns: &str,
    args: &str,
    stdin: impl AsRef<[u8]>,
    exit_code: i32,
    stdout: &str,
) {
    let run = kit_where(&[("COLUMNS", columns)], args.split_whitespace(), stdin);
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(exit_code), stdout), "{}", run.stderr);
}

/// Checks all that a run leaves behind.
#[track_caller]
pub(crate) fn check(args: &str, stdin: impl AsRef<[u8]>, exit_code: i32, stdout: &str, stderr: &str) {
    let expected = Run { exit_code: Some(exit_code), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
    assert_eq!(kit(args, stdin), expected);
}
