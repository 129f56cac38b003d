//! What a sponsor is willing to pay for.

use core::time::Duration;

use alloy_primitives::U256;
use mpp_core::Timestamp;

use super::{SignedTx, gas};

/// Limits for transactions whose fees we pay (PROTOCOL 4, Sponsorship).
///
/// The policy judges everything but the calls, which [`super::check`] compares with what the
/// protocol expects. Budgets per payer and in total are the server's ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SponsorPolicy {
    /// Highest gas limit. A server that asks for several transfers at once allows for more, and for
    /// a total fee in proportion ([`SponsorPolicy::for_transfers`]).
    pub max_gas: u64,
    /// Highest fee limit, in attodollars per gas.
    pub max_fee_per_gas: u128,
    /// Highest product of both, in attodollars.
    pub max_total_fee: U256,
    /// Furthest end of validity from now.
    ///
    /// No more than what a chain takes for an expiring nonce: a transaction that is valid for longer
    /// can not be mined yet, and would only hold a part of the budget until it is refused. That is
    /// 30 s on networks without TIP-1093, and 300 s with it; deployed clients sign for up to 60 s.
    pub max_validity: Duration,
    /// Whether transactions are sponsored that an access key has signed. Default: no.
    ///
    /// A key may have a spending limit or be good for some calls only, which no simulation of the
    /// calls shows: it reverts what exceeds them, and the fee is ours. Allow it where a budget per
    /// payer makes that cheap enough.
    pub sponsors_access_keys: bool,
}

/// Why a sponsor does not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyViolation {
    /// No fee payer is wanted.
    #[error("transaction does not ask for a fee payer")]
    NotRequested,
    /// Another kind of nonce could be held back and replayed later.
    #[error("transaction has no expiring nonce")]
    Nonce,
    /// It has no end of validity, or is not valid now.
    #[error("transaction is not valid now")]
    NotValidNow,
    /// It is valid for too long.
    #[error("transaction is valid for too long")]
    Validity,
    /// The gas limit is too high.
    #[error("transaction gas limit {0} is too high")]
    Gas(u64),
    /// The fee per gas is too high.
    #[error("transaction fee per gas {0} is too high")]
    FeePerGas(u128),
    /// The total fee is too high.
    #[error("transaction total fee {0} is too high")]
    TotalFee(U256),
    /// It has an access list, which costs gas and serves nothing here.
    #[error("transaction has an access list")]
    AccessList,
    /// It delegates accounts or provisions keys.
    #[error("transaction has authorizations")]
    Authorizations,
    /// A call moves value or creates a contract.
    #[error("transaction moves value or creates a contract")]
    Value,
    /// An access key has signed it, whose limits are not known.
    #[error("transaction is signed by an access key")]
    AccessKey,
    /// It would run out of gas.
    #[error("transaction gas limit {limit} is too low: it needs {needed}")]
    TooLittleGas {
        /// Its limit.
        limit: u64,
        /// What it needs now.
        needed: u64,
    },
    /// No block takes it for this fee per gas.
    #[error("transaction fee per gas {0} is below what gas costs now")]
    BelowBaseFee(u128),
}

impl Default for SponsorPolicy {
    /// 2,000,000 gas, 100 gwei, 0.05 dollars in total, 300 s.
    fn default() -> Self {
        Self {
            max_gas: 2_000_000,
            max_fee_per_gas: 100_000_000_000,
            max_total_fee: U256::from(50_000_000_000_000_000_u64),
            max_validity: Duration::from_secs(300),
            sponsors_access_keys: false,
        }
    }
}

impl SponsorPolicy {
    /// Judges a transaction at `now`.
    ///
    /// # Errors
    /// The first [`PolicyViolation`].
    pub fn check(&self, tx: &SignedTx, now: Timestamp) -> Result<(), PolicyViolation> {
        if !tx.needs_fee_payer() {
            return Err(PolicyViolation::NotRequested);
        }
        if !tx.has_expiring_nonce() {
            return Err(PolicyViolation::Nonce);
        }
        self.check_validity(tx, now)?;
        self.check_fees(tx)?;
        if tx.has_access_list() {
            return Err(PolicyViolation::AccessList);
        }
        if tx.has_authorizations() {
            return Err(PolicyViolation::Authorizations);
        }
        if tx
            .calls()
            .any(|call| call.to.is_none() || !call.value.is_zero())
        {
            return Err(PolicyViolation::Value);
        }
        if tx.access_key().is_some() && !self.sponsors_access_keys {
            return Err(PolicyViolation::AccessKey);
        }
        Ok(())
    }

    /// The same limits for a charge of so many transfers: the gas that it takes to make them all
    /// to new accounts, at what a unit of gas may cost in total.
    ///
    /// It is the server that asks for several transfers. One is judged by the limits as they are.
    #[must_use]
    pub fn for_transfers(self, count: usize) -> Self {
        if count < 2 {
            return self;
        }
        let max_gas = self.max_gas.max(gas::transfers(count));
        let total = self.max_total_fee.saturating_mul(U256::from(max_gas));
        let total = total.checked_div(U256::from(self.max_gas));
        Self {
            max_gas,
            max_total_fee: total.unwrap_or(self.max_total_fee),
            ..self
        }
    }

    /// Judges what would become of a transaction now, by what gas costs, and by what its calls
    /// have used when they were tried, if that is known.
    ///
    /// One that runs out of gas costs its fee payer the whole limit, and its sender nothing.
    ///
    /// # Errors
    /// The first [`PolicyViolation`].
    pub fn check_tried(
        tx: &SignedTx,
        base_fee_per_gas: u128,
        gas_used: Option<u64>,
    ) -> Result<(), PolicyViolation> {
        if tx.max_fee_per_gas() < base_fee_per_gas {
            return Err(PolicyViolation::BelowBaseFee(tx.max_fee_per_gas()));
        }
        let limit = tx.gas_limit();
        let needed = gas_used.map_or(0, |used| gas::sponsored(tx, used));
        match limit < needed {
            true => Err(PolicyViolation::TooLittleGas { limit, needed }),
            false => Ok(()),
        }
    }

    fn check_validity(&self, tx: &SignedTx, now: Timestamp) -> Result<(), PolicyViolation> {
        let now = u64::try_from(now.as_secs()).map_err(|_| PolicyViolation::NotValidNow)?;
        let until = tx.valid_before().ok_or(PolicyViolation::NotValidNow)?;
        let left = until
            .checked_sub(now)
            .filter(|left| *left > 0)
            .ok_or(PolicyViolation::NotValidNow)?;
        if tx.valid_after().is_some_and(|after| after > now) {
            return Err(PolicyViolation::NotValidNow);
        }
        if left > self.max_validity.as_secs() {
            return Err(PolicyViolation::Validity);
        }
        Ok(())
    }

    fn check_fees(&self, tx: &SignedTx) -> Result<(), PolicyViolation> {
        if tx.gas_limit() > self.max_gas {
            return Err(PolicyViolation::Gas(tx.gas_limit()));
        }
        let highest = tx.max_fee_per_gas().max(tx.max_priority_fee_per_gas());
        if highest > self.max_fee_per_gas {
            return Err(PolicyViolation::FeePerGas(highest));
        }
        let total = tx.max_total_fee();
        if total > self.max_total_fee {
            return Err(PolicyViolation::TotalFee(total));
        }
        Ok(())
    }
}
