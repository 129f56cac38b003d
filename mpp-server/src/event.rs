//! What happens on the server, told to whoever subscribes.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use mpp_core::{Amount, ChallengeId, problem::ProblemKind};
use mpp_tempo::channel::ChannelId;
use tokio::sync::broadcast;

use crate::{health::Behind, session::record::Quarantine};

/// One thing that happened. Holds no credential, signature or key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerEvent {
    /// A `402` went out with this challenge.
    ChallengeIssued {
        /// Its id.
        challenge_id: ChallengeId,
        /// The route it is bound to.
        scope: String,
    },
    /// A channel is open on chain and in service.
    ChannelOpened {
        /// The channel.
        channel_id: ChannelId,
        /// Its deposit, in base units.
        deposit: Amount,
    },
    /// A voucher was verified and made durable.
    VoucherAccepted {
        /// The channel.
        channel_id: ChannelId,
        /// The cumulative amount it authorizes, in base units.
        accepted: Amount,
    },
    /// Service was charged.
    Charged {
        /// The channel.
        channel_id: ChannelId,
        /// Price of this charge, in base units.
        cost: Amount,
        /// Units it pays for.
        units: u64,
        /// Charged in total, in base units.
        spent: Amount,
    },
    /// A part of what was charged was given back.
    Credited {
        /// The channel.
        channel_id: ChannelId,
        /// What was given back, in base units.
        amount: Amount,
        /// Charged in total after it, in base units.
        spent: Amount,
    },
    /// A stream waits for a voucher.
    NeedVoucher {
        /// The channel.
        channel_id: ChannelId,
        /// The cumulative amount it waits for, in base units.
        required: Amount,
    },
    /// The deposit grew.
    ToppedUp {
        /// The channel.
        channel_id: ChannelId,
        /// The new deposit, in base units.
        deposit: Amount,
    },
    /// A reorganization of the chain has taken back an open, a top-up or a
    /// close.
    Reverted {
        /// The channel.
        channel_id: ChannelId,
        /// What it holds now, in base units.
        deposit: Amount,
    },
    /// A reorganization has taken back a close: the payer could withdraw what was
    /// earned. The channel is closed again, and nothing is sold meanwhile; where no
    /// voucher fits a close, it is settled like any other.
    CloseReverted {
        /// The channel.
        channel_id: ChannelId,
        /// What is unsettled again, in base units.
        unsettled: Amount,
    },
    /// The payer asked the chain to close the channel; selling has stopped.
    CloseRequested {
        /// The channel.
        channel_id: ChannelId,
        /// Unix time of the request, in seconds.
        at: u64,
    },
    /// Something was collected, by a transaction that is final.
    Collected {
        /// The channel.
        channel_id: ChannelId,
        /// What the payee has received in total, in base units.
        settled: Amount,
        /// The transaction.
        transaction: B256,
        /// What was left of the time, when the payer had asked the chain to
        /// close.
        left: Option<Duration>,
    },
    /// A channel alone could not be collected from: its payer or token may be
    /// frozen or paused. It is tried again.
    CollectionFailed {
        /// The channel.
        channel_id: ChannelId,
    },
    /// A payer has asked the chain to close a channel with something unsettled.
    DeadlineRuns {
        /// The channel.
        channel_id: ChannelId,
        /// The time that is left to collect.
        left: Duration,
    },
    /// It is still unsettled, and little time is left: an operator should look.
    DeadlineNear {
        /// The channel.
        channel_id: ChannelId,
        /// The time that is left to collect.
        left: Duration,
    },
    /// The payer can take back what was earned.
    DeadlineMissed {
        /// The channel.
        channel_id: ChannelId,
        /// What is unsettled, in base units.
        unsettled: Amount,
    },
    /// The channel is closed on chain.
    Closed {
        /// The channel.
        channel_id: ChannelId,
        /// The transaction that ended it, when it is known.
        transaction: Option<B256>,
        /// What the payee received in total, in base units.
        settled: Amount,
    },
    /// The chain knows more of the channel than the server does; selling has
    /// stopped until an operator has looked.
    Quarantined {
        /// The channel.
        channel_id: ChannelId,
        /// What does not fit.
        reason: Quarantine,
    },
    /// The chain has shown a charge paid.
    ChargePaid {
        /// Its challenge.
        challenge_id: ChallengeId,
        /// Who paid.
        payer: Address,
        /// What was paid, splits included, in base units.
        amount: Amount,
        /// The transaction.
        transaction: B256,
    },
    /// A request was served for a charge, which is used up now.
    ChargeServed {
        /// Its challenge.
        challenge_id: ChallengeId,
    },
    /// A part of a charge was sent back.
    Refunded {
        /// The challenge of the charge.
        challenge_id: ChallengeId,
        /// What was sent back, in base units.
        amount: Amount,
        /// The transaction.
        transaction: B256,
    },
    /// The fee payer is about to run dry.
    SponsorLow {
        /// What it has left of the network's default currency, in base units.
        balance: Amount,
    },
    /// A request was refused.
    Rejected {
        /// The channel, when the credential named one.
        channel_id: Option<ChannelId>,
        /// Why, as the peer was told.
        reason: ProblemKind,
    },
    /// The chain could not be read; facts grow stale.
    ChainUnreadable,
    /// The node has been behind what was seen of the chain before for longer
    /// than [`FollowPolicy::behind_after`](crate::FollowPolicy::behind_after).
    ChainBehind(Behind),
}

/// Sends events without ever waiting for a reader.
#[derive(Clone, Debug)]
pub struct Events(broadcast::Sender<ServerEvent>);

impl Events {
    /// A channel that keeps the newest `capacity` events for slow readers.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self(broadcast::Sender::new(capacity.max(1)))
    }

    /// Receives all events from now on. A reader that falls behind by more
    /// than the capacity learns how many it missed; it never slows a request.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<ServerEvent> {
        self.0.subscribe()
    }

    pub(crate) fn send(&self, event: ServerEvent) {
        // Nobody listening is not an error.
        drop(self.0.send(event));
    }
}
