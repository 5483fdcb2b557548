use std::{
    fs,
    future::poll_fn,
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    pin::pin,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::JoinSet,
};

use super::{BinaryOptions, StartError};

/// The process of an environment, and whatever it starts that stays in its process group. None of them outlives this
/// value.
#[derive(Debug)]
pub(super) struct Process {
    id: Pid,
    group: Arc<Mutex<Group>>,
    /// Description of its end.
    end: watch::Receiver<Option<String>>,
    /// The one task in it waits for the end.
    _watcher: JoinSet<()>,
}

#[derive(Debug)]
struct Group {
    child: Child,
    /// ID of the process and of its group.
    id: Pid,
    /// The system may give the ID to others then.
    has_ended: bool,
}

impl Process {
    pub(super) fn start(
        options: &BinaryOptions,
        runtime_api: SocketAddr,
        number: u64,
        output: OwnedFd,
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
                .stdout(output.try_clone()?)
                .stderr(output)
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
        };
        let child = start().map_err(|source| StartError::Command { command: program.clone(), source })?;
        let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let id = id.expect("a process that nobody has waited for has an ID");
        let group = Arc::new(Mutex::new(Group { child, id, has_ended: false }));
        let (ended, end) = watch::channel(None);
        let mut watcher = JoinSet::new();
        watcher.spawn(watch_end(Arc::clone(&group), ended));
        Ok(Process { id, group, end, _watcher: watcher })
    }

    /// Waits for the process to end, and says how it did. Several may wait.
    pub(super) async fn ended(&self) -> String {
        let mut end = self.end.clone();
        // It cannot fail: the watcher ends with this value only.
        let _ = end.wait_for(Option::is_some).await;
        end.borrow().clone().unwrap_or_default()
    }

    /// Whether the process has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        let mut group = lock(&self.group);
        let has_ended = !matches!(group.child.try_wait(), Ok(None));
        if has_ended {
            group.end();
        }
        has_ended
    }

    /// Asks the process to end.
    pub(super) fn terminate(&self) {
        let group = lock(&self.group);
        if !group.has_ended {
            group.signal(Signal::TERM);
        }
    }

    /// Kills the process, and says how it ended.
    pub(super) async fn kill(&self) -> String {
        {
            let group = lock(&self.group);
            if !group.has_ended {
                group.signal(Signal::KILL);
            }
        }
        self.ended().await
    }

    /// The peak of its resident memory in bytes. `None` elsewhere than on Linux.
    pub(super) fn peak_memory_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).ok()?;
        let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.strip_suffix("kB")?;
        Some(kibibytes.trim().parse::<u64>().ok()? * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut group = lock(&self.group);
        if group.has_ended {
            return;
        }
        group.end();
        // Blocks, but not for long: nothing can refuse the signal. Without this the process could still be seen.
        let _ = waitid(WaitId::Pid(group.id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let _ = group.child.try_wait();
    }
}

impl Group {
    /// Kills all that is left of the group.
    fn end(&mut self) {
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

fn lock(group: &Mutex<Group>) -> MutexGuard<'_, Group> {
    // No change to it can be interrupted by a panic half-way.
    group.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the end of the process, and kills what it has left behind.
async fn watch_end(group: Arc<Mutex<Group>>, ended: watch::Sender<Option<String>>) {
    // The lock is held while the process is looked at, not while it is waited for.
    let status = poll_fn(|context| pin!(lock(&group).child.wait()).poll(context)).await;
    lock(&group).end();
    ended.send_replace(Some(match status {
        Ok(status) => status.to_string(),
        Err(error) => format!("exit status not known: {error}"),
    }));
}
