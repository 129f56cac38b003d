//! Makes room in the store: what has ended is removed, little by little.

mod documents;

use std::{sync::Arc, time::Duration};

use mpp_core::Timestamp;

pub(crate) use self::documents::Keeping;
use crate::{
    clock::SharedClock,
    store::{ChannelStore, StoreFault},
};

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(60);
/// Between two rounds while there is more to remove.
const SOON: Duration = Duration::from_secs(1);
/// What is removed by one call, so that no other waits long for it.
const AT_ONCE: usize = 256;
/// Calls of one round.
const CALLS: usize = 16;
/// What has ended is kept for so long: another server's clock may say that it
/// still counts.
pub(crate) const CLOCKS_DIFFER: Duration = Duration::from_secs(60 * 60);

/// Removes what has ended for as long as the server runs. Harmless when
/// several servers of a store do so.
pub(crate) async fn run<S: ChannelStore>(store: Arc<S>, clock: SharedClock, keeping: Keeping) {
    let of_documents = documents::run(&*store, &clock, keeping);
    futures_util::future::join(of_claims(&*store, &clock), of_documents).await;
}

/// Removes claims and outcomes.
async fn of_claims(store: &impl ChannelStore, clock: &SharedClock) {
    let mut pause = EVERY;
    loop {
        tokio::time::sleep(pause).await;
        pause = match round(store, clock.now()).await {
            Ok(Left::Nothing) => EVERY,
            Ok(Left::More) => SOON,
            Err(fault) => {
                tracing::warn!(
                    error = &fault as &dyn std::error::Error,
                    "what has ended could not be removed from the store; trying again"
                );
                EVERY
            }
        };
    }
}

/// Whether there is more to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    More,
}

async fn round(store: &impl ChannelStore, now: Timestamp) -> Result<Left, StoreFault> {
    let Some(ended) = now.checked_sub(CLOCKS_DIFFER) else {
        return Ok(Left::Nothing);
    };
    for _ in 0..CALLS {
        if store.sweep(ended, AT_ONCE).await? < AT_ONCE {
            return Ok(Left::Nothing);
        }
    }
    Ok(Left::More)
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;
    use mpp_core::ChallengeId;

    use super::*;
    use crate::{
        clock::ManualClock,
        store::{ClaimKey, MemoryStore, conformance::sample},
    };

    /// More than one round removes.
    const CLAIMS: usize = AT_ONCE * CALLS + 1;

    async fn claims(store: &MemoryStore, count: usize) {
        for number in 0..count {
            let id = ChallengeId::new(format!("proof {number}")).unwrap();
            let (end, now) = (sample::at(60), sample::at(0));
            let claim = store.claim(ClaimKey::Proof(id), B256::ZERO, end, now);
            claim.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_goes_without_being_asked_for() {
        let (store, clock) = (
            Arc::new(MemoryStore::new()),
            ManualClock::new(sample::at(0)),
        );
        claims(&store, CLAIMS).await;
        let keeping = Keeping::new(Duration::ZERO, Duration::ZERO);
        let sweeping = run(Arc::clone(&store), SharedClock::new(clock.clone()), keeping);
        let looking = async {
            // Between two rounds, and so on from here.
            tokio::time::sleep(EVERY * 7 / 2).await;
            // Ended, and perhaps not by the clock of another server.
            clock.advance_secs(60 * 60 + 59);
            tokio::time::sleep(EVERY * 3).await;
            assert_eq!(store.kept(), CLAIMS);
            clock.advance_secs(1);
            tokio::time::sleep((EVERY + SOON) / 2).await;
            assert_eq!(store.kept(), 1, "a round is bounded");
            tokio::time::sleep(SOON * 2).await;
            assert_eq!(store.kept(), 0);
        };
        tokio::select! {
            () = sweeping => {}
            () = looking => {}
        }
    }
}
