//! What offers have in common, whatever their intent.

use mpp_core::{Amount, EncodedJson};
use serde::Serialize;

use crate::error::Misuse;

/// Who pays the fees of a payer's transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fees {
    Payer,
    Server,
}

impl Fees {
    /// Whether the server pays them.
    ///
    /// # Errors
    /// [`Misuse::Missing`] when it is to and has no fee payer.
    pub(crate) fn sponsored(self, has_fee_payer: bool) -> Result<bool, Misuse> {
        match self {
            Self::Payer => Ok(false),
            Self::Server if has_fee_payer => Ok(true),
            Self::Server => Err(Misuse::Missing("fee_payer")),
        }
    }
}

/// Human decimal text in base units, exactly or not at all (PROTOCOL 2).
///
/// # Errors
/// [`Misuse::Amount`].
pub(crate) fn exact(parameter: &'static str, text: &str, decimals: u8) -> Result<Amount, Misuse> {
    Amount::from_decimal(text, decimals).map_err(|error| Misuse::Amount {
        parameter,
        reason: error.to_string(),
    })
}

/// A request in the form in which challenges carry it.
///
/// # Errors
/// [`Misuse::Invalid`] when it has none.
pub(crate) fn encoded(request: &impl Serialize) -> Result<EncodedJson, Misuse> {
    EncodedJson::from_value(request).map_err(|_| Misuse::Invalid("the offer can not be encoded"))
}
