//! The price of a route in charges, and how it is configured.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use mpp_core::Amount;
use mpp_tempo::{
    Network,
    charge::Transfers,
    network::TIP20_DECIMALS,
    wire::{ChargeDetails, ChargeMode, ChargeRequest, Split},
};

use super::{ChargeEngine, ChargeMethod};
use crate::{
    error::Misuse,
    gate::{
        Offer,
        terms::{Fees, encoded, exact},
    },
};

/// Builds the charge offer of a route.
///
/// Amounts are human decimal text ("0.01") and convert exactly or not at all.
/// A charge of "0" costs nothing and asks the client to prove its identity.
#[derive(Clone, Debug)]
#[must_use = "an offer does nothing until it is built and put on a route"]
pub struct ChargeOffer {
    engine: Arc<dyn ChargeEngine>,
    network: Network,
    amount: Option<String>,
    decimals: u8,
    currency: Address,
    recipient: Address,
    description: Option<String>,
    external_id: Option<String>,
    splits: Vec<NewSplit>,
    memo: Option<B256>,
    modes: Option<Vec<ChargeMode>>,
    fees: Fees,
}

#[derive(Clone, Debug)]
struct NewSplit {
    recipient: Address,
    amount: String,
    memo: Option<B256>,
}

impl ChargeOffer {
    pub(crate) fn new(engine: Arc<dyn ChargeEngine>, network: Network, account: Address) -> Self {
        Self {
            engine,
            network,
            amount: None,
            decimals: TIP20_DECIMALS,
            currency: network.default_currency,
            recipient: account,
            description: None,
            external_id: None,
            splits: Vec::new(),
            memo: None,
            modes: None,
            fees: Fees::Payer,
        }
    }

    /// The price, such as `"0.01"`, splits included. Required.
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

    /// Who gets what the splits leave. Default: the server's account.
    pub fn recipient(mut self, recipient: Address) -> Self {
        self.recipient = recipient;
        self
    }

    /// Text for a person.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// A reference of your own, which receipts repeat.
    pub fn external_id(mut self, id: impl Into<String>) -> Self {
        self.external_id = Some(id.into());
        self
    }

    /// Sends a part of the amount, such as `"0.002"`, to somebody else. Up to
    /// ten parts, in sum below the amount.
    pub fn split(mut self, recipient: Address, amount: impl Into<String>) -> Self {
        self.splits.push(NewSplit {
            recipient,
            amount: amount.into(),
            memo: None,
        });
        self
    }

    /// As [`split`](Self::split), with the memo that the transfer must carry.
    pub fn split_with_memo(
        mut self,
        recipient: Address,
        amount: impl Into<String>,
        memo: B256,
    ) -> Self {
        self.splits.push(NewSplit {
            recipient,
            amount: amount.into(),
            memo: Some(memo),
        });
        self
    }

    /// The memo that the primary transfer must carry, in place of the one that
    /// binds it to its challenge.
    ///
    /// Without that one nobody could tell whose payment a mined transaction
    /// is: such a charge is sent by the server only, never shown by its hash, and
    /// by no transaction that was mined before or outlives its challenge. Use a
    /// memo for one server only.
    pub fn memo(mut self, memo: B256) -> Self {
        self.memo = Some(memo);
        self
    }

    /// Which ways of paying are taken. Default: all that the offer allows.
    pub fn modes(mut self, modes: impl IntoIterator<Item = ChargeMode>) -> Self {
        self.modes = Some(modes.into_iter().collect());
        self
    }

    /// The server's fee payer pays the fees of the transaction.
    pub fn sponsored(mut self) -> Self {
        self.fees = Fees::Server;
        self
    }

    /// Checks everything and builds the offer.
    ///
    /// # Errors
    /// [`Misuse`] when an amount is missing, too precise or too large, or the
    /// parts do not fit together.
    pub fn build(self) -> Result<Offer, Misuse> {
        let text = self.amount.as_deref().ok_or(Misuse::Missing("amount"))?;
        let amount = self.amount_of("amount", text)?;
        let sponsored = self.fees.sponsored(self.engine.sponsors())?;
        let modes = self.allowed_modes()?;
        let splits = self
            .splits
            .iter()
            .map(|split| {
                Ok(Split {
                    amount: self.amount_of("split", &split.amount)?,
                    memo: split.memo,
                    recipient: split.recipient,
                })
            })
            .collect::<Result<Vec<_>, Misuse>>()?;
        let request = ChargeRequest {
            amount,
            currency: self.currency,
            recipient: self.recipient,
            description: None,
            external_id: self.external_id.clone(),
            method_details: ChargeDetails {
                chain_id: self.network.chain_id,
                fee_payer: sponsored.then_some(true),
                memo: self.memo,
                splits: (!splits.is_empty()).then_some(splits),
                supported_modes: self.stated_modes(&modes),
            },
        };
        let transfers = if amount.is_zero() {
            if !self.splits.is_empty() || self.memo.is_some() || sponsored || self.modes.is_some() {
                return Err(Misuse::Invalid(
                    "a charge of zero has no transfer: no splits, memo, modes or sponsor",
                ));
            }
            None
        } else {
            let transfers = Transfers::try_from(&request).map_err(|error| Misuse::Amount {
                parameter: "split",
                reason: error.to_string(),
            })?;
            Some(transfers)
        };
        let encoded = encoded(&request)?;
        let terms = ChargeTerms {
            request,
            transfers,
            modes,
            sponsored,
        };
        let method = ChargeMethod::new(self.engine, terms, encoded, self.description);
        Ok(Offer::new(method))
    }

    /// PROTOCOL 4: a hash on a sponsored challenge is refused, and one of a
    /// transfer with a pinned memo could be anybody's.
    fn allowed_modes(&self) -> Result<Vec<ChargeMode>, Misuse> {
        let pull_only = self.fees == Fees::Server || self.memo.is_some();
        match &self.modes {
            None if pull_only => Ok(vec![ChargeMode::Pull]),
            None => Ok(vec![ChargeMode::Pull, ChargeMode::Push]),
            Some(modes) if modes.is_empty() => Err(Misuse::Invalid("`modes` is empty")),
            Some(modes) if pull_only && modes.contains(&ChargeMode::Push) => Err(Misuse::Invalid(
                "sponsored charges and those with a `memo` are pulled only",
            )),
            Some(modes) => Ok(modes.clone()),
        }
    }

    /// What the challenge says of the modes: nothing where the client knows.
    fn stated_modes(&self, allowed: &[ChargeMode]) -> Option<Vec<ChargeMode>> {
        let stated = self.modes.is_some() || self.memo.is_some();
        stated.then(|| allowed.to_vec())
    }

    fn amount_of(&self, parameter: &'static str, text: &str) -> Result<Amount, Misuse> {
        exact(parameter, text, self.decimals)
    }
}

/// What a credential is checked against: the terms of one offer.
#[derive(Clone, Debug)]
pub(crate) struct ChargeTerms {
    pub(super) request: ChargeRequest,
    /// What is to be transferred; `None`: only an identity is to be proven.
    pub(super) transfers: Option<Transfers>,
    pub(super) modes: Vec<ChargeMode>,
    pub(super) sponsored: bool,
}

#[cfg(test)]
mod tests;
