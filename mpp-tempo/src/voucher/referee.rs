//! A second opinion on a voucher before money moves on chain.

use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};

use super::{SignedVoucher, VoucherError, VoucherSignature};
use crate::channel::{ChannelTerms, SessionProtocol};
use crate::escrow::voucher_digest;
use crate::signer::account_of;

/// Judges a voucher by other code than [`VoucherVerifier`](super::VoucherVerifier).
///
/// The digest comes from the Solidity type instead of the cached domain separator, and the signer
/// from `k256` instead of this crate's own curve code, so one mistake can not hide in both.
/// Meant for the moment before a settlement or close: it is an order of magnitude slower than
/// the verifier. Passkey signatures are judged by `p256`, as there.
///
/// # Errors
/// The [`VoucherError`] for which the escrow would not pay the voucher.
///
/// # Examples
///
/// ```
/// use mpp_core::Amount;
/// use mpp_tempo::voucher::{VoucherVerifier, second_opinion};
/// use mpp_tempo::{ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, Signer as _};
/// use mpp_tempo::{SignedVoucher, Voucher};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let payer = LocalSigner::from_bytes(&[1; 32])?;
/// let terms = ChannelTerms {
///     protocol: SessionProtocol::V2,
///     chain_id: 42431,
///     escrow: mpp_tempo::network::CHANNEL_RESERVE,
///     descriptor: ChannelDescriptor { payer: payer.address(), ..Default::default() },
/// };
/// let (channel_id, cumulative) = (terms.id(), Amount::new(1_000));
/// let digest = VoucherVerifier::new(&terms).digest(cumulative);
/// let mut signed = SignedVoucher {
///     voucher: Voucher { channel_id, cumulative },
///     signature: payer.sign_digest_sync(&digest).into(),
/// };
/// assert_eq!(second_opinion(&terms, &signed), Ok(()));
/// signed.voucher.cumulative = Amount::new(2_000);
/// assert!(second_opinion(&terms, &signed).is_err());
/// # Ok(())
/// # }
/// ```
pub fn second_opinion(terms: &ChannelTerms, signed: &SignedVoucher) -> Result<(), VoucherError> {
    if signed.voucher.channel_id != terms.id() {
        return Err(VoucherError::WrongChannel);
    }
    let digest = voucher_digest(terms, &signed.voucher)?;
    let recovered = match (&signed.signature, terms.protocol) {
        (VoucherSignature::Secp256k1(signature), _) => {
            let bytes = signature.to_bytes();
            ecrecover(&digest.0, &bytes).ok_or(VoucherError::InvalidSignature)?
        }
        // The v1 contract recovers secp256k1 only.
        (_, SessionProtocol::V1) => return Err(VoucherError::InvalidSignature),
        (passkey, SessionProtocol::V2) => passkey
            .recover(&digest)
            .map_err(|_| VoucherError::InvalidSignature)?,
    };
    let expected = terms.signer();
    if recovered == expected {
        Ok(())
    } else {
        Err(VoucherError::SignerMismatch {
            expected,
            recovered,
        })
    }
}

/// The account that made `r || s || v`, with every rule of the chain checked here again.
fn ecrecover(digest: &[u8; 32], bytes: &[u8; 65]) -> Option<alloy_primitives::Address> {
    let (rs, v) = bytes.split_at(64);
    let y_is_odd = match v {
        [27] => false,
        [28] => true,
        _ => return None,
    };
    let signature = Signature::from_slice(rs).ok()?;
    if signature.normalize_s() != signature {
        return None;
    }
    let id = RecoveryId::new(y_is_odd, false);
    let key = VerifyingKey::recover_from_prehash(digest, &signature, id).ok()?;
    Some(account_of(&key))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use mpp_core::Amount;
    use proptest::prelude::*;

    use super::*;
    use crate::signer::Signer;
    use crate::testing::{payer, terms_signed_by};
    use crate::voucher::{Voucher, VoucherVerifier};

    fn signed(terms: &ChannelTerms, cumulative: u128) -> SignedVoucher {
        let cumulative = Amount::new(cumulative);
        let digest = VoucherVerifier::new(terms).digest(cumulative);
        SignedVoucher {
            voucher: Voucher {
                channel_id: terms.id(),
                cumulative,
            },
            signature: payer().sign_digest_sync(&digest).into(),
        }
    }

    fn both_opinions(
        terms: &ChannelTerms,
        voucher: &SignedVoucher,
    ) -> [Result<(), VoucherError>; 2] {
        let verifier = VoucherVerifier::new(terms);
        [
            verifier.verify(voucher).map(drop),
            second_opinion(terms, voucher),
        ]
    }

    // The digest by hand and the digest by type are one digest.
    #[test]
    fn it_agrees_with_the_verifier_on_the_largest_amounts() {
        for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
            let terms = terms_signed_by(protocol, payer().address());
            for amount in [0, 1, protocol.max_amount().base_units()] {
                let opinions = both_opinions(&terms, &signed(&terms, amount));
                assert_eq!(opinions, [Ok(()), Ok(())], "{protocol:?} {amount}");
            }
        }
        let terms = terms_signed_by(SessionProtocol::V2, payer().address());
        let too_large = signed(&terms, 1 << 96);
        let opinions = both_opinions(&terms, &too_large);
        assert_eq!(opinions, [Err(VoucherError::AmountTooLarge); 2]);
    }

    #[test]
    fn another_channel_is_not_judged() {
        let terms = terms_signed_by(SessionProtocol::V2, payer().address());
        let mut voucher = signed(&terms, 5);
        voucher.voucher.channel_id = crate::channel::ChannelId::repeat_byte(1);
        let opinions = both_opinions(&terms, &voucher);
        assert_eq!(opinions, [Err(VoucherError::WrongChannel); 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        // Whatever was altered, both say the same, and nothing altered passes.
        #[test]
        fn it_agrees_with_the_verifier_on_altered_vouchers(
            v1: bool,
            amount in 0..1_000_u128,
            claimed in 0..1_000_u128,
            flips in prop::collection::vec((0..65_usize, 0..8_u8), 0..3),
        ) {
            let protocol = if v1 { SessionProtocol::V1 } else { SessionProtocol::V2 };
            let terms = terms_signed_by(protocol, payer().address());
            let mut voucher = signed(&terms, amount);
            let mut bytes: Vec<u8> = voucher.signature.to_bytes();
            for (index, bit) in flips {
                bytes[index] ^= 1 << bit;
            }
            let untouched = bytes == voucher.signature.to_bytes() && amount == claimed;
            voucher.voucher.cumulative = Amount::new(claimed);
            let Ok(signature) = VoucherSignature::parse(&bytes) else {
                return Ok(());
            };
            voucher.signature = signature;
            let [first, second] = both_opinions(&terms, &voucher);
            prop_assert_eq!(first, second);
            prop_assert_eq!(second.is_ok(), untouched);
        }
    }
}
