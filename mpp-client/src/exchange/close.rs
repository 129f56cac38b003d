//! Closing a channel together with its server.

use mpp_core::{ProblemKind, SessionReceipt};
use mpp_tempo::ChannelId;

use super::{
    ManageWire,
    manage::{Managed, refusal},
};
use crate::error::ClientError;
use crate::origin::Site;
use crate::payer::Payer;
use crate::session::book::StaleReason;

/// Closes that one call may send: the first, and after a correction of the
/// amount.
const MAX_CLOSES: u32 = 3;

impl Payer {
    /// Closes a channel over a transport: the server settles what was spent,
    /// and the rest comes back.
    ///
    /// The server's word is then compared with the chain: a channel that is
    /// still open there is kept as one that may hold money
    /// ([`Phase::CloseConfirmed`](crate::session::book::Phase::CloseConfirmed)).
    /// [`Payer::resolve`] asks again, and [`Payer::leave`] gets the deposit
    /// back from a server that has not told the truth.
    ///
    /// # Errors
    /// [`ClientError::Problem`] when the server refuses (see
    /// [`Payer::request_close`]), [`ClientError::Indeterminate`] when its
    /// answer was lost: close again.
    ///
    /// # Cancel safety
    /// Dropped, the channel may be closed and takes no requests; close again
    /// to find out.
    pub async fn close_over<W: ManageWire>(
        &self,
        site: &Site,
        wire: &mut W,
        channel: ChannelId,
    ) -> Result<SessionReceipt, ClientError> {
        let offer = self.any_offer(site, wire).await?;
        let mut close = self.close(channel).await?;
        for _ in 0..MAX_CLOSES {
            match self.manage(site, wire, offer.clone(), &mut close).await? {
                Managed::Done(receipt) => {
                    close.confirm(&receipt)?;
                    self.look_after_close(&channel).await;
                    return Ok(*receipt);
                }
                Managed::Lost(error) => return Err(close.lose(error)),
                Managed::Refused { status, problem } => {
                    let reason = problem.as_ref().and_then(|problem| match problem.kind {
                        ProblemKind::ChannelNotFound => Some(StaleReason::NotFound),
                        ProblemKind::ChannelFinalized => Some(StaleReason::Finalized),
                        _ => None,
                    });
                    if let Some(reason) = reason {
                        return Err(close.gone(reason, refusal(status, problem)));
                    }
                    let again = match &problem {
                        Some(problem) => close.adjust(problem)?,
                        None => false,
                    };
                    if !again {
                        return Err(close.refuse(refusal(status, problem)));
                    }
                }
            }
        }
        Err(close.refuse(ClientError::Protocol("no close voucher is right for it")))
    }

    /// Asks the chain whether a server has closed a channel as it says. If the chain can not tell
    /// now, the book remembers that nobody knows yet.
    async fn look_after_close(&self, channel: &ChannelId) {
        if let Err(error) = self.resolve(channel).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "a close could not be looked up");
        }
    }
}
