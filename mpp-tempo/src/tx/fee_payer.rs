//! Who signs for the fees of other accounts' transactions.

use core::fmt;
use core::future::Future;
use core::pin::Pin;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloy_primitives::Address;

use super::{CosignError, SignedTx, Sponsorship, cosign};
use crate::signer::Signer;

/// Pays the fees of transactions that others have signed.
///
/// # Threat model
/// A fee payer spends its own money on whatever it is asked to sign: callers check the calls,
/// apply a [`super::SponsorPolicy`] and a budget first. What a remote one answers is not
/// trusted: [`verify_cosigned`] compares it with what was asked for.
pub trait FeePayer: Send + Sync + 'static {
    /// The account that pays, if it is known.
    fn address(&self) -> Option<Address>;

    /// The token that it pays in where `fee_token` is asked for, if it is known.
    fn pays_in(&self, fee_token: Address) -> Option<Address> {
        Some(fee_token)
    }

    /// Adds the fee payer's signature; the fees are paid in `fee_token` where the fee payer has
    /// no token of its own.
    ///
    /// # Errors
    /// [`CosignError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind; it may still have signed.
    fn cosign(
        &self,
        transaction: SignedTx,
        fee_token: Address,
    ) -> impl Future<Output = Result<SignedTx, CosignError>> + Send;
}

/// A fee payer whose key is a [`Signer`].
#[derive(Clone, Debug)]
pub struct SigningFeePayer<S>(S);

impl<S> SigningFeePayer<S> {
    /// Pays the fees from the signer's account.
    #[must_use]
    pub const fn new(signer: S) -> Self {
        Self(signer)
    }
}

impl<S: Signer + 'static> FeePayer for SigningFeePayer<S> {
    fn address(&self) -> Option<Address> {
        Some(self.0.address())
    }

    async fn cosign(
        &self,
        transaction: SignedTx,
        fee_token: Address,
    ) -> Result<SignedTx, CosignError> {
        cosign(transaction, &self.0, fee_token).await
    }
}

/// Checks that `signed` is `asked` with the signature of a fee payer, and returns who that is.
///
/// The sender's content and signature, calls included, must be the same.
///
/// # Errors
/// [`CosignError::Altered`].
pub fn verify_cosigned(
    asked: &SignedTx,
    signed: &SignedTx,
    expected: Option<Address>,
) -> Result<Address, CosignError> {
    let same = asked.sender() == signed.sender() && asked.replay_id() == signed.replay_id();
    match signed.sponsorship() {
        Sponsorship::Signed(payer) if same && expected.is_none_or(|account| account == payer) => {
            Ok(payer)
        }
        _ => Err(CosignError::Altered),
    }
}

type CosignFuture<'a> = Pin<Box<dyn Future<Output = Result<SignedTx, CosignError>> + Send + 'a>>;

/// Any [`FeePayer`] behind an `Arc`: cheap to clone.
#[derive(Clone)]
pub struct DynFeePayer(Arc<dyn Erased>);

impl DynFeePayer {
    /// Erases the type of `fee_payer`.
    #[must_use]
    pub fn new(fee_payer: impl FeePayer) -> Self {
        Self(Arc::new(fee_payer))
    }
}

impl FeePayer for DynFeePayer {
    fn address(&self) -> Option<Address> {
        self.0.account()
    }

    fn pays_in(&self, fee_token: Address) -> Option<Address> {
        self.0.token_for(fee_token)
    }

    /// As the trait says; what comes back is verified here, whoever has signed.
    async fn cosign(
        &self,
        transaction: SignedTx,
        fee_token: Address,
    ) -> Result<SignedTx, CosignError> {
        let asked = transaction.clone();
        let signed = self.0.cosign_boxed(transaction, fee_token).await?;
        verify_cosigned(&asked, &signed, self.0.account())?;
        Ok(signed)
    }
}

impl fmt::Debug for DynFeePayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynFeePayer")
            .field("address", &self.0.account())
            .finish_non_exhaustive()
    }
}

/// The dyn-compatible shape of [`FeePayer`].
trait Erased: Send + Sync {
    fn account(&self) -> Option<Address>;
    fn token_for(&self, asked: Address) -> Option<Address>;
    fn cosign_boxed(&self, transaction: SignedTx, fee_token: Address) -> CosignFuture<'_>;
}

impl<F: FeePayer> Erased for F {
    fn account(&self) -> Option<Address> {
        FeePayer::address(self)
    }

    fn token_for(&self, asked: Address) -> Option<Address> {
        self.pays_in(asked)
    }

    fn cosign_boxed(&self, transaction: SignedTx, fee_token: Address) -> CosignFuture<'_> {
        Box::pin(FeePayer::cosign(self, transaction, fee_token))
    }
}
