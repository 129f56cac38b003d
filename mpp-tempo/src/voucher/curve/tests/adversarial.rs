//! Claims made for one weakness each. The random mixture of [`cases`] has most of them; here
//! every edge has its turn, and most claims are valid, so that a wrong result is a refusal.

use alloy_primitives::hex;
use k256::elliptic_curve::ops::Reduce;
use k256::{ProjectivePoint, Scalar as Reference, U256};

use super::super::comb::SPACING;
use super::super::digits::{Digit, Digits, Row};
use super::super::scalar::Scalar as Multiplier;
use super::super::testing::LAMBDA;
use super::cases::{point, scalar, signature, uncompressed};
use super::oracle::Oracle;
use super::*;

const ORDER: [u8; 32] = hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
const HALF_ORDER: [u8; 32] =
    hex!("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0");
const MODULUS: [u8; 32] = hex!("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f");

/// Keys with their tables, and claims for them.
#[derive(Default)]
struct Claims {
    oracle: Oracle,
    tables: Vec<Box<SignerTable>>,
    cases: Vec<Case>,
    made: u32,
}

impl Claims {
    fn key(&mut self, key: &ProjectivePoint) -> usize {
        let bytes = uncompressed(key);
        let (x, y) = (bytes[1..33].try_into(), bytes[33..].try_into());
        let key = AffinePoint::from_coordinates(&x.unwrap(), &y.unwrap()).unwrap();
        self.oracle.add_key(&bytes);
        self.tables.push(SignerTable::boxed(&key));
        self.tables.len() - 1
    }

    /// A scalar without a pattern.
    fn any(&mut self) -> Reference {
        self.made += 1;
        scalar(&alloy_primitives::keccak256(self.made.to_be_bytes()).0)
    }

    fn push(&mut self, key: usize, digest: Reference, (r, s, odd): (Reference, Reference, u8)) {
        let signature = signature(&r, &s, odd).expect("a low s");
        let digest = digest.to_bytes().into();
        self.cases.push(Case {
            key,
            digest,
            signature,
        });
    }

    /// The claim whose verification computes u1 G + u2 Q = `nonce`, unless its s is high.
    fn try_push(&mut self, key: usize, u1: Reference, u2: Reference, nonce: &ProjectivePoint) {
        let (r, odd) = shown(nonce);
        let s = r * u2.invert().unwrap();
        if signature(&r, &s, odd).is_some() {
            self.push(key, u1 * s, (r, s, odd));
        }
    }

    /// Judges all claims by every kernel, spread over lanes, in lanes and in large batches.
    /// Returns how many are valid; `decided` says that no kernel may leave one to the libraries.
    fn valid(&self, decided: bool) -> usize {
        let claims = claims(&self.cases, &self.tables);
        let expected = self.cases.iter().map(|case| self.oracle.both_recover(case));
        let expected: Vec<bool> = expected.collect();
        for kernel in kernels() {
            for size in [1, 3, 8, 64] {
                let verdicts = verdicts(kernel, &claims, size);
                for ((case, verdict), expected) in self.cases.iter().zip(verdicts).zip(&expected) {
                    let wrong = match verdict {
                        Verdict::Valid => !expected,
                        Verdict::Invalid => *expected,
                        Verdict::Undecided => decided,
                    };
                    assert!(!wrong, "{kernel:?} {size} {verdict:?}: {case:?}");
                }
            }
        }
        expected.into_iter().filter(|valid| *valid).count()
    }
}

/// What a signature shows of its nonce point.
fn shown(nonce: &ProjectivePoint) -> (Reference, u8) {
    let bytes = uncompressed(nonce);
    (scalar(bytes[1..33].first_chunk().unwrap()), bytes[64] & 1)
}

/// Numbers on both sides of another, modulo n.
fn neighbors(middle: &[u8; 32]) -> impl Iterator<Item = Reference> {
    let middle = scalar(middle);
    (0..=8u64).flat_map(move |offset| {
        let offset = Reference::from(offset);
        [middle - offset, middle + offset]
    })
}

/// Tiny numbers, powers of two, and lambda next to or times tiny ones; each with its negative.
fn multipliers() -> Vec<Reference> {
    let lambda = scalar(&LAMBDA.to_be_bytes());
    let tiny = (1..=20u64).map(Reference::from);
    let near = tiny.clone().flat_map(|tiny| [lambda + tiny, lambda - tiny]);
    let multiples = tiny
        .clone()
        .flat_map(|tiny| [lambda * tiny, lambda.square() * tiny]);
    let powers = (0..256).scan(Reference::ONE, |power, _| {
        let current = *power;
        *power = *power + *power;
        Some(current)
    });
    let all = tiny.chain(near).chain(multiples).chain(powers);
    all.flat_map(|value| [value, -value]).collect()
}

