//! Signature libraries over prehashed vouchers: no digest, no address, no rules.

use std::hint::black_box;

use crate::fixture::Case;
use crate::rounds::Candidate;

/// Recovery and verification with a known key, by each library.
#[must_use]
pub fn candidates(cases: &[Case]) -> Vec<Candidate<'_>> {
    vec![
        k256_previous_recover(cases),
        k256_previous_verify(cases),
        k256_recover(cases),
        k256_verify(cases),
        libsecp256k1_recover(cases),
        libsecp256k1_verify(cases),
    ]
}

/// Whether the nonce point has an odd y.
fn is_odd(case: &Case) -> bool {
    case.signature[64] == 28
}

/// The version that alloy and the deployed kits use: it verifies again after recovering.
fn k256_previous_recover(cases: &[Case]) -> Candidate<'_> {
    use k256_previous::ecdsa::{RecoveryId, Signature, VerifyingKey};
    let run = move || {
        for case in cases {
            let signature = Signature::from_slice(&case.signature[..64]).expect("in range");
            let id = RecoveryId::new(is_odd(case), false);
            let key = VerifyingKey::recover_from_prehash(&case.digest, &signature, id);
            black_box(key.expect("a valid voucher"));
        }
    };
    Candidate::new("k256-0.13/recover", "k256 0.13 recover", cases.len(), run)
}

fn k256_previous_verify(cases: &[Case]) -> Candidate<'_> {
    use k256_previous::ecdsa::signature::hazmat::PrehashVerifier as _;
    use k256_previous::ecdsa::{Signature, VerifyingKey};
    let keys = keys(cases, VerifyingKey::from_sec1_bytes);
    let run = move || {
        for (case, key) in cases.iter().zip(&keys) {
            let signature = Signature::from_slice(&case.signature[..64]).expect("in range");
            key.verify_prehash(&case.digest, &signature)
                .expect("a valid voucher");
        }
    };
    Candidate::new("k256-0.13/verify", "k256 0.13 known key", cases.len(), run)
}

fn k256_recover(cases: &[Case]) -> Candidate<'_> {
    use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
    let run = move || {
        for case in cases {
            let signature = Signature::from_slice(&case.signature[..64]).expect("in range");
            let id = RecoveryId::new(is_odd(case), false);
            let key = VerifyingKey::recover_from_prehash(&case.digest, &signature, id);
            black_box(key.expect("a valid voucher"));
        }
    };
    Candidate::new("k256-0.14/recover", "k256 0.14 recover", cases.len(), run)
}

fn k256_verify(cases: &[Case]) -> Candidate<'_> {
    use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
    use k256::ecdsa::{Signature, VerifyingKey};
    let keys = keys(cases, VerifyingKey::from_sec1_bytes);
    let run = move || {
        for (case, key) in cases.iter().zip(&keys) {
            let signature = Signature::from_slice(&case.signature[..64]).expect("in range");
            key.verify_prehash(&case.digest, &signature)
                .expect("a valid voucher");
        }
    };
    Candidate::new("k256-0.14/verify", "k256 0.14 known key", cases.len(), run)
}

/// Recovery by libsecp256k1, the reference of many ratios.
#[must_use]
pub fn libsecp256k1_recover(cases: &[Case]) -> Candidate<'_> {
    use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
    let context = secp256k1::Secp256k1::verification_only();
    let run = move || {
        for case in cases {
            let id = RecoveryId::try_from(i32::from(is_odd(case))).expect("0 or 1");
            let signature = RecoverableSignature::from_compact(&case.signature[..64], id);
            let message = secp256k1::Message::from_digest(case.digest);
            let key = context.recover_ecdsa(message, &signature.expect("in range"));
            black_box(key.expect("a valid voucher"));
        }
    };
    let (id, label) = ("libsecp256k1/recover", "libsecp256k1 recover");
    Candidate::new(id, label, cases.len(), run)
}

fn libsecp256k1_verify(cases: &[Case]) -> Candidate<'_> {
    use secp256k1::{PublicKey, ecdsa::Signature};
    let context = secp256k1::Secp256k1::verification_only();
    let keys = keys(cases, PublicKey::from_slice);
    let run = move || {
        for (case, key) in cases.iter().zip(&keys) {
            let signature = Signature::from_compact(&case.signature[..64]).expect("in range");
            let message = secp256k1::Message::from_digest(case.digest);
            context
                .verify_ecdsa(message, &signature, key)
                .expect("a valid voucher");
        }
    };
    let (id, label) = ("libsecp256k1/verify", "libsecp256k1 known key");
    Candidate::new(id, label, cases.len(), run)
}

fn keys<K, E: std::fmt::Debug>(cases: &[Case], read: impl Fn(&[u8]) -> Result<K, E>) -> Vec<K> {
    let keys = cases.iter().map(|case| read(&case.public_key));
    keys.collect::<Result<_, _>>().expect("a valid key")
}
