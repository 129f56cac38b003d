//! The accounts of one channel as its payer keeps them: pure arithmetic.
//!
//! The payer signs cumulative amounts before it knows what was charged, over connections that
//! overtake each other and break. The ledger answers one question from facts of its own: how much
//! may the server have charged for what *we* ordered? That is [`Ledger::expected`], the sum of
//!
//! * `charged`: the part of the confirmed spending that finished requests account for,
//! * `in_flight`: what running requests may cost,
//! * `in_doubt`: what lost requests may have cost.
//!
//! # The rule for lost responses
//! A request that certainly was not charged (its payment refused, or never sent) is *released* and
//! forgotten; so is one that failed with another 4xx, except that it counts as `late`, see below. A
//! request whose answer was lost, or came without a receipt, is *in doubt*: it may have been
//! charged, so vouchers keep covering it. The doubt ends with the first receipt of a
//! request that began after the loss and finished while no other was running: what its `spent`
//! contains was charged, the rest was not. The rest is remembered as `late`: should the server get
//! to the lost request after all and then say so, its claim is honored up to that amount, but
//! nothing is signed for it before. So an amount is neither paid twice nor forgotten.
//!
//! Claims of a server beyond `expected` and `late` are refused, except for what the policy's
//! `max_unaccounted` allows in total.

use mpp_core::Amount;

/// The accounts of one channel. All amounts are base units and cumulative over its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    deposit: Amount,
    signed: Amount,
    accepted: Amount,
    spent: Amount,
    charged: Amount,
    in_flight: Amount,
    in_doubt: Amount,
    late: Amount,
    unaccounted: Amount,
    /// Running requests.
    flights: u64,
    /// Lost responses so far.
    losses: u64,
}

/// What one running request may cost; goes back to the ledger it came from.
#[derive(Debug, PartialEq, Eq)]
pub struct Reservation {
    cost: Amount,
    presented: Amount,
    spent_before: Amount,
    losses_before: u64,
}

impl Reservation {
    /// What the request may cost, in base units.
    #[must_use]
    pub const fn cost(&self) -> Amount {
        self.cost
    }

    /// The cumulative amount of the voucher that was last sent for the request.
    #[must_use]
    pub const fn presented(&self) -> Amount {
        self.presented
    }

    /// Notes the cumulative amount of the voucher that is sent with the request.
    pub fn present(&mut self, cumulative: Amount) {
        self.presented = cumulative;
    }
}

/// The server's side of the accounts, as a receipt states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// The highest voucher the server has accepted.
    pub accepted: Amount,
    /// What the server has charged.
    pub spent: Amount,
}

/// What must be authorized for the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// A voucher for this cumulative amount. It may be one that was signed before.
    Voucher(Amount),
    /// The deposit must first grow to at least this.
    TopUp(Amount),
}

/// What a voucher is for, in base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Need {
    /// Everything that was ordered.
    #[default]
    Ordered,
    /// The same, and at least this total, which the server wants and the accounts explain.
    AtLeast(Amount),
    /// This total, which a stream wants (PROTOCOL 5.7); others in flight have their own vouchers.
    Exactly(Amount),
}

/// What is added to a voucher beyond the bare need, in base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Margin {
    /// Authorized ahead of need.
    pub ahead: Amount,
    /// The smallest increase the server takes (`minVoucherDelta`).
    pub min_delta: Amount,
}

/// How the server's statement contradicts the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discrepancy {
    /// It charged more than it was ever given.
    #[error("the receipt claims more spent than accepted")]
    SpentAboveAccepted,
    /// It claims a voucher that was never signed.
    #[error("the receipt claims a voucher that was never signed")]
    AcceptedAboveSigned,
    /// It confirms a request but not the voucher that came with it.
    #[error("the receipt does not confirm the voucher that was sent")]
    AcceptedBelowPresented,
    /// A later receipt shows less spent than an earlier one.
    #[error("the receipt takes earlier spending back")]
    SpentWentBack,
    /// It charged for something that was not ordered.
    #[error("the server claims {claimed} base units where at most {explained} were ordered")]
    Unexplained {
        /// What the server says was or will be spent.
        claimed: Amount,
        /// What the orders explain.
        explained: Amount,
    },
    /// The receipt is about another channel.
    #[error("the receipt names another channel")]
    OtherChannel,
    /// The receipt is not one of a session.
    #[error("the receipt is not one of a session")]
    OtherIntent,
    /// Amounts do not fit; only a hostile statement can cause this.
    #[error("amounts are out of range")]
    Overflow,
}

