//! Pauses between attempts: growing, random, and not for ever.

use std::time::Duration;

use tokio::time::{Instant, sleep};

const FIRST: Duration = Duration::from_millis(8);
const LONGEST: Duration = Duration::from_millis(512);

/// Says how long to wait before the next attempt, and when to give up.
#[derive(Debug)]
pub(in crate::store) struct Backoff {
    pause: Duration,
    end: Instant,
}

impl Backoff {
    /// Gives up when `patience` has passed.
    pub(in crate::store) fn new(patience: Duration) -> Self {
        Self {
            pause: FIRST,
            end: sleep(patience).deadline(),
        }
    }

    /// Waits, and says whether there is time for another attempt.
    ///
    /// # Cancel safety
    /// Dropped, the wait ends.
    pub(in crate::store) async fn another(&mut self) -> bool {
        let pause = jittered(self.pause);
        self.pause = self.pause.saturating_mul(2).min(LONGEST);
        let resume = sleep(pause);
        if resume.deadline() >= self.end {
            return false;
        }
        resume.await;
        true
    }
}

/// Between half of `pause` and all of it, so that nodes that failed together
/// do not come back together.
fn jittered(pause: Duration) -> Duration {
    let half = pause.checked_div(2).unwrap_or_default();
    let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
    half.saturating_add(Duration::from_micros(rand::random_range(0..=micros)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let mut attempts = 0;
        while backoff.another().await {
            attempts += 1;
        }
        // Sums of 8, 16, 32, .. ms, of which at least half is waited for.
        assert!((5..=9).contains(&attempts), "{attempts} attempts");
    }

    #[tokio::test(start_paused = true)]
    async fn without_patience_there_is_no_second_attempt() {
        assert!(!Backoff::new(Duration::ZERO).another().await);
    }
}
