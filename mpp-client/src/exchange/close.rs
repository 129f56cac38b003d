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
}
