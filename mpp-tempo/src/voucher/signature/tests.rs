//! Forms of voucher signatures: what is read, what is refused, and that each has one encoding.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::testing::payer;

fn refused(bytes: &[u8]) -> SignatureFormatError {
    VoucherSignature::parse(bytes).unwrap_err()
}

// Case A9: wrong length.
#[test]
fn only_the_lengths_of_known_forms_are_read() {
    for length in (0..=300).filter(|length| ![64, 65, 130].contains(length)) {
        let mut bytes = vec![1; length];
        assert!(VoucherSignature::parse(&bytes).is_err(), "{length} bytes");
        if let Some(kind) = bytes.first_mut() {
            *kind = 0;
            assert!(VoucherSignature::parse(&bytes).is_err(), "{length} bytes");
        }
    }
    assert_eq!(refused(&[]), SignatureFormatError::Length(0));
    assert_eq!(refused(&[7]), SignatureFormatError::Length(1));
    assert_eq!(refused(&[7, 7]), SignatureFormatError::UnknownType(7));
}

// Case A11 and PROTOCOL 5.3: keychain wrappers are refused, whatever they wrap.
#[test]
fn keychain_wrappers_are_refused() {
    let inner = payer().sign_digest_sync(&B256::ZERO).to_bytes();
    for kind in [0x03, 0x04] {
        let mut wrapper = vec![kind];
        wrapper.extend_from_slice(payer_address().as_slice());
        wrapper.extend_from_slice(&inner);
        assert_eq!(refused(&wrapper), SignatureFormatError::Keychain);
        assert_eq!(refused(&[kind, 0]), SignatureFormatError::Keychain);
    }
}

fn payer_address() -> Address {
    crate::signer::Signer::address(&payer())
}

// Case A9: zero r and s, high s and wrong v in both secp256k1 forms.
#[test]
fn malformed_secp256k1_signatures_are_refused() {
    assert_eq!(refused(&[0; 64]), SignatureFormatError::OutOfRange);
    let mut v0 = payer().sign_digest_sync(&B256::ZERO).to_bytes();
    v0[64] -= 27;
    assert_eq!(refused(&v0), SignatureFormatError::RecoveryId);
    let mut high = [1; 65];
    high[32] = 0x80;
    high[64] = 27;
    assert_eq!(refused(&high), SignatureFormatError::HighS);
    // In the 64-byte form the top bit is the parity, so half the order plus one is the lowest
    // high s.
    let mut compact = [1; 64];
    compact[32..].copy_from_slice(&hex!(
        "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a1"
    ));
    assert_eq!(refused(&compact), SignatureFormatError::HighS);
}

#[test]
fn typed_signatures_are_bounded() {
    let shortest = vec![TYPE_WEBAUTHN; 1 + 128];
    assert!(VoucherSignature::parse(&shortest).is_ok());
    let longest = vec![TYPE_WEBAUTHN; 1 + 2048];
    assert!(VoucherSignature::parse(&longest).is_ok());
    assert_eq!(
        refused(&[TYPE_WEBAUTHN; 1 + 127]),
        SignatureFormatError::Length(127)
    );
    assert_eq!(
        refused(&vec![TYPE_WEBAUTHN; 2 + 2048]),
        SignatureFormatError::Length(2049)
    );
    let mut flag = vec![TYPE_P256; 130];
    assert!(VoucherSignature::parse(&flag).is_ok());
    flag[129] = 2;
    assert_eq!(refused(&flag), SignatureFormatError::PrehashFlag);
    let mut high = vec![TYPE_P256; 130];
    high[33] = 0x80;
    assert_eq!(refused(&high), SignatureFormatError::HighS);
}

#[test]
fn text_is_hex_of_bounded_length() {
    let signature = VoucherSignature::from(payer().sign_digest_sync(&B256::ZERO));
    let text = signature.to_hex();
    assert_eq!(VoucherSignature::from_hex(&text), Ok(signature.clone()));
    assert_eq!(
        VoucherSignature::from_hex(&text.to_uppercase().replace("0X", "0x")),
        Ok(signature)
    );
    assert_eq!(
        VoucherSignature::from_hex(&text.replace("0x", "0xzz")),
        Err(SignatureFormatError::Hex)
    );
    let bomb = "00".repeat(1_000_000);
    assert_eq!(
        VoucherSignature::from_hex(&bomb),
        Err(SignatureFormatError::Length(1_000_000))
    );
}

#[test]
fn text_has_at_most_one_prefix() {
    let bytes = payer().sign_digest_sync(&B256::ZERO).to_bytes();
    let p256 = typed(TYPE_P256, &[1; 129]);
    let webauthn = typed(TYPE_WEBAUTHN, &[1; 128]);
    for form in [&bytes[..], &bytes[..64], &p256, &webauthn] {
        let digits = hex::encode(form);
        let read = |prefix: &str| VoucherSignature::from_hex(&format!("{prefix}{digits}"));
        // Without its v the signature has the length of the compact form.
        assert_eq!(read("0x"), VoucherSignature::parse(form));
        assert_eq!(read(""), VoucherSignature::parse(form));
        for prefix in ["0x0x", "0X", "0x0X", "x", "0x0x0x"] {
            assert_eq!(read(prefix), Err(SignatureFormatError::Hex), "{prefix}");
        }
    }
}

#[test]
fn json_is_the_canonical_hex() {
    let signature = VoucherSignature::from(payer().sign_digest_sync(&B256::ZERO));
    let json = serde_json::to_value(&signature).unwrap();
    assert_eq!(json, signature.to_hex());
    assert_eq!(
        serde_json::from_value::<VoucherSignature>(json).unwrap(),
        signature
    );
    assert!(serde_json::from_str::<VoucherSignature>("\"0x00\"").is_err());
}

fn any_form() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::collection::vec(any::<u8>(), 64..=65),
        prop::collection::vec(any::<u8>(), 129).prop_map(|rest| typed(TYPE_P256, &rest)),
        prop::collection::vec(any::<u8>(), 120..400).prop_map(|rest| typed(TYPE_WEBAUTHN, &rest)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    // Whatever is read has one canonical form, which reads the same and is what goes on chain.
    #[test]
    fn canonical_bytes_are_stable(bytes in any_form()) {
        if let Ok(signature) = VoucherSignature::parse(&bytes) {
            let canonical = signature.to_bytes();
            prop_assert_eq!(VoucherSignature::parse(&canonical), Ok(signature.clone()));
            prop_assert_eq!(VoucherSignature::from_hex(&signature.to_hex()), Ok(signature));
            if bytes.len() != 64 {
                prop_assert_eq!(canonical, bytes);
            }
        }
    }
}
