//! The accounts of one channel as its payer keeps them: pure arithmetic.
//!
//! The payer signs cumulative amounts before it knows what was charged, over connections that
//! overtake each other and break. The ledger answers one question from facts of its own: how much
//! may the server have charged for what *we* ordered? That is [`Ledger::expected`], the sum of
//!
//! * `charged`: the part of the confirmed spending that finished requests account for,
//! * `in_flight`: what running requests may cost,
//! * `streaming`: what running streams are known to cost so far,
//! * `in_doubt`: what lost requests may have cost.
//!
//! # The rule for lost responses
//! A request that certainly was not charged (its payment refused, or never sent) is *released* and
//! forgotten; so is one that failed with another 4xx, except that it counts as `late`, see below. A
//! request whose answer was lost, or came without a receipt, is *in doubt*: it may have been
//! charged, so vouchers keep covering it. The doubt ends with the first receipt of a request that
//! began after the loss and finished while no other was running: what its `spent` contains was
//! charged, the rest was not. The rest is remembered as `late`: should the server get to the lost
//! request after all and then say so, its claim is honored up to that amount, but nothing is signed
//! for it before. So an amount is neither paid twice nor forgotten.
//!
//! # The rule for streams
//! A running stream takes whatever credit there is and asks only when there is none, so it may use
//! what was signed for a request beside it. What it takes is learned from claims and receipts, and
//! believed up to what the policy lets a stream cost.
//!
//! Claims of a server beyond all that are refused, except for what the policy's `max_unaccounted`
//! allows in total.

mod discrepancy;
mod order;

use mpp_core::Amount;
use serde::{Deserialize, Serialize};

pub use self::discrepancy::Discrepancy;
pub use self::order::{Margin, Need, Plan, Reservation, Running, Totals};

