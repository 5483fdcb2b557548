//! Processes that have several invocations at once, as on Lambda Managed Instances.

use std::{num::NonZeroUsize, time::Duration};

use lambda_host::{BinaryFunction, Fate};

use crate::program::{Gate, Program, TIMEOUT, crash, invoke, response};

/// As many threads as Lambda allows, each with an invocation. The text of the event goes to the gate, with the process ID.
const THREADS: &str = r#"
def handle(request_id, event, headers):
    gate(f"{os.getpid()} {event.decode()}")
    return event + b" " + str(os.getpid()).encode()

for _ in range(int(os.environ["AWS_LAMBDA_MAX_CONCURRENCY"])):
    threading.Thread(target=serve, args=(handle,)).start()
"#;

fn function(program: &Program, concurrency: usize, timeout: Duration) -> BinaryFunction {
    let mut options = program.options.clone();
    options.concurrency = NonZeroUsize::new(concurrency).expect("not zero");
    options.timeout = timeout;
    BinaryFunction::new(options)
}

/// A bound that no test reaches.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn answers_are_routed_by_request_id_whatever_their_order() {
    let gate = Gate::new().await;
    let program = Program::new(THREADS).meets_at(&gate);
    let function = function(&program, 2, LONG);
    let reversed = async {
        let (first, second) = (gate.arrival().await, gate.arrival().await);
        let (first_pid, second_pid) = (first.text.split(' ').next(), second.text.split(' ').next());
        assert_eq!(first_pid, second_pid, "one process");
        let pid = first_pid.expect("a process ID").to_owned();
        second.let_through().await;
        // Both of its threads are still in use.
        assert_eq!(function.measurement().starts, 1);
        first.let_through().await;
        pid
    };
    let (one, other, pid) = tokio::join!(
        invoke(&function, "one", "request-1", Fate::Normal),
        invoke(&function, "other", "request-2", Fate::Normal),
        reversed
    );
    assert_eq!((one, other), (response(&format!("one {pid}")), response(&format!("other {pid}"))));
    assert_eq!(function.measurement().max_concurrency, 2);
}

#[tokio::test]
async fn more_invocations_than_places_have_another_process() {
    let gate = Gate::new().await;
    let program = Program::new(THREADS).meets_at(&gate);
    let function = function(&program, 2, LONG);
    let three = async {
        let waiting = [gate.arrival().await, gate.arrival().await, gate.arrival().await];
        for waiting in waiting {
            waiting.let_through().await;
        }
    };
    tokio::join!(
        invoke(&function, "a", "request-1", Fate::Normal),
        invoke(&function, "b", "request-2", Fate::Normal),
        invoke(&function, "c", "request-3", Fate::Normal),
        three
    );
    assert_eq!((function.measurement().starts, function.measurement().max_concurrency), (2, 2));
}

#[tokio::test]
async fn invocations_with_the_same_request_id_have_different_processes() {
    let gate = Gate::new().await;
    let program = Program::new(THREADS).meets_at(&gate);
    let function = function(&program, 2, LONG);
    let two = async {
        let (one, other) = (gate.arrival().await, gate.arrival().await);
        assert_ne!(one.text, other.text);
        one.let_through().await;
        other.let_through().await;
    };
    let invocation = || invoke(&function, "", "request-1", Fate::Normal);
    let (one, other, ()) = tokio::join!(invocation(), invocation(), two);
    assert_ne!(one, other);
}

#[tokio::test]
async fn after_a_timeout_the_process_continues_and_its_place_is_free_once_it_answers() {
    let gate = Gate::new().await;
    let program = Program::new(THREADS).meets_at(&gate);
    let function = function(&program, 2, Duration::from_secs(1));
    let (late, first) = tokio::join!(invoke(&function, "late", "request-1", Fate::Normal), gate.arrival());
    assert_eq!(late, TIMEOUT);
    let (answer, ()) = tokio::join!(invoke(&function, "next", "request-2", Fate::Normal), async {
        gate.arrival().await.let_through().await;
    });
    let pid = first.text.split(' ').next().expect("a process ID").to_owned();
    assert_eq!(answer, response(&format!("next {pid}")));
    first.let_through().await;
    function.shutdown().await;
    assert_eq!((function.measurement().starts, function.measurement().timeouts), (1, 1));
}

#[tokio::test]
async fn a_crash_ends_all_invocations_of_the_process() {
    let gate = Gate::new().await;
    let program = Program::new(THREADS).meets_at(&gate);
    let function = function(&program, 2, LONG);
    let one_of_two = async {
        let (mut crash, mut other) = (gate.arrival().await, gate.arrival().await);
        if other.text.ends_with("crash") {
            std::mem::swap(&mut crash, &mut other);
        }
        crash.let_through().await;
        other.end().await;
    };
    let (crashed, other, ()) = tokio::join!(
        invoke(&function, "crash", "request-1", Fate::Crash),
        invoke(&function, "other", "request-2", Fate::Normal),
        one_of_two
    );
    assert_eq!((&crashed, &other), (&crash("signal: 9 (SIGKILL)"), &crash("signal: 9 (SIGKILL)")));
}
