//! Transactions that were signed, and whose end nobody has told.
//!
//! Whoever sends a sponsored transaction settles its fee when it learns the end.
//! When the answer is lost, that is only when the same payment is shown again,
//! which nobody has to do: without more, transactions that are never mined would
//! hold the budget until its window ends. So the process that had them signed looks
//! for them itself when they can not be mined any more. What a process has had
//! signed that is gone counts in full until the window ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use alloy_primitives::B256;
use mpp_core::Timestamp;

use super::{
    Sponsor,
    budget::{Reservation, SetAside, Sponsored},
};
use crate::{
    broadcast::{EXPIRY_MARGIN_SECS, Sighting, look_up},
    error::Fault,
    store::ChannelStore,
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);

/// What was signed and is not settled, by replay id.
#[derive(Debug, Default)]
pub(crate) struct Unsettled(Mutex<HashMap<B256, Signed>>);

/// A transaction that a fee payer has signed, once or several times.
#[derive(Clone, Debug)]
struct Signed {
    aside: SetAside,
    /// All that may be mined: another signature of the fee payer is another hash.
    hashes: Vec<B256>,
    valid_before: u64,
}

impl Unsettled {
    fn lock(&self) -> MutexGuard<'_, HashMap<B256, Signed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a transaction that was signed. One that somebody else may have
    /// had signed, too, is not remembered: it may be mined under a hash that is
    /// not known here.
    pub(super) fn add(&self, transaction: Sponsored, hash: B256, reserved: &Reservation) {
        let mut all = self.lock();
        let before = all.remove(&transaction.id);
        let known = before.as_ref().map(|before| before.aside);
        let (Some(aside), true) = (reserved.aside, reserved.follows(known)) else {
            return;
        };
        let mut hashes = before.map(|before| before.hashes).unwrap_or_default();
        if !hashes.contains(&hash) {
            hashes.push(hash);
        }
        let signed = Signed {
            aside,
            hashes,
            valid_before: transaction.valid_before,
        };
        all.insert(transaction.id, signed);
    }

    pub(super) fn forget(&self, transaction: B256) {
        self.lock().remove(&transaction);
    }

    /// Those that can not be mined any more.
    fn ended(&self, now: Timestamp) -> Vec<(B256, Signed)> {
        let now = u64::try_from(now.as_secs()).unwrap_or_default();
        let is_over =
            |signed: &Signed| signed.valid_before.saturating_add(EXPIRY_MARGIN_SECS) < now;
        let all = self.lock();
        let ended = all.iter().filter(|(_, signed)| is_over(signed));
        ended.map(|(id, signed)| (*id, signed.clone())).collect()
    }
}

/// Settles what nobody else does, for as long as the server runs.
pub(crate) async fn run<S: ChannelStore>(sponsor: Arc<Sponsor<S>>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let now = sponsor.parts.clock.now();
        for (transaction, signed) in sponsor.unsettled.ended(now) {
            if let Err(fault) = sponsor.find_out(transaction, signed, now).await {
                tracing::debug!(
                    error = &fault as &dyn std::error::Error,
                    "the end of a sponsored transaction is not known; looking again"
                );
            }
        }
    }
}

impl<S: ChannelStore> Sponsor<S> {
    /// Settles the fee of a transaction by what the chain shows of it.
    async fn find_out(
        self: &Arc<Self>,
        transaction: B256,
        signed: Signed,
        now: Timestamp,
    ) -> Result<(), Fault> {
        if self.purse.holds(signed.aside).await? {
            for hash in signed.hashes {
                match look_up(&self.parts.chain, hash, Some(signed.valid_before), now).await? {
                    Sighting::Mined(receipt) => {
                        self.settle(transaction, Some(&receipt)).await;
                        return Ok(());
                    }
                    Sighting::Never => {}
                    Sighting::NotYet => return Ok(()),
                }
            }
            self.purse.free(signed.aside).await?;
        }
        self.unsettled.forget(transaction);
        Ok(())
    }
}
