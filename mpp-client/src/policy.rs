//! What the owner of the money allows; asked before every signature.
//!
//! A server proposes prices, payees, escrows and amounts. None of them is followed unless it lies
//! within the [`Policy`] (SECURITY-CASES A19, A27). The only required value is the largest deposit
//! of one channel: it bounds what a server can ever take, whatever else it claims.

mod charge;
mod check;
mod intents;
mod violation;

use alloy_primitives::Address;
use mpp_core::Amount;
use mpp_tempo::SessionProtocol;
use mpp_tempo::wire::ChargeMode;

pub(crate) use self::charge::day_before;
pub use self::intents::IntentPolicy;
pub(crate) use self::intents::Ranks;
pub use self::violation::PolicyViolation;

/// Highest price of gas that is paid, in attodollars: 100 gwei.
const DEFAULT_MAX_FEE_PER_GAS: u128 = 100_000_000_000;

/// Limits of what a client pays, with safe defaults.
///
/// Amounts of different tokens are compared as they are: all of them count millionths of a dollar.
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
    max_per_request: Amount,
    max_locked_per_origin: Option<Amount>,
    max_unaccounted: Amount,
    max_fee_per_gas: u128,
    authorize_ahead: u64,
    top_up: TopUpPolicy,
    resume: ResumePolicy,
    plain_http_hosts: Vec<String>,
    intents: IntentPolicy,
    charge_by: ChargeMode,
    max_charge: Option<Amount>,
    max_charged_per_origin: Option<Amount>,
    max_charged_per_day: Option<Amount>,
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

/// Whether a server is asked for a channel that the book does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumePolicy {
    /// Ask before the first channel is opened, and open one only when the server knows of none.
    Ask,
    /// Never ask. For a key that pays from several books at once, each on channels of its own.
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
            max_per_request: Amount::ZERO,
            max_locked_per_origin: None,
            max_unaccounted: Amount::ZERO,
            max_fee_per_gas: DEFAULT_MAX_FEE_PER_GAS,
            authorize_ahead: 0,
            top_up: TopUpPolicy::Auto { amount: None },
            resume: ResumePolicy::Ask,
            plain_http_hosts: Vec::new(),
            intents: IntentPolicy::SessionFirst,
            charge_by: ChargeMode::Pull,
            max_charge: None,
            max_charged_per_origin: None,
            max_charged_per_day: None,
        }
    }

    /// Allows a chain. Without any, only the chain of the configured client is allowed. Of several,
    /// channels and charges of the payer's key are paid on that one alone.
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

    /// Allows a payee, also of splits. Without any, every payee is allowed, but an origin that was
    /// paid once can not name another one later: its charges may have splits to those only who were
    /// named by that first payment, and none if that had no splits or opened a channel.
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

    /// Lets one request cost more than the price of a unit, up to `amount`: a server that charges by
    /// use reserves the most that an answer may cost, and charges what it did. Default: the price.
    #[must_use]
    pub const fn max_per_request(mut self, amount: Amount) -> Self {
        self.max_per_request = amount;
        self
    }

    /// Bounds the deposits that lie in channels of one origin, lost ones and top-ups included;
    /// default four times `max_deposit`. A server that forgets channel after channel is stopped by
    /// this.
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

    /// Says whether a server is asked for a channel that the book may have lost; default yes.
    #[must_use]
    pub const fn resume(mut self, resume: ResumePolicy) -> Self {
        self.resume = resume;
        self
    }

    /// Says whether sessions or charges are preferred, or paid at all; default sessions.
    #[must_use]
    pub const fn intents(mut self, intents: IntentPolicy) -> Self {
        self.intents = intents;
        self
    }

    /// Says who sends the transaction of a charge where the server leaves the choice; default pull,
    /// by which the server does.
    #[must_use]
    pub const fn charge_by(mut self, mode: ChargeMode) -> Self {
        self.charge_by = mode;
        self
    }

    /// Bounds one charge, in base units; default `max_deposit`.
    #[must_use]
    pub const fn max_charge(mut self, amount: Amount) -> Self {
        self.max_charge = Some(amount);
        self
    }

    /// Bounds what one origin is paid by charges within 24 hours; default `max_deposit`.
    #[must_use]
    pub const fn max_charged_per_origin(mut self, amount: Amount) -> Self {
        self.max_charged_per_origin = Some(amount);
        self
    }

    /// Bounds what is paid by charges within 24 hours, at all origins; default four times
    /// `max_deposit`.
    #[must_use]
    pub const fn max_charged_per_day(mut self, amount: Amount) -> Self {
        self.max_charged_per_day = Some(amount);
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

#[cfg(test)]
mod tests;
