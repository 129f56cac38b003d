//! Chain time: the wall clock with an offset, or a clock that only tests move.

use crate::config::TimeSource;
use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

/// A movable clock with millisecond resolution.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    source: TimeSource,
    offset_millis: i64,
}

impl Clock {
    pub(crate) const fn new(source: TimeSource) -> Self {
        Self {
            source,
            offset_millis: 0,
        }
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn now_millis(&self) -> u64 {
        self.base_millis().saturating_add_signed(self.offset_millis)
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.offset_millis = self.offset_millis.saturating_add(millis);
    }

    /// Moves the clock, forwards or back, so that it reads `secs` now.
    pub(crate) fn set(&mut self, secs: u64) {
        let target = i64::try_from(secs.saturating_mul(1000)).unwrap_or(i64::MAX);
        let base = i64::try_from(self.base_millis()).unwrap_or(i64::MAX);
        self.offset_millis = target.saturating_sub(base);
    }

    fn base_millis(&self) -> u64 {
        match self.source {
            TimeSource::Fixed(secs) => secs.saturating_mul(1000),
            TimeSource::WallClock => wall_millis(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock")]
fn wall_millis() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_time_moves_only_when_told() {
        let mut clock = Clock::new(TimeSource::Fixed(100));
        assert_eq!(clock.now_millis(), 100_000);
        clock.advance(Duration::from_millis(1500));
        assert_eq!(clock.now_millis(), 101_500);
        clock.set(50);
        assert_eq!(clock.now_millis(), 50_000);
    }

    #[test]
    fn wall_time_keeps_ticking_from_where_it_was_set() {
        let mut clock = Clock::new(TimeSource::WallClock);
        clock.set(1_000);
        let reading = clock.now_millis();
        assert!((1_000_000..1_060_000).contains(&reading), "{reading}");
    }
}
