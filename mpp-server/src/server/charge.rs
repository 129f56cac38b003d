//! What a server does about charges, and gives back.

use std::sync::Arc;

use mpp_core::{Amount, ChallengeId, receipt::ChargeReceipt};
use mpp_tempo::channel::ChannelId;

use super::PaymentServer;
use crate::{
    charge::{
        ChargeOffer, Refund, RefundError,
        record::{ChargeId, ChargeRecord},
    },
    error::{Failure, Fault},
    session::record::ChannelRecord,
    sponsor::SponsorHealth,
};

impl PaymentServer {
    /// Starts the charge offer of a route.
    pub fn charge(&self) -> ChargeOffer {
        let inner = &self.0;
        ChargeOffer::new(Arc::clone(&inner.charges), inner.network, inner.account)
    }

    /// What the server knows of the charge that a challenge asks for.
    ///
    /// # Errors
    /// When the store fails.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn charge_of(&self, challenge: &ChallengeId) -> Result<Option<ChargeRecord>, Fault> {
        self.0.charges.charge(ChargeId::of(challenge)).await
    }

    /// What the fee payer has left; `None`: there is none.
    ///
    /// # Errors
    /// When the chain does not answer.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn sponsor_health(&self) -> Result<Option<SponsorHealth>, Fault> {
        self.0.charges.sponsor_health().await
    }

    /// Brings what was sent back of a paid charge to `total` base units, from
    /// the server's account to who paid it, and returns once the chain shows it.
    ///
    /// The total is cumulative, as that of a voucher: it counts what was sent
    /// back before. So the same call may be repeated, by anybody and at any time,
    /// after a crash, a timeout or an error. It finishes what is under way, or
    /// does nothing but tell what was sent back; it never sends twice. The whole
    /// charge is sent back by its own amount.
    ///
    /// The memo is that of the charge with the bytes in reverse order, so that
    /// both are found together on the chain. All refunds of a charge together
    /// never exceed it.
    ///
    /// A charge of which anything was sent back is not served any more, unless
    /// it is being served already: send the rest back, too, if it was not. Only a
    /// refund that has failed leaves it as it was.
    ///
    /// # Errors
    /// [`RefundError`]; among others, for a total that is more than the charge
    /// or less than what was sent back already.
    ///
    /// # Cancel safety
    /// A task of the server brings a refund that has begun to its end.
    pub async fn refund_to(
        &self,
        receipt: &ChargeReceipt,
        total: Amount,
    ) -> Result<Refund, RefundError> {
        Arc::clone(&self.0.charges).refund_to(receipt, total).await
    }

    /// Gives back a part of what a session was charged: the payer can spend it
    /// again, and what is left at the close goes back to it.
    ///
    /// # Errors
    /// [`Rejection::CreditTooLarge`](crate::Rejection::CreditTooLarge) above
    /// what was charged and not collected yet; when the channel is unknown or
    /// not in service, or chain or store fail.
    ///
    /// # Cancel safety
    /// Dropped, it was given back or not; the channel's record tells.
    pub async fn credit(&self, id: ChannelId, amount: Amount) -> Result<ChannelRecord, Failure> {
        let credited = self.0.engine.credit(id, amount).await;
        credited.map(Arc::unwrap_or_clone)
    }
}
