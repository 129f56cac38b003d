//! What a voucher must be to verify: signer, channel, chain, contract, version, amount, form.

use alloc::vec::Vec;

use alloy_primitives::U256;
use proptest::prelude::*;

use super::*;
use crate::signer::Signer;
use crate::testing::{payer, terms_signed_by};
use crate::voucher::Voucher;

#[path = "passkeys.rs"]
mod passkeys;

fn terms(protocol: SessionProtocol) -> ChannelTerms {
    terms_signed_by(protocol, payer().address())
}

fn signed(terms: &ChannelTerms, cumulative: u128) -> SignedVoucher {
    let domain = VoucherDomain::new(terms);
    let cumulative = Amount::new(cumulative);
    SignedVoucher {
        voucher: Voucher {
            channel_id: terms.id(),
            cumulative,
        },
        signature: payer().sign_digest_sync(&domain.digest(cumulative)).into(),
    }
}

fn verdict(terms: &ChannelTerms, voucher: &SignedVoucher) -> Result<Amount, VoucherError> {
    VoucherVerifier::new(terms)
        .verify(voucher)
        .map(|verified| verified.cumulative())
}

#[test]
fn the_signer_s_voucher_verifies_and_keeps_its_content() {
    for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
        let terms = terms(protocol);
        let voucher = signed(&terms, 1000);
        let verified = VoucherVerifier::new(&terms).verify(&voucher).unwrap();
        assert_eq!(verified.as_signed(), &voucher);
        assert_eq!(verified.voucher(), &voucher.voucher);
        assert_eq!(verified.signature(), &voucher.signature);
        assert_eq!(verified.channel_id(), terms.id());
    }
}

// Case A10: domain from the channel's terms; a voucher of another chain, contract or version
// does not verify even if it names this channel.
#[test]
fn vouchers_of_another_domain_do_not_verify() {
    let own = terms(SessionProtocol::V2);
    for foreign in [
        ChannelTerms {
            chain_id: 4217,
            ..own
        },
        ChannelTerms {
            escrow: Address::repeat_byte(1),
            ..own
        },
        ChannelTerms {
            protocol: SessionProtocol::V1,
            ..own
        },
    ] {
        let mut voucher = signed(&foreign, 1000);
        assert_eq!(verdict(&own, &voucher), Err(VoucherError::WrongChannel));
        // The channel id binds the domain too; even with our id in it the signature is foreign.
        let separator = foreign.domain_separator();
        assert_ne!(separator, own.domain_separator());
        voucher.voucher.channel_id = own.id();
        assert!(matches!(
            verdict(&own, &voucher),
            Err(VoucherError::SignerMismatch { .. })
        ));
    }
}

#[test]
fn a_voucher_of_another_channel_of_the_same_parties_does_not_verify() {
    let own = terms(SessionProtocol::V2);
    let mut other = own;
    other.descriptor.salt = B256::repeat_byte(9);
    assert_eq!(
        verdict(&own, &signed(&other, 1)),
        Err(VoucherError::WrongChannel)
    );
}

// PROTOCOL 1.3: a valid signature of another key is a signer mismatch.
#[test]
fn another_key_is_a_mismatch() {
    let own = terms(SessionProtocol::V2);
    let delegated = {
        let mut changed = own;
        changed.descriptor.authorized_signer = Address::repeat_byte(5);
        changed
    };
    let domain = VoucherDomain::new(&delegated);
    let amount = Amount::new(10);
    // The payer signs, but the channel names an authorized signer (case A11).
    let voucher = SignedVoucher {
        voucher: Voucher {
            channel_id: delegated.id(),
            cumulative: amount,
        },
        signature: payer().sign_digest_sync(&domain.digest(amount)).into(),
    };
    let expected = VoucherError::SignerMismatch {
        expected: Address::repeat_byte(5),
        recovered: payer().address(),
    };
    assert_eq!(verdict(&delegated, &voucher), Err(expected));
}

#[test]
fn a_changed_amount_does_not_verify() {
    let terms = terms(SessionProtocol::V1);
    let mut voucher = signed(&terms, 1000);
    voucher.voucher.cumulative = Amount::new(1001);
    assert!(matches!(
        verdict(&terms, &voucher),
        Err(VoucherError::SignerMismatch { .. })
    ));
}

