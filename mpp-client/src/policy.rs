//! What the owner of the money allows; asked before every signature.
//!
//! A server proposes prices, payees, escrows and amounts. None of them is followed unless it lies
//! within the [`Policy`] (SECURITY-CASES A19, A27). The only required value is the largest deposit
//! of one channel: it bounds what a server can ever take, whatever else it claims.

mod violation;

use alloy_primitives::Address;
use mpp_core::Amount;
use mpp_tempo::SessionProtocol;
use mpp_tempo::network::{Network, PATH_USD};

pub use self::violation::PolicyViolation;
use crate::offer::Offer;
use crate::origin::Origin;

/// Unit prices that one voucher may rise by, unless the policy says otherwise.
const DEFAULT_STEP_UNITS: u64 = 1_000;
/// Largest deposits that may be locked at one origin, unless the policy says otherwise.
const DEFAULT_LOCKED_CHANNELS: u64 = 4;
/// Highest price of gas that is paid, in attodollars: 100 gwei.
const DEFAULT_MAX_FEE_PER_GAS: u128 = 100_000_000_000;

/// Limits of what a client pays, with safe defaults.
///
/// # Examples
///
/// ```
/// use mpp_client::policy::Policy;
/// use mpp_core::Amount;
///
/// // At most one dollar per channel, at most one cent per unit.
/// let policy = Policy::new(Amount::from_decimal("1", 6)?)
///     .max_unit_price(Amount::from_decimal("0.01", 6)?);
/// # let _ = policy;
/// # Ok::<(), mpp_core::AmountError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    max_deposit: Amount,
    chains: Vec<u64>,
    currencies: Vec<Address>,
    recipients: Option<Vec<Address>>,
    escrows: Vec<(SessionProtocol, Address)>,
    max_unit_price: Option<Amount>,
    max_voucher_step: Option<Amount>,
    max_per_stream: Option<Amount>,
    max_locked_per_origin: Option<Amount>,
    max_unaccounted: Amount,
    max_fee_per_gas: u128,
    authorize_ahead: u64,
    top_up: TopUpPolicy,
    plain_http_hosts: Vec<String>,
}

/// Whether a channel that runs dry is refilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopUpPolicy {
    /// Refill without asking, never beyond the policy's `max_deposit`.
    Auto {
        /// How much to add each time, in base units; more if less would not do. `None` adds as
        /// much as the channel was opened with.
        amount: Option<Amount>,
    },
    /// Stop with an error that names the shortage.
    Never,
}

impl Policy {
    /// A policy that deposits at most `max_deposit` base units in one channel, top-ups included.
    #[must_use]
    pub const fn new(max_deposit: Amount) -> Self {
        Self {
            max_deposit,
            chains: Vec::new(),
            currencies: Vec::new(),
            recipients: None,
            escrows: Vec::new(),
            max_unit_price: None,
            max_voucher_step: None,
            max_per_stream: None,
            max_locked_per_origin: None,
            max_unaccounted: Amount::ZERO,
            max_fee_per_gas: DEFAULT_MAX_FEE_PER_GAS,
            authorize_ahead: 0,
            top_up: TopUpPolicy::Auto { amount: None },
            plain_http_hosts: Vec::new(),
        }
    }

    /// Allows a chain. Without any, only the chain of the configured client is allowed.
    #[must_use]
    pub fn allow_chain(mut self, chain_id: u64) -> Self {
        self.chains.push(chain_id);
        self
    }

    /// Allows a token. Without any, the default currency of the network is allowed, and pathUSD
    /// on test networks.
    #[must_use]
    pub fn allow_currency(mut self, token: Address) -> Self {
        self.currencies.push(token);
        self
    }

    /// Allows a payee. Without any, every payee is allowed, but an origin that was paid once can
    /// not name another one later.
    #[must_use]
    pub fn allow_recipient(mut self, payee: Address) -> Self {
        self.recipients.get_or_insert_default().push(payee);
        self
    }

    /// Allows an escrow beside the canonical ones of the network.
    #[must_use]
    pub fn allow_escrow(mut self, protocol: SessionProtocol, escrow: Address) -> Self {
        self.escrows.push((protocol, escrow));
        self
    }

    /// Bounds the price of one unit, in base units.
    #[must_use]
    pub const fn max_unit_price(mut self, price: Amount) -> Self {
        self.max_unit_price = Some(price);
        self
    }

