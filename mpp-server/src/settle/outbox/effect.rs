//! One thing that is to happen on chain, and the states it goes through.
//!
//! ```text
//! prepared -> broadcast -> mined -> final
//!     |        |    ^        |  \
//!     |        v    |        |   failed: reverted
//!     |      unknown <-------'
//!     v        v          (reorganized)
//!   failed: refused, expired  -> prepared (a new transaction)
//! ```
//!
//! A new transaction takes the place of one before it only when that one can
//! no longer be mined. So an effect never has two outcomes.

use alloy_primitives::{B256, Bytes};
use mpp_core::{Amount, Timestamp};
use mpp_tempo::{ChannelId, SignedVoucher};

use crate::{
    random::random,
    session::record::PendingTx,
    settle::schedule::{Collect, Reason},
};

/// Transactions that an effect remembers. All before them are over, and its offers
/// have long reached any limit when it has had so many.
const KEPT: usize = 128;

/// Something to collect, from one channel or several at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Random; never used again.
    pub(crate) id: B256,
    pub(crate) reason: Reason,
    /// What is collected, all or nothing.
    pub(crate) items: Vec<Item>,
    /// The newest transactions so far, the last one last; only that one with its
    /// bytes.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) state: State,
    pub(crate) created_at: Timestamp,
}

/// What is collected from one channel.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) channel: ChannelId,
    pub(crate) collect: Collect,
    /// What goes on chain.
    pub(crate) voucher: SignedVoucher,
    /// What the payee has got in total afterwards, in base units.
    pub(crate) amount: Amount,
    /// The transaction that the record of a channel which is being closed
    /// names so far.
    pub(crate) before: Option<B256>,
}

/// A signed transaction.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) hash: B256,
    /// It can not be mined at or after this Unix time, in seconds.
    pub(crate) valid_before: u64,
    /// What it offers, in attodollars per gas.
    pub(crate) max_fee_per_gas: u128,
    /// Its bytes; `None` when another version of this software sent it.
    pub(crate) raw: Option<Bytes>,
}

/// Where an effect stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Signed and recorded; no node has seen it.
    Prepared,
    /// Handed to a node, or about to be.
    Broadcast,
    /// It may have been taken; nobody has seen it in a block.
    Unknown,
    /// In a block that others still have to follow.
    Mined(Inclusion),
    /// It has happened, by this transaction.
    Final(B256),
    /// What was sent so far did not happen and can no longer happen.
    Failed(Why),
}

/// Where a transaction was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inclusion {
    pub(crate) transaction: B256,
    pub(crate) block: u64,
    pub(crate) result: TxResult,
}

/// What a mined transaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TxResult {
    /// Everything, with the events that prove it.
    Done,
    /// Nothing.
    Reverted,
}

/// Why an effect has not happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The chain has run it and undone it.
    Reverted(B256),
    /// The node did not take it.
    Refused,
    /// It was not mined while it was valid.
    Expired,
    /// Something else was done with its channels; it was never sent.
    Superseded,
}

/// What has become known of an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// It is being handed to a node, for the first time.
    Sending,
    /// The node did not take it.
    Refused,
    /// Whether the node took it is not known.
    Lost,
    /// It was seen in a block.
    Seen(Inclusion),
    /// The block in which it was seen is no part of the chain any more.
    Gone,
    /// It was not mined, and is not valid any more.
    Expired,
    /// The block in which it was seen stays.
    Settled,
    /// Another transaction is under way for one of its channels.
    Superseded,
    /// A new transaction takes its place.
    Replaced(Attempt),
}

/// A fact that does not fit the state: nobody may act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this can not become of the effect any more")]
pub(crate) struct Impossible;

impl Item {
    /// A close that pays out `capture` base units in total.
    pub(crate) fn close(channel: ChannelId, voucher: &SignedVoucher, capture: Amount) -> Self {
        Self {
            channel,
            collect: Collect::Close,
            voucher: voucher.clone(),
            amount: capture,
            before: None,
        }
    }

    /// A settlement of the whole voucher.
    pub(crate) fn settle(channel: ChannelId, voucher: &SignedVoucher) -> Self {
        Self {
            channel,
            collect: Collect::Settle,
            voucher: voucher.clone(),
            amount: voucher.voucher.cumulative,
            before: None,
        }
    }
}

