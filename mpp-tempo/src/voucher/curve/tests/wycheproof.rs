//! The ECDSA vectors of project Wycheproof, with what `ecrecover` asks beyond plain ECDSA.

use std::format;

use alloy_primitives::hex;
use num_bigint::BigUint;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::testing::{big, padded};
use super::super::{limbs, scalar};
use super::*;
use crate::signer::Signature65;

const FILE: &str =
    include_str!("../../../../../vectors/wycheproof/ecdsa_secp256k1_sha256_p1363_test.json");

/// A signature of a vector: 32 bytes each of r and s.
type Halves = ([u8; 32], [u8; 32]);

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn half_order() -> BigUint {
    order() >> 1
}

fn order() -> BigUint {
    big(&limbs::to_be_bytes(&scalar::ORDER))
}

/// The values of v that are accepted, alike by all kernels, alone and among others.
fn accepted(key: &[u8], table: &SignerTable, digest: &[u8; 32], (r, s): &Halves) -> Vec<u8> {
    let accepts = |v: &u8| {
        let mut encoded = [*v; 65];
        encoded[..32].copy_from_slice(r);
        encoded[32..64].copy_from_slice(s);
        let Ok(signature) = Signature65::from_bytes(&encoded) else {
            return false;
        };
        let recovered = signature.recover_key(digest);
        let expected =
            recovered.is_ok_and(|by_k256| by_k256.to_sec1_point(false).as_bytes() == key);
        let claims = vec![Claim::new(digest, &signature, table); 30];
        for kernel in kernels() {
            for size in [1, 8, 30] {
                for verdict in verdicts(kernel, &claims, size) {
                    // What a kernel leaves undecided is the library's to answer.
                    let answer = match verdict {
                        Verdict::Valid => true,
                        Verdict::Invalid => false,
                        Verdict::Undecided => expected,
                    };
                    assert_eq!(answer, expected, "{kernel:?} {size}");
                }
            }
        }
        expected
    };
    (0..=255u8).filter(accepts).collect()
}

#[test]
fn wycheproof_vectors_are_accepted_where_ecrecover_accepts() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let (mut valid, mut invalid, mut high, mut large_x) = (0, 0, 0, 0);
    for group in file["testGroups"].as_array().unwrap() {
        let key = bytes(&group["publicKey"]["uncompressed"]);
        let (x, y) = (
            key[1..33].try_into().unwrap(),
            key[33..].try_into().unwrap(),
        );
        let table = SignerTable::boxed(&AffinePoint::from_coordinates(&x, &y).unwrap());
        for case in group["tests"].as_array().unwrap() {
            let name = format!("{}: {}", case["tcId"], case["comment"]);
            let digest: [u8; 32] = Sha256::digest(bytes(&case["msg"])).into();
            let signature = bytes(&case["sig"]);
            let Ok(encoded) = <[u8; 64]>::try_from(signature) else {
                assert_eq!(case["result"], "invalid", "{name}");
                continue;
            };
            let r: [u8; 32] = encoded[..32].try_into().unwrap();
            let s: [u8; 32] = encoded[32..].try_into().unwrap();
            let mut found = accepted(&key, &table, &digest, &(r, s));
            if case["result"] == "invalid" {
                assert!(found.is_empty(), "{name}");
                invalid += 1;
                continue;
            }
            valid += 1;
            if big(&s) > half_order() {
                // Plain ECDSA accepts both; of the chain's form there is only the low one.
                assert!(found.is_empty(), "{name}");
                found = accepted(&key, &table, &digest, &(r, padded(&(order() - big(&s)))));
                high += 1;
            }
            // x(R) is not r but r + n.
            if name.contains("large x-coordinate") || name.contains("x with a reduction") {
                assert!(found.is_empty(), "{name}");
                large_x += 1;
            } else {
                assert!(matches!(found[..], [27 | 28]), "{name}: {found:?}");
            }
        }
    }
    assert_eq!((valid, invalid, high, large_x), (167, 67, 72, 2));
}