    /// Bounds how much one voucher may exceed the one before; default 1,000 unit prices.
    #[must_use]
    pub const fn max_voucher_step(mut self, step: Amount) -> Self {
        self.max_voucher_step = Some(step);
        self
    }

    /// Bounds what one stream may cost; default `max_deposit`.
    #[must_use]
    pub const fn max_per_stream(mut self, amount: Amount) -> Self {
        self.max_per_stream = Some(amount);
        self
    }

    /// Bounds the deposits that lie in channels of one origin, lost ones included; default four
    /// times `max_deposit`. A server that forgets channel after channel is stopped by this.
    #[must_use]
    pub const fn max_locked_per_origin(mut self, amount: Amount) -> Self {
        self.max_locked_per_origin = Some(amount);
        self
    }

    /// What a server may claim in total beyond what the client ordered on a channel; default zero.
    #[must_use]
    pub const fn max_unaccounted(mut self, amount: Amount) -> Self {
        self.max_unaccounted = amount;
        self
    }

    /// Bounds the price of gas of own transactions, in attodollars; default 100 gwei.
    #[must_use]
    pub const fn max_fee_per_gas(mut self, fee: u128) -> Self {
        self.max_fee_per_gas = fee;
        self
    }

    /// Authorizes this many units ahead of need, which saves vouchers; default zero.
    #[must_use]
    pub const fn authorize_ahead(mut self, units: u64) -> Self {
        self.authorize_ahead = units;
        self
    }

    /// Says whether channels are refilled; default yes, by what they were opened with.
    #[must_use]
    pub const fn top_up(mut self, top_up: TopUpPolicy) -> Self {
        self.top_up = top_up;
        self
    }

    /// Allows credentials over plain HTTP to a host beside loopback. Whoever can read the
    /// connection can then use the credentials.
    #[must_use]
    pub fn allow_plain_http_host(mut self, host: impl Into<String>) -> Self {
        self.plain_http_hosts.push(host.into());
        self
    }
}

impl Policy {
    /// The largest total deposit of one channel, in base units.
    #[must_use]
    pub const fn deposit_limit(&self) -> Amount {
        self.max_deposit
    }

    pub(crate) const fn unaccounted_limit(&self) -> Amount {
        self.max_unaccounted
    }

    pub(crate) fn stream_limit(&self) -> Amount {
        self.max_per_stream.unwrap_or(self.max_deposit)
    }

    /// What to authorize beyond the need, in base units.
    pub(crate) fn ahead(&self, price: Amount) -> Amount {
        price
            .checked_mul(self.authorize_ahead)
            .unwrap_or(self.max_deposit)
    }

    /// Adds the chain of the configured chain client, unless chains are listed.
    pub(crate) fn or_chain(mut self, chain_id: u64) -> Self {
        if self.chains.is_empty() {
            self.chains.push(chain_id);
        }
        self
    }

    /// Whether a credential may go there at all.
    pub(crate) fn check_transport(&self, origin: &Origin) -> Result<(), PolicyViolation> {
        let named = || {
            self.plain_http_hosts
                .iter()
                .any(|host| host == origin.host())
        };
        if origin.is_https() || origin.is_loopback() || named() {
            Ok(())
        } else {
            Err(PolicyViolation::InsecureTransport)
        }
    }

    /// Checks everything that a challenge asks for.
    ///
    /// `pinned` is the payee that the origin was paid to before.
    pub(crate) fn check_offer(
        &self,
        origin: &Origin,
        offer: &Offer,
        pinned: Option<Address>,
    ) -> Result<(), PolicyViolation> {
        self.check_transport(origin)?;
        let chain_id = offer.chain_id();
        if !self.chains.contains(&chain_id) {
            return Err(PolicyViolation::ChainNotAllowed { chain_id });
        }
        if !self.allows_currency(chain_id, offer.currency()) {
            return Err(PolicyViolation::CurrencyNotAllowed {
                currency: offer.currency(),
            });
        }
        self.check_recipient(offer.recipient(), pinned)?;
        let escrow = offer.escrow();
        if !self.allows_escrow(chain_id, offer.protocol(), escrow) {
            return Err(PolicyViolation::EscrowNotAllowed { escrow });
        }
        match self.max_unit_price {
            Some(limit) if offer.price() > limit => Err(PolicyViolation::PriceTooHigh {
                price: offer.price(),
                limit,
            }),
            _ => Ok(()),
        }
    }

