//! Commands to a channel and what comes of them.

use alloy_primitives::B256;
use mpp_core::{Amount, ChallengeId};
use mpp_tempo::{channel::ChannelView, voucher::VerifiedVoucher};

use super::record::{ChannelRecord, LedgerEntry, PendingTx, StreamEpoch};
use crate::error::Shortage;

/// Something that may change a channel. See [`apply`](super::machine::apply).
#[derive(Clone, Debug)]
pub enum Command {
    /// The chain shows the channel like this.
    Observe(ChannelView),
    /// The chain refused or reverted the open transaction.
    OpenFailed,
    /// A verified voucher, with what it is to pay for.
    Accept {
        /// The voucher.
        voucher: VerifiedVoucher,
        /// Smallest increase over the accepted amount, in base units.
        min_delta: Amount,
        /// What to charge in the same step; `None` for management requests.
        charge: Option<Charge>,
    },
    /// Charge from the balance that is there.
    Charge(Charge),
    /// Nothing: report the state of a channel that is in service.
    Keep,
    /// A stream begins; the one before it may no longer charge.
    BeginStream,
    /// The payer closes with this voucher.
    BeginClose(VerifiedVoucher),
    /// The close transaction was signed and is about to be broadcast.
    CloseSent(PendingTx),
    /// This close was refused or reverted, or can no longer be mined.
    CloseFailed {
        /// The transaction; news of any other does not matter.
        transaction: B256,
    },
    /// A successful receipt shows the channel closed by this transaction.
    Closed {
        /// The transaction.
        transaction: B256,
        /// What the payee has received in total, in base units.
        settled: Amount,
    },
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
    pub next: ChannelRecord,
    /// The ledger entry to write in the same commit.
    pub entry: Option<LedgerEntry>,
    /// What to tell whoever sent the command.
    pub outcome: Outcome,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the record differs from the one before.
    pub changed: bool,
    /// Charged by this command, in base units.
    pub charged: Amount,
    /// Units charged by this command.
    pub units: u64,
    /// Set when the voucher was accepted but the balance does not cover the
    /// charge: the commit keeps the voucher, the request is then refused.
    pub shortage: Option<Shortage>,
}
