//! Claims that are likely to find mistakes: edges of every number that a claim is made of.

use std::boxed::Box;
use std::vec::Vec;

use k256::elliptic_curve::Group;
use k256::elliptic_curve::ops::Reduce;
use k256::elliptic_curve::sec1::ToSec1Point;
use k256::{ProjectivePoint, Scalar as Reference, U256};

use super::super::testing::LAMBDA;
use super::super::{AffinePoint, SignerTable};
use super::oracle::Oracle;
use crate::signer::Signature65;

/// A signature of one of the source's keys, or something made from one.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) key: usize,
    pub(super) digest: [u8; 32],
    pub(super) signature: Signature65,
}

/// A repeatable source of cases.
pub(super) struct Cases {
    state: u64,
    secrets: Vec<Reference>,
    oracle: Oracle,
}

const KEYS: usize = 24;

impl Cases {
    pub(super) fn new(seed: u64) -> Self {
        let small = |value: u64| Reference::from(value);
        let lambda = scalar(&LAMBDA.to_be_bytes());
        let mut secrets: Vec<Reference> = [1, 2, 3, 4, 5, 16, 1 << 32].map(small).to_vec();
        secrets.extend([-small(1), -small(2), lambda, -lambda, lambda.square()]);
        let mut source = Self {
            state: seed,
            secrets,
            oracle: Oracle::default(),
        };
        while source.secrets.len() < KEYS {
            let secret = scalar(&source.bytes());
            source.secrets.push(secret);
        }
        for secret in &source.secrets {
            source.oracle.add_key(&uncompressed(&point(secret)));
        }
        source
    }

    /// The tables of all keys.
    pub(super) fn tables(&self) -> Vec<Box<SignerTable>> {
        let table = |secret| {
            let bytes = uncompressed(&point(secret));
            let (x, y) = (bytes[1..33].try_into(), bytes[33..].try_into());
            let key = AffinePoint::from_coordinates(&x.unwrap(), &y.unwrap()).unwrap();
            SignerTable::boxed(&key)
        };
        self.secrets.iter().map(table).collect()
    }

    /// What `ecrecover` and a comparison of keys answer.
    pub(super) fn expected(&self, case: &Case) -> bool {
        self.oracle.recovers(case)
    }

    /// A valid signature of a random digest.
    pub(super) fn honest(&mut self) -> Case {
        loop {
            let nonce = scalar(&self.bytes());
            let message = scalar(&self.bytes());
            let key = self.below(KEYS);
            // R = k G is u1 G + u2 Q for any u2 and u1 = k - u2 d.
            let u2 = message;
            let u1 = nonce - u2 * self.secrets[key];
            if let Some(case) = self.with_multipliers(key, u1, u2) {
                return case;
            }
        }
    }

    /// A case of any kind.
    pub(super) fn next(&mut self) -> Case {
        loop {
            let key = self.below(KEYS);
            let case = match self.below(3) {
                0 => Some(self.honest()),
                _ => {
                    let u2 = self.multiplier();
                    let u1 = match self.below(6) {
                        // u1 G = u2 Q: the last addition of a plain sum would be a doubling.
                        0 => u2 * self.secrets[key],
                        1 => Reference::ZERO,
                        _ => self.multiplier(),
                    };
                    self.with_multipliers(key, u1, u2)
                }
            };
            if let Some(case) = case.and_then(|case| self.altered(case)) {
                return case;
            }
        }
    }

    /// The valid signature whose verification computes u1 G + u2 Q.
    fn with_multipliers(&self, key: usize, u1: Reference, u2: Reference) -> Option<Case> {
        let nonce_point = point(&(u1 + u2 * self.secrets[key]));
        if bool::from(nonce_point.is_identity()) {
            return None;
        }
        let bytes = uncompressed(&nonce_point);
        let r = scalar(&bytes[1..33].try_into().unwrap());
        let s = r * Option::<Reference>::from(u2.invert())?;
        let digest = (u1 * s).to_bytes().into();
        let odd = bytes[64] & 1;
        let signature = signature(&r, &s, odd).or_else(|| signature(&r, &-s, odd ^ 1))?;
        Some(Case {
            key,
            digest,
            signature,
        })
    }

    /// The case as it is or changed in one place, if that can still be a signature.
    fn altered(&mut self, mut case: Case) -> Option<Case> {
        let mut bytes = case.signature.to_bytes();
        match self.below(12) {
            0 => case.digest[self.below(32)] ^= 1 << self.below(8),
            1 => bytes[64] ^= 27 ^ 28,
            2 => bytes[self.below(64)] ^= 1 << self.below(8),
            3 => bytes[..32].copy_from_slice(&self.multiplier().to_bytes()),
            4 => bytes[32..64].copy_from_slice(&self.multiplier().to_bytes()),
            5 => case.key = self.below(KEYS),
            _ => {}
        }
        case.signature = Signature65::from_bytes(&bytes).ok()?;
        Some(case)
    }

    /// A scalar at an edge: tiny, a power of two, a multiple of lambda, or the negative of one.
    fn multiplier(&mut self) -> Reference {
        let tiny = Reference::from(1 + self.below(20) as u64);
        let lambda = scalar(&LAMBDA.to_be_bytes());
        let value = match self.below(6) {
            0 => tiny,
            1 => {
                let mut power = [0; 32];
                power[self.below(32)] = 1 << self.below(8);
                scalar(&power)
            }
            2 => lambda * tiny,
            3 => lambda + tiny,
            _ => scalar(&self.bytes()),
        };
        if self.below(2) == 0 { value } else { -value }
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.word() % limit as u64) as usize
    }

    fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&self.word().to_le_bytes());
        }
        bytes
    }

    /// SplitMix64.
    fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

pub(super) fn scalar(bytes: &[u8; 32]) -> Reference {
    <Reference as Reduce<U256>>::reduce(&U256::from_be_slice(bytes))
}

pub(super) fn point(secret: &Reference) -> ProjectivePoint {
    ProjectivePoint::GENERATOR * secret
}

pub(super) fn uncompressed(point: &ProjectivePoint) -> [u8; 65] {
    let encoded = point.to_affine().to_sec1_point(false);
    encoded.as_bytes().try_into().unwrap()
}

/// The signature, unless s is high or something is zero.
pub(super) fn signature(r: &Reference, s: &Reference, odd: u8) -> Option<Signature65> {
    let mut bytes = [27 + odd; 65];
    bytes[..32].copy_from_slice(&r.to_bytes());
    bytes[32..64].copy_from_slice(&s.to_bytes());
    Signature65::from_bytes(&bytes).ok()
}
