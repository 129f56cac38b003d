//! What the curve is asked and what it answers.

use super::scalar::Scalar;
use super::tables::SignerTable;
use crate::signer::Signature65;

/// "This signature of this digest recovers to the key of this table."
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The digest modulo n.
    pub(super) message: Scalar,
    /// 0 < r < n, as [`Signature65`] guarantees.
    pub(super) r: Scalar,
    /// 0 < s <= n / 2, as [`Signature65`] guarantees.
    pub(super) s: Scalar,
    pub(super) y_is_odd: bool,
    pub(super) table: &'a SignerTable,
}

/// The answer to a [`Claim`], equal to `ecrecover` and a comparison of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The signature recovers to the key.
    Valid,
    /// It does not.
    Invalid,
    /// An addition was exceptional: only a complete implementation can tell.
    Undecided,
}

impl<'a> Claim<'a> {
    pub(crate) fn new(digest: &[u8; 32], signature: &Signature65, table: &'a SignerTable) -> Self {
        Self {
            message: Scalar::from_be_bytes_reduced(digest),
            r: Scalar::from_be_bytes_reduced(signature.r()),
            s: Scalar::from_be_bytes_reduced(signature.s()),
            y_is_odd: signature.y_is_odd(),
            table,
        }
    }
}
