//! The processes of a function, none of which is left at the end.

use std::process::Command;

use lambda_host::{BinaryFunction, BinaryOptions, Fate};

use crate::program::{Gate, PID, Program, TIMEOUT, Waiting, invoke, is_running, respond, text};

/// Tells its process ID and waits, in the middle of its work.
const PID_AT_GATE: &str = r#"
def handle(request_id, event, headers):
    gate(str(os.getpid()))
    return os.getpid()
serve(handle)
"#;

#[tokio::test]
async fn two_invocations_at_once_have_two_environments() {
    let gate = Gate::new().await;
    let program = Program::new(PID_AT_GATE).meets_at(&gate);
    let function = program.function();
    let both_wait = async {
        let (one, other) = (gate.arrival().await, gate.arrival().await);
        one.let_through().await;
        other.let_through().await;
    };
    let (one, other, ()) = tokio::join!(
        invoke(&function, "{}", "request-1", Fate::Normal),
        invoke(&function, "{}", "request-2", Fate::Normal),
        both_wait
    );
    assert_ne!(text(one), text(other));
    assert_eq!(function.measurement().starts, 2);
}

#[tokio::test]
async fn nothing_is_left_after_a_shutdown() {
    let program = Program::new(PID);
    let function = program.function();
    assert_eq!(invoke(&function, "{}", "zombie", Fate::Zombie).await, TIMEOUT);
    let first = respond(&function, "{}").await;
    assert!(is_running(&first) || !cfg!(target_os = "linux"));
    function.shutdown().await;
    assert!(!is_running(&first));
    // It can be invoked again.
    let second = respond(&function, "{}").await;
    assert_ne!(first, second);
    function.shutdown().await;
    assert!(!is_running(&second));
}

#[tokio::test]
async fn nothing_is_left_when_it_is_dropped() {
    let program = Program::new(PID);
    let function = program.function();
    let pid = respond(&function, "{}").await;
    drop(function);
    assert!(!is_running(&pid));
}

/// Invokes the function, and drops the invocation as soon as the function waits at the gate.
async fn invoke_up_to(gate: &Gate, function: &BinaryFunction) -> Waiting {
    tokio::select! {
        waiting = gate.arrival() => waiting,
        _ = invoke(function, "{}", "request-1", Fate::Normal) => panic!("it waits at the gate"),
    }
}

#[tokio::test]
async fn an_invocation_that_is_dropped_ends_its_process() {
    let gate = Gate::new().await;
    let program = Program::new(PID_AT_GATE).meets_at(&gate);
    let function = program.function();
    let waiting = invoke_up_to(&gate, &function).await;
    let pid = waiting.text.clone();
    waiting.end().await;
    // The function itself goes on, with another process.
    let (next, ()) = tokio::join!(respond(&function, "{}"), async {
        gate.arrival().await.let_through().await;
    });
    assert_ne!(next, pid);
    assert!(!is_running(&pid));
}

#[tokio::test]
async fn a_function_that_is_dropped_in_the_middle_of_its_work_ends() {
    let gate = Gate::new().await;
    let program = Program::new(PID_AT_GATE).meets_at(&gate);
    let function = program.function();
    let waiting = invoke_up_to(&gate, &function).await;
    drop(function);
    assert!(!is_running(&waiting.text));
}

/// The other half of the next test, which runs it in a process of its own.
#[tokio::test]
async fn a_function_prints() {
    let source = "print('to standard output', flush=True); print('to standard error', file=sys.stderr)";
    respond(&Program::new(&format!("{source}\n{PID}")).function(), "{}").await;
}

#[test]
fn what_a_function_prints_goes_to_standard_error() {
    let output = Command::new(std::env::current_exe().expect("the tests"))
        .args(["--exact", "processes::a_function_prints", "--nocapture"])
        .output()
        .expect("the tests run");
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text"));
    assert!(stdout.contains("1 passed") && !stdout.contains("to standard"), "{stdout}");
    assert!(stderr.contains("to standard output\n") && stderr.contains("to standard error\n"), "{stderr}");
}

#[tokio::test]
async fn what_a_shell_has_started_ends_with_it() {
    let gate = Gate::new().await;
    let program = Program::new("gate(str(os.getpid()))").meets_at(&gate);
    let python = program.options.command[1].clone();
    let mut options = BinaryOptions::new([
        "sh".into(),
        "-c".into(),
        // Not the last command, so that the shell does not become the program.
        "python3 \"$0\"; exit 5".into(),
        python,
    ]);
    options.variables = program.options.variables.clone();
    let function = BinaryFunction::new(options);
    let waiting = tokio::select! {
        waiting = gate.arrival() => waiting,
        _ = invoke(&function, "{}", "request-1", Fate::Normal) => panic!("it waits at the gate"),
    };
    drop(function);
    waiting.end().await;
}
