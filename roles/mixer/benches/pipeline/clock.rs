//! CPU time of the whole process.

use std::fs;
use std::time::Duration;

/// CPU time that all threads of this process have used. Linux only: other systems have no such file, and a mixer that is
/// measured by the clock alone would be compared with nothing.
pub(crate) fn cpu_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let nanoseconds = tasks.filter_map(|task| {
        // A thread may end between the listing and the reading.
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}
