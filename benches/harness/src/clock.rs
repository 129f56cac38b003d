//! Clocks: how long a thread has run, and how long it took.

use std::time::Duration;

/// Time that the calling thread has spent on a CPU.
///
/// Other programs on the machine do not count, as long as they leave the caches alone. Where the
/// system has no such clock it is the one on the wall.
#[must_use]
pub(crate) fn of_this_thread() -> Duration {
    #[cfg(target_os = "linux")]
    {
        use rustix::time::{ClockId, clock_gettime};
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap_or_default()
    }
    #[cfg(not(target_os = "linux"))]
    on_the_wall()
}

/// Time that has passed since the first call.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn on_the_wall() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}
