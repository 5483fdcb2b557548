//! Faults that are injected into invocations; none of them takes time of a runtime whose time is paused.

use std::{fs, pin::pin, time::Duration};

use lambda_host::{Answer, Fate, FunctionError};
use tokio::time::{Instant, sleep};

use crate::program::{
    Gate, PID, Program, TIMEOUT, crash, invoke, is_running, respond, response, start_error,
};

/// Notes each event in a file, then answers with its process ID.
const WORKER: &str = r#"
def handle(request_id, event, headers):
    with open(os.path.join(os.path.dirname(__file__), "done"), "a") as done:
        done.write(f"{request_id} {os.getpid()}\n")
    return os.getpid()
serve(handle)
"#;

/// Lets the function do its work with this fate, and then once more. Both have the same process if it lives on.
#[track_caller]
fn check(fate: Fate, expected: Answer, lives_on: bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let program = Program::new(WORKER);
        let function = program.function();
        assert_eq!(invoke(&function, "{}", "request-1", fate).await, expected, "at {caller}");
        let pid = respond(&function, "{}").await;
        let done = fs::read_to_string(program.folder.path().join("done")).expect("work was done");
        let pids: Vec<&str> = done.lines().filter_map(|line| line.strip_prefix("request-1 ")).collect();
        assert_eq!((pids.len(), pids[1]), (2, pid.as_str()), "at {caller}");
        assert_eq!(pids[0] == pids[1], lives_on, "at {caller}");
        assert_eq!(cfg!(target_os = "linux") && is_running(pids[0]), lives_on, "at {caller}");
    }
}

#[tokio::test]
async fn the_work_is_done_and_the_answer_is_not_taken() {
    check(Fate::Timeout, TIMEOUT, false).await;
    check(Fate::Crash, crash("signal: 9 (SIGKILL)"), false).await;
    check(Fate::LostResponse, Answer::Error(FunctionError::LostResponse), true).await;
}

#[tokio::test]
async fn a_killed_process_does_not_learn_that_its_answer_has_arrived() {
    let source = r#"
request_id, event, _ = next_event()
respond(request_id, event)
open(os.path.join(os.path.dirname(__file__), "learned"), "w").close()
next_event()
"#;
    for fate in [Fate::Timeout, Fate::Crash] {
        let program = Program::new(source);
        let function = program.function();
        invoke(&function, "{}", "request-1", fate).await;
        assert!(!program.folder.path().join("learned").exists(), "{fate:?}");
    }
}

#[tokio::test]
async fn what_fails_by_itself_keeps_its_own_error() {
    let program = Program::new("next_event(); sys.exit(3)");
    let function = program.function();
    for fate in [Fate::Timeout, Fate::Crash, Fate::LostResponse] {
        assert_eq!(invoke(&function, "{}", "request-1", fate).await, crash("exit status: 3"), "{fate:?}");
    }
    let program = Program::new("call('POST', RUNTIME + 'init/error', '{\"errorType\":\"Config\"}')");
    assert_eq!(start_error(&program.function(), Fate::Zombie).await, "the program could not start: Config: ");
}

#[tokio::test]
async fn measurements_count_what_the_caller_learns() {
    let program = Program::new(PID);
    let function = program.function();
    for fate in [Fate::Normal, Fate::Timeout, Fate::Crash, Fate::LostResponse, Fate::Normal] {
        invoke(&function, "{}", "request-1", fate).await;
    }
    let measurement = function.measurement();
    assert_eq!((measurement.starts, measurement.invocations), (3, 5));
    assert_eq!((measurement.function_errors, measurement.timeouts, measurement.crashes), (0, 1, 1));
}

/// Meets the test while it is in the middle of its work.
const AT_GATE: &str = r#"
def handle(request_id, event, headers):
    gate(request_id)
    return [request_id, os.getpid()]
serve(handle)
"#;

#[tokio::test]
async fn a_zombie_runs_beside_its_retry() {
    let gate = Gate::new().await;
    let program = Program::new(AT_GATE).meets_at(&gate);
    let function = program.function();
    assert_eq!(invoke(&function, "{}", "zombie", Fate::Zombie).await, TIMEOUT);
    assert_eq!((function.measurement().starts, function.measurement().invocations), (1, 0));

    // Both are at the gate before either is let through.
    let beside = async {
        let (one, other) = (gate.arrival().await, gate.arrival().await);
        let (zombie, retry) = if one.text == "zombie" { (one, other) } else { (other, one) };
        assert_eq!((zombie.text.as_str(), retry.text.as_str()), ("zombie", "retry"));
        retry.let_through().await;
        zombie
    };
    let (answer, zombie) = tokio::join!(invoke(&function, "{}", "retry", Fate::Normal), beside);
    let Answer::Response(retry) = answer else { panic!("{answer:?}") };
    assert!(retry.starts_with(b"[\"retry\", "), "{retry:?}");

    // The zombie has not answered, so its process is not used: there is but the retry's.
    let (_, third) = tokio::join!(
        async { gate.arrival().await.let_through().await },
        invoke(&function, "{}", "retry", Fate::Normal)
    );
    assert_eq!(third, Answer::Response(retry));
    assert_eq!((function.measurement().starts, function.measurement().timeouts), (2, 1));

    // A shutdown waits until it has answered, even if there is time for one more invocation.
    let mut shutdown = pin!(function.shutdown());
    let fourth = async {
        tokio::join!(invoke(&function, "{}", "retry", Fate::Normal), async {
            gate.arrival().await.let_through().await;
        })
    };
    tokio::select! {
        biased;
        () = &mut shutdown => panic!("the zombie is still at work"),
        _ = fourth => {}
    }
    zombie.let_through().await;
    shutdown.await;
    assert_eq!(function.measurement().invocations, 4);
}

#[tokio::test]
async fn a_zombie_without_a_next_invocation_does_nothing() {
    let program = Program::new(WORKER);
    let function = program.function();
    assert_eq!(invoke(&function, "{}", "zombie", Fate::Zombie).await, TIMEOUT);
    function.shutdown().await;
    assert!(!program.folder.path().join("done").exists());
    assert_eq!(respond(&function, "{}").await.parse::<u32>().map(drop), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn invocations_take_no_paused_time() {
    // With anything to wait for, paused time would be put forward whenever the runtime is idle.
    let bait = tokio::spawn(sleep(Duration::from_secs(3600)));
    let started = Instant::now();
    let mut program = Program::new(
        "import time\ndef handle(request_id, event, headers):\n    time.sleep(0.2)\n    return event\nserve(handle)",
    );
    // It is real, too.
    program.options.timeout = Duration::from_secs(20);
    let function = program.function();
    let two = async {
        let (one, other) = tokio::join!(
            invoke(&function, "1", "request-1", Fate::Normal),
            invoke(&function, "2", "request-2", Fate::Normal)
        );
        assert_eq!((one, other), (response("1"), response("2")));
    };
    two.await;
    assert_eq!(invoke(&function, "{}", "request-3", Fate::Timeout).await, TIMEOUT);
    assert_eq!(invoke(&function, "{}", "request-4", Fate::Zombie).await, TIMEOUT);
    assert_eq!(invoke(&function, "5", "request-5", Fate::Normal).await, response("5"));
    function.shutdown().await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(!bait.is_finished());
    assert!(function.measurement().wall_time >= Duration::from_millis(1_000));
}
