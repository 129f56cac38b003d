//! The questions that are asked before a charge is signed.

use std::time::Duration;

use alloy_primitives::Address;
use mpp_core::{Amount, Timestamp};
use mpp_tempo::wire::ChargeMode;

use super::{IntentPolicy, Policy, PolicyViolation};
use crate::charge::{ChargeOffer, ChargeRecord};
use crate::origin::Origin;

/// The time over which charges are summed up.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Largest deposits that may be paid by charges in a day, unless the policy says otherwise.
const DEFAULT_DEPOSITS_PER_DAY: u64 = 4;

/// The moment up to which charges do not count any more.
pub(crate) fn day_before(now: Timestamp) -> Timestamp {
    now.checked_sub(DAY).unwrap_or(Timestamp::MIN)
}

impl Policy {
    pub(crate) const fn preferred_intents(&self) -> IntentPolicy {
        self.intents
    }

    pub(crate) const fn mode_of_charges(&self) -> ChargeMode {
        self.charge_by
    }

    /// Checks everything that a charge asks for.
    ///
    /// `pinned` are those whom the first payment to the origin named. A proof pays nobody, so only
    /// where it goes is checked.
    pub(crate) fn check_charge(
        &self,
        origin: &Origin,
        offer: &ChargeOffer,
        pinned: &[Address],
    ) -> Result<(), PolicyViolation> {
        if self.intents.ranks().charge.is_none() {
            return Err(PolicyViolation::ChargesNotAllowed);
        }
        self.check_transport(origin)?;
        self.check_chain(offer.chain_id())?;
        if offer.transfers().is_none() {
            return Ok(());
        }
        self.check_currency(offer.chain_id(), offer.currency())?;
        self.check_payees(&offer.payees(), pinned)?;
        let limit = self.max_charge.unwrap_or(self.max_deposit);
        if offer.amount() > limit {
            return Err(PolicyViolation::ChargeTooHigh {
                amount: offer.amount(),
                limit,
            });
        }
        Ok(())
    }

    /// Checks a charge beside those of the last day. Each counts once, unless it is known that it
    /// was not paid.
    pub(crate) fn admit_charge(
        &self,
        charge: &ChargeRecord,
        others: &[ChargeRecord],
    ) -> Result<(), PolicyViolation> {
        let since = day_before(charge.at);
        let sum = |counts: &dyn Fn(&ChargeRecord) -> bool| {
            let amounts = others
                .iter()
                .filter(|other| other.state.counts() && other.at > since && counts(other))
                .map(|other| other.amount);
            amounts.fold(charge.amount, |sum, next| {
                sum.checked_add(next).unwrap_or(Amount::MAX)
            })
        };
        let here = sum(&|other| other.origin == charge.origin);
        let limit = self.max_charged_per_origin.unwrap_or(self.max_deposit);
        if here > limit {
            return Err(PolicyViolation::ChargedTooMuch {
                charged: here,
                limit,
            });
        }
        let all = sum(&|_| true);
        let limit = self
            .max_charged_per_day
            .or_else(|| self.max_deposit.checked_mul(DEFAULT_DEPOSITS_PER_DAY))
            .unwrap_or(Amount::MAX);
        if all > limit {
            return Err(PolicyViolation::ChargedTooMuch {
                charged: all,
                limit,
            });
        }
        Ok(())
    }
}
