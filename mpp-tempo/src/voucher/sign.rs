//! Signing of vouchers and close authorizations.

use alloy_primitives::Address;
use mpp_core::Amount;

use super::{SignedVoucher, Voucher, VoucherDomain, VoucherSignature};
use crate::channel::{ChannelTerms, SessionProtocol};
use crate::signer::{Signer, SignerError};

/// Why a voucher was not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignVoucherError {
    /// The amount does not fit the integers of the protocol version.
    #[error("voucher amount exceeds the protocol's range")]
    AmountTooLarge,
    /// The signer's account is not the one whose vouchers the channel accepts.
    #[error("channel expects vouchers of {expected}, the signer is {actual}")]
    WrongSigner {
        /// The account that the channel expects.
        expected: Address,
        /// The account of the signer.
        actual: Address,
    },
    /// The signer failed.
    #[error(transparent)]
    Signer(#[from] SignerError),
}

/// Signs a voucher for `cumulative` base units in total.
///
/// Apply every spending policy before: the payee can collect the amount from here on.
///
/// # Errors
/// [`SignVoucherError`], before anything is signed.
///
/// # Cancel safety
/// Dropping the future leaves nothing behind; a remote signer may still have signed.
pub async fn sign_voucher(
    signer: &impl Signer,
    terms: &ChannelTerms,
    cumulative: Amount,
) -> Result<SignedVoucher, SignVoucherError> {
    check(signer, terms, cumulative, terms.protocol)?;
    let domain = VoucherDomain::new(terms);
    let signature = signer.sign_digest(&domain.digest(cumulative)).await?;
    let voucher = Voucher {
        channel_id: domain.channel_id(),
        cumulative,
    };
    Ok(SignedVoucher {
        voucher,
        signature: signature.into(),
    })
}

/// Signs the authorization to close at `cumulative` that recent peers require (PROTOCOL 5.2).
///
/// # Errors
/// [`SignVoucherError`]; the type holds 96 bits in both protocol versions.
///
/// # Cancel safety
/// As [`sign_voucher`].
pub async fn sign_close_authorization(
    signer: &impl Signer,
    terms: &ChannelTerms,
    cumulative: Amount,
) -> Result<VoucherSignature, SignVoucherError> {
    check(signer, terms, cumulative, SessionProtocol::V2)?;
    let digest = VoucherDomain::new(terms).close_digest(cumulative);
    Ok(signer.sign_digest(&digest).await?.into())
}

fn check(
    signer: &impl Signer,
    terms: &ChannelTerms,
    cumulative: Amount,
    width: SessionProtocol,
) -> Result<(), SignVoucherError> {
    if cumulative > width.max_amount() {
        return Err(SignVoucherError::AmountTooLarge);
    }
    let (expected, actual) = (terms.signer(), signer.address());
    if expected != actual {
        return Err(SignVoucherError::WrongSigner { expected, actual });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;
    use crate::signer::LocalSigner;
    use crate::testing::{field, golden, terms_signed_by};
    use crate::voucher::VoucherVerifier;

    fn signer() -> LocalSigner {
        LocalSigner::from_bytes(&[7; 32]).unwrap()
    }

    // PROTOCOL 5.3: signatures of both versions, 65 bytes with v 27 or 28.
    #[test]
    fn signatures_equal_the_golden_values() {
        for case in golden()["voucher"].as_array().unwrap() {
            let signer = LocalSigner::from_hex(case["privateKey"].as_str().unwrap()).unwrap();
            let domain = super::super::domain::tests::golden_domain(case);
            let digest: B256 = domain.digest(field(case, "cumulativeAmount"));
            let signature = VoucherSignature::from(signer.sign_digest_sync(&digest));
            assert_eq!(signature.to_hex(), case["signature"].as_str().unwrap());
        }
    }

    #[tokio::test]
    async fn what_is_signed_verifies() {
        for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
            let terms = terms_signed_by(protocol, signer().address());
            let amount = Amount::new(1000);
            let verifier = VoucherVerifier::new(&terms);
            let signed = sign_voucher(&signer(), &terms, amount).await.unwrap();
            assert_eq!(verifier.verify(&signed).unwrap().cumulative(), amount);
            let close = sign_close_authorization(&signer(), &terms, amount)
                .await
                .unwrap();
            verifier.verify_close_authorization(amount, &close).unwrap();
        }
    }

    // Case A32: v2 amounts are uint96.
    #[tokio::test]
    async fn amounts_beyond_the_protocol_are_not_signed() {
        let too_much = Amount::new(1 << 96);
        let v2 = terms_signed_by(SessionProtocol::V2, signer().address());
        let v1 = terms_signed_by(SessionProtocol::V1, signer().address());
        let refused = Err(SignVoucherError::AmountTooLarge);
        assert_eq!(sign_voucher(&signer(), &v2, too_much).await, refused);
        assert!(sign_voucher(&signer(), &v1, too_much).await.is_ok());
        let close = sign_close_authorization(&signer(), &v1, too_much).await;
        assert_eq!(close, Err(SignVoucherError::AmountTooLarge));
    }

    #[tokio::test]
    async fn a_signer_of_another_account_does_not_sign() {
        let other = Address::repeat_byte(9);
        let terms = terms_signed_by(SessionProtocol::V2, other);
        let expected = SignVoucherError::WrongSigner {
            expected: other,
            actual: signer().address(),
        };
        assert_eq!(
            sign_voucher(&signer(), &terms, Amount::new(1)).await,
            Err(expected)
        );
    }
}
