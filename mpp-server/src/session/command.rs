//! Commands to a channel and what comes of them.

use alloy_primitives::B256;
use mpp_core::{Amount, ChallengeId, Timestamp};
pub use mpp_tempo::escrow::CloseNews;
use mpp_tempo::{
    channel::ChannelView,
    voucher::{SignedVoucher, VerifiedVoucher},
};

use super::record::{ChannelRecord, HoldId, Idempotency, LedgerEntry, PendingTx, StreamEpoch};
use crate::{
    error::Shortage,
    store::{StoredOutcome, StoredResponse},
};

/// Something that may change a channel. See [`apply`](super::machine::apply).
#[derive(Clone, Debug)]
pub enum Command {
    /// The chain shows the channel like this.
    Observe(ChannelView),
    /// The chain's events say this.
    Follow(Facts),
    /// A reorganization has taken events of the channel back; the chain shows
    /// it like this now. Unlike what is observed, this may be less than what
    /// was known.
    Reorged(ChannelView),
    /// The chain refused or reverted the open transaction, or it expired and
    /// was never mined.
    OpenFailed {
        /// Which one: another may be under way by now.
        transaction: B256,
    },
    /// A verified voucher, with what it is to pay for.
    Accept {
        /// The voucher.
        voucher: VerifiedVoucher,
        /// Smallest increase over the accepted amount, in base units.
        min_delta: Amount,
        /// What to hold in the same step; `None` for management requests.
        hold: Option<NewHold>,
    },
    /// A verified voucher that brings an adopted channel into service.
    ///
    /// All that it authorizes beyond the request counts as spent: nobody knows
    /// better, and the payer has ordered it.
    Recover {
        /// The voucher.
        voucher: VerifiedVoucher,
        /// What to hold in the same step.
        hold: NewHold,
    },
    /// Hold from the balance that is there: a request is about to be served.
    Hold(NewHold),
    /// A request that is being served may cost more than was held for it.
    Raise {
        /// Its hold.
        hold: HoldId,
        /// The most that it may cost in all, in base units.
        amount: Amount,
    },
    /// Requests are still being served.
    Extend {
        /// Their holds. What is gone of them stays so.
        holds: Vec<HoldId>,
        /// The holds count until then.
        until: Timestamp,
    },
    /// A request was served: charge it.
    Capture(Capture),
    /// A request was not served: it costs nothing.
    Release(HoldId),
    /// Charge a unit of a stream from the balance that is there.
    Charge(Charge),
    /// The server gives back what it has charged and not collected yet.
    Credit {
        /// Base units; never zero.
        amount: Amount,
    },
    /// Nothing: report the state of a channel that is in service.
    Keep,
    /// A stream begins; the one before it may no longer charge.
    BeginStream,
    /// The payer closes with this voucher.
    BeginClose(VerifiedVoucher),
    /// The server closes with a voucher that it holds.
    CloseWithHeld,
    /// The close transaction was signed and is about to be broadcast.
    CloseSent {
        /// The transaction.
        sent: PendingTx,
        /// The one before it, which can no longer be mined.
        instead_of: Option<B256>,
    },
    /// This close was refused or reverted, or can no longer be mined.
    CloseFailed {
        /// The transaction; news of any other does not matter.
        transaction: B256,
    },
    /// A second opinion refuses a voucher that was about to go on chain.
    Dispute(SignedVoucher),
    /// The chain has paid out so much for good.
    Settled(Amount),
    /// A successful receipt shows the channel closed by this transaction.
    Closed {
        /// The transaction.
        transaction: B256,
        /// What the payee has received in total, in base units.
        settled: Amount,
    },
    /// An operator puts a quarantined channel back into service.
    ///
    /// The payer must have presented a voucher for at least what the chain has
    /// paid out, all of which then counts as spent.
    Reinstate,
}

/// What events of the chain say about a channel, the newest of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What it holds after an open or a top-up, in base units.
    pub deposit: Option<Amount>,
    /// What was paid out so far, in base units.
    pub settled: Option<Amount>,
    /// Whether its payer wants it closed.
    pub close: Option<CloseNews>,
}

/// What a request asks to have set aside for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHold {
    /// The most that may be captured, in base units; never zero.
    pub amount: Amount,
    /// The challenge the request answers.
    pub challenge_id: ChallengeId,
    /// What makes the request idempotent, when its client asked for that.
    pub idempotency: Option<Idempotency>,
    /// The hold counts until then.
    pub until: Timestamp,
}

/// What a served request costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Its hold.
    pub hold: HoldId,
    /// Base units, at most what is held.
    pub cost: Amount,
    /// Units of service this pays for.
    pub units: u64,
    /// What a retry of an idempotent request is answered with.
    pub response: Option<StoredResponse>,
    /// A retry finds the outcome until then.
    pub keep_until: Timestamp,
}

/// A price to take from the balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Base units; never zero.
    pub cost: Amount,
    /// Units of service this pays for.
    pub units: u64,
    /// The challenge the request answers.
    pub challenge_id: ChallengeId,
    /// The stream that charges, when one does.
    pub stream: Option<StreamEpoch>,
}

/// The next record and what to write with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The record to commit. Equal to the old one when nothing changed.
    pub next: Box<ChannelRecord>,
    /// The ledger entry to write in the same commit, when money moved.
    pub entry: Option<LedgerEntry>,
    /// The outcome of an idempotent request, to write in the same commit.
    pub kept: Option<Box<StoredOutcome>>,
    /// What to tell whoever sent the command.
    pub outcome: Outcome,
}

/// What a command did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the record differs from the one before.
    pub changed: bool,
    /// Charged by this command, in base units.
    pub charged: Amount,
    /// Units charged by this command.
    pub units: u64,
    /// The hold that this command made.
    pub hold: Option<HoldId>,
    /// Set when the voucher was accepted but the balance does not cover the
    /// hold: the commit keeps the voucher, the request is then refused.
    pub shortage: Option<Shortage>,
}
