//! What to collect now, as one pure function.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use alloy_primitives::Address;
use mpp_core::{Amount, Timestamp};
use mpp_tempo::ChannelId;

use super::{
    policy::{FeeLimits, SettlePolicy},
    standing::{Deadline, Stage, Standing},
};

/// How long requests that are being served may delay the answer to a close
/// request: their holds lapse by themselves, or are captured.
const PATIENCE: Duration = Duration::from_secs(60);

/// A close that was recorded so long ago is taken on by whoever collects:
/// until then it is carried out where it was asked for.
const PICK_UP: Duration = Duration::from_secs(10);

/// What is planned for one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) channel: ChannelId,
    pub(crate) payer: Address,
    pub(crate) token: Address,
    pub(crate) collect: Collect,
    pub(crate) reason: Reason,
    /// What it brings, in base units.
    pub(crate) brings: Amount,
}

/// How a channel is collected from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collect {
    /// A voucher is paid out; the channel stays open.
    Settle,
    /// The channel ends: what is owed is paid out, and the rest goes back.
    Close,
}

/// Why a channel is collected from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The payer has asked the chain to close.
    CloseRequest,
    /// The payer has asked the server to close.
    Payer,
    /// [`SettlePolicy::channel_amount`].
    ChannelAmount,
    /// [`SettlePolicy::payer_amount`].
    PayerAmount,
    /// [`SettlePolicy::token_amount`].
    TokenAmount,
    /// [`SettlePolicy::total_amount`].
    TotalAmount,
    /// [`SettlePolicy::units`].
    Units,
    /// [`SettlePolicy::age`].
    Age,
    /// [`SettlePolicy::idle_close`].
    Idle,
    /// The operator asked for it.
    Demand,
    /// The server is being shut down.
    Shutdown,
}

impl Reason {
    /// A stable name for logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CloseRequest => "close-request",
            Self::Payer => "payer",
            Self::ChannelAmount => "channel-amount",
            Self::PayerAmount => "payer-amount",
            Self::TokenAmount => "token-amount",
            Self::TotalAmount => "total-amount",
            Self::Units => "units",
            Self::Age => "age",
            Self::Idle => "idle",
            Self::Demand => "demand",
            Self::Shutdown => "shutdown",
        }
    }

    /// Whether it waits for nothing: money would be lost otherwise.
    pub(crate) fn is_urgent(self) -> bool {
        self == Self::CloseRequest
    }
}

/// What makes the scheduler look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The time.
    Routine,
    /// Everything is to be settled that is worth its fee.
    Everything(Reason),
}

/// The present, as far as the plan depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Timestamp,
    pub(crate) occasion: Occasion,
    pub(crate) fees: Fees,
    /// What routine settlements may still cost; `None`: no limit.
    pub(crate) budget: Option<Amount>,
}

/// What collecting from one channel costs, in base units of its token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fees {
    /// A settlement, usually.
    pub(crate) settle: Amount,
    /// A close, usually.
    pub(crate) close: Amount,
    /// A settlement at most, alone in its transaction.
    pub(crate) settle_most: Amount,
    /// A close at most, alone in its transaction.
    pub(crate) close_most: Amount,
}

impl Fees {
    fn usual(&self, collect: Collect) -> Amount {
        match collect {
            Collect::Settle => self.settle,
            Collect::Close => self.close,
        }
    }

    fn most(&self, collect: Collect) -> Amount {
        match collect {
            Collect::Settle => self.settle_most,
            Collect::Close => self.close_most,
        }
    }
}

/// Plans what to collect now, the most pressing first.
pub(crate) fn plan(standings: &[Standing], policy: &SettlePolicy, moment: &Moment) -> Vec<Planned> {
    let totals = Totals::of(standings);
    let judged = standings.iter().filter_map(|standing| {
        let (collect, reason) = judge(standing, policy, moment, &totals)?;
        Some((standing, collect, reason))
    });
    let mut planned: Vec<_> = judged
        .filter(|(standing, collect, reason)| {
            is_worth_it(standing, *collect, *reason, &policy.fees, moment)
        })
        .map(|(standing, collect, reason)| {
            let planned = Planned {
                channel: standing.id,
                payer: standing.payer,
                token: standing.token,
                collect,
                reason,
                brings: brings(standing, collect),
            };
            (deadline(standing), planned)
        })
        .collect();
    // Without a deadline: after all that have one.
    planned.sort_by_key(|(deadline, planned)| {
        (deadline.is_none(), *deadline, Reverse(planned.brings))
    });
    let mut budget = moment.budget;
    let within = planned.into_iter().filter(|(_, planned)| {
        planned.reason.is_urgent() || spend(&mut budget, moment.fees.most(planned.collect))
    });
    within.map(|(_, planned)| planned).collect()
}

/// Takes the most that it may cost out of the budget, if it is there.
fn spend(budget: &mut Option<Amount>, most: Amount) -> bool {
    let Some(left) = budget else { return true };
    match left.checked_sub(most) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}

fn deadline(standing: &Standing) -> Option<Deadline> {
    match standing.stage {
        Stage::Open => None,
        Stage::Requested(deadline) => Some(deadline),
        Stage::Closing { deadline } => deadline,
    }
}

