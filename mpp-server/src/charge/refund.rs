//! Sending charges back.

mod record;
mod run;

use std::sync::Arc;

use alloy_primitives::B256;
use mpp_core::{Amount, receipt::ChargeReceipt};

pub use self::record::{RefundDocument, RefundState};
pub(crate) use self::run::finish_refunds;
use super::{
    ChargeContext,
    desk::{self, Found},
    machine::{NotRefundable, begin_refund, refund_due},
    record::{ChargeDocument, ChargeId, ChargeRecord},
};
use crate::{
    error::Fault,
    store::{ChannelStore, Written},
};

const GONE: Fault = Fault::Inconsistent("a refund's record is gone");
const NOT_PAID: Fault = Fault::Inconsistent("a refund has ended without its payment");

/// What was sent back of a charge, as the chain has shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// The receipt of the newest refund: the reference is its own transaction,
    /// the challenge that of the charge.
    pub receipt: ChargeReceipt,
    /// What the newest refund has sent back, in base units.
    pub amount: Amount,
    /// What all refunds of the charge have sent back, in base units.
    pub total: Amount,
    /// Counts the refunds of the charge, from 1.
    pub number: u32,
}

/// Why a charge was not sent back.
#[derive(Debug, thiserror::Error)]
pub enum RefundError {
    /// The receipt is not one of a charge that was paid here.
    #[error("the receipt is not one of a charge that was paid here")]
    Unknown,
    /// The charge can not be sent back up to this total.
    #[error(transparent)]
    NotRefundable(#[from] NotRefundable),
    /// A refund of the charge is under way. The same call, later, is answered
    /// with what came of it, or does what is left to do.
    #[error("a refund of this charge is under way; try again later")]
    InProgress,
    /// The transaction was refused or reverted: it has sent nothing back. The
    /// same call begins anew.
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

/// Brings what was sent back of a charge to a total.
///
/// # Cancel safety
/// Once the refund is recorded, a task of the server brings it to its end.
pub(super) async fn refund_to<S: ChannelStore>(
    context: Arc<ChargeContext<S>>,
    receipt: &ChargeReceipt,
    total: Amount,
) -> Result<Refund, RefundError> {
    let id = context.charge_of(receipt).await?;
    let tasks = context.tasks.clone();
    let work = async move { context.refund_up_to(id, total).await };
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

    async fn refund_up_to(&self, id: ChargeId, total: Amount) -> Result<Refund, RefundError> {
        loop {
            let charge = self.settled(id).await?;
            let paid = if refund_due(&charge.value, total)?.is_zero() {
                self.newest_refund(&charge.value).await?
            } else {
                match self.begin_refund(charge, total).await? {
                    Some(begun) => self.finish_refund(begun).await?,
                    None => continue,
                }
            };
            return Ok(Refund::of(paid, total).ok_or(NOT_PAID)?);
        }
    }

    /// The charge once none of its refunds is under way: what it counts as
    /// sent back is what the chain has shown.
    async fn settled(&self, id: ChargeId) -> Result<Found<ChargeRecord>, RefundError> {
        loop {
            let charge = self.load_charge(id).await?;
            if let Some(unfinished) = self.unfinished(id, charge.value.refunds).await? {
                match self.finish_refund(unfinished).await {
                    Ok(_) | Err(RefundError::Failed(_)) => continue,
                    Err(error) => return Err(error),
                }
            }
            // It may have failed between the two looks, and counted in the first.
            let again = self.load_charge(id).await?;
            if again.version == charge.version {
                return Ok(again);
            }
        }
    }

    async fn load_charge(&self, id: ChargeId) -> Result<Found<ChargeRecord>, RefundError> {
        self.desk.load(id).await?.ok_or(RefundError::Unknown)
    }

    /// The newest refund that the chain has shown, of a charge that is
    /// [settled](Self::settled).
    async fn newest_refund(&self, charge: &ChargeRecord) -> Result<RefundDocument, Fault> {
        for number in (1..=charge.refunds).rev() {
            let found = self.find_refund(charge.id(), number).await?.ok_or(GONE)?;
            if found.value.state != RefundState::Failed {
                return Ok(found.value);
            }
        }
        Err(GONE)
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
        let found = self.find_refund(id, newest).await?;
        Ok(found.filter(|found| !found.value.state.is_over()))
    }

    async fn find_refund(
        &self,
        id: ChargeId,
        number: u32,
    ) -> Result<Option<Found<RefundDocument>>, Fault> {
        Ok(desk::find(self.desk.store(), record::key(id, number)).await?)
    }

    /// Records a refund before anything is signed. `None`: somebody else
    /// wrote first.
    async fn begin_refund(
        &self,
        charge: Found<ChargeRecord>,
        total: Amount,
    ) -> Result<Option<Found<RefundDocument>>, RefundError> {
        let amount = refund_due(&charge.value, total)?;
        let next = begin_refund(&charge.value, total)?;
        let now = self.clock.now();
        // A lease of nothing: whoever looks next may go on.
        let refund = RefundDocument::of(&next, amount, now);
        let (id, number) = (refund.charge(), refund.number);
        let writes = vec![
            desk::write(refund.key(), None, &refund)?,
            desk::write(
                next.id().key(),
                Some(charge.version),
                &ChargeDocument::Record(Box::new(next)),
            )?,
        ];
        if self.desk.store().write_documents(writes).await? == Written::Conflict {
            return Ok(None);
        }
        let found = self.find_refund(id, number).await?;
        Ok(Some(found.ok_or(GONE)?))
    }
}

impl Refund {
    /// `None`: the chain has not shown it.
    fn of(newest: RefundDocument, total: Amount) -> Option<Self> {
        let RefundState::Paid { hash, at } = newest.state else {
            return None;
        };
        let mut receipt = ChargeReceipt::new(mpp_core::MethodName::tempo(), at, hash.to_string());
        receipt.challenge_id = Some(newest.challenge_id);
        receipt.external_id = newest.external_id;
        Some(Self {
            receipt,
            amount: newest.amount,
            total,
            number: newest.number,
        })
    }
}
