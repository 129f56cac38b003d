//! Finding out what became of a charge, from the chain.
//!
//! A signed transaction may be mined until its validity ends. Before that moment, "the chain does
//! not know it" proves nothing; afterwards it proves that nothing was paid.

use alloy_primitives::B256;
use mpp_core::Timestamp;
use mpp_tempo::chain::{ChainClient, DynChain, TxReceipt};
use mpp_tempo::charge::{check_receipt, payment_logs};

use super::{ChargeId, ChargeOffer, ChargeRecord, ChargeState, ChargeSummary};
use crate::error::ClientError;
use crate::payer::Payer;
use crate::policy::day_before;
use crate::session::recover::is_over;

/// Judges a charge by what the chain shows at its time `chain_now`, in Unix seconds.
///
/// `paid_by` is a transaction that makes its transfers, `reverted` whether its own one failed.
#[must_use]
pub const fn judge(
    paid_by: Option<B256>,
    chain_now: u64,
    valid_before: Option<u64>,
) -> ChargeState {
    match (paid_by, valid_before) {
        (Some(tx_hash), _) => ChargeState::Paid { tx_hash },
        (None, Some(valid_before)) if is_over(chain_now, valid_before) => ChargeState::Void,
        (None, _) => ChargeState::Open,
    }
}

impl Payer {
    /// The charges in the book: those of which something is left to find out, and those of the
    /// last days.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn charges(&self) -> Result<Vec<ChargeSummary>, ClientError> {
        let records = self.book().charges()?;
        Ok(records.iter().map(ChargeSummary::from).collect())
    }

    /// Asks the chain what became of a charge, and returns what is known now: paid, not paid and
    /// never will be, or still open.
    ///
    /// # Errors
    /// [`ClientError::Chain`], [`ClientError::Book`], or [`ClientError::Misuse`] for a charge that
    /// the book does not know, and without a client of its chain.
    ///
    /// # Cancel safety
    /// Dropped, nothing has changed.
    pub async fn resolve_charge(&self, id: &ChargeId) -> Result<ChargeState, ClientError> {
        let record = self
            .book()
            .charge(id)?
            .ok_or(ClientError::Misuse("the book does not know this charge"))?;
        if record.state.is_settled() {
            return Ok(record.state);
        }
        let offer = ChargeOffer::read(record.challenge.clone())?;
        let chain = self.chain_of(offer.chain_id())?;
        // The time first, so that what is seen is never older than the time it is judged by.
        let chain_now = chain.block().await?.timestamp;
        let paid_by = self.find_payment(chain, &record, &offer).await?;
        let news = judge(paid_by, chain_now, record.valid_before);
        self.learn_charge(id, news)
    }

    /// As [`Payer::resolve_charge`], as far as the chain answers: without its word a charge may have
    /// been paid.
    pub(crate) async fn find_out(&self, id: &ChargeId) -> Option<ChargeState> {
        self.resolve_charge(id).await.ok()
    }

    /// Asks about all charges of the last day that are open on the chain that is connected. Returns
    /// whether one of them was settled by that.
    pub(crate) async fn resolve_open(&self, now: Timestamp) -> Result<bool, ClientError> {
        let since = day_before(now);
        let records = self.book().charges()?;
        let open = records
            .iter()
            .filter(|record| record.state == ChargeState::Open && record.at > since);
        let mut settled = false;
        for record in open {
            let offer = ChargeOffer::read(record.challenge.clone())?;
            if !self.is_connected(offer.chain_id()) {
                continue;
            }
            settled |= self.resolve_charge(&record.id).await?.is_settled();
        }
        Ok(settled)
    }

    /// The mined transaction that paid a charge.
    async fn find_payment(
        &self,
        chain: &DynChain,
        record: &ChargeRecord,
        offer: &ChargeOffer,
    ) -> Result<Option<B256>, ClientError> {
        let Some(transfers) = offer.transfers() else {
            return Ok(None);
        };
        let pays = |receipt: &TxReceipt| {
            receipt.from == record.payer
                && check_receipt(receipt, transfers, offer.binding()).is_ok()
        };
        if let Some(hash) = record.tx_hash {
            let receipt = chain.receipt(hash).await?;
            let found = receipt.filter(pays).map(|receipt| receipt.hash);
            // What was signed here has this hash and no other. A wallet may have named another one
            // than that under which its payment was mined.
            if found.is_some() || record.valid_before.is_some() {
                return Ok(found);
            }
        }
        let mut found = None;
        let made_by = (record.payer, record.from_block);
        let logs = chain
            .logs(payment_logs(transfers, offer.binding(), made_by))
            .await?;
        for hash in self.unclaimed(record, logs.iter().filter_map(|log| log.tx_hash))? {
            let receipt = chain.receipt(hash).await?;
            found = found.or(receipt.filter(pays).map(|receipt| receipt.hash));
        }
        Ok(found)
    }

    /// The transactions that pay no other charge of the book.
    fn unclaimed(
        &self,
        record: &ChargeRecord,
        hashes: impl Iterator<Item = B256>,
    ) -> Result<Vec<B256>, ClientError> {
        let others = self.book().charges()?;
        let is_taken = |hash: &B256| {
            others.iter().any(|other| {
                other.id != record.id
                    && (other.state.tx_hash() == Some(*hash) || other.tx_hash == Some(*hash))
            })
        };
        Ok(hashes.filter(|hash| !is_taken(hash)).collect())
    }
}
