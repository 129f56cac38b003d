//! What of a channel matters for collecting from it.

use std::time::Duration;

use alloy_primitives::Address;
use mpp_core::{Amount, Timestamp};
use mpp_tempo::{ChannelId, network::CLOSE_GRACE_SECS};

use crate::session::record::{ChannelRecord, Phase};

/// The part of a record that the scheduler goes by: small, so that those of
/// many channels fit into memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) id: ChannelId,
    pub(crate) payer: Address,
    pub(crate) token: Address,
    /// Spent and not paid out, in base units.
    pub(crate) unsettled: Amount,
    /// What a settlement would bring now, in base units.
    pub(crate) collectable: Amount,
    /// Whether a voucher is there with which the server can close.
    pub(crate) closable: bool,
    /// When the oldest charge was made that is not paid out.
    pub(crate) since: Option<Timestamp>,
    /// Units charged since then.
    pub(crate) units: u64,
    /// When something last happened.
    pub(crate) changed_at: Timestamp,
    /// Whether requests are being served.
    pub(crate) serving: bool,
    /// Whether collecting from its payer has failed lately.
    pub(crate) blocked: bool,
    pub(crate) stage: Stage,
}

/// Where the channel stands, as far as collecting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// In service.
    Open,
    /// The payer has asked the chain to close.
    Requested(Deadline),
    /// A close is recorded that no transaction carries out yet, or one that
    /// nobody follows.
    Closing {
        /// What the payer asked the chain for, when it did.
        deadline: Option<Deadline>,
    },
}

/// Until when a channel can be collected from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(u64);

impl Deadline {
    /// The end of the grace period of a close request, in Unix seconds.
    pub(crate) fn of_request(at: u64) -> Self {
        Self(at.saturating_add(CLOSE_GRACE_SECS))
    }

    /// What is left of it.
    pub(crate) fn left(self, now: Timestamp) -> Duration {
        let now = u64::try_from(now.as_secs()).unwrap_or_default();
        Duration::from_secs(self.0.saturating_sub(now))
    }
}

impl Standing {
    /// `None` when nothing may be collected: the channel is not open, over, or
    /// quarantined.
    pub(crate) fn of(record: &ChannelRecord, now: Timestamp) -> Option<Self> {
        let stage = match &record.phase {
            Phase::Open => Stage::Open,
            Phase::CloseRequested { at } => Stage::Requested(Deadline::of_request(*at)),
            Phase::Closing { requested_at, .. } => Stage::Closing {
                deadline: requested_at.map(Deadline::of_request),
            },
            Phase::Opening(_)
            | Phase::Failed
            | Phase::Quarantined { .. }
            | Phase::Closed { .. } => return None,
        };
        let parties = &record.terms.descriptor;
        let best = record.collectable();
        let collectable = best.map_or(Amount::ZERO, |signed| signed.voucher.cumulative);
        Some(Self {
            id: record.id,
            payer: parties.payer,
            token: parties.token,
            unsettled: record.spent.saturating_sub(record.settled),
            collectable: collectable.saturating_sub(record.settled),
            closable: record.closable().is_some(),
            since: record.unsettled.since,
            units: record.unsettled.units,
            changed_at: record.changed_at,
            blocked: false,
            serving: record.holds.iter().any(|hold| hold.is_live(now)),
            stage,
        })
    }

    /// Whether anything can be collected, now or by a close that is recorded.
    pub(crate) fn has_something(&self) -> bool {
        let by_close = self.closable || matches!(self.stage, Stage::Closing { .. });
        !self.collectable.is_zero() || (by_close && !self.unsettled.is_zero())
    }
}
