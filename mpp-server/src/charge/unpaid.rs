//! Removes charges that were never paid, once nothing can be paid for them.
//!
//! Anybody can have a record made by showing a transaction that pays nothing, so
//! these must not stay for ever. What may still be paid is never removed:
//!
//! * Nobody works on the charge, and an hour has passed since both its challenge
//!   and the last transaction for it have ended ([`ChargeRecord::ends_at`]). From
//!   then on the challenge takes no payment and no node mines the transaction. A
//!   transaction that does not end is never over, and its record stays; so does a
//!   record from before ends were noted.
//! * The chain, at a head beyond that end, does not show the transaction. If it
//!   does, by whatever way it came there, the record stays, and whoever shows the
//!   payment is served for it.
//! * Record and notes go in one write, at the versions that were looked at. Its
//!   id does not come again after its challenge has ended, and neither does that
//!   of a note of a transaction. The key of a request may; who takes it over from
//!   a charge writes that charge's record too, and fails if it is gone.

use super::{
    ChargeContext,
    desk::Found,
    record::{ChargeRecord, idempotency_key, transaction_key},
};
use crate::{
    broadcast::{Sighting, look_up},
    error::Fault,
    store::{ChannelStore, DocumentKey, DocumentWrite, Version},
};

impl<S: ChannelStore> ChargeContext<S> {
    /// Removes those of some charges that have ended of which the chain shows
    /// that nothing was paid.
    ///
    /// # Cancel safety
    /// Each is removed with its notes or not; the next round finds the rest.
    pub(super) async fn remove_unpaid(&self, ended: Vec<Found<ChargeRecord>>) -> Result<(), Fault> {
        for charge in ended {
            if self.was_never_paid(&charge.value).await? {
                self.remove(charge).await?;
            }
        }
        Ok(())
    }

    async fn was_never_paid(&self, record: &ChargeRecord) -> Result<bool, Fault> {
        let Some(hash) = record.payment.hash else {
            // It was never signed by its fee payer, and so never sent.
            return Ok(true);
        };
        let end = record.ends_at.map(|end| end.as_secs());
        let end = end.and_then(|end| u64::try_from(end).ok());
        let seen = look_up(&self.chain, hash, end, self.clock.now()).await?;
        Ok(match seen {
            Sighting::Never => true,
            Sighting::Mined(receipt) => !receipt.success,
            Sighting::NotYet => false,
        })
    }

    async fn remove(&self, charge: Found<ChargeRecord>) -> Result<(), Fault> {
        let (id, record) = (charge.value.id(), charge.value);
        let payment = [record.payment.replay_id, record.payment.hash];
        let payment = payment.into_iter().flatten().map(transaction_key);
        let asked = record.asked.map(|asked| idempotency_key(asked.into()));
        let mut writes = vec![gone(id.key(), charge.version)];
        for key in payment.chain(asked) {
            // The key of a request may be another charge's by now.
            let note = self.desk.owner(key).await?;
            if let Some(note) = note.filter(|note| note.value == id) {
                writes.push(gone(key, note.version));
            }
        }
        // When somebody else was faster, the next round looks again.
        self.desk.store().write_documents(writes).await?;
        Ok(())
    }
}

const fn gone(key: DocumentKey, version: Version) -> DocumentWrite {
    DocumentWrite {
        key,
        expected: Some(version),
        value: None,
    }
}