impl Effect {
    /// A new effect whose first transaction is signed.
    pub(crate) fn prepared(
        reason: Reason,
        items: Vec<Item>,
        attempt: Attempt,
        now: Timestamp,
    ) -> Self {
        Self {
            id: new_id(),
            reason,
            items,
            attempts: vec![attempt],
            state: State::Prepared,
            created_at: now,
        }
    }

    /// Takes on a close that a record names and nobody follows: its sender is
    /// gone, or was an older version of this software.
    pub(crate) fn adopted(reason: Reason, item: Item, sent: PendingTx, now: Timestamp) -> Self {
        let attempt = Attempt {
            hash: sent.hash,
            valid_before: sent.valid_before,
            max_fee_per_gas: 0,
            raw: None,
        };
        Self {
            state: State::Unknown,
            ..Self::prepared(reason, vec![item], attempt, now)
        }
    }

    /// Whether it is to close this channel.
    pub(crate) fn closes(&self, channel: ChannelId) -> bool {
        let mut items = self.items.iter();
        items.any(|item| item.channel == channel && item.collect == Collect::Close)
    }

    /// The newest transaction.
    pub(crate) fn newest(&self) -> Option<&Attempt> {
        self.attempts.last()
    }

    /// Whether it only carries out what the payer asked this server for.
    pub(crate) fn is_favor(&self) -> bool {
        self.reason == Reason::Payer
    }

    /// The effect once the fact is known.
    ///
    /// # Errors
    /// [`Impossible`], and the effect stays as it is.
    pub(crate) fn after(&self, fact: Fact) -> Result<Self, Impossible> {
        let ours = |hash: B256| self.attempts.iter().any(|attempt| attempt.hash == hash);
        let state = match (self.state, &fact) {
            (State::Prepared, Fact::Sending) => State::Broadcast,
            (State::Prepared, Fact::Superseded) => State::Failed(Why::Superseded),
            (State::Prepared | State::Broadcast | State::Unknown, Fact::Expired) => {
                State::Failed(Why::Expired)
            }
            // Only whoever has just sent it for the first time knows that no
            // node has it.
            (State::Broadcast, Fact::Refused) => State::Failed(Why::Refused),
            (State::Unknown, Fact::Refused)
            | (State::Broadcast | State::Unknown, Fact::Lost)
            | (State::Mined(_), Fact::Gone) => State::Unknown,
            (State::Broadcast | State::Unknown | State::Mined(_), Fact::Seen(found))
                if ours(found.transaction) =>
            {
                State::Mined(*found)
            }
            (State::Mined(found), Fact::Settled) => match found.result {
                TxResult::Done => State::Final(found.transaction),
                TxResult::Reverted => State::Failed(Why::Reverted(found.transaction)),
            },
            (State::Failed(Why::Expired | Why::Refused), Fact::Replaced(attempt))
                if !ours(attempt.hash) =>
            {
                return Ok(self.replaced(attempt));
            }
            _ => return Err(Impossible),
        };
        Ok(Self {
            state,
            ..self.clone()
        })
    }

    fn replaced(&self, attempt: &Attempt) -> Self {
        let mut next = self.clone();
        let before = self.newest().map(|newest| newest.hash);
        for item in &mut next.items {
            item.before = before;
        }
        // Nothing but the newest is sent again, and a document has to stay small.
        let too_many = next.attempts.len().saturating_sub(KEPT - 1);
        next.attempts.drain(..too_many);
        for before in &mut next.attempts {
            before.raw = None;
        }
        next.attempts.push(attempt.clone());
        next.state = State::Prepared;
        next
    }
}

/// Random, so that no id is used twice.
fn new_id() -> B256 {
    B256::from(random::<[u8; 32]>())
}

/// The signature of the voucher is nobody's business.
impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Item")
            .field("channel", &self.channel)
            .field("collect", &self.collect)
            .field("amount", &self.amount)
            .finish_non_exhaustive()
    }
}

/// Without the signed bytes.
impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("hash", &self.hash)
            .field("valid_before", &self.valid_before)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
