//! What the server knows of one channel.

use alloy_primitives::B256;
use mpp_core::{Amount, ChallengeId, Timestamp};
use mpp_tempo::{
    channel::{ChannelId, ChannelTerms, ChannelView, SessionProtocol},
    voucher::SignedVoucher,
};

use crate::store::OutcomeKey;

/// The state of one channel, the unit of every commit.
///
/// Once the chain has shown the channel, `spent <= accepted <= deposit`, and all
/// three only grow (PROTOCOL 5.6; draft-tempo-session-00, Accounting State).
/// Before that the deposit is zero and nothing is sold. Only a reorganization
/// of the chain takes a deposit back; vouchers above what is left are kept, and
/// nothing is sold until it has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelRecord {
    /// The channel id, derived from the terms once.
    pub id: ChannelId,
    /// The channel's identity: parties, token, contract, chain, protocol version.
    pub terms: ChannelTerms,
    /// What the payer has locked on chain, in base units.
    pub deposit: Amount,
    /// The highest voucher that was verified.
    pub best: Option<SignedVoucher>,
    /// Charged for delivered service, in base units.
    pub spent: Amount,
    /// Paid out on chain, in base units.
    pub settled: Amount,
    /// Units charged since the channel was opened.
    pub units: u64,
    /// What was charged and is not yet paid out, as a settlement needs it.
    pub unsettled: Unsettled,
    /// Where the channel stands in its life.
    pub phase: Phase,
    /// Number of the newest stream; an older one may no longer charge.
    pub stream: StreamEpoch,
    /// What requests that are being served may still be charged.
    pub holds: Vec<Hold>,
    /// Number of the newest hold; none is used twice.
    pub newest_hold: HoldId,
    /// Number of the newest outcome that was kept for a retry.
    pub newest_outcome: u64,
    /// When the record was created.
    pub opened_at: Timestamp,
    /// When a command last changed the record.
    pub changed_at: Timestamp,
}

impl ChannelRecord {
    /// A record for a channel whose open transaction is about to be broadcast.
    ///
    /// Its deposit counts only once the chain has shown it
    /// ([`Command::Observe`](super::command::Command::Observe)).
    #[must_use]
    pub fn opening(
        terms: ChannelTerms,
        open: PendingTx,
        best: SignedVoucher,
        now: Timestamp,
    ) -> Self {
        Self {
            id: terms.id(),
            terms,
            deposit: Amount::ZERO,
            best: Some(best),
            spent: Amount::ZERO,
            settled: Amount::ZERO,
            units: 0,
            unsettled: Unsettled::default(),
            phase: Phase::Opening(open),
            stream: StreamEpoch::default(),
            holds: Vec::new(),
            newest_hold: HoldId::default(),
            newest_outcome: 0,
            opened_at: now,
            changed_at: now,
        }
    }

    /// A record for a channel that the chain shows and the store does not know.
    ///
    /// Nothing is known of its vouchers. What was paid out counts as spent once
    /// a voucher covers it
    /// ([`Command::Reinstate`](super::command::Command::Reinstate)).
    #[must_use]
    pub fn adopted(terms: ChannelTerms, view: &ChannelView, now: Timestamp) -> Self {
        Self {
            id: terms.id(),
            terms,
            deposit: view.deposit,
            best: None,
            spent: Amount::ZERO,
            settled: view.settled,
            units: 0,
            unsettled: Unsettled::default(),
            phase: Phase::Quarantined {
                reason: Quarantine::Adopted,
                requested_at: view.close_requested_at,
                evidence: None,
            },
            stream: StreamEpoch::default(),
            holds: Vec::new(),
            newest_hold: HoldId::default(),
            newest_outcome: 0,
            opened_at: now,
            changed_at: now,
        }
    }

    /// What is promised at `now`: spent, or held for requests being served.
    #[must_use]
    pub fn promised(&self, now: Timestamp) -> Amount {
        let promised = self.spent.checked_add(self.held(now));
        promised.unwrap_or(Amount::MAX)
    }

