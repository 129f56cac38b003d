//! Whether the fee payer can go on paying.

use alloy_primitives::Address;
use mpp_core::Amount;
use mpp_tempo::{chain::ChainClient, tx::FeePayer};

use super::Sponsor;
use crate::{error::Fault, store::ChannelStore};

/// What is known of a fee payer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SponsorHealth {
    /// Its account; a remote one may not be known.
    pub account: Option<Address>,
    /// What it holds of the network's default currency, in base units.
    pub balance: Option<Amount>,
    /// Below this it counts as low.
    pub low_balance: Amount,
}

impl SponsorHealth {
    /// Whether it is about to run dry.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.balance
            .is_some_and(|balance| balance < self.low_balance)
    }
}

impl<S: ChannelStore> Sponsor<S> {
    /// Reads the fee payer's balance.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(crate) async fn health(&self) -> Result<SponsorHealth, Fault> {
        let account = self.fee_payer.address();
        let balance = match account {
            Some(account) => Some(
                self.parts
                    .chain
                    .token_balance(self.parts.fee_token, account)
                    .await?,
            ),
            None => None,
        };
        Ok(SponsorHealth {
            account,
            balance,
            low_balance: self.low_balance,
        })
    }
}