/// The accounts of one channel. All amounts are base units and cumulative over its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    deposit: Amount,
    signed: Amount,
    accepted: Amount,
    spent: Amount,
    charged: Amount,
    in_flight: Amount,
    streaming: Amount,
    /// What running streams may still take without asking.
    room: Amount,
    in_doubt: Amount,
    late: Amount,
    unaccounted: Amount,
    /// Running requests, streams included.
    flights: u64,
    /// Running streams.
    streams: u64,
    /// Lost responses so far.
    losses: u64,
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
            streaming: Amount::ZERO,
            room: Amount::ZERO,
            in_doubt: Amount::ZERO,
            late: Amount::ZERO,
            unaccounted: Amount::ZERO,
            flights: 0,
            streams: 0,
            losses: 0,
        }
    }

    /// The accounts of a channel that goes on from what a server knows of it: nothing runs, and
    /// all that was spent was ordered.
    #[must_use]
    pub const fn resumed(deposit: Amount, totals: Totals) -> Self {
        let mut ledger = Self::new(deposit, totals.accepted);
        ledger.accepted = totals.accepted;
        ledger.spent = totals.spent;
        ledger.charged = totals.spent;
        ledger
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

    /// The requests that are running.
    #[must_use]
    pub const fn running(&self) -> Running {
        Running {
            in_flight: self.in_flight,
            flights: self.flights,
            streams: self.streams,
        }
    }

    /// Whether requests are running.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.flights > 0
    }

    /// The most that the server can have charged for what was ordered, as far as is known.
    #[must_use]
    pub fn expected(&self) -> Amount {
        sum([self.charged, self.in_doubt, self.in_flight, self.streaming])
    }

    /// The most that the server may take of what is signed, and be believed.
    #[must_use]
    pub fn exposed(&self) -> Amount {
        sum([self.expected(), self.room]).min(self.signed)
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
            is_stream: false,
        })
    }

    /// The server reserves more than the price for a request, so that the total is `required`. That
    /// is part of the order as far as one request may cost `limit`.
    pub fn grow(&mut self, request: &mut Reservation, required: Amount, limit: Amount) {
        if request.is_stream {
            return;
        }
        let over = required.saturating_sub(self.expected());
        let by = over.min(limit.saturating_sub(request.cost));
        request.cost = sum([request.cost, by]);
        self.in_flight = sum([self.in_flight, by]);
    }

    /// The request turns out to be a stream, which may cost up to `limit`.
    pub fn begin_stream(&mut self, request: &mut Reservation, limit: Amount) {
        if std::mem::replace(&mut request.is_stream, true) {
            return;
        }
        self.streams = self.streams.saturating_add(1);
        self.in_flight = self.in_flight.saturating_sub(request.cost);
        self.streaming = sum([self.streaming, request.cost]);
        self.room = sum([self.room, limit.saturating_sub(request.cost)]);
    }

    /// What to authorize so that the need is covered.
    ///
    /// Never less than what was signed before: an equal voucher is idempotent, a lower one would
    /// be refused.
    #[must_use]
    pub fn plan(&self, need: Need, margin: Margin) -> Plan {
        let expected = self.expected();
        let ordered = match need {
            Need::Ordered | Need::Step(_) => expected,
            Need::AtLeast(total) => expected.max(total),
            Need::Stream(total) => sum([total, self.in_flight]),
        };
        let need = match need {
            Need::Step(total) => ordered.max(total),
            Need::Ordered | Need::AtLeast(_) | Need::Stream(_) => ordered,
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
        let wanted = least.max(sum([ordered, margin.ahead]));
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

    /// The total that a stream needs that announced `required` when it held `accepted`.
    ///
    /// Requests beside the stream may have been charged since, out of the credit that the stream
    /// was about to use. Their receipts tell, and a server asks only once.
    #[must_use]
    pub fn stream_need(&self, required: Amount, accepted: Amount, price: Amount) -> Amount {
        let unit = price.max(required.saturating_sub(accepted));
        required.max(sum([self.spent, unit]))
    }

    /// What the running streams cost once the total is `required`: all of it that finished
    /// requests do not explain.
    #[must_use]
    pub fn stream_cost(&self, required: Amount) -> Amount {
        self.streaming.max(required.saturating_sub(self.charged))
    }

    /// Lets the running streams cost as much as brings the total to `required`.
    pub fn extend_stream(&mut self, required: Amount) {
        let cost = self.stream_cost(required);
        let grown = cost.saturating_sub(self.streaming);
        self.room = self.room.saturating_sub(grown);
        self.streaming = cost;
    }

    /// Honors a server's claim that a request needs the total `required`.
    ///
    /// # Errors
    /// [`Discrepancy::Unexplained`] when the orders and the allowance do not explain it; nothing
    /// changes then.
    pub fn claim(&mut self, required: Amount, max_unaccounted: Amount) -> Result<(), Discrepancy> {
        self.explain(required, max_unaccounted)
    }

    /// Allows a voucher for `total`, the smallest step above what the server has accepted.
    ///
    /// A step has no order behind it. What was signed exceeds the orders by what is authorized ahead
    /// of them and by less than a step, so that one more leads to less than two steps beyond them.
    /// What would go further is a claim as any other: without that, a server that goes on to ask
    /// for steps would be given all there is.
    ///
    /// # Errors
    /// As [`Ledger::claim`].
    pub fn step(
        &mut self,
        total: Amount,
        margin: Margin,
        max_unaccounted: Amount,
    ) -> Result<(), Discrepancy> {
        if total <= self.signed {
            return Ok(());
        }
        let total = total.max(sum([self.signed, margin.min_delta]));
        let free = sum([margin.ahead, margin.min_delta, margin.min_delta]);
        self.explain(total.saturating_sub(free), max_unaccounted)
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
        self.observe(Some(request), totals, max_unaccounted)?;
        if request.is_stream {
            // It may have taken all that finished requests do not explain.
            self.extend_stream(self.spent.min(self.stream_bound()));
        }
        let landed = self.land(request);
        let account = sum([self.charged, landed]).min(self.spent);
        let cost = account.saturating_sub(self.charged);
        self.charged = account;
        let left = landed.saturating_sub(cost);
        if !request.is_stream {
            // Peers write receipts before they charge.
            self.late = sum([self.late, left]);
        } else if self.streams > 0 {
            // What was not this stream's is another's.
            self.streaming = left;
        }
        if self.flights == 0 && request.losses_before == self.losses {
            self.end_doubt();
        }
        Ok(cost)
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
        self.explain(totals.spent, max_unaccounted)?;
        self.spent = self.spent.max(totals.spent);
        self.accepted = self.accepted.max(totals.accepted);
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
        let cost = self.land(request);
        self.late = sum([self.late, cost]);
    }

    /// Keeps a request that may have been charged in doubt.
    ///
    /// What a lost stream may have taken without asking is believed when it is claimed, as far as
    /// there was credit for it.
    pub fn lose(&mut self, request: &Reservation) {
        let credit = self
            .signed
            .saturating_sub(sum([self.charged, self.streaming]));
        let untold = self.room.min(credit);
        let cost = self.land(request);
        self.losses = self.losses.saturating_add(1);
        if request.is_stream && self.streams > 0 {
            // The account of the streams goes on with the one that runs.
            return;
        }
        self.in_doubt = sum([self.in_doubt, cost]);
        if request.is_stream {
            self.late = sum([self.late, untold]);
        }
    }

    /// Keeps the requests of a process that is gone in doubt: nobody will book their answers.
    pub fn abandon(&mut self, running: &Running) {
        let credit = self
            .signed
            .saturating_sub(sum([self.charged, self.streaming]));
        self.flights = self.flights.saturating_sub(running.flights);
        self.losses = self.losses.saturating_add(running.flights);
        self.in_flight = self.in_flight.saturating_sub(running.in_flight);
        self.in_doubt = sum([self.in_doubt, running.in_flight]);
        self.streams = self.streams.saturating_sub(running.streams);
        if running.streams > 0 && self.streams == 0 {
            let untold = std::mem::take(&mut self.room).min(credit);
            self.late = sum([self.late, untold]);
            let streamed = std::mem::take(&mut self.streaming);
            self.in_doubt = sum([self.in_doubt, streamed]);
        }
    }

    /// Takes over what the chain says the channel holds.
    pub const fn set_deposit(&mut self, deposit: Amount) {
        self.deposit = deposit;
    }

    /// Accounts for a total that the server states: what exceeds the orders is taken from the
    /// running streams, then from what may come late, then from the policy's allowance.
    fn explain(&mut self, total: Amount, max_unaccounted: Amount) -> Result<(), Discrepancy> {
        let over = total.saturating_sub(self.expected());
        let streamed = over.min(self.room);
        let rest = over.saturating_sub(streamed);
        let beyond = rest.saturating_sub(self.late);
        let unaccounted = sum([self.unaccounted, beyond]);
        if !beyond.is_zero() && unaccounted > max_unaccounted {
            let allowed = max_unaccounted.saturating_sub(self.unaccounted);
            return Err(Discrepancy::Unexplained {
                claimed: total,
                explained: sum([self.expected(), self.room, self.late, allowed]),
            });
        }
        self.room = self.room.saturating_sub(streamed);
        self.streaming = sum([self.streaming, streamed]);
        self.late = self.late.saturating_sub(rest);
        self.unaccounted = unaccounted;
        self.in_doubt = sum([self.in_doubt, rest]);
        Ok(())
    }

    /// The total up to which the running streams may have brought the spending.
    fn stream_bound(&self) -> Amount {
        sum([self.charged, self.streaming, self.room])
    }

    /// Takes a request out of what is running; returns what it may have cost.
    ///
    /// Streams share one account. It stays as long as one of them runs.
    fn land(&mut self, request: &Reservation) -> Amount {
        self.flights = self.flights.saturating_sub(1);
        if !request.is_stream {
            self.in_flight = self.in_flight.saturating_sub(request.cost);
            return request.cost;
        }
        self.streams = self.streams.saturating_sub(1);
        let streaming = self.streaming;
        if self.streams == 0 {
            self.streaming = Amount::ZERO;
            self.room = Amount::ZERO;
        }
        streaming
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