// r = x(R) is 1, n - 1, half the order and so on: no secret of such a nonce is known, but a key
// can be made for the signature.
#[test]
fn edges_of_r_are_judged_right() {
    let mut claims = Claims::default();
    let mut edges: Vec<Reference> = [[0; 32], ORDER, HALF_ORDER, MODULUS]
        .iter()
        .flat_map(neighbors)
        .collect();
    edges.dedup();
    let mut lifted = 0;
    for r in edges {
        let x: [u8; 32] = r.to_bytes().into();
        let odd = lifted % 2 == 1;
        let Some(nonce) = reduced_x::lift(&x, odd) else {
            continue;
        };
        lifted += 1;
        let digest = claims.any();
        let s = low(claims.any());
        // Q = (s R - digest G) / r.
        let inverse = r.invert().unwrap();
        let key = claims.key(&(nonce * (s * inverse) - point(&(digest * inverse))));
        claims.push(key, digest, (r, s, u8::from(odd)));
        claims.push(key, digest, (r, s, u8::from(!odd)));
    }
    assert!(lifted > 16, "{lifted}");
    assert_eq!(claims.valid(true), lifted);
}

fn low(s: Reference) -> Reference {
    let half = scalar(&HALF_ORDER);
    if U256::from(s) > U256::from(half) {
        -s
    } else {
        s
    }
}

#[test]
fn edges_of_s_are_judged_right() {
    let mut claims = Claims::default();
    let secret = claims.any();
    let key = claims.key(&point(&secret));
    let mut made = 0;
    for s in [[0; 32], HALF_ORDER].iter().flat_map(neighbors) {
        let nonce = claims.any();
        let (r, odd) = shown(&point(&nonce));
        // Zero and what is above half the order never becomes a signature.
        if bool::from(s.is_zero()) || low(s) != s {
            assert!(signature(&r, &s, odd).is_none());
            continue;
        }
        let digest = nonce * s - r * secret;
        claims.push(key, digest, (r, s, odd));
        claims.push(key, digest, (r, s, odd ^ 1));
        made += 1;
    }
    assert!(made >= 17, "{made}");
    assert_eq!(claims.valid(true), made);
}

// A digest is any 32 bytes; the curve sees it modulo n.
#[test]
fn digests_beyond_the_order_are_reduced() {
    let mut claims = Claims::default();
    let secret = claims.any();
    let key = claims.key(&point(&secret));
    for middle in [[0; 32], HALF_ORDER, ORDER, MODULUS] {
        for offset in 0..=8u8 {
            let middle = U256::from_be_slice(&middle);
            let offset = U256::from(offset);
            for number in [middle.wrapping_sub(&offset), middle.wrapping_add(&offset)] {
                let nonce = claims.any();
                let (r, odd) = shown(&point(&nonce));
                let digest = <Reference as Reduce<U256>>::reduce(&number);
                let s = nonce.invert().unwrap() * (digest + r * secret);
                let flip = u8::from(low(s) != s);
                claims.push(key, digest, (r, low(s), odd ^ flip));
                let case = claims.cases.last_mut().unwrap();
                case.digest = number.to_be_bytes().into();
            }
        }
    }
    assert_eq!(claims.valid(true), claims.cases.len());
}

#[test]
fn chosen_multipliers_are_judged_right() {
    let mut claims = Claims::default();
    let secret = claims.any();
    let key = claims.key(&point(&secret));
    let other = claims.any();
    let chosen = multipliers();
    for multiplier in &chosen {
        // About half of the claims have a high s; one of these four is nearly always low.
        for shift in [1u64, 2] {
            let free = other + Reference::from(shift);
            for (u1, u2) in [(*multiplier, free), (free, *multiplier)] {
                claims.try_push(key, u1, u2, &point(&(u1 + u2 * secret)));
            }
        }
    }
    let made = claims.cases.len();
    assert!(made > chosen.len(), "{made}");
    assert_eq!(claims.valid(true), made);
}