fn brings(standing: &Standing, collect: Collect) -> Amount {
    match collect {
        Collect::Settle => standing.collectable,
        Collect::Close => standing.unsettled,
    }
}

/// Nothing is collected at a loss. A close that was recorded is carried out.
fn is_worth_it(
    standing: &Standing,
    collect: Collect,
    reason: Reason,
    limits: &FeeLimits,
    moment: &Moment,
) -> bool {
    if matches!(standing.stage, Stage::Closing { .. }) {
        return true;
    }
    let (brings, fee) = (brings(standing, collect), moment.fees.usual(collect));
    match reason {
        Reason::CloseRequest | Reason::Demand | Reason::Shutdown => brings > fee,
        _ => {
            let part = brings.base_units().saturating_mul(limits.share.into());
            brings > fee && part >= fee.base_units().saturating_mul(10_000)
        }
    }
}

fn judge(
    standing: &Standing,
    policy: &SettlePolicy,
    moment: &Moment,
    totals: &Totals,
) -> Option<(Collect, Reason)> {
    let idle = moment.now.saturating_duration_since(standing.changed_at);
    match standing.stage {
        Stage::Open => {}
        Stage::Requested(deadline) => return answer(standing, deadline, moment.now),
        Stage::Closing { deadline } => {
            let reason = deadline.map_or(Reason::Payer, |_| Reason::CloseRequest);
            return (idle >= PICK_UP).then_some((Collect::Close, reason));
        }
    }
    let is_idle = policy.idle_close.is_some_and(|limit| idle >= limit);
    let may_close = is_idle && !standing.serving && standing.closable;
    let close = (Collect::Close, Reason::Idle);
    // A close that costs too much stands in the way of no settlement.
    let pays_off = || is_worth_it(standing, close.0, close.1, &policy.fees, moment);
    if may_close && !standing.unsettled.is_zero() && pays_off() {
        return Some(close);
    }
    if standing.collectable.is_zero() {
        return None;
    }
    let reason = match moment.occasion {
        Occasion::Everything(reason) => reason,
        Occasion::Routine => due(standing, policy, moment.now, totals)?,
    };
    Some((Collect::Settle, reason))
}

/// A close collects all that is owed and ends the matter. Where no voucher
/// fits, the best one that was delivered is settled; also where the payer's
/// account may not receive what is left, since then a close is undone.
fn answer(standing: &Standing, deadline: Deadline, now: Timestamp) -> Option<(Collect, Reason)> {
    let since_request = Duration::from_secs(mpp_tempo::network::CLOSE_GRACE_SECS)
        .saturating_sub(deadline.left(now));
    if standing.serving && since_request < PATIENCE {
        return None;
    }
    let reason = Reason::CloseRequest;
    let stuck = standing.blocked && !standing.collectable.is_zero();
    if standing.closable && !standing.unsettled.is_zero() && !stuck {
        return Some((Collect::Close, reason));
    }
    (!standing.collectable.is_zero()).then_some((Collect::Settle, reason))
}

/// The limit that a channel in service has reached.
fn due(
    standing: &Standing,
    policy: &SettlePolicy,
    now: Timestamp,
    totals: &Totals,
) -> Option<Reason> {
    let reached =
        |limit: Option<Amount>, amount: Amount| limit.is_some_and(|limit| amount >= limit);
    let age = standing
        .since
        .map(|since| now.saturating_duration_since(since));
    if reached(policy.channel_amount, standing.unsettled) {
        Some(Reason::ChannelAmount)
    } else if policy.units.is_some_and(|limit| standing.units >= limit) {
        Some(Reason::Units)
    } else if policy.age.zip(age).is_some_and(|(limit, age)| age >= limit) {
        Some(Reason::Age)
    } else if reached(policy.payer_amount, totals.of_payer(standing)) {
        Some(Reason::PayerAmount)
    } else if reached(policy.token_amount, totals.of_token(standing)) {
        Some(Reason::TokenAmount)
    } else if reached(policy.total_amount, totals.all) {
        Some(Reason::TotalAmount)
    } else {
        None
    }
}

/// What is unsettled in channels that belong together.
#[derive(Debug, Default)]
struct Totals {
    payers: HashMap<(Address, Address), Amount>,
    tokens: HashMap<Address, Amount>,
    all: Amount,
}

impl Totals {
    fn of(standings: &[Standing]) -> Self {
        let mut totals = Self::default();
        for standing in standings {
            let payer = (standing.payer, standing.token);
            for total in [
                totals.payers.entry(payer).or_default(),
                totals.tokens.entry(standing.token).or_default(),
                &mut totals.all,
            ] {
                *total = total.checked_add(standing.unsettled).unwrap_or(Amount::MAX);
            }
        }
        totals
    }

    fn of_payer(&self, standing: &Standing) -> Amount {
        let key = (standing.payer, standing.token);
        self.payers.get(&key).copied().unwrap_or_default()
    }

    fn of_token(&self, standing: &Standing) -> Amount {
        self.tokens
            .get(&standing.token)
            .copied()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
