//! A signer whose type is erased, so that configuration can hold any.

use core::fmt;
use core::future::Future;
use core::pin::Pin;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloy_primitives::{Address, B256};

use super::{Signature65, Signer, SignerError};

type SignFuture<'a> = Pin<Box<dyn Future<Output = Result<Signature65, SignerError>> + Send + 'a>>;

/// Any [`Signer`] behind an `Arc`: one boxed future per signature, cheap to clone.
#[derive(Clone)]
pub struct DynSigner(Arc<dyn Erased>);

impl DynSigner {
    /// Erases the type of `signer`.
    #[must_use]
    pub fn new(signer: impl Signer + 'static) -> Self {
        Self(Arc::new(signer))
    }
}

impl Signer for DynSigner {
    fn address(&self) -> Address {
        self.0.account()
    }

    async fn sign_digest(&self, digest: &B256) -> Result<Signature65, SignerError> {
        self.0.sign_boxed(digest).await
    }
}

impl fmt::Debug for DynSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynSigner")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

/// The dyn-compatible shape of [`Signer`].
trait Erased: Send + Sync {
    fn account(&self) -> Address;
    fn sign_boxed<'a>(&'a self, digest: &'a B256) -> SignFuture<'a>;
}

impl<S: Signer> Erased for S {
    fn account(&self) -> Address {
        self.address()
    }

    fn sign_boxed<'a>(&'a self, digest: &'a B256) -> SignFuture<'a> {
        Box::pin(self.sign_digest(digest))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::signer::LocalSigner;

    #[tokio::test]
    async fn the_erased_signer_signs_like_the_original() {
        let local = LocalSigner::from_bytes(&[7; 32]).unwrap();
        let erased = DynSigner::new(local.clone());
        let digest = B256::repeat_byte(1);
        assert_eq!(erased.address(), local.address());
        assert_eq!(
            erased.sign_digest(&digest).await,
            Ok(local.sign_digest_sync(&digest))
        );
    }

    // Case A20: secrets never appear in Debug.
    #[test]
    fn debug_shows_only_the_address() {
        let local = LocalSigner::from_bytes(&[7; 32]).unwrap();
        let text = format!("{:?}", DynSigner::new(local.clone()));
        assert!(text.contains(&format!("{:?}", local.address())));
        assert!(!text.contains("0707"));
    }
}