// Keys whose tables hold the generator's points. u1 G = u2 Q would be a doubling at the end of a
// plain sum, u1 = 0 leaves out G, and the last three make R a tiny multiple of G or add it once.
#[test]
fn sums_that_collide_are_never_guessed() {
    let lambda = scalar(&LAMBDA.to_be_bytes());
    let small = [1u64, 2, 3, 4, 7].map(Reference::from);
    let secrets = small.into_iter().chain([lambda, lambda.square()]);
    let mut claims = Claims::default();
    let multipliers: Vec<Reference> = multipliers().into_iter().step_by(17).collect();
    for secret in secrets.flat_map(|secret| [secret, -secret]) {
        let key = claims.key(&point(&secret));
        for u2 in &multipliers {
            let product = *u2 * secret;
            let one = Reference::ONE;
            for u1 in [product, Reference::ZERO, one - product, -one - product, one] {
                let sum = u1 + product;
                if !bool::from(sum.is_zero()) {
                    claims.try_push(key, u1, *u2, &point(&sum));
                }
            }
        }
    }
    let made = claims.cases.len();
    assert!(made > 1_000, "{made}");
    assert_eq!(claims.valid(false), made);
}

// u1 G = -u2 Q: the sum is infinity, which no r names.
#[test]
fn a_sum_at_infinity_is_never_valid() {
    let mut claims = Claims::default();
    for secret in [Reference::ONE, -Reference::ONE, claims.any()] {
        let key = claims.key(&point(&secret));
        for u2 in multipliers().into_iter().step_by(5) {
            for nonce in [Reference::ONE, claims.any()] {
                let u1 = -(u2 * secret);
                claims.try_push(key, u1, u2, &point(&nonce));
            }
        }
    }
    assert!(claims.cases.len() > 200, "{}", claims.cases.len());
    assert_eq!(claims.valid(false), 0);
}

/// What a digit of a comb with this many teeth multiplies its point by.
fn coefficient(digit: &Digit, teeth: usize) -> Reference {
    let entries = 1 << (teeth - 1);
    let index = digit.index as usize;
    let (block, positive) = (index / entries, (index % entries) | entries);
    let terms = (0..teeth).map(|tooth| {
        let position = (block * teeth + tooth) * 4;
        let mut power = [0; 32];
        power[31 - position / 8] = 1 << (position % 8);
        let term = scalar(&power);
        if positive >> tooth & 1 == 1 {
            term
        } else {
            -term
        }
    });
    let sum: Reference = terms.sum();
    if digit.negative { -sum } else { sum }
}

/// What the generator's entries of a row add up to, over what the signer's entries that meet them
/// add up to: by the order of the portable code, of a tree and of one claim in all lanes.
fn collisions(row: &Row) -> [Reference; 3] {
    let lambda = scalar(&LAMBDA.to_be_bytes());
    let signer =
        |digits: &[Digit]| -> Reference { digits.iter().map(|digit| coefficient(digit, 8)).sum() };
    let generator: Reference = row
        .generator
        .iter()
        .map(|digit| coefficient(digit, 16))
        .sum();
    let (beside, opposite) = row.second.split_at(2);
    let across = signer(&row.first) + lambda * (signer(opposite) - signer(beside));
    [signer(&row.first[..1]), signer(&row.first), across]
        .map(|met| generator * met.invert().unwrap())
}

// A payer may choose its key so that an addition inside the sum is a doubling: the incomplete
// formulas then give nonsense, which must not become an answer. Each code has its own order.
#[test]
fn keys_chosen_for_an_exceptional_addition_are_left_to_the_library() {
    let mut orders: [Claims; 3] = Default::default();
    let mut multipliers = Claims::default();
    for _ in 0..100 {
        let (u1, u2) = (multipliers.any(), multipliers.any());
        let own = |value: Reference| Multiplier::from_be_bytes_reduced(&value.to_bytes().into());
        let digits = Digits::new(&own(u1), &own(u2));
        let secrets = collisions(&digits.rows[SPACING - 1]);
        for (claims, secret) in orders.iter_mut().zip(secrets) {
            let key = claims.key(&point(&secret));
            claims.try_push(key, u1, u2, &point(&(u1 + u2 * secret)));
        }
    }
    let best = Kernel::detect();
    let victims = [(Kernel::Portable, 8), (best, 64), (best, 1)];
    for (claims, (kernel, size)) in orders.iter().zip(victims) {
        let made = claims.cases.len();
        assert!(made > 25, "{made}");
        assert_eq!(claims.valid(false), made);
        // Without vector code only the first order exists.
        if size == 8 || kernel != Kernel::Portable {
            let all = super::claims(&claims.cases[..made.min(64)], &claims.tables);
            let got = verdicts(kernel, &all, size);
            assert_eq!(
                got,
                vec![Verdict::Undecided; all.len()],
                "{kernel:?} {size}"
            );
        }
    }
}
