//! Settling on demand, from any process: whoever does not lead writes the demand
//! down, and the leader meets it at its next look.
//!
//! Demands are counted. A leader notes up to which number it has met them, in
//! one write with its lease, and what it did then; who asked waits for that. A
//! leader that is gone is succeeded by another, perhaps by who asked, and the
//! demand is met by that one.

use std::time::Duration;

use alloy_primitives::b256;
use serde::{Deserialize, Serialize};

use super::{
    collect::Collected,
    schedule::{Occasion, Reason},
};
use crate::{
    charge::desk::{Found, find, write},
    error::Fault,
    session::SessionContext,
    store::{ChannelStore, DocumentKey, DocumentKind, Written},
};

/// Where demands are kept.
const KEY: DocumentKey = DocumentKey {
    kind: DocumentKind::Lease,
    // "demand", in ASCII: beside the lease of whoever has to meet it.
    id: b256!("64656d616e640000000000000000000000000000000000000000000000000000"),
};

/// Pause between two looks at what the leader has done.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How long an answer is waited for beyond the lease of a leader that is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was asked for, and what was done. The order of members is the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Demands {
    /// So many demands have been made.
    asked: u64,
    /// So many of them have been met.
    met: u64,
    begun: u64,
    done: u64,
    waiting: u64,
    failed: u64,
}

impl Demands {
    /// What the last look that met a demand came to, as another process tells it.
    fn collected(&self) -> Collected {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Collected {
            leading: false,
            begun: count(self.begun),
            done: count(self.done),
            waiting: count(self.waiting),
            failed: count(self.failed),
        }
    }

    fn met_by(self, asked: u64, collected: &Collected) -> Self {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Self {
            asked: self.asked,
            met: asked,
            begun: count(collected.begun),
            done: count(collected.done),
            waiting: count(collected.waiting),
            failed: count(collected.failed),
        }
    }
}

impl<S: ChannelStore> SessionContext<S> {
    /// Settles everything that is worth its fee, here or where the leader is.
    ///
    /// # Errors
    /// When chain or store fail here, and [`Fault::DemandPending`] when no
    /// leader has met the demand in time.
    ///
    /// # Cancel safety
    /// Dropped, what was begun is taken on later, and a demand that was
    /// recorded is met.
    pub(crate) async fn settle_on_demand(&self) -> Result<Collected, Fault> {
        let all = Occasion::Everything(Reason::Demand);
        let collected = self.collect(all).await?;
        if collected.leading {
            return Ok(collected);
        }
        let number = self.demand().await?;
        let limit = self.settlement.policy.lease.saturating_add(PATIENCE);
        let met = tokio::time::timeout(limit, self.until_met(number));
        met.await.unwrap_or(Err(Fault::DemandPending))
    }

    /// Records a demand, and says which it is.
    async fn demand(&self) -> Result<u64, Fault> {
        let store = self.driver.store();
        loop {
            let found = find::<Demands>(store, KEY).await?;
            let version = found.as_ref().map(|found| found.version);
            let mut demands = found.map(|found| found.value).unwrap_or_default();
            demands.asked = demands.asked.saturating_add(1);
            let asked = vec![write(KEY, version, &demands)?];
            if store.write_documents(asked).await? == Written::Done {
                return Ok(demands.asked);
            }
        }
    }

    /// Waits for the leader, and takes its place when it is gone.
    async fn until_met(&self, number: u64) -> Result<Collected, Fault> {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let found = find::<Demands>(self.driver.store(), KEY).await?;
            if let Some(met) = found.filter(|found| found.value.met >= number) {
                return Ok(met.value.collected());
            }
            let here = self.collect(Occasion::Routine).await?;
            if here.leading {
                let found = find::<Demands>(self.driver.store(), KEY).await?;
                let demands = found.map(|found| found.value).unwrap_or_default();
                let leading = true;
                return Ok(Collected {
                    leading,
                    ..demands.collected()
                });
            }
        }
    }

    /// What the leader has been asked for and has not done yet.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(super) async fn open_demands(&self) -> Result<Option<u64>, Fault> {
        let found = find::<Demands>(self.driver.store(), KEY).await?;
        let open = found.filter(|found| found.value.met < found.value.asked);
        Ok(open.map(|found| found.value.asked))
    }

    /// Notes that all demands up to this one are met. A failure only has the
    /// next look do the same again.
    ///
    /// # Cancel safety
    /// As a failure.
    pub(super) async fn meet(&self, asked: u64, collected: &Collected) -> Result<(), Fault> {
        loop {
            let found = find::<Demands>(self.driver.store(), KEY).await?;
            let Some(Found { version, value }) = found.filter(|found| found.value.met < asked)
            else {
                return Ok(());
            };
            let met = write(KEY, Some(version), &value.met_by(asked, collected))?;
            if self.write_as_leader(vec![met]).await? == Written::Done {
                return Ok(());
            }
        }
    }
}
