//! The heap of a Lambda function.

/// The most memory at the end of the heap that the allocator keeps instead of giving it back to the system, in bytes: more
/// than an event of 6 MB needs.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: i32 = 64 * 1024 * 1024;

/// Allocations from this size on get pages of their own, which are given back when they are freed, in bytes. It is the
/// largest value that glibc takes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const OWN_PAGES_BYTES: i32 = 32 * 1024 * 1024;

/// Makes the allocator of glibc keep the memory that an event has needed for the next one.
///
/// By default, glibc gives it back after each event, and for the next one the kernel clears and maps it again page by page,
/// which costs more time than all the work on an event of 6 MB. The variables `MALLOC_TRIM_THRESHOLD_` and
/// `MALLOC_MMAP_THRESHOLD_` take precedence. Other allocators are left alone.
///
/// [`run`](crate::run) calls it. A function with a [`Runtime`](lambda_runtime::Runtime) of its own calls it first in `main`.
///
/// <https://sourceware.org/glibc/manual/latest/html_node/Malloc-Tunable-Parameters.html>
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (variable, parameter, bytes) in [
        ("MALLOC_TRIM_THRESHOLD_", libc::M_TRIM_THRESHOLD, KEPT_BYTES),
        ("MALLOC_MMAP_THRESHOLD_", libc::M_MMAP_THRESHOLD, OWN_PAGES_BYTES),
    ] {
        if std::env::var_os(variable).is_none() {
            #[allow(unsafe_code, reason = "the settings of the allocator are reached through C alone")]
            // SAFETY: `mallopt` takes two numbers, and changes a parameter of the allocator under the allocator's own lock.
            // An unknown parameter or a wrong value is refused, which its result tells: then nothing has changed.
            unsafe {
                libc::mallopt(parameter, bytes);
            }
        }
    }
}