    /// The deposit of a new channel (PROTOCOL 5.8).
    pub(crate) fn deposit(&self, offer: &Offer) -> Result<Amount, PolicyViolation> {
        let price = offer.price();
        let wanted = offer.suggested_deposit().unwrap_or(price).max(price);
        let deposit = wanted
            .min(self.max_deposit)
            .min(offer.protocol().max_amount());
        if deposit < price {
            return Err(PolicyViolation::DepositTooLarge {
                required: price,
                limit: self.max_deposit,
            });
        }
        Ok(deposit)
    }

    /// How much to add to a channel that needs `required` in total.
    ///
    /// `None` when the policy never refills.
    pub(crate) fn refill(
        &self,
        deposit: Amount,
        opened_with: Amount,
        required: Amount,
    ) -> Result<Option<Amount>, PolicyViolation> {
        let TopUpPolicy::Auto { amount } = self.top_up else {
            return Ok(None);
        };
        let missing = required.saturating_sub(deposit);
        let room = self.max_deposit.saturating_sub(deposit);
        if missing > room {
            return Err(PolicyViolation::DepositTooLarge {
                required,
                limit: self.max_deposit,
            });
        }
        let wanted = amount.unwrap_or(opened_with).max(missing);
        Ok(Some(wanted.min(room)))
    }

    /// Checks the total deposit that a deliberate top-up leads to.
    pub(crate) fn check_deposit(
        &self,
        total: Amount,
        protocol: SessionProtocol,
    ) -> Result<(), PolicyViolation> {
        let limit = self.max_deposit.min(protocol.max_amount());
        if total > limit {
            return Err(PolicyViolation::DepositTooLarge {
                required: total,
                limit,
            });
        }
        Ok(())
    }

    /// Checks how far a voucher rises above the one before.
    pub(crate) fn check_step(
        &self,
        price: Amount,
        signed: Amount,
        cumulative: Amount,
    ) -> Result<(), PolicyViolation> {
        let step = cumulative.saturating_sub(signed);
        let limit = self
            .max_voucher_step
            .or_else(|| price.checked_mul(DEFAULT_STEP_UNITS))
            .unwrap_or(self.max_deposit);
        if step > limit {
            return Err(PolicyViolation::VoucherStepTooLarge { step, limit });
        }
        Ok(())
    }

    /// Checks what a stream may cost in total.
    pub(crate) fn check_stream(&self, cost: Amount) -> Result<(), PolicyViolation> {
        let limit = self.stream_limit();
        if cost > limit {
            return Err(PolicyViolation::StreamTooExpensive { cost, limit });
        }
        Ok(())
    }

    /// Checks what lies in the channels of one origin.
    pub(crate) fn check_locked(&self, locked: Amount) -> Result<(), PolicyViolation> {
        let limit = self
            .max_locked_per_origin
            .or_else(|| self.max_deposit.checked_mul(DEFAULT_LOCKED_CHANNELS))
            .unwrap_or(Amount::MAX);
        if locked > limit {
            return Err(PolicyViolation::TooMuchLocked { locked, limit });
        }
        Ok(())
    }

    /// Checks the price of gas.
    pub(crate) const fn check_fee(&self, fee_per_gas: u128) -> Result<(), PolicyViolation> {
        if fee_per_gas > self.max_fee_per_gas {
            return Err(PolicyViolation::FeeTooHigh {
                quoted: fee_per_gas,
                limit: self.max_fee_per_gas,
            });
        }
        Ok(())
    }

    fn allows_currency(&self, chain_id: u64, token: Address) -> bool {
        if !self.currencies.is_empty() {
            return self.currencies.contains(&token);
        }
        Network::by_chain_id(chain_id).is_some_and(|network| {
            let is_test = network != Network::MAINNET;
            token == network.default_currency || (is_test && token == PATH_USD)
        })
    }

    fn check_recipient(
        &self,
        recipient: Address,
        pinned: Option<Address>,
    ) -> Result<(), PolicyViolation> {
        match (&self.recipients, pinned) {
            (Some(allowed), _) if !allowed.contains(&recipient) => {
                Err(PolicyViolation::RecipientNotAllowed { recipient })
            }
            (None, Some(pinned)) if pinned != recipient => {
                Err(PolicyViolation::RecipientChanged { pinned, recipient })
            }
            _ => Ok(()),
        }
    }

    fn allows_escrow(&self, chain_id: u64, protocol: SessionProtocol, escrow: Address) -> bool {
        protocol.default_escrow(chain_id) == Some(escrow)
            || self.escrows.contains(&(protocol, escrow))
    }
}

#[cfg(test)]
mod tests;
