//! The questions that are asked before a signature.

use alloy_primitives::Address;
use mpp_core::Amount;
use mpp_tempo::SessionProtocol;
use mpp_tempo::network::{Network, PATH_USD};

use super::{Policy, PolicyViolation, ResumePolicy, TopUpPolicy};
use crate::offer::Offer;
use crate::origin::Origin;

/// Unit prices that one voucher may rise by, unless the policy says otherwise.
const DEFAULT_STEP_UNITS: u64 = 1_000;
/// Largest deposits that may be locked at one origin, unless the policy says otherwise.
const DEFAULT_LOCKED_CHANNELS: u64 = 4;

impl Policy {
    /// The largest total deposit of one channel, in base units.
    #[must_use]
    pub const fn deposit_limit(&self) -> Amount {
        self.max_deposit
    }

    pub(crate) const fn resumes(&self) -> ResumePolicy {
        self.resume
    }

    pub(crate) const fn request_limit(&self) -> Amount {
        self.max_per_request
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
                .any(|host| Some(host.as_str()) == origin.host())
        };
        if origin.is_private() || named() {
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
        self.check_chain(chain_id)?;
        self.check_currency(chain_id, offer.currency())?;
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

    pub(super) fn check_chain(&self, chain_id: u64) -> Result<(), PolicyViolation> {
        match self.chains.contains(&chain_id) {
            true => Ok(()),
            false => Err(PolicyViolation::ChainNotAllowed { chain_id }),
        }
    }

    pub(super) fn check_currency(
        &self,
        chain_id: u64,
        currency: Address,
    ) -> Result<(), PolicyViolation> {
        match self.allows_currency(chain_id, currency) {
            true => Ok(()),
            false => Err(PolicyViolation::CurrencyNotAllowed { currency }),
        }
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

    /// Checks who is paid, the payee first and then those who get splits, beside those whom the
    /// first payment to the origin named.
    ///
    /// Draft-tempo-charge-00: all split recipients are expected. Those of the first payment are
    /// trusted with it, as its payee is; afterwards nobody is added without the owner's word.
    pub(crate) fn check_payees(
        &self,
        payees: &[Address],
        pinned: &[Address],
    ) -> Result<(), PolicyViolation> {
        for (n, recipient) in payees.iter().copied().enumerate() {
            if n == 0 {
                self.check_recipient(recipient, pinned.first().copied())?;
                continue;
            }
            self.check_recipient(recipient, None)?;
            let is_expected = pinned.is_empty() || pinned.contains(&recipient);
            if self.recipients.is_none() && !is_expected {
                return Err(PolicyViolation::SplitNotExpected { recipient });
            }
        }
        Ok(())
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
