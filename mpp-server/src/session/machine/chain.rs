//! What the chain tells, and the way to a close.

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
        command::Step,
        record::{LedgerKind, PendingTx, Phase, Quarantine, Unsettled},
    },
};

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
        let kind = match (&self.old.phase, &self.next.phase) {
            (Phase::Opening(_) | Phase::Failed, Phase::Open) => LedgerKind::Opened,
            (Phase::Closed { .. }, _) | (_, Phase::Closed { .. }) => LedgerKind::Closed,
            _ => LedgerKind::Observed,
        };
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
        let cancelled = view.close_requested_at.is_none() && view.deposit > self.old.deposit;
        match &mut self.next.phase {
            Phase::Closing { requested_at, .. } | Phase::Quarantined { requested_at, .. } => {
                *requested_at = match view.close_requested_at {
                    None if cancelled => None,
                    None => *requested_at,
                    at => at,
                };
            }
            Phase::CloseRequested { at } => match view.close_requested_at {
                Some(requested) => *at = requested,
                None if cancelled => self.next.phase = Phase::Open,
                None => {}
            },
            phase => {
                *phase = match view.close_requested_at {
                    Some(at) => Phase::CloseRequested { at },
                    None => Phase::Open,
                };
            }
        }
        // A v1 id does not contain the deposit: a payer can show us one open
        // transaction and have another mined. The chain would not pay a voucher
        // above the deposit that is there.
        if self.next.accepted() > self.next.deposit {
            self.next.best = None;
            self.next.unsettled = Unsettled::default();
        }
    }

    fn observe_gone(&mut self, settled: Amount) {
        self.pay_out(settled);
        if !matches!(self.next.phase, Phase::Closed { .. }) {
            self.next.phase = Phase::Closed { transaction: None };
            self.next.holds.clear();
        }
    }

    pub(super) fn open_failed(mut self) -> Step {
        if matches!(self.next.phase, Phase::Opening(_)) {
            self.next.phase = Phase::Failed;
        }
        self.finish(LedgerKind::Observed, None)
    }

    /// Whatever was paid out was paid for a voucher of ours. If it is more
    /// than any we hold, we have lost one (SECURITY-CASES A28).
    fn quarantine_if_behind(&mut self) {
        if self.next.settled <= self.next.accepted() {
            return;
        }
        let requested_at = match self.next.phase {
            Phase::Open => None,
            Phase::CloseRequested { at } => Some(at),
            _ => return,
        };
        self.next.phase = Phase::Quarantined {
            reason: Quarantine::SettledAboveAccepted,
            requested_at,
            evidence: None,
        };
        self.next.holds.clear();
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
        if self.old.accepted() < self.old.settled {
            return Err(Rejection::Quarantined {
                channel_id: self.old.id,
            });
        }
        self.next.phase = match requested_at {
            Some(at) => Phase::CloseRequested { at },
            None => Phase::Open,
        };
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
            self.next.phase = match requested_at {
                Some(at) => Phase::CloseRequested { at: *at },
                None => Phase::Open,
            };
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
