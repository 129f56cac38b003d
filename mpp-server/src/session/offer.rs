//! The price of a route in sessions, and how it is configured.

use std::{sync::Arc, time::Duration};

use alloy_primitives::Address;
use mpp_core::Amount;
use mpp_tempo::{
    Network, SessionProtocol,
    network::TIP20_DECIMALS,
    wire::{SessionDetails, SessionRequest},
};

use super::{Engine, SessionMethod};
use crate::{
    error::Misuse,
    gate::{
        Offer,
        terms::{Fees, encoded, exact},
    },
};

/// How metered streams behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// How long a stream waits for a voucher before it ends.
    pub max_pause: Duration,
    /// Idle time after which a transport sends a sign of life.
    pub heartbeat: Duration,
}

impl Default for StreamOptions {
    /// 60 s and 15 s (PROTOCOL 5.7).
    fn default() -> Self {
        Self {
            max_pause: Duration::from_secs(60),
            heartbeat: Duration::from_secs(15),
        }
    }
}

/// Builds the session offer of a route.
///
/// Prices are human decimal text ("0.001") and convert exactly or not at all.
#[derive(Clone, Debug)]
#[must_use = "an offer does nothing until it is built and put on a route"]
pub struct SessionOffer {
    engine: Arc<dyn Engine>,
    network: Network,
    account: Address,
    sponsors: bool,
    protocol: SessionProtocol,
    amount: Option<String>,
    decimals: u8,
    currency: Address,
    recipient: Address,
    escrow_contract: Option<Address>,
    operator: Option<Address>,
    min_voucher_delta: Option<String>,
    suggested_deposit: Option<String>,
    unit_type: Option<String>,
    description: Option<String>,
    fees: Fees,
    stream: StreamOptions,
}

