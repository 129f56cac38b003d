//! Sending charges back.

mod record;
mod run;

use std::sync::Arc;

use alloy_primitives::B256;
use mpp_core::{Amount, Timestamp, receipt::ChargeReceipt};

pub use self::record::{RefundDocument, RefundState};
pub(crate) use self::run::finish_refunds;
use super::{
    ChargeContext,
    desk::{self, Found},
    machine::{NotRefundable, begin_refund},
    record::{ChargeDocument, ChargeId, ChargeRecord},
};
use crate::{
    error::Fault,
    store::{ChannelStore, Written},
};

/// A refund that the chain has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// Its receipt: the reference is its own transaction, the challenge that
    /// of the charge.
    pub receipt: ChargeReceipt,
    /// What was sent back, in base units.
    pub amount: Amount,
    /// Counts the refunds of the charge, from 1.
    pub number: u32,
}

/// Why a charge was not sent back.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    /// The receipt is not one of a charge that was paid here.
    #[error("the receipt is not one of a charge that was paid here")]
    Unknown,
    /// The charge can not be sent back, or not so much of it.
    #[error(transparent)]
    NotRefundable(#[from] NotRefundable),
    /// Another refund of the charge is under way.
    #[error("another refund of this charge is under way; try again later")]
    InProgress,
    /// The transaction was refused or reverted: nothing was sent back.
    #[error("the refund failed: {0}")]
    Failed(String),
    /// Chain, store or signer failed; the refund may still happen, and the
    /// same call finishes it.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<crate::store::StoreFault> for RefundError {
    fn from(fault: crate::store::StoreFault) -> Self {
        Self::Fault(fault.into())
    }
}

/// Refunds a part of a charge.
///
/// # Cancel safety
/// Once the refund is recorded, a task of the server brings it to its end.
pub(super) async fn refund<S: ChannelStore>(
    context: Arc<ChargeContext<S>>,
    receipt: &ChargeReceipt,
    amount: Amount,
) -> Result<Refund, RefundError> {
    let id = context.charge_of(receipt).await?;
    let tasks = context.tasks.clone();
    let work = async move { context.refund_part(id, amount).await };
    tasks.run(work).await.map_err(Fault::from)?
}

impl<S: ChannelStore> ChargeContext<S> {
    async fn charge_of(&self, receipt: &ChargeReceipt) -> Result<ChargeId, RefundError> {
        let hash: B256 = receipt
            .reference
            .parse()
            .map_err(|_| RefundError::Unknown)?;
        let id = self.desk.of_transaction(hash).await?;
        let id = id.ok_or(RefundError::Unknown)?;
        let named = receipt.challenge_id.as_ref().map(ChargeId::of);
        if named.is_some_and(|named| named != id) {
            return Err(RefundError::Unknown);
        }
        Ok(id)
    }

    async fn refund_part(&self, id: ChargeId, amount: Amount) -> Result<Refund, RefundError> {
        loop {
            let charge = self.desk.load(id).await?.ok_or(RefundError::Unknown)?;
            if let Some(unfinished) = self.unfinished(id, charge.value.refunds).await? {
                let equal = unfinished.value.amount == amount;
                let finished = self.finish_refund(unfinished).await;
                if equal {
                    return finished;
                }
                match finished {
                    Ok(_) | Err(RefundError::Failed(_)) => continue,
                    Err(error) => return Err(error),
                }
            }
            if let Some(begun) = self.begin_refund(charge, amount).await? {
                return self.finish_refund(begun).await;
            }
        }
    }

    /// The newest refund of a charge, unless it has ended. An older one always
    /// has.
    async fn unfinished(
        &self,
        id: ChargeId,
        newest: u32,
    ) -> Result<Option<Found<RefundDocument>>, Fault> {
        if newest == 0 {
            return Ok(None);
        }
        let key = record::key(id, newest);
        let found: Option<Found<RefundDocument>> = desk::find(self.desk.store(), key).await?;
        Ok(found.filter(|found| !found.value.state.is_over()))
    }

    /// Records a refund before anything is signed. `None`: somebody else
    /// wrote first.
    async fn begin_refund(
        &self,
        charge: Found<ChargeRecord>,
        amount: Amount,
    ) -> Result<Option<Found<RefundDocument>>, RefundError> {
        let next = begin_refund(&charge.value, amount)?;
        let now = self.clock.now();
        // A lease of nothing: whoever looks next may go on.
        let refund = RefundDocument::of(&next, amount, now);
        let key = refund.key();
        let writes = vec![
            desk::write(key, None, &refund)?,
            desk::write(
                next.id().key(),
                Some(charge.version),
                &ChargeDocument::Record(Box::new(next)),
            )?,
        ];
        if self.desk.store().write_documents(writes).await? == Written::Conflict {
            return Ok(None);
        }
        let found = desk::find(self.desk.store(), key).await?;
        Ok(Some(
            found.ok_or(Fault::Inconsistent("a refund's record is gone"))?,
        ))
    }
}

impl Refund {
    fn of(document: &RefundDocument, hash: B256, at: Timestamp) -> Self {
        let mut receipt = ChargeReceipt::new(mpp_core::MethodName::tempo(), at, hash.to_string());
        receipt.challenge_id = Some(document.challenge_id.clone());
        receipt.external_id = document.external_id.clone();
        Self {
            receipt,
            amount: document.amount,
            number: document.number,
        }
    }
}
