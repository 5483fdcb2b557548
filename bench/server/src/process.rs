//! The CPU time and the memory of a process and its descendants, as Linux counts them.

use std::{fs, io, time::Duration};

use tokio::time::sleep;

/// Longest time that is waited for threads to become idle.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(50);

/// A pause after which a thread that is about to block has done so.
const SETTLE_PAUSE: Duration = Duration::from_millis(1);

/// Returns the CPU time in nanoseconds that all threads of the process tree have used, once they are idle.
///
/// The kernel updates the figure of a thread when it blocks, so a running thread's is too low.
pub(crate) async fn settled_cpu_ns(pid: u32) -> u64 {
    let mut before = cpu_ns(pid);
    for _ in 0..SETTLE_TIMEOUT.as_millis() / SETTLE_PAUSE.as_millis() {
        sleep(SETTLE_PAUSE).await;
        let now = cpu_ns(pid);
        if now == before {
            break;
        }
        before = now;
    }
    before
}

/// Returns the CPU time in nanoseconds. Threads that have ended are not counted.
fn cpu_ns(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let of_thread = |thread: io::Result<fs::DirEntry>| {
        let folder = thread.ok()?.path();
        let own: u64 = first_number(&fs::read_to_string(folder.join("schedstat")).ok()?)?;
        let children = fs::read_to_string(folder.join("children")).unwrap_or_default();
        let of_children = children.split_whitespace().filter_map(|child| child.parse().ok()).map(cpu_ns);
        Some(own + of_children.sum::<u64>())
    };
    threads.filter_map(of_thread).sum()
}

/// Returns the largest resident set size that the process has had, in bytes. It does not contain that of the process that
/// started it, other than `ru_maxrss`.
pub(crate) fn peak_memory_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(first_number(kibibytes)? * 1024)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{process, time::Instant};

    use super::*;

    #[test]
    fn cpu_time_grows_as_a_thread_works() {
        let started = Instant::now();
        let before = cpu_ns(process::id());
        while started.elapsed() < Duration::from_millis(50) {}
        // Lets the kernel update the figure.
        std::thread::sleep(Duration::from_millis(1));
        let used = cpu_ns(process::id()) - before;
        assert!(used > 10_000_000, "{used}");
    }

    #[test]
    fn peak_memory_is_in_bytes() {
        let before = peak_memory_bytes(process::id()).expect("this process exists");
        let memory = std::hint::black_box(vec![1_u8; 300 << 20]);
        let peak = peak_memory_bytes(process::id()).expect("this process exists");
        assert!((300 << 20..(320 << 20) + before).contains(&peak), "{peak}");
        drop(memory);
    }
}
