use std::{
    io::{ErrorKind, Write},
    process::{Child, Command, Stdio},
    thread,
};

/// What a run of the binary left behind.
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
    let mut child = Command::new(env!("CARGO_BIN_EXE_kinesis-kit"))
        .args(args)
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let stdin = stdin.as_ref();
    let mut pipe = child.stdin.take().expect("piped");
    let output = thread::scope(|scope| {
        // At the same time, so that neither side waits for the other with a full pipe.
        scope.spawn(move || match pipe.write_all(stdin) {
            // It need not read its input.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            written => written.expect("input"),
        });
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

/// Checks all that a run leaves behind.
#[track_caller]
pub(crate) fn check(args: &str, stdin: impl AsRef<[u8]>, exit_code: i32, stdout: &str, stderr: &str) {
    let expected = Run { exit_code: Some(exit_code), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
    assert_eq!(kit(args, stdin), expected);
}
