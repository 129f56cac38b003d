//! Token amounts: exact, unsigned, in base units.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest decimal text of a `u128`.
const MAX_DIGITS: usize = 39;

/// An amount of a token in base units.
///
/// Text and JSON form are plain decimal digits ("1000"), JSON always as a
/// string: numbers are refused, because other languages read them as floats
/// (PROTOCOL.md section 2). There is no rounding anywhere.
///
/// # Examples
///
/// ```
/// use mpp_core::{Amount, AmountError};
///
/// let price = Amount::from_decimal("0.000025", 6)?;
/// assert_eq!(price, Amount::new(25));
/// assert_eq!(price.to_decimal(6), "0.000025");
///
/// // One base unit is the smallest price there is: less is an error, not zero.
/// assert_eq!(
///     Amount::from_decimal("0.0000004", 6),
///     Err(AmountError::TooPrecise { decimals: 6 }),
/// );
/// # Ok::<(), AmountError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount this type holds; protocol versions have lower bounds.
    pub const MAX: Self = Self(u128::MAX);

    /// An amount of `base_units`.
    #[must_use]
    pub const fn new(base_units: u128) -> Self {
        Self(base_units)
    }

    /// The number of base units.
    #[must_use]
    pub const fn base_units(self) -> u128 {
        self.0
    }

    /// Whether this is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or `None` when it does not fit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference, or `None` when it would be negative.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The product with a count, or `None` when it does not fit.
    #[must_use]
    pub fn checked_mul(self, count: u64) -> Option<Self> {
        self.0.checked_mul(u128::from(count)).map(Self)
    }

    /// The difference, or zero when it would be negative.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Reads a human price such as "0.001" in units of 10^-`decimals`.
    ///
    /// The grammar is digits, optionally a point and more digits: no sign, no
    /// exponent, no blanks, no superfluous leading zeros.
    ///
    /// # Errors
    /// [`AmountError::TooPrecise`] when the price has a part smaller than one
    /// base unit, [`AmountError::TooLarge`] when it does not fit, and the
    /// grammar errors otherwise.
    pub fn from_decimal(human: &str, decimals: u8) -> Result<Self, AmountError> {
        let (whole, fraction) = match human.split_once('.') {
            Some((_, "")) => return Err(AmountError::InvalidDigit),
            Some(parts) => parts,
            None => (human, ""),
        };
        check_whole(whole)?;
        let mut units = 0_u128;
        for digit in whole.bytes() {
            units = push_digit(units, digit)?;
        }
        let mut missing = decimals;
        for digit in fraction.bytes() {
            match missing.checked_sub(1) {
                Some(left) => {
                    units = push_digit(units, digit)?;
                    missing = left;
                }
                None if digit == b'0' => {}
                None if digit.is_ascii_digit() => {
                    return Err(AmountError::TooPrecise { decimals });
                }
                None => return Err(AmountError::InvalidDigit),
            }
        }
        for _ in 0..missing {
            units = push_digit(units, b'0')?;
        }
        Ok(Self(units))
    }

    /// The exact human form in units of 10^-`decimals`, trailing zeros trimmed.
    #[must_use]
    pub fn to_decimal(self, decimals: u8) -> String {
        let width = usize::from(decimals).saturating_add(1);
        let padded = alloc::format!("{:0>width$}", self.0);
        let point = padded.len().saturating_sub(usize::from(decimals));
        let Some((whole, fraction)) = padded.split_at_checked(point) else {
            return padded;
        };
        match fraction.trim_end_matches('0') {
            "" => whole.to_string(),
            fraction => alloc::format!("{whole}.{fraction}"),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Amount {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_whole(text)?;
        text.bytes().try_fold(0_u128, push_digit).map(Self)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string of decimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Why a text is not an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// There is no digit before the point.
    #[error("amount is empty")]
    Empty,
    /// Something other than an ASCII digit stands where a digit must.
    #[error("amount has something other than decimal digits")]
    InvalidDigit,
    /// A superfluous zero leads the number.
    #[error("amount has leading zeros")]
    LeadingZero,
    /// The amount does not fit.
    #[error("amount is too large")]
    TooLarge,
    /// The price has a part smaller than one base unit.
    #[error("amount has more than {decimals} decimal places")]
    TooPrecise {
        /// How many places the token has.
        decimals: u8,
    },
}

fn check_whole(text: &str) -> Result<(), AmountError> {
    if text.is_empty() {
        return Err(AmountError::Empty);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AmountError::InvalidDigit);
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(AmountError::LeadingZero);
    }
    if text.len() > MAX_DIGITS {
        return Err(AmountError::TooLarge);
    }
    Ok(())
}

fn push_digit(units: u128, digit: u8) -> Result<u128, AmountError> {
    let value = match digit {
        b'0'..=b'9' => u128::from(digit.wrapping_sub(b'0')),
        _ => return Err(AmountError::InvalidDigit),
    };
    units
        .checked_mul(10)
        .and_then(|units| units.checked_add(value))
        .ok_or(AmountError::TooLarge)
}

#[cfg(test)]
mod tests;