    /// The highest verified cumulative amount.
    #[must_use]
    pub fn accepted(&self) -> Amount {
        self.best
            .as_ref()
            .map_or(Amount::ZERO, |best| best.voucher.cumulative)
    }

    /// What requests that are being served at `now` may still be charged.
    ///
    /// A sum too large to hold is [`Amount::MAX`], so nothing is sold beside it.
    #[must_use]
    pub fn held(&self, now: Timestamp) -> Amount {
        let live = self.holds.iter().filter(|hold| hold.is_live(now));
        live.map(|hold| hold.amount)
            .try_fold(Amount::ZERO, Amount::checked_add)
            .unwrap_or(Amount::MAX)
    }

    /// What may be promised to a further request:
    /// `accepted - spent - live holds`.
    #[must_use]
    pub fn available(&self, now: Timestamp) -> Amount {
        let unspent = self.accepted().saturating_sub(self.spent);
        unspent.saturating_sub(self.held(now))
    }

    /// Whether the channel may hold money on chain.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self.phase, Phase::Failed | Phase::Closed { .. })
    }

    /// What a close captures: `max(spent, settled)`, never more.
    #[must_use]
    pub fn owed(&self) -> Amount {
        self.spent.max(self.settled)
    }
}

impl ChannelRecord {
    /// All vouchers that are kept, the highest first.
    pub fn vouchers(&self) -> impl Iterator<Item = &SignedVoucher> {
        let Unsettled { earned, ahead, .. } = &self.unsettled;
        [&self.best, ahead, earned].into_iter().flatten()
    }

    /// The best voucher that does not exceed what is spent: the highest that
    /// may be settled. What lies above was not delivered (PROTOCOL 5.4).
    #[must_use]
    pub fn collectable(&self) -> Option<&SignedVoucher> {
        self.vouchers()
            .find(|signed| signed.voucher.cumulative <= self.spent)
    }

    /// The voucher that a close by the server puts on chain, if one fits.
    ///
    /// v2 captures a part of a voucher; the v1 contract pays it in full, so
    /// there it must be for exactly what is owed (PROTOCOL 5.4).
    #[must_use]
    pub fn closable(&self) -> Option<&SignedVoucher> {
        let owed = self.owed();
        self.vouchers().find(|signed| {
            let cumulative = signed.voucher.cumulative;
            match self.terms.protocol {
                SessionProtocol::V1 => cumulative == owed,
                SessionProtocol::V2 => cumulative >= owed,
            }
        })
    }
}

/// What was charged and is not yet paid out.
///
/// A voucher above what was delivered is not ours to take, so beside the
/// highest voucher the record keeps the best one that is covered by what was
/// spent, and the next one on the way up. Of vouchers in between nothing is
/// kept: what is earned follows what is spent by one such step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsettled {
    /// The best voucher that does not exceed what is spent; `None` when the
    /// highest is that one, or when there is none.
    pub earned: Option<SignedVoucher>,
    /// A voucher between what is spent and the highest one.
    pub ahead: Option<SignedVoucher>,
    /// When the oldest charge was made that is not paid out.
    pub since: Option<Timestamp>,
    /// Units charged since then.
    pub units: u64,
}

/// A part of the balance that is set aside for one request while it is served.
///
/// It is captured when the request has been served, released when that
/// failed, and lapses when nobody does either in time: a crash charges nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Its number.
    pub id: HoldId,
    /// The most that may be captured, in base units.
    pub amount: Amount,
    /// The challenge that the request answers.
    pub challenge_id: ChallengeId,
    /// What makes the request idempotent, when its client asked for that.
    pub idempotency: Option<Idempotency>,
    /// From this moment on the hold counts no more.
    pub until: Timestamp,
}

impl Hold {
    /// Whether it still counts.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now < self.until
    }
}

/// How many requests of one channel are served at once, at most.
///
/// Every hold is written with every commit of its channel, so their number
/// bounds what a payer can make the store write.
pub const MAX_HOLDS: usize = 256;

/// Counts the holds of a channel, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(pub u64);

/// An idempotent request: which one, and what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Where its outcome is found.
    pub key: OutcomeKey,
    /// Hash over what it asks for.
    pub request: B256,
}

