//! `cargo lambda watch` as the Lambda Runtime API, and functions that run on it.

use std::{
    env,
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

/// Time after which a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The deadline that the emulator gives every invocation, in milliseconds since 1970.
const EMULATED_DEADLINE: &[u8] = b"lambda-runtime-deadline-ms: 600000\r\n";

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sample function.
pub(crate) fn order_function() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built("order-function")).clone()
}

/// The command line program.
pub(crate) fn kinesis_kit() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built("kinesis-kit")).clone()
}

/// The binary of another package, which no test of that package needs here, so cargo has to be asked for it. `make test` has built it
/// already, with the features of the whole workspace: with others, cargo would compile all of it once more.
fn built(package: &str) -> PathBuf {
    if let Some(binaries) = env::var_os("KIT_BINARIES") {
        return Path::new(&binaries).join(package);
    }
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", package])
        .current_dir(repository())
        .status();
    assert!(status.expect("cargo runs").success(), "{package} does not build");
    misbehaving_function().with_file_name(package)
}

pub(crate) fn misbehaving_function() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_misbehaving-function"))
}

/// Returns the folder into which cargo builds.
pub(crate) fn target() -> PathBuf {
    misbehaving_function().ancestors().nth(2).expect("target/debug/…").to_owned()
}

/// A function on an emulator of its own. Both end with it.
pub(crate) struct Function {
    process: Child,
    emulator: Child,
    port: u16,
    folder: TempDir,
    requests: Arc<Mutex<Vec<String>>>,
    /// Address of the Runtime API for the function.
    pub(crate) runtime_api_port: u16,
}

/// The output of `cargo lambda invoke`.
pub(crate) struct Answer {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Function {
    /// Starts the binary with these variables in its environment.
    pub(crate) fn start(binary: &Path, variables: &[(&str, &str)]) -> Self {
        Self::start_with_timeout(binary, variables, None)
    }

    /// As [`start`](Self::start), and each invocation has a deadline, this long after the function got it.
    pub(crate) fn start_with_timeout(
        binary: &Path,
        variables: &[(&str, &str)],
        timeout: Option<Duration>,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let emulator = Command::new("cargo-lambda")
            .args([
                "lambda",
                "watch",
                "--only-lambda-apis",
                "--ignore-changes",
                "--invoke-address",
                "127.0.0.1",
            ])
            .args(["--invoke-port", &port.to_string()])
            .current_dir(repository())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("cargo-lambda is installed: run the tests with `make test`");
        wait_for("the emulator", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());

        let requests = Arc::default();
        let proxy_port = start_proxy(port, timeout, Arc::clone(&requests));
        let log = File::create(folder.path().join("log")).expect("a writable folder");
        let process = Command::new(binary)
            .env("AWS_LAMBDA_RUNTIME_API", format!("http://127.0.0.1:{proxy_port}/.rt"))
            .env("AWS_LAMBDA_FUNCTION_NAME", "function-under-test")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .envs(variables.iter().copied())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("the function runs");
        Function { process, emulator, port, folder, requests, runtime_api_port: proxy_port }
    }

    /// Address at which it takes events.
    pub(crate) fn invoke_url(&self) -> String {
        format!("http://127.0.0.1:{}/2015-03-31/functions/_/invocations", self.port)
    }

    /// Invokes the function with the event in the file.
    pub(crate) fn invoke(&self, event: &Path) -> Answer {
        let output = Command::new("cargo-lambda")
            .args([
                "lambda",
                "invoke",
                "--invoke-address",
                "127.0.0.1",
                "--invoke-port",
                &self.port.to_string(),
            ])
            .arg("--data-file")
            .arg(event)
            .current_dir(repository())
            .output()
            .expect("cargo-lambda runs");
        let text = |bytes| String::from_utf8(bytes).expect("cargo-lambda prints UTF-8").trim().to_owned();
        Answer { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Invokes the function with this event.
    pub(crate) fn invoke_with(&self, event: &[u8]) -> Answer {
        let path = self.folder.path().join("event.json");
        fs::write(&path, event).expect("a writable folder");
        self.invoke(&path)
    }

    /// Returns the output of the function so far. Whatever it prints while it handles an event is there when it has answered.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("the log is UTF-8")
    }

    /// First lines of the requests that the function has sent so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic while locked").clone()
    }

