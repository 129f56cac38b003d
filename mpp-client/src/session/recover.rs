//! Finding out what became of a channel, from the chain.
//!
//! A lost answer leaves a signed transaction with somebody else. It may be mined until its validity
//! ends, so before that moment "the chain does not know the channel" proves nothing. Afterwards it
//! proves that no money is there: a v2 slot is empty when the channel was never opened, or when it
//! was closed and paid out.

use mpp_core::Amount;
use mpp_tempo::chain::ChainClient;
use mpp_tempo::{ChannelId, ChannelTerms, ChannelView, Existence};

use super::book::{self, ChannelRecord, Phase};
use crate::error::ClientError;
use crate::payer::Payer;

/// Seconds after the end of validity from which the chain's view is believed: reads may come from
/// a node that lags behind the one that told the time.
const SETTLE_SECS: u64 = 5;

/// What the chain says about a transaction that was handed to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was mined; the channel looks like this.
    Happened(ChannelView),
    /// It was not mined and never will be.
    NeverHappens,
    /// It may still be mined.
    Undecided,
}

/// Judges an open by what the chain shows at its time `chain_now`, in Unix seconds.
///
/// # Examples
///
/// ```
/// use mpp_client::session::recover::{Fate, judge_open};
/// use mpp_tempo::ChannelView;
///
/// assert_eq!(judge_open(ChannelView::unknown(), 100, 120), Fate::Undecided);
/// assert_eq!(judge_open(ChannelView::unknown(), 130, 120), Fate::NeverHappens);
/// ```
#[must_use]
pub fn judge_open(view: ChannelView, chain_now: u64, valid_before: u64) -> Fate {
    match view.existence {
        Existence::Open | Existence::Finalized => Fate::Happened(view),
        Existence::Unknown if is_over(chain_now, valid_before) => Fate::NeverHappens,
        Existence::Unknown => Fate::Undecided,
    }
}

/// Judges a top-up that raises the deposit to `expected` base units.
#[must_use]
pub fn judge_top_up(
    view: ChannelView,
    expected: Amount,
    chain_now: u64,
    valid_before: u64,
) -> Fate {
    if view.existence == Existence::Open && view.deposit >= expected {
        Fate::Happened(view)
    } else if is_over(chain_now, valid_before) {
        Fate::NeverHappens
    } else {
        Fate::Undecided
    }
}

pub(crate) const fn is_over(chain_now: u64, valid_before: u64) -> bool {
    chain_now >= valid_before.saturating_add(SETTLE_SECS)
}

impl Payer {
    /// Asks the chain about a channel and writes what it says into the book.
    ///
    /// Returns the phase that the channel is in now. Meant for channels that a server does not
    /// serve anymore, and for opens and closes whose answer was lost.
    ///
    /// # Errors
    /// [`ClientError::Chain`], [`ClientError::Book`], or [`ClientError::Misuse`] without a client of
    /// the channel's chain.
    ///
    /// # Cancel safety
    /// Dropped before the end, nothing has changed.
    pub async fn resolve(&self, id: &ChannelId) -> Result<Phase, ClientError> {
        let record = self.book().read(id)?;
        if !record.phase.may_hold_money() {
            return Ok(record.phase);
        }
        let (_, phase) = self.judge(&record).await?;
        Ok(phase)
    }

    /// What the chain says about the open of a channel that may hold money, and the phase that
    /// follows.
    pub(super) async fn judge(&self, record: &ChannelRecord) -> Result<(Fate, Phase), ClientError> {
        let (chain_now, view) = self.look(record).await?;
        let fate = judge_open(view, chain_now, record.open_valid_before());
        let phase = self.follow(&record.id, fate, chain_now)?;
        Ok((fate, phase))
    }

    /// Writes into the book what the chain said at its time `chain_now`, and returns the phase that
    /// follows.
    ///
    /// It follows from the phase that the channel is in now: while the chain was asked, it may have
    /// been confirmed, closed or left, and an older phase would make it usable again.
    pub(super) fn follow(
        &self,
        id: &ChannelId,
        fate: Fate,
        chain_now: u64,
    ) -> Result<Phase, ClientError> {
        let phase = book::update(self.book(), id, |record| {
            if let Fate::Happened(view) = fate
                && view.existence == Existence::Open
                && record.phase.may_hold_money()
            {
                record.see_deposit(view.deposit, chain_now);
            }
            record.phase = next_phase(&record.phase, fate);
            record.phase.clone()
        })?;
        Ok(phase)
    }

    /// The chain's time, then its view of the channel: in this order, so that the view is never
    /// older than the time it is judged by.
    pub(super) async fn look(
        &self,
        record: &ChannelRecord,
    ) -> Result<(u64, ChannelView), ClientError> {
        let chain = self.chain_of(record.terms.chain_id)?;
        let chain_now = chain.block().await?.timestamp;
        let view = self.view(&record.terms, record.id).await?;
        Ok((chain_now, view))
    }

    pub(super) async fn view(
        &self,
        terms: &ChannelTerms,
        id: ChannelId,
    ) -> Result<ChannelView, ClientError> {
        let chain = self.chain_of(terms.chain_id)?;
        Ok(chain.channel(terms.protocol, terms.escrow, id).await?)
    }
}

/// The phase that follows from what the chain shows.
fn next_phase(phase: &Phase, fate: Fate) -> Phase {
    let tx_hash = match phase {
        Phase::CloseConfirmed { tx_hash } => *tx_hash,
        _ => None,
    };
    match (phase, fate) {
        // Nothing comes after the end: it was asked before, or a node that lags.
        (Phase::Closed { .. } | Phase::NeverOpened, _) | (_, Fate::Undecided) => phase.clone(),
        (Phase::Opening, Fate::NeverHappens) => Phase::NeverOpened,
        (_, Fate::NeverHappens) => Phase::Closed { tx_hash },
        (_, Fate::Happened(view)) => match (view.existence, view.close_requested_at) {
            (Existence::Open, Some(at)) => Phase::CloseRequested { at },
            // A reorganization, or a node that lags: asking again changes nothing on chain.
            (Existence::Open, None) if phase.is_leaving() => Phase::Leaving,
            (Existence::Open, None) => phase.clone(),
            (Existence::Finalized | Existence::Unknown, _) => Phase::Closed { tx_hash },
        },
    }
}

#[cfg(test)]
mod tests;