// Case A32: uint96 overflow in v2, none in v1.
#[test]
fn amounts_beyond_the_protocol_do_not_verify() {
    let largest = SessionProtocol::V2.max_amount().base_units();
    let v2 = terms(SessionProtocol::V2);
    assert_eq!(
        verdict(&v2, &signed(&v2, largest)),
        Ok(Amount::new(largest))
    );
    assert_eq!(
        verdict(&v2, &signed(&v2, largest + 1)),
        Err(VoucherError::AmountTooLarge)
    );
    let v1 = terms(SessionProtocol::V1);
    assert_eq!(verdict(&v1, &signed(&v1, u128::MAX)), Ok(Amount::MAX));
}

// PROTOCOL 5.2: `closeSignature` is another type; neither stands for the other.
#[test]
fn vouchers_and_close_authorizations_are_not_interchangeable() {
    let terms = terms(SessionProtocol::V2);
    let verifier = VoucherVerifier::new(&terms);
    let amount = Amount::new(1000);
    let close: VoucherSignature = payer()
        .sign_digest_sync(&VoucherDomain::new(&terms).close_digest(amount))
        .into();
    assert_eq!(verifier.verify_close_authorization(amount, &close), Ok(()));
    let voucher = signed(&terms, 1000);
    assert!(
        verifier
            .verify_close_authorization(amount, &voucher.signature)
            .is_err()
    );
    let forged = SignedVoucher {
        signature: close.clone(),
        ..voucher
    };
    assert!(verifier.verify(&forged).is_err());
    let other = verifier.verify_close_authorization(Amount::new(1001), &close);
    assert!(matches!(other, Err(VoucherError::SignerMismatch { .. })));
    let too_much = Amount::new(1 << 96);
    let refused = verifier.verify_close_authorization(too_much, &close);
    assert_eq!(refused, Err(VoucherError::AmountTooLarge));
}

// Case A9: only the exact parity recovers the signer.
#[test]
fn the_wrong_parity_does_not_verify() {
    let terms = terms(SessionProtocol::V2);
    let mut voucher = signed(&terms, 1000);
    let mut bytes = voucher.signature.to_bytes();
    bytes[64] = 55 - bytes[64];
    voucher.signature = VoucherSignature::parse(&bytes).unwrap();
    assert!(matches!(
        verdict(&terms, &voucher),
        Err(VoucherError::SignerMismatch { .. } | VoucherError::InvalidSignature)
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // Any flipped bit of r or s makes the voucher worthless.
    #[test]
    fn no_bit_of_a_signature_is_free(bit in 0_usize..512, cumulative: u64) {
        let terms = terms(SessionProtocol::V2);
        let mut voucher = signed(&terms, cumulative.into());
        let mut bytes: Vec<u8> = voucher.signature.to_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match VoucherSignature::parse(&bytes) {
            Err(_) => {}
            Ok(signature) => {
                voucher.signature = signature;
                prop_assert!(verdict(&terms, &voucher).is_err());
            }
        }
    }

    // The digest has one meaning: different amounts have different digests.
    #[test]
    fn digests_differ_with_the_amount(a: u128, b: u128) {
        prop_assume!(a != b);
        let verifier = VoucherVerifier::new(&terms(SessionProtocol::V1));
        prop_assert_ne!(verifier.digest(Amount::new(a)), verifier.digest(Amount::new(b)));
    }

    // The digest is EIP-712 over the ABI encoding, recomputed here word by word.
    #[test]
    fn digests_are_eip712(cumulative: u128) {
        let terms = terms(SessionProtocol::V1);
        let words = [
            terms.protocol.type_hash(),
            terms.id(),
            U256::from(cumulative).into(),
        ];
        let message = alloy_primitives::keccak256(words.concat());
        let bytes = [&[0x19, 0x01][..], &terms.domain_separator()[..], &message[..]].concat();
        let digest = VoucherVerifier::new(&terms).digest(Amount::new(cumulative));
        prop_assert_eq!(digest, alloy_primitives::keccak256(bytes));
    }
}
