//! The signing side: keys that sign 32-byte digests with secp256k1.

use core::future::Future;

use alloc::string::String;
use alloy_primitives::{Address, B256};

mod dynamic;
mod local;
mod signature;

pub use dynamic::DynSigner;
pub use local::{KeyError, LocalSigner};
pub(crate) use signature::account_of;
pub use signature::{InvalidSignature, Signature65, SignatureFormatError};

/// A key that signs digests: in memory, in a KMS, in a hardware module.
///
/// # Threat model
/// Whoever can call `sign_digest` can spend everything the key owns. Callers apply their policy
/// before they call; an implementation signs what it is given and must return a signature that
/// recovers to [`Signer::address`].
pub trait Signer: Send + Sync {
    /// The account of the key.
    fn address(&self) -> Address;

    /// Signs a 32-byte digest.
    ///
    /// # Errors
    /// [`SignerError`] when the key can not be reached or refuses.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind; a remote signer may still have signed.
    fn sign_digest(
        &self,
        digest: &B256,
    ) -> impl Future<Output = Result<Signature65, SignerError>> + Send;
}

/// Why a signer did not sign. The messages never hold key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// The key can not be reached now; the same call may succeed later.
    #[error("signer is unavailable: {0}")]
    Unavailable(String),
    /// The signer refuses to sign this.
    #[error("signer refused: {0}")]
    Refused(String),
}

impl SignerError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
