//! Revert data, ABI-encoded as the real contracts encode it.

use alloy_primitives::{Bytes, FixedBytes};
use alloy_sol_types::SolError;
use tempo_contracts::precompiles::UnknownFunctionSelector;

/// The bytes a call returned when it reverted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revert(pub(crate) Bytes);

impl Revert {
    /// A typed Solidity error.
    pub(crate) fn error(error: impl SolError) -> Self {
        Self(error.abi_encode().into())
    }

    /// `Error(string)`.
    pub(crate) fn message(text: &str) -> Self {
        Self(alloy_sol_types::Revert::from(text).abi_encode().into())
    }

    /// What precompiles answer when they do not know the function.
    pub(crate) fn unknown_selector(input: &[u8]) -> Self {
        let selector = input.first_chunk::<4>().copied().unwrap_or_default();
        Self::error(UnknownFunctionSelector {
            selector: FixedBytes(selector),
        })
    }

    /// A revert without data: malformed arguments, value sent to a precompile.
    pub(crate) fn empty() -> Self {
        Self(Bytes::new())
    }
}

/// What a call returns.
pub(crate) type Outcome<T = Bytes> = Result<T, Revert>;
