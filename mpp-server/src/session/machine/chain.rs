//! What the chain tells, and the way to a close.

use std::time::Duration;

use alloy_primitives::B256;
use mpp_core::Amount;
use mpp_tempo::{
    channel::{ChannelView, Existence},
    voucher::{SignedVoucher, VerifiedVoucher},
};

use super::{Draft, Sale, close_voucher, require_open};
use crate::{
    error::Rejection,
    session::{
        command::{CloseNews, Facts, Step},
        record::{LedgerKind, PendingTx, Phase, Quarantine, Unsettled},
    },
};

/// After a close that is gone from the chain its transaction may be mined once
/// more, for no longer than this: nonces expire.
const MINED_AGAIN: Duration = Duration::from_secs(60);

impl Draft<'_> {
    pub(super) fn observe(mut self, view: ChannelView) -> Step {
        match view.existence {
            Existence::Open => {
                self.observe_open(&view);
                self.quarantine_if_behind();
            }
            Existence::Finalized => self.observe_gone(view.settled),
            // An empty slot is what a deleted channel leaves behind, and also what a
            // node shows that lags behind the open. Only its event proves a close
            // (SECURITY-CASES A33).
            Existence::Unknown => {}
        }
        let kind = self.kind();
        self.finish(kind, None)
    }

    fn observe_open(&mut self, view: &ChannelView) {
        if matches!(self.next.phase, Phase::Closed { .. }) {
            return;
        }
        // Settlements only grow, and so do deposits: a smaller one is an older state,
        // whose close request may have been cancelled since.
        self.pay_out(view.settled);
        if view.deposit < self.old.deposit {
            return;
        }
        self.next.deposit = view.deposit;
        // Only a top-up cancels a close request; without one, a view that
        // shows no request is an older state.
        let cancelled = view.deposit > self.old.deposit;
        self.note_close(match view.close_requested_at {
            Some(at) => Some(CloseNews::Requested { at }),
            None => cancelled.then_some(CloseNews::Cancelled),
        });
        self.drop_unpayable_claim();
        self.thaw();
    }

    /// Takes note of events, which come more than once and out of order when
    /// several servers or a restart read them again.
    pub(super) fn follow(mut self, facts: Facts) -> Step {
        let before = matches!(self.old.phase, Phase::Opening(_) | Phase::Failed);
        // Nothing can be known of a channel before its open is.
        let is_early = before && facts.deposit.is_none();
        if is_early || matches!(self.old.phase, Phase::Closed { .. }) {
            return self.unchanged();
        }
        let settled = facts.settled.unwrap_or_default();
        self.pay_out(settled);
        let deposit = facts.deposit.unwrap_or_default();
        // What was paid out was there.
        self.next.deposit = self.next.deposit.max(deposit).max(settled);
        self.note_close(facts.close);
        self.drop_unpayable_claim();
        self.thaw();
        self.quarantine_if_behind();
        let kind = self.kind();
        self.finish(kind, None)
    }

    /// Believes the chain where it shows less than was known
    /// (SECURITY-CASES A14). Whoever sends this has looked twice.
    pub(super) fn reorged(mut self, view: &ChannelView) -> Step {
        match view.existence {
            Existence::Open => self.take_over(view),
            Existence::Finalized => self.observe_gone(view.settled),
            Existence::Unknown => self.revert_open(),
        }
        let kind = self.kind();
        self.finish(kind, None)
    }

    fn take_over(&mut self, view: &ChannelView) {
        let was_closed = matches!(self.next.phase, Phase::Closed { .. });
        if was_closed && view.close_requested_at.is_none() && self.may_be_closed_by_itself() {
            return;
        }
        self.set_settled(view.settled);
        self.next.deposit = view.deposit;
        // A close can be taken back as well.
        if was_closed {
            self.next.phase = Phase::Open;
        }
        self.note_close(Some(match view.close_requested_at {
            Some(at) => CloseNews::Requested { at },
            None => CloseNews::Cancelled,
        }));
        self.drop_unpayable_claim();
        self.thaw();
        self.freeze_if_uncovered();
        self.quarantine_if_behind();
        if was_closed {
            self.close_again();
        }
    }

    /// The transaction that closed it may be mined once more, and another one
    /// would be in vain. Nothing is sold meanwhile.
    fn may_be_closed_by_itself(&self) -> bool {
        let since = self.now.saturating_duration_since(self.old.changed_at);
        since < MINED_AGAIN
    }

    /// What was closed is closed again, if a voucher fits; for its payer it is
    /// over. A payer who asks the chain is answered anyway.
    fn close_again(&mut self) {
        if self.next.phase != Phase::Open {
            return;
        }
        let Some(voucher) = self.next.closable().cloned() else {
            return;
        };
        self.next.phase = Phase::Closing {
            voucher,
            capture: self.next.owed(),
            sent: None,
            requested_at: None,
        };
    }

    /// The chain does not know the channel any more. What was accepted and
    /// spent is kept: the open may be mined again.
    fn revert_open(&mut self) {
        let evidence = match &self.next.phase {
            Phase::Open | Phase::CloseRequested { .. } => None,
            Phase::Quarantined {
                reason: Quarantine::DepositReverted,
                evidence,
                ..
            } => evidence.clone(),
            Phase::Closing { voucher, .. } => Some(voucher.clone()),
            // An empty slot is also what a closed v2 channel leaves behind.
            Phase::Opening(_)
            | Phase::Failed
            | Phase::Quarantined { .. }
            | Phase::Closed { .. } => return,
        };
        self.set_settled(Amount::ZERO);
        self.next.deposit = Amount::ZERO;
        self.quarantine(Quarantine::OpenReverted, None, evidence);
    }

    /// What was paid out, even if that is less than was known.
    fn set_settled(&mut self, settled: Amount) {
        self.pay_out(settled);
        if settled < self.next.settled {
            self.next.settled = settled;
            let since = self.next.unsettled.since.unwrap_or(self.now);
            self.next.unsettled.since = (self.next.spent > settled).then_some(since);
        }
    }

    fn kind(&self) -> LedgerKind {
        match (&self.old.phase, &self.next.phase) {
            (Phase::Opening(_) | Phase::Failed, Phase::Open) => LedgerKind::Opened,
            (_, Phase::Closed { .. }) => LedgerKind::Closed,
            _ => LedgerKind::Observed,
        }
    }

    /// A channel that the chain shows is in service, unless its payer wants
    /// it closed.
    fn note_close(&mut self, news: Option<CloseNews>) {
        match &mut self.next.phase {
            Phase::Closing { requested_at, .. } | Phase::Quarantined { requested_at, .. } => {
                *requested_at = match news {
                    Some(CloseNews::Requested { at }) => Some(at),
                    Some(CloseNews::Cancelled) => None,
                    None => *requested_at,
                };
            }
            Phase::CloseRequested { at } => match news {
                Some(CloseNews::Requested { at: requested }) => *at = requested,
                Some(CloseNews::Cancelled) => self.next.phase = Phase::Open,
                None => {}
            },
            Phase::Closed { .. } => {}
            phase @ (Phase::Opening(_) | Phase::Failed | Phase::Open) => {
                *phase = match news {
                    Some(CloseNews::Requested { at }) => Phase::CloseRequested { at },
                    Some(CloseNews::Cancelled) | None => Phase::Open,
                };
            }
        }
    }

    /// A v1 id does not contain the deposit: a payer can show us one open
    /// transaction and have another mined. The chain would not pay a voucher
    /// above the deposit that is there.
    fn drop_unpayable_claim(&mut self) {
        let was_claim = matches!(self.old.phase, Phase::Opening(_) | Phase::Failed);
        if was_claim && self.next.accepted() > self.next.deposit {
            self.next.best = None;
            self.next.unsettled = Unsettled::default();
        }
    }

    /// Vouchers that the deposit does not cover are kept, and nothing is sold
    /// until it covers them again.
    fn freeze_if_uncovered(&mut self) {
        let given_up = self.give_up_uncovered_close();
        if self.next.accepted() <= self.next.deposit {
            return;
        }
        let (requested_at, evidence) = match &self.next.phase {
            Phase::Open => (None, given_up),
            Phase::CloseRequested { at } => (Some(*at), given_up),
            Phase::Quarantined {
                reason: Quarantine::OpenReverted,
                requested_at,
                evidence,
            } => (*requested_at, evidence.clone()),
            _ => return,
        };
        self.quarantine(Quarantine::DepositReverted, requested_at, evidence);
    }

    /// The chain would not pay such a close. Should it have been sent and be
    /// mined after all, its event ends the channel.
    fn give_up_uncovered_close(&mut self) -> Option<SignedVoucher> {
        let Phase::Closing {
            voucher,
            requested_at,
            ..
        } = &self.next.phase
        else {
            return None;
        };
        let needed = voucher.voucher.cumulative.max(self.next.accepted());
        if needed <= self.next.deposit {
            return None;
        }
        let (voucher, requested_at) = (voucher.clone(), *requested_at);
        self.next.phase = in_service(requested_at);
        Some(voucher)
    }

    /// What a reorganization has frozen goes on when the chain shows the
    /// deposit again.
    fn thaw(&mut self) {
        let Phase::Quarantined {
            reason: Quarantine::DepositReverted | Quarantine::OpenReverted,
            requested_at,
            ..
        } = self.next.phase
        else {
            return;
        };
        if self.next.deposit.is_zero() || self.next.accepted() > self.next.deposit {
            return;
        }
        self.next.phase = in_service(requested_at);
    }

    fn quarantine(
        &mut self,
        reason: Quarantine,
        requested_at: Option<u64>,
        evidence: Option<SignedVoucher>,
    ) {
        self.next.phase = Phase::Quarantined {
            reason,
            requested_at,
            evidence,
        };
        self.next.holds.clear();
    }

    fn observe_gone(&mut self, settled: Amount) {
        self.pay_out(settled);
        if !matches!(self.next.phase, Phase::Closed { .. }) {
            self.next.phase = Phase::Closed { transaction: None };
            self.next.holds.clear();
        }
    }

    pub(super) fn open_failed(mut self, transaction: B256) -> Step {
        if matches!(self.next.phase, Phase::Opening(open) if open.hash == transaction) {
            self.next.phase = Phase::Failed;
        }
        self.finish(LedgerKind::Observed, None)
    }

    /// Whatever was paid out was paid for a voucher of ours. If it is more
    /// than any we hold, we have lost one (SECURITY-CASES A28). A first voucher
    /// explains nothing: nothing is settled before a channel is in service.
    fn quarantine_if_behind(&mut self) {
        let was_claim = matches!(self.old.phase, Phase::Opening(_) | Phase::Failed);
        let is_explained = !was_claim && self.next.settled <= self.next.accepted();
        if self.next.settled.is_zero() || is_explained {
            return;
        }
        let requested_at = match self.next.phase {
            Phase::Open => None,
            Phase::CloseRequested { at } => Some(at),
            _ => return,
        };
        self.quarantine(Quarantine::SettledAboveAccepted, requested_at, None);
    }

    /// A voucher that would not be paid is not sent. It stays in the record,
    /// for whoever looks into it.
    pub(super) fn dispute(mut self, disputed: &SignedVoucher) -> Step {
        let requested_at = match &self.old.phase {
            Phase::Closing {
                voucher,
                sent: None,
                requested_at,
                ..
            } if voucher == disputed => *requested_at,
            Phase::Open if self.holds(disputed) => None,
            Phase::CloseRequested { at } if self.holds(disputed) => Some(*at),
            _ => return self.unchanged(),
        };
        self.next.phase = Phase::Quarantined {
            reason: Quarantine::VoucherDisputed,
            requested_at,
            evidence: Some(disputed.clone()),
        };
        self.next.holds.clear();
        self.finish(LedgerKind::Observed, None)
    }

    fn holds(&self, voucher: &SignedVoucher) -> bool {
        self.old.vouchers().any(|held| held == voucher)
    }

    /// What our own settlement has paid out, once that is final.
    pub(super) fn settled(mut self, amount: Amount) -> Step {
        let known = !matches!(self.old.phase, Phase::Opening(_) | Phase::Failed);
        if known {
            self.pay_out(amount);
            // What was paid out was there.
            self.next.deposit = self.next.deposit.max(amount);
            self.quarantine_if_behind();
        }
        self.finish(LedgerKind::Observed, None)
    }

    /// Everything that was paid out counts as spent from here on: what it was
    /// spent on is part of the history that was lost.
    pub(super) fn reinstate(mut self) -> Result<Step, Rejection> {
        let Phase::Quarantined { requested_at, .. } = self.old.phase else {
            return Ok(self.unchanged());
        };
        let (accepted, deposit) = (self.old.accepted(), self.old.deposit);
        let is_covered = accepted <= deposit && !deposit.is_zero();
        if accepted < self.old.settled || !is_covered {
            return Err(Rejection::Quarantined {
                channel_id: self.old.id,
            });
        }
        self.next.phase = in_service(requested_at);
        let sale = Sale {
            cost: self.old.owed().saturating_sub(self.old.spent),
            ..Sale::default()
        };
        self.spend(sale.cost, 0);
        Ok(self.finish(LedgerKind::Charged, Some(sale)))
    }

    pub(super) fn begin_close(mut self, voucher: &VerifiedVoucher) -> Result<Step, Rejection> {
        let requested_at = match &self.old.phase {
            Phase::Closing { .. } => return Ok(self.unchanged()),
            Phase::CloseRequested { at } => Some(*at),
            _ => None,
        };
        let chosen = close_voucher(self.old, voucher.as_signed())?;
        self.keep_exact(chosen);
        self.next.phase = Phase::Closing {
            voucher: chosen.clone(),
            capture: self.old.owed(),
            sent: None,
            requested_at,
        };
        // Nothing that is still being served can be captured any more; its
        // requests then fail, and were not charged.
        self.next.holds.clear();
        Ok(self.finish(LedgerKind::Observed, None))
    }

    /// The v1 contract takes only this voucher for a close: it is needed again
    /// should the close be undone.
    fn keep_exact(&mut self, chosen: &SignedVoucher) {
        let cumulative = chosen.voucher.cumulative;
        let best = self.old.collectable();
        let is_better = best.is_none_or(|best| best.voucher.cumulative < cumulative);
        if self.old.best.is_some() && cumulative <= self.old.spent && is_better {
            self.next.unsettled.earned = Some(chosen.clone());
        }
    }

    /// Closes without being asked by the payer, as when it asked the chain or
    /// has gone. Requests that are being served are not cut off for that,
    /// unless the payer has made its own close request.
    pub(super) fn close_with_held(mut self) -> Result<Step, Rejection> {
        let channel_id = self.old.id;
        let requested_at = match &self.old.phase {
            Phase::Closing { .. } => return Ok(self.unchanged()),
            Phase::CloseRequested { at } => Some(*at),
            _ => {
                require_open(self.old)?;
                if !self.old.held(self.now).is_zero() {
                    return Err(Rejection::RequestInProgress { channel_id });
                }
                None
            }
        };
        let owed = self.old.owed();
        let chosen = self.old.closable().ok_or(Rejection::CloseAmount {
            channel_id,
            required: owed,
        })?;
        self.next.phase = Phase::Closing {
            voucher: chosen.clone(),
            capture: owed,
            sent: None,
            requested_at,
        };
        self.next.holds.clear();
        Ok(self.finish(LedgerKind::Observed, None))
    }

    /// One close in flight per channel (PROTOCOL 5.4): another takes its place
    /// only when it names the one before, which can no longer be mined.
    pub(super) fn close_sent(
        mut self,
        pending: PendingTx,
        instead_of: Option<B256>,
    ) -> Result<Step, Rejection> {
        let channel_id = self.old.id;
        let refused = |why| Err(Rejection::ChannelFinalized { channel_id, why });
        match &mut self.next.phase {
            Phase::Closing {
                sent: Some(sent), ..
            } if *sent != pending && Some(sent.hash) != instead_of => {
                refused("another close of this channel is under way")
            }
            Phase::Closing { sent, .. } => {
                *sent = Some(pending);
                Ok(self.finish(LedgerKind::Observed, None))
            }
            _ => refused("this channel is not being closed"),
        }
    }

    pub(super) fn close_failed(mut self, transaction: B256) -> Step {
        if let Phase::Closing {
            requested_at,
            sent: Some(sent),
            ..
        } = &self.next.phase
            && sent.hash == transaction
        {
            self.next.phase = in_service(*requested_at);
            self.freeze_if_uncovered();
        }
        self.finish(LedgerKind::Observed, None)
    }

    pub(super) fn closed(mut self, transaction: B256, settled: Amount) -> Step {
        if !matches!(
            self.next.phase,
            Phase::Closed {
                transaction: Some(_)
            }
        ) {
            self.pay_out(settled);
            self.next.phase = Phase::Closed {
                transaction: Some(transaction),
            };
            self.next.holds.clear();
        }
        self.finish(LedgerKind::Closed, None)
    }
}

fn in_service(requested_at: Option<u64>) -> Phase {
    requested_at.map_or(Phase::Open, |at| Phase::CloseRequested { at })
}
