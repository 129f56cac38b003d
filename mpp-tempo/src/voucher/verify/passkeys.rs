//! P-256 and WebAuthn vouchers: accepted on v2 under the chain's rules only.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use alloy_primitives::{Address, B256, U256, keccak256};
use mpp_core::Amount;
use mpp_core::encoding::base64url;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use sha2::{Digest, Sha256};

use super::{terms_signed_by, verdict};
use crate::channel::{ChannelTerms, SessionProtocol};
use crate::voucher::{SignedVoucher, Voucher, VoucherDomain, VoucherError, VoucherSignature};

const AMOUNT: Amount = Amount::new(1000);
const ORDER: &str = "0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

fn key() -> SigningKey {
    SigningKey::from_slice(&[5; 32]).unwrap()
}

fn public_key() -> Vec<u8> {
    key().verifying_key().to_sec1_point(false).as_bytes()[1..].to_vec()
}

fn account() -> Address {
    Address::from_word(keccak256(public_key()))
}

fn terms(protocol: SessionProtocol) -> ChannelTerms {
    terms_signed_by(protocol, account())
}

fn digest(terms: &ChannelTerms) -> B256 {
    VoucherDomain::new(terms).digest(AMOUNT)
}

/// `r || s` with low s, as the chain wants it.
fn sign(message: &[u8]) -> Vec<u8> {
    let signature: Signature = key().sign_prehash(message).unwrap();
    signature.normalize_s().to_bytes().to_vec()
}

fn p256_form(message: &[u8], prehash: u8) -> Vec<u8> {
    [vec![0x01], sign(message), public_key(), vec![prehash]].concat()
}

/// An assertion with these flags and client data.
fn webauthn_form(flags: u8, client: &str) -> Vec<u8> {
    let mut data = vec![0xAA; 32];
    data.push(flags);
    data.extend_from_slice(&[0, 0, 0, 7]);
    let message = Sha256::new()
        .chain_update(&data)
        .chain_update(Sha256::digest(client))
        .finalize();
    [
        vec![0x02],
        data,
        client.as_bytes().to_vec(),
        sign(&message),
        public_key(),
    ]
    .concat()
}

