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
    keys: Vec<Key>,
    nonces: Vec<Nonce>,
    oracle: Oracle,
}

struct Key {
    secret: Reference,
    inverse: Reference,
}

/// A scalar k with what a signature shows of k G.
#[derive(Clone, Copy)]
struct Nonce {
    scalar: Reference,
    r: Reference,
    odd: u8,
}

const KEYS: usize = 24;
/// Nonce points to choose from: they cost more than all other parts of a case.
const NONCES: usize = 256;

impl Cases {
    pub(super) fn new(seed: u64) -> Self {
        let small = |value: u64| Reference::from(value);
        let lambda = scalar(&LAMBDA.to_be_bytes());
        let mut secrets: Vec<Reference> = [1, 2, 3, 4, 5, 16, 1 << 32].map(small).to_vec();
        secrets.extend([-small(1), -small(2), lambda, -lambda, lambda.square()]);
        let mut source = Self {
            state: seed,
            keys: Vec::new(),
            nonces: Vec::new(),
            oracle: Oracle::default(),
        };
        while secrets.len() < KEYS {
            secrets.push(scalar(&source.bytes()));
        }
        for secret in secrets {
            source.oracle.add_key(&uncompressed(&point(&secret)));
            let inverse = secret.invert().unwrap();
            source.keys.push(Key { secret, inverse });
        }
        while source.nonces.len() < NONCES {
            let scalar = source.multiplier();
            source.nonces.extend(Nonce::new(scalar));
        }
        source
    }

    /// The tables of all keys.
    pub(super) fn tables(&self) -> Vec<Box<SignerTable>> {
        let table = |secret: &Reference| {
            let bytes = uncompressed(&point(secret));
            let (x, y) = (bytes[1..33].try_into(), bytes[33..].try_into());
            let key = AffinePoint::from_coordinates(&x.unwrap(), &y.unwrap()).unwrap();
            SignerTable::boxed(&key)
        };
        self.keys.iter().map(|key| table(&key.secret)).collect()
    }

    /// What `ecrecover` and a comparison of keys answer, by libsecp256k1.
    pub(super) fn expected(&self, case: &Case) -> bool {
        self.oracle.recovers(case)
    }

    /// The same by two libraries.
    pub(super) fn expected_by_both(&self, case: &Case) -> bool {
        self.oracle.both_recover(case)
    }

    /// A valid signature of a random digest.
    pub(super) fn honest(&mut self) -> Case {
        loop {
            let key = self.below(KEYS);
            let u2 = scalar(&self.bytes());
            if let Some(case) = self.with_second(key, u2) {
                return case;
            }
        }
    }

    /// A case of any kind.
    pub(super) fn next(&mut self) -> Case {
        loop {
            let key = self.below(KEYS);
            let multiplier = self.multiplier();
            let case = match self.below(8) {
                0..3 => Some(self.honest()),
                3..5 => self.with_second(key, multiplier),
                5..7 => self.with_first(key, multiplier),
                _ => self.colliding(key, multiplier),
            };
            if let Some(case) = case.and_then(|case| self.altered(case)) {
                return case;
            }
        }
    }

    /// A valid signature with this u2: R = k G is u1 G + u2 Q for u1 = k - u2 d.
    fn with_second(&mut self, key: usize, u2: Reference) -> Option<Case> {
        let nonce = self.nonce();
        let u1 = nonce.scalar - u2 * self.keys[key].secret;
        nonce.case(key, u1, u2)
    }

    fn nonce(&mut self) -> Nonce {
        let index = self.below(NONCES);
        self.nonces[index]
    }

    /// A valid signature with this u1.
    fn with_first(&mut self, key: usize, u1: Reference) -> Option<Case> {
        let nonce = self.nonce();
        let u2 = (nonce.scalar - u1) * self.keys[key].inverse;
        nonce.case(key, u1, u2)
    }

    /// A valid signature with both multipliers at an edge.
    fn colliding(&mut self, key: usize, u2: Reference) -> Option<Case> {
        let product = u2 * self.keys[key].secret;
        let u1 = match self.below(4) {
            // u1 G = u2 Q: the last addition of a plain sum would be a doubling.
            0 => product,
            // u1 G is almost -u2 Q: the sum is a small multiple of G.
            1 => Reference::from(1 + self.below(20) as u64) - product,
            2 => Reference::ZERO,
            _ => self.multiplier(),
        };
        Nonce::new(u1 + product)?.case(key, u1, u2)
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

impl Nonce {
    fn new(scalar_k: Reference) -> Option<Self> {
        let nonce_point = point(&scalar_k);
        if bool::from(nonce_point.is_identity()) {
            return None;
        }
        let bytes = uncompressed(&nonce_point);
        Some(Self {
            scalar: scalar_k,
            r: scalar(&bytes[1..33].try_into().unwrap()),
            odd: bytes[64] & 1,
        })
    }

    /// The valid signature whose verification computes u1 G + u2 Q, if that is this nonce's point.
    fn case(&self, key: usize, u1: Reference, u2: Reference) -> Option<Case> {
        let s = self.r * Option::<Reference>::from(u2.invert_vartime())?;
        let digest = (u1 * s).to_bytes().into();
        let signature =
            signature(&self.r, &s, self.odd).or_else(|| signature(&self.r, &-s, self.odd ^ 1))?;
        Some(Case {
            key,
            digest,
            signature,
        })
    }
}

pub(super) fn scalar(bytes: &[u8; 32]) -> Reference {
    <Reference as Reduce<U256>>::reduce(&U256::from_be_slice(bytes))
}

pub(super) fn point(secret: &Reference) -> ProjectivePoint {
    ProjectivePoint::mul_by_generator(secret)
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
