//! Adding to a channel because its owner says so.

use mpp_core::{Amount, SessionReceipt};
use mpp_tempo::ChannelId;

use super::{ManageWire, manage::send_top_up};
use crate::error::ClientError;
use crate::origin::Site;
use crate::payer::Payer;

/// Top-ups that one call may send: earlier ones that are not finished, and the
/// one it asks for.
const MAX_TOP_UPS: u32 = 4;

impl Payer {
    /// Adds `additional` base units to a channel, over a transport.
    ///
    /// # Errors
    /// [`ClientError::Policy`] above the policy's largest deposit,
    /// [`ClientError::Indeterminate`] when the answer was lost. A top-up whose
    /// fate is not known is finished first.
    ///
    /// # Cancel safety
    /// Dropped, the top-up may happen; the next one finds out.
    pub async fn top_up_over<W: ManageWire>(
        &self,
        site: &Site,
        wire: &mut W,
        channel: ChannelId,
        additional: Amount,
    ) -> Result<SessionReceipt, ClientError> {
        let offer = self.any_offer(site, wire).await?;
        for _ in 0..MAX_TOP_UPS {
            let top_up = self.top_up(channel, &offer, additional).await?;
            let is_repeat = top_up.is_repeat();
            let receipt = send_top_up(self, site, wire, (offer.clone(), top_up)).await?;
            if !is_repeat {
                return Ok(receipt);
            }
        }
        Err(ClientError::Protocol("it never finishes a top-up"))
    }
}