impl Ledger {
    /// The accounts of a channel that was just opened with a first voucher.
    #[must_use]
    pub const fn new(deposit: Amount, first_voucher: Amount) -> Self {
        Self {
            deposit,
            signed: first_voucher,
            accepted: Amount::ZERO,
            spent: Amount::ZERO,
            charged: Amount::ZERO,
            in_flight: Amount::ZERO,
            in_doubt: Amount::ZERO,
            late: Amount::ZERO,
            unaccounted: Amount::ZERO,
            flights: 0,
            losses: 0,
        }
    }

    /// What the channel holds on chain.
    #[must_use]
    pub const fn deposit(&self) -> Amount {
        self.deposit
    }

    /// The highest cumulative amount that was signed.
    #[must_use]
    pub const fn signed(&self) -> Amount {
        self.signed
    }

    /// The highest voucher that a receipt confirmed.
    #[must_use]
    pub const fn accepted(&self) -> Amount {
        self.accepted
    }

    /// The highest spending that a receipt confirmed.
    #[must_use]
    pub const fn spent(&self) -> Amount {
        self.spent
    }

    /// What lost requests may have cost.
    #[must_use]
    pub const fn in_doubt(&self) -> Amount {
        self.in_doubt
    }

    /// Whether requests are running.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.flights > 0
    }

    /// The most that the server can have charged for what was ordered.
    #[must_use]
    pub fn expected(&self) -> Amount {
        sum([self.charged, self.in_doubt, self.in_flight])
    }

    /// Reserves the cost of a request that is about to be sent.
    ///
    /// # Errors
    /// [`Discrepancy::Overflow`] when the sum of all costs does not fit.
    pub fn reserve(&mut self, cost: Amount) -> Result<Reservation, Discrepancy> {
        self.expected()
            .checked_add(cost)
            .ok_or(Discrepancy::Overflow)?;
        self.in_flight = sum([self.in_flight, cost]);
        self.flights = self.flights.saturating_add(1);
        Ok(Reservation {
            cost,
            presented: Amount::ZERO,
            spent_before: self.spent,
            losses_before: self.losses,
        })
    }

    /// What to authorize so that the need is covered.
    ///
    /// Never less than what was signed before: an equal voucher is idempotent, a lower one would
    /// be refused.
    #[must_use]
    pub fn plan(&self, need: Need, margin: Margin) -> Plan {
        let need = match need {
            Need::Ordered => self.expected(),
            Need::AtLeast(total) => self.expected().max(total),
            Need::Exactly(total) => total,
        };
        let least = if need <= self.signed {
            self.signed
        } else {
            need.max(sum([self.signed, margin.min_delta]))
        };
        if least > self.deposit {
            return Plan::TopUp(least);
        }
        if need <= self.signed {
            return Plan::Voucher(self.signed);
        }
        let wanted = least.max(sum([need, margin.ahead]));
        Plan::Voucher(wanted.min(self.deposit))
    }

    /// Notes that a voucher for `cumulative` is about to be signed.
    ///
    /// # Errors
    /// [`Discrepancy::Overflow`] when the deposit does not cover it; nothing changes then.
    pub fn sign(&mut self, cumulative: Amount) -> Result<(), Discrepancy> {
        if cumulative > self.deposit {
            return Err(Discrepancy::Overflow);
        }
        self.signed = self.signed.max(cumulative);
        Ok(())
    }

    /// What a running stream may have cost once the total is `required`.
    ///
    /// All of the total that finished requests do not explain counts as the stream's, so that
    /// other running requests keep their cover.
    #[must_use]
    pub fn stream_cost(&self, stream: &Reservation, required: Amount) -> Amount {
        stream.cost.max(required.saturating_sub(self.charged))
    }

    /// Lets a running stream cost as much as brings the total to `required`.
    pub fn extend(&mut self, stream: &mut Reservation, required: Amount) {
        let cost = self.stream_cost(stream, required);
        let grown = cost.saturating_sub(stream.cost);
        self.in_flight = sum([self.in_flight, grown]);
        stream.cost = cost;
    }

    /// Honors a server's claim that a request needs the total `required`.
    ///
    /// # Errors
    /// [`Discrepancy::Unexplained`] when the orders and the allowance do not explain it; nothing
    /// changes then.
    pub fn claim(&mut self, required: Amount, max_unaccounted: Amount) -> Result<(), Discrepancy> {
        let over = required.saturating_sub(self.expected());
        self.allow(over, required, max_unaccounted)?;
        self.in_doubt = sum([self.in_doubt, over]);
        Ok(())
    }

    /// Covers everything that the server might have charged late, when it wants more and does not
    /// say how much. Returns whether there was anything.
    pub fn claim_late(&mut self) -> bool {
        let late = std::mem::take(&mut self.late);
        self.in_doubt = sum([self.in_doubt, late]);
        !late.is_zero()
    }

    /// Finishes a request with its receipt; returns what it was charged, in base units.
    ///
    /// # Errors
    /// The [`Discrepancy`]; the reservation stays in flight then, for [`Ledger::lose`].
    pub fn confirm(
        &mut self,
        request: &Reservation,
        totals: Totals,
        max_unaccounted: Amount,
    ) -> Result<Amount, Discrepancy> {
        let over = self.check(Some(request), totals, max_unaccounted)?;
        self.note(totals);
        self.land(request);
        let before = self.charged;
        self.charged = sum([self.charged, over, request.cost]).min(self.spent);
        if self.flights == 0 && request.losses_before == self.losses {
            self.end_doubt();
        }
        Ok(self.charged.saturating_sub(before))
    }

    /// Takes in a receipt that finishes no request, as at the start of a stream or of a top-up.
    ///
    /// # Errors
    /// The [`Discrepancy`]; nothing changes then.
    pub fn observe(
        &mut self,
        request: Option<&Reservation>,
        totals: Totals,
        max_unaccounted: Amount,
    ) -> Result<(), Discrepancy> {
        let over = self.check(request, totals, max_unaccounted)?;
        self.in_doubt = sum([self.in_doubt, over]);
        self.note(totals);
        Ok(())
    }

    /// Forgets a request that certainly was not charged.
    pub fn release(&mut self, request: &Reservation) {
        self.land(request);
    }

    /// Forgets a request that failed for a reason of the resource, such as a 404.
    ///
    /// It should not have been charged and is not covered any longer. A server that charges before
    /// it looks is believed when it says so, since the request was ordered.
    pub fn dismiss(&mut self, request: &Reservation) {
        self.land(request);
        self.late = sum([self.late, request.cost]);
    }

    /// Keeps a request that may have been charged in doubt.
    pub fn lose(&mut self, request: &Reservation) {
        self.land(request);
        self.in_doubt = sum([self.in_doubt, request.cost]);
        self.losses = self.losses.saturating_add(1);
    }

    /// Takes over what the chain says the channel holds.
    pub fn set_deposit(&mut self, deposit: Amount) {
        self.deposit = deposit;
    }

    fn check(
        &mut self,
        request: Option<&Reservation>,
        totals: Totals,
        max_unaccounted: Amount,
    ) -> Result<Amount, Discrepancy> {
        if totals.spent > totals.accepted {
            return Err(Discrepancy::SpentAboveAccepted);
        }
        if totals.accepted > self.signed {
            return Err(Discrepancy::AcceptedAboveSigned);
        }
        if request.is_some_and(|request| totals.accepted < request.presented) {
            return Err(Discrepancy::AcceptedBelowPresented);
        }
        if request.is_some_and(|request| totals.spent < request.spent_before) {
            return Err(Discrepancy::SpentWentBack);
        }
        let over = totals.spent.saturating_sub(self.expected());
        self.allow(over, totals.spent, max_unaccounted)?;
        Ok(over)
    }

    /// Takes `over` from what may come late, then from the policy's allowance.
    fn allow(
        &mut self,
        over: Amount,
        claimed: Amount,
        max_unaccounted: Amount,
    ) -> Result<(), Discrepancy> {
        let beyond = over.saturating_sub(self.late);
        let unaccounted = sum([self.unaccounted, beyond]);
        if !beyond.is_zero() && unaccounted > max_unaccounted {
            return Err(Discrepancy::Unexplained {
                claimed,
                explained: sum([
                    self.expected(),
                    self.late,
                    max_unaccounted.saturating_sub(self.unaccounted),
                ]),
            });
        }
        self.late = self.late.saturating_sub(over);
        self.unaccounted = unaccounted;
        Ok(())
    }

    fn note(&mut self, totals: Totals) {
        self.spent = self.spent.max(totals.spent);
        self.accepted = self.accepted.max(totals.accepted);
    }

    fn land(&mut self, request: &Reservation) {
        self.in_flight = self.in_flight.saturating_sub(request.cost);
        self.flights = self.flights.saturating_sub(1);
    }

    /// Nothing runs, and the last answer is younger than every loss: the accounts are exact.
    fn end_doubt(&mut self) {
        let was_charged = self.spent.saturating_sub(self.charged);
        let was_not = self.in_doubt.saturating_sub(was_charged);
        self.charged = self.spent;
        self.in_doubt = Amount::ZERO;
        self.late = sum([self.late, was_not]);
    }
}

/// The sum, at most [`Amount::MAX`].
///
/// [`Ledger::reserve`] refuses what would not fit, so the bound is reached only by claims, and a
/// claim that large is refused by every later comparison.
fn sum<const N: usize>(parts: [Amount; N]) -> Amount {
    parts
        .into_iter()
        .try_fold(Amount::ZERO, Amount::checked_add)
        .unwrap_or(Amount::MAX)
}

#[cfg(test)]
mod tests;