    /// Ports that the function is connected to, on whatever host.
    pub(crate) fn remote_ports(&self) -> Vec<u16> {
        let process = format!("/proc/{}", self.process.id());
        let sockets: Vec<String> = fs::read_dir(format!("{process}/fd"))
            .expect("the function runs")
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter_map(|target| {
                Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
            })
            .collect();
        let mut ports = Vec::new();
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            // No IPv6: no table of it.
            let connections = fs::read_to_string(format!("{process}/net/{table}")).unwrap_or_default();
            for line in connections.lines().skip(1) {
                // Number, local address:port, remote address:port, …; the tenth is the socket.
                let columns: Vec<_> = line.split_whitespace().collect();
                if sockets.iter().any(|socket| socket == columns[9]) {
                    let (_, port) = columns[2].rsplit_once(':').expect("address:port");
                    ports.push(u16::from_str_radix(port, 16).expect("a port in hexadecimal"));
                }
            }
        }
        ports
    }

    /// Asks the function to end, as Lambda does, and waits for it.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let kill = Command::new("kill").arg(self.process.id().to_string()).status();
        assert!(kill.expect("kill runs").success());
        let mut status = None;
        wait_for("the function's end", || {
            status = self.process.try_wait().expect("the function is a child");
            status.is_some()
        });
        status.expect("just waited for it")
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        for process in [&mut self.process, &mut self.emulator] {
            // Errors mean that it has ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound port").port()
}

#[track_caller]
pub(crate) fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    wait_at_most(PATIENCE, what, condition);
}

#[track_caller]
pub(crate) fn wait_at_most(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < patience, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Stands between function and emulator: notes requests, and puts a real deadline where the emulator has none.
fn start_proxy(emulator_port: u16, timeout: Option<Duration>, requests: Arc<Mutex<Vec<String>>>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("a bound port").port();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, emulator_port)) else { return };
            let (from_client, to_server) = (client.try_clone(), server.try_clone());
            let requests = Arc::clone(&requests);
            thread::spawn(move || {
                forward(from_client.expect("a socket"), to_server.expect("a socket"), |chunk| {
                    let line = chunk.split(|&byte| byte == b'\r').next().unwrap_or_default();
                    if line.ends_with(b" HTTP/1.1") {
                        let line = String::from_utf8_lossy(line).into_owned();
                        requests.lock().expect("no panic while locked").push(line);
                    }
                });
            });
            thread::spawn(move || forward(server, client, |chunk| set_deadline(chunk, timeout)));
        }
    });
    port
}

fn forward(mut from: TcpStream, mut to: TcpStream, mut change: impl FnMut(&mut Vec<u8>)) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let mut chunk = buffer[..length].to_vec();
        change(&mut chunk);
        if to.write_all(&chunk).is_err() {
            break;
        }
    }
    // An error means that the other side has closed it already.
    let _ = to.shutdown(Shutdown::Write);
}

/// A response's head always comes in one piece.
fn set_deadline(chunk: &mut Vec<u8>, timeout: Option<Duration>) {
    let Some(timeout) = timeout else { return };
    if let Some(start) = chunk.windows(EMULATED_DEADLINE.len()).position(|window| window == EMULATED_DEADLINE)
    {
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + timeout;
        let header = format!("lambda-runtime-deadline-ms: {}\r\n", deadline.as_millis());
        chunk.splice(start..start + EMULATED_DEADLINE.len(), header.into_bytes());
    }
}