fn client_data(kind: &str, challenge: &B256) -> String {
    let challenge = base64url::encode(challenge.as_slice());
    format!(r#"{{"type":"{kind}","challenge":"{challenge}","origin":"https://a.example"}}"#)
}

fn voucher(terms: &ChannelTerms, bytes: &[u8]) -> SignedVoucher {
    SignedVoucher {
        voucher: Voucher {
            channel_id: terms.id(),
            cumulative: AMOUNT,
        },
        signature: VoucherSignature::parse(bytes).unwrap(),
    }
}

/// Our verdict, which must be that of Tempo's own types on the same bytes.
#[track_caller]
fn check(bytes: &[u8], accepted: bool) {
    let terms = terms(SessionProtocol::V2);
    let result = verdict(&terms, &voucher(&terms, bytes));
    let expected = if accepted {
        Ok(AMOUNT)
    } else {
        Err(VoucherError::InvalidSignature)
    };
    assert_eq!(result, expected);
    #[cfg(feature = "tx")]
    {
        use tempo_primitives::transaction::PrimitiveSignature;
        let theirs = PrimitiveSignature::from_bytes(bytes).unwrap();
        let recovered = theirs.recover_signer(&digest(&terms)).ok();
        assert_eq!(
            recovered == Some(account()),
            accepted,
            "tempo-primitives disagrees"
        );
    }
}

// PROTOCOL 5.3: v2 also takes P-256 signatures (TIP-1020).
#[test]
fn p256_vouchers_verify_with_and_without_prehash() {
    let digest = digest(&terms(SessionProtocol::V2));
    check(&p256_form(digest.as_slice(), 0), true);
    check(&p256_form(&Sha256::digest(digest), 1), true);
    check(&p256_form(digest.as_slice(), 1), false);
    check(&p256_form(&Sha256::digest(digest), 0), false);
}

// PROTOCOL 5.3: v2 also takes WebAuthn signatures (TIP-1020).
#[test]
fn webauthn_vouchers_verify() {
    let digest = digest(&terms(SessionProtocol::V2));
    for flags in [0x01, 0x04, 0x05, 0x1D] {
        check(
            &webauthn_form(flags, &client_data("webauthn.get", &digest)),
            true,
        );
    }
}

#[test]
fn webauthn_flags_without_a_user_or_with_extras_are_refused() {
    let digest = digest(&terms(SessionProtocol::V2));
    for flags in [0x00, 0x08, 0x41, 0x45, 0x81, 0xC5] {
        check(
            &webauthn_form(flags, &client_data("webauthn.get", &digest)),
            false,
        );
    }
}

#[test]
fn webauthn_client_data_must_name_this_digest() {
    let digest = digest(&terms(SessionProtocol::V2));
    let good = client_data("webauthn.get", &digest);
    for client in [
        client_data("webauthn.create", &digest),
        client_data("webauthn.get", &B256::ZERO),
        good.replace("\"challenge\"", "\"Challenge\""),
        good.replace("webauthn.get", "webauthn\\u002eget"),
        good.replace("\",\"origin", "=\",\"origin"),
        format!("{good} trailing"),
        String::from("no json, but long enough to be taken for it"),
        String::from("{}"),
    ] {
        check(&webauthn_form(0x05, &client), false);
    }
}

#[test]
fn webauthn_signatures_cover_the_whole_assertion() {
    let digest = digest(&terms(SessionProtocol::V2));
    let good = webauthn_form(0x05, &client_data("webauthn.get", &digest));
    // Relying party, counter, origin: none of them is checked, all of them are signed.
    let origin = good
        .windows(7)
        .position(|bytes| bytes == b"example")
        .unwrap();
    for position in [1, 37, origin] {
        let mut changed = good.clone();
        changed[position] ^= 1;
        check(&changed, false);
    }
}

// Case A9: the chain does not pay a P-256 signature with high s.
#[test]
fn p256_signatures_with_high_s_are_refused() {
    let digest = digest(&terms(SessionProtocol::V2));
    let mut bytes = p256_form(digest.as_slice(), 0);
    let order: U256 = ORDER.parse().unwrap();
    let s = U256::from_be_slice(&bytes[33..65]);
    bytes[33..65].copy_from_slice(&(order - s).to_be_bytes::<32>());
    let error = VoucherSignature::parse(&bytes).unwrap_err();
    assert_eq!(error, crate::signer::SignatureFormatError::HighS);
}

#[test]
fn p256_signatures_with_a_foreign_or_invalid_key_are_refused() {
    let digest = digest(&terms(SessionProtocol::V2));
    let good = p256_form(digest.as_slice(), 0);
    for position in [1, 40, 70, 100] {
        let mut changed = good.clone();
        changed[position] ^= 1;
        check(&changed, false);
    }
    let other = terms_signed_by(SessionProtocol::V2, Address::repeat_byte(1));
    let foreign = p256_form(VoucherDomain::new(&other).digest(AMOUNT).as_slice(), 0);
    let mismatch = verdict(&other, &voucher(&other, &foreign));
    let expected = Address::repeat_byte(1);
    assert_eq!(
        mismatch,
        Err(VoucherError::SignerMismatch {
            expected,
            recovered: account()
        })
    );
}

// PROTOCOL 5.3: v1 takes secp256k1 only.
#[test]
fn v1_does_not_take_passkeys() {
    let terms = terms(SessionProtocol::V1);
    let digest = digest(&terms);
    for bytes in [
        p256_form(digest.as_slice(), 0),
        webauthn_form(0x05, &client_data("webauthn.get", &digest)),
    ] {
        let result = verdict(&terms, &voucher(&terms, &bytes));
        assert_eq!(result, Err(VoucherError::InvalidSignature));
    }
}
