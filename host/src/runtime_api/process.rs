use std::{fs, io, net::SocketAddr, os::fd::AsFd, process::Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{Child, Command};

use super::{BinaryOptions, StartError};

/// The process of an environment, and whatever it starts that stays in its process group. None of them outlives this
/// value.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Also the ID of its group.
    id: Pid,
    /// The system may give the ID to others then.
    has_ended: bool,
}

impl Process {
    pub(super) fn start(
        options: &BinaryOptions,
        runtime_api: SocketAddr,
        number: u64,
    ) -> Result<Self, StartError> {
        let (program, arguments) = options.command.split_first().ok_or(StartError::NoCommand)?;
        let start = || -> io::Result<Child> {
            let mut command = Command::new(program);
            if options.clean_environment {
                command.env_clear();
            }
            command
                .args(arguments)
                .envs(options.process_variables(runtime_api, number))
                .stdin(Stdio::null())
                // The caller's standard output is for results.
                .stdout(io::stderr().as_fd().try_clone_to_owned()?)
                .stderr(Stdio::inherit())
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
        };
        let child = start().map_err(|source| StartError::Command { command: program.clone(), source })?;
        let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Ok(Process {
            child,
            id: id.expect("a process that nobody has waited for has an ID"),
            has_ended: false,
        })
    }

    /// Waits for the process to end, and says how it did.
    pub(super) async fn ended(&mut self) -> String {
        let status = self.child.wait().await;
        self.end_group();
        match status {
            Ok(status) => status.to_string(),
            Err(error) => format!("exit status not known: {error}"),
        }
    }

    /// Whether the process has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        let has_ended = !matches!(self.child.try_wait(), Ok(None));
        if has_ended {
            self.end_group();
        }
        has_ended
    }

    /// Asks the process to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Kills the process, and says how it ended.
    pub(super) async fn kill(&mut self) -> String {
        if !self.has_ended {
            self.signal(Signal::KILL);
        }
        self.ended().await
    }

    /// The peak of its resident memory in bytes. `None` elsewhere than on Linux.
    pub(super) fn peak_memory_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).ok()?;
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.strip_suffix("kB")?;
        Some(kibibytes.trim().parse::<u64>().ok()? * 1024)
    }

    /// Kills what an ended process has left behind.
    fn end_group(&mut self) {
        if !self.has_ended {
            self.signal(Signal::KILL);
            self.has_ended = true;
        }
    }

    fn signal(&self, signal: Signal) {
        // The one error there can be is that all of the group are gone.
        let _ = kill_process_group(self.id, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.signal(Signal::KILL);
        // Blocks, but not for long: nothing can refuse the signal. Without this the process could still be seen.
        let _ = waitid(WaitId::Pid(self.id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let _ = self.child.try_wait();
    }
}
