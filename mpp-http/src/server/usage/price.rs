//! Prices of tokens: whole base units, or refused.

use mpp_core::{Amount, AmountError};

use super::Usage;

/// What tokens cost, in base units each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenPrices {
    input: Amount,
    output: Amount,
}

/// A price that is not a whole number of base units per token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InexactPrice {
    /// The text is not an amount of this currency.
    #[error("the price is not an exact amount")]
    Amount(#[from] AmountError),
    /// One token would cost a fraction of a base unit.
    #[error("the price of one token is not a whole number of base units")]
    Fraction,
}

impl TokenPrices {
    /// So many base units for each token that goes in and comes out.
    #[must_use]
    pub fn new(input: u64, output: u64) -> Self {
        Self {
            input: Amount::new(input.into()),
            output: Amount::new(output.into()),
        }
    }

    /// Prices for a million tokens, as providers list them, such as `"3"` and
    /// `"15"`. Nothing is rounded: with 6 decimals, `"0.5"` is refused,
    /// because a token would cost half a base unit.
    ///
    /// # Errors
    /// [`InexactPrice`].
    pub fn per_million(input: &str, output: &str, decimals: u8) -> Result<Self, InexactPrice> {
        Ok(Self {
            input: for_one(input, decimals)?,
            output: for_one(output, decimals)?,
        })
    }

    /// What this usage costs; more than an amount can hold is
    /// [`Amount::MAX`], which nothing affords.
    #[must_use]
    pub fn cost(&self, usage: Usage) -> Amount {
        let input = self.input.checked_mul(usage.input);
        let output = self.output.checked_mul(usage.output);
        let sum = input.and_then(|input| input.checked_add(output?));
        sum.unwrap_or(Amount::MAX)
    }
}

fn for_one(million: &str, decimals: u8) -> Result<Amount, InexactPrice> {
    const MILLION: u128 = 1_000_000;
    let units = Amount::from_decimal(million, decimals)?.base_units();
    match (units.checked_div(MILLION), units.checked_rem(MILLION)) {
        (Some(one), Some(0)) => Ok(Amount::new(one)),
        _ => Err(InexactPrice::Fraction),
    }
}