impl SessionOffer {
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        network: Network,
        account: Address,
        sponsors: bool,
    ) -> Self {
        Self {
            engine,
            network,
            account,
            sponsors,
            protocol: SessionProtocol::V2,
            amount: None,
            decimals: TIP20_DECIMALS,
            currency: network.default_currency,
            recipient: account,
            escrow_contract: None,
            operator: None,
            min_voucher_delta: None,
            suggested_deposit: None,
            unit_type: None,
            description: None,
            fees: Fees::Payer,
            stream: StreamOptions::default(),
        }
    }

    /// Price of one unit, such as `"0.001"`. Required; more than zero.
    pub fn amount(mut self, amount: impl Into<String>) -> Self {
        self.amount = Some(amount.into());
        self
    }

    /// The TIP-20 token to be paid in. Default: the network's.
    pub fn currency(mut self, token: Address) -> Self {
        self.currency = token;
        self
    }

    /// Decimals of the currency. Default: 6, as all TIP-20 tokens have.
    pub fn decimals(mut self, decimals: u8) -> Self {
        self.decimals = decimals;
        self
    }

    /// Who is paid. Default: the server's account. Any other recipient must
    /// name the server's account as operator, so that it can settle.
    pub fn recipient(mut self, payee: Address) -> Self {
        self.recipient = payee;
        self
    }

    /// The protocol version. Default: v2.
    pub fn protocol(mut self, protocol: SessionProtocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// The escrow contract. Default: the network's v1 escrow, or the channel
    /// reserve for v2.
    pub fn escrow_contract(mut self, escrow: Address) -> Self {
        self.escrow_contract = Some(escrow);
        self
    }

    /// Who may settle besides the payee; v2 only.
    pub fn operator(mut self, operator: Address) -> Self {
        self.operator = Some(operator);
        self
    }

    /// Smallest increase between two vouchers, such as `"0.0001"`.
    pub fn min_voucher_delta(mut self, delta: impl Into<String>) -> Self {
        self.min_voucher_delta = Some(delta.into());
        self
    }

    /// Deposit a client is advised to make, such as `"1"`.
    pub fn suggested_deposit(mut self, deposit: impl Into<String>) -> Self {
        self.suggested_deposit = Some(deposit.into());
        self
    }

    /// What a unit is, such as `"word"`.
    pub fn unit_type(mut self, unit: impl Into<String>) -> Self {
        self.unit_type = Some(unit.into());
        self
    }

    /// Text for a person.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// The server's fee payer pays the fees of opening and topping up.
    pub fn fee_payer(mut self) -> Self {
        self.fees = Fees::Server;
        self
    }

    /// How metered streams on this route behave.
    pub fn sse(mut self, options: StreamOptions) -> Self {
        self.stream = options;
        self
    }

    /// Checks everything and builds the offer.
    ///
    /// # Errors
    /// [`Misuse`] when an amount is missing, zero, too precise or too large,
    /// or the parts do not fit together.
    pub fn build(self) -> Result<Offer, Misuse> {
        let text = self.amount.as_deref().ok_or(Misuse::Missing("amount"))?;
        let price = self.amount_of("amount", text)?;
        if price.is_zero() {
            return Err(Misuse::Amount {
                parameter: "amount",
                reason: String::from("a session's price must be more than zero"),
            });
        }
        let min_delta =
            self.optional_amount("min_voucher_delta", self.min_voucher_delta.as_deref())?;
        let suggested =
            self.optional_amount("suggested_deposit", self.suggested_deposit.as_deref())?;
        if suggested.is_some_and(|deposit| deposit < price) {
            return Err(Misuse::Invalid("`suggested_deposit` is below the price"));
        }
        let sponsored = self.fees.sponsored(self.sponsors)?;
        if self.operator.is_some() && self.protocol == SessionProtocol::V1 {
            return Err(Misuse::Invalid("`operator` needs protocol v2"));
        }
        if self.recipient != self.account && self.operator != Some(self.account) {
            return Err(Misuse::Invalid(
                "the server can not settle: be the `recipient` or the `operator`",
            ));
        }
        let chain_id = self.network.chain_id;
        let escrow = self
            .escrow_contract
            .or_else(|| self.protocol.default_escrow(chain_id))
            .ok_or(Misuse::Missing("escrow_contract"))?;
        self.engine.watch(self.recipient, escrow, self.protocol);
        let request = SessionRequest {
            amount: price,
            currency: self.currency,
            recipient: self.recipient,
            unit_type: self.unit_type,
            suggested_deposit: suggested,
            description: None,
            method_details: SessionDetails {
                escrow_contract: escrow,
                chain_id,
                session_protocol: Some(self.protocol),
                channel_id: None,
                min_voucher_delta: min_delta,
                fee_payer: sponsored.then_some(true),
                operator: self.operator,
                session_snapshot: None,
            },
        };
        let encoded = encoded(&request)?;
        let terms = SessionTerms {
            price,
            protocol: self.protocol,
            chain_id,
            escrow,
            currency: self.currency,
            recipient: self.recipient,
            operator: self.operator.unwrap_or_default(),
            min_voucher_delta: min_delta.unwrap_or_default(),
            sponsored,
            stream: self.stream,
        };
        Ok(Offer::new(SessionMethod::new(
            self.engine,
            terms,
            encoded,
            self.description,
        )))
    }

    fn optional_amount(
        &self,
        parameter: &'static str,
        text: Option<&str>,
    ) -> Result<Option<Amount>, Misuse> {
        text.map(|text| self.amount_of(parameter, text)).transpose()
    }

    fn amount_of(&self, parameter: &'static str, text: &str) -> Result<Amount, Misuse> {
        let amount = exact(parameter, text, self.decimals)?;
        if amount > self.protocol.max_amount() {
            return Err(Misuse::Amount {
                parameter,
                reason: String::from("the channel contract can not hold it"),
            });
        }
        Ok(amount)
    }
}

/// What a credential is checked against: the terms of one offer.
#[derive(Clone, Debug)]
pub(crate) struct SessionTerms {
    pub(crate) price: Amount,
    pub(crate) protocol: SessionProtocol,
    pub(crate) chain_id: u64,
    pub(crate) escrow: Address,
    pub(crate) currency: Address,
    pub(crate) recipient: Address,
    /// Zero: none.
    pub(crate) operator: Address,
    pub(crate) min_voucher_delta: Amount,
    pub(crate) sponsored: bool,
    pub(crate) stream: StreamOptions,
}

#[cfg(test)]
mod tests;