/// A transaction that was signed and recorded before it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingTx {
    /// Its hash: how its fate is looked up.
    pub hash: B256,
    /// It can not be mined at or after this Unix time, in seconds.
    pub valid_before: u64,
}

/// Where a channel stands in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The open transaction is recorded; its fate is not yet known.
    Opening(PendingTx),
    /// The open transaction was refused, reverted, or never mined in its time;
    /// nothing is locked.
    Failed,
    /// In service.
    Open,
    /// The payer asked the chain to close; nothing new is sold.
    CloseRequested {
        /// Unix time of the request, in seconds.
        at: u64,
    },
    /// A cooperative close is under way; nothing new is sold.
    Closing {
        /// The voucher that goes on chain.
        voucher: SignedVoucher,
        /// What the close captures, in base units.
        capture: Amount,
        /// The close transaction, once one was signed.
        sent: Option<PendingTx>,
        /// Unix time of the payer's own close request, when there is one.
        requested_at: Option<u64>,
    },
    /// Something about the channel does not fit. Nothing is sold and nothing
    /// is sent to the chain until an operator has looked (SECURITY-CASES A28).
    Quarantined {
        /// What does not fit.
        reason: Quarantine,
        /// Unix time of the payer's close request, when there is one.
        requested_at: Option<u64>,
        /// The voucher in question, when there is one.
        evidence: Option<SignedVoucher>,
    },
    /// The chain has finalized the channel.
    Closed {
        /// The transaction that ended it, when it is known.
        transaction: Option<B256>,
    },
}

/// Why a channel is out of service until somebody has looked at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quarantine {
    /// More was paid out than the highest voucher we hold allows: a voucher of
    /// ours was lost, as by restoring an old backup.
    SettledAboveAccepted,
    /// Our verifier took a voucher that an independent one refuses: the chain
    /// may not pay it.
    VoucherDisputed,
    /// A reorganization has taken back a top-up that vouchers rest on. Ends by
    /// itself when the chain shows the deposit again.
    DepositReverted,
    /// A reorganization has taken back the open. Ends by itself when the chain
    /// shows the channel again.
    OpenReverted,
    /// The channel was found on chain and not in the store: what was spent on
    /// it is not known.
    Adopted,
}

impl Quarantine {
    /// A stable name for logs and events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SettledAboveAccepted => "settled-above-accepted",
            Self::VoucherDisputed => "voucher-disputed",
            Self::DepositReverted => "deposit-reverted",
            Self::OpenReverted => "open-reverted",
            Self::Adopted => "adopted",
        }
    }
}

impl Phase {
    /// A stable name for logs and events.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Opening(_) => "opening",
            Self::Failed => "failed",
            Self::Open => "open",
            Self::CloseRequested { .. } => "close-requested",
            Self::Closing { .. } => "closing",
            Self::Quarantined { .. } => "quarantined",
            Self::Closed { .. } => "closed",
        }
    }
}

/// Counts the streams of a channel; only the newest may charge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamEpoch(pub u64);

/// One line of the append-only ledger, written in the commit it describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The channel.
    pub channel_id: ChannelId,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub kind: LedgerKind,
    /// Challenge that led to it, when a request did.
    pub challenge_id: Option<ChallengeId>,
    /// Idempotency key of the request, hashed with channel and route.
    pub idempotency: Option<OutcomeKey>,
    /// Charged by this entry, or given back by [`LedgerKind::Credited`], in
    /// base units.
    pub cost: Amount,
    /// Units charged by this entry.
    pub units: u64,
    /// `accepted` after it.
    pub accepted: Amount,
    /// `spent` after it.
    pub spent: Amount,
    /// `deposit` after it.
    pub deposit: Amount,
}

/// What a ledger entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerKind {
    /// The chain showed the channel open.
    Opened,
    /// A higher voucher was accepted, nothing charged.
    Accepted,
    /// Service was charged, with or without a new voucher.
    Charged,
    /// The chain showed a change: top-up, settlement or close request.
    Observed,
    /// The channel was closed.
    Closed,
    /// A part of what was charged was given back.
    Credited,
}
