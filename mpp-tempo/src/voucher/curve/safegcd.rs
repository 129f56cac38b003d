//! Modular inverses by division steps (Bernstein and Yang, "Fast constant-time gcd computation").
//!
//! The variable-time form: 62 steps at a time act on the low words of f and g only, and are then
//! applied to the full numbers as one 2x2 matrix. d and e follow modulo the modulus, so that
//! d f = x and e g = x stay true up to the power of two that each round divides out.
//! Numbers are five signed limbs of 62 bits, so that a column of products fits 128 bits.

use super::limbs::Limbs;
use super::{field, scalar};

const LIMB_BITS: u32 = 62;
const LIMB_MASK: u64 = u64::MAX >> 2;

type Signed62 = [i64; 5];

/// A modulus and what the division by 2^62 needs of it.
pub(super) struct Modulus {
    value: Signed62,
    /// Inverse of the modulus modulo 2^62.
    inverse62: u64,
}

pub(super) static FIELD: Modulus = Modulus::new(&field::MODULUS);
pub(super) static ORDER: Modulus = Modulus::new(&scalar::ORDER);

impl Modulus {
    const fn new(limbs: &Limbs) -> Self {
        // Newton: each step doubles the number of correct low bits.
        let mut inverse = 1u64;
        let mut step = 0;
        while step < 6 {
            let error = 2u64.wrapping_sub(limbs[0].wrapping_mul(inverse));
            inverse = inverse.wrapping_mul(error);
            step += 1;
        }
        Self {
            value: to_signed62(limbs),
            inverse62: inverse & LIMB_MASK,
        }
    }
}

/// The effect of 62 division steps, times 2^62: (f, g) -> (u f + v g, q f + r g).
struct Transition {
    u: i64,
    v: i64,
    q: i64,
    r: i64,
}

/// The inverse of `x` below the modulus; zero for zero.
///
/// Always inlined: a caller for a certain CPU has it compiled for that CPU.
#[inline(always)]
pub(super) fn invert(x: &Limbs, modulus: &Modulus) -> Limbs {
    let mut d = [0; 5];
    let mut e = [1, 0, 0, 0, 0];
    let mut f = modulus.value;
    let mut g = to_signed62(x);
    let mut eta = -1;
    let mut length = 5;
    loop {
        let (next, step) = division_steps(eta, f[0] as u64, g[0] as u64);
        eta = next;
        update_cofactors(&mut d, &mut e, &step, modulus);
        update_values(length, &mut f, &mut g, &step);
        if g[..length].iter().all(|&limb| limb == 0) {
            break;
        }
        length = shorten(length, &mut f, &mut g);
    }
    // f is now 1 or -1, and d is the inverse up to that sign.
    from_signed62(&normalize(d, f[length - 1] < 0, modulus))
}

/// Drops the top limbs of f and g when they only carry the sign.
#[inline(always)]
fn shorten(length: usize, f: &mut Signed62, g: &mut Signed62) -> usize {
    let (top_f, top_g) = (f[length - 1], g[length - 1]);
    let sign_only = |limb: i64| limb == 0 || limb == -1;
    if length < 2 || !sign_only(top_f) || !sign_only(top_g) {
        return length;
    }
    f[length - 2] |= ((top_f as u64) << LIMB_BITS) as i64;
    g[length - 2] |= ((top_g as u64) << LIMB_BITS) as i64;
    length - 1
}

/// 62 division steps on the low words; `eta` is minus the delta of the paper.
#[inline(always)]
fn division_steps(mut eta: i64, mut f: u64, mut g: u64) -> (i64, Transition) {
    let (mut u, mut v, mut q, mut r) = (1u64, 0u64, 0u64, 1u64);
    let mut left = i64::from(LIMB_BITS);
    loop {
        // The mask bounds the count of zeros by the steps that are left.
        let zeros = (g | (u64::MAX << left)).trailing_zeros();
        g >>= zeros;
        u <<= zeros;
        v <<= zeros;
        eta -= i64::from(zeros);
        left -= i64::from(zeros);
        if left == 0 {
            break;
        }
        if eta < 0 {
            eta = -eta;
            (f, g) = (g, f.wrapping_neg());
            (u, q) = (q, u.wrapping_neg());
            (v, r) = (r, v.wrapping_neg());
        }
        // Cancel up to six low bits of g at once with w = -g / f modulo 64. For odd f the square
        // is 1 modulo 8, so f^2 (f^2 - 2) = (f^2 - 1)^2 - 1 = -1 and f (f^2 - 2) = -1 / f.
        let cancel = (eta + 1).min(left);
        let mask = (u64::MAX >> (64 - cancel)) & 63;
        let minus_inverse = f.wrapping_mul(f).wrapping_sub(2).wrapping_mul(f);
        let w = minus_inverse.wrapping_mul(g) & mask;
        g = g.wrapping_add(f.wrapping_mul(w));
        q = q.wrapping_add(u.wrapping_mul(w));
        r = r.wrapping_add(v.wrapping_mul(w));
    }
    let step = Transition {
        u: u as i64,
        v: v as i64,
        q: q as i64,
        r: r as i64,
    };
    (eta, step)
}

/// Applies a transition to f and g and divides by 2^62, which is exact.
#[inline(always)]
fn update_values(length: usize, f: &mut Signed62, g: &mut Signed62, t: &Transition) {
    let row = |a: i64, b: i64, i: usize, f: &Signed62, g: &Signed62| {
        i128::from(a) * i128::from(f[i]) + i128::from(b) * i128::from(g[i])
    };
    let mut carry_f = row(t.u, t.v, 0, f, g) >> LIMB_BITS;
    let mut carry_g = row(t.q, t.r, 0, f, g) >> LIMB_BITS;
    for i in 1..length {
        carry_f += row(t.u, t.v, i, f, g);
        carry_g += row(t.q, t.r, i, f, g);
        f[i - 1] = (carry_f as u64 & LIMB_MASK) as i64;
        g[i - 1] = (carry_g as u64 & LIMB_MASK) as i64;
        carry_f >>= LIMB_BITS;
        carry_g >>= LIMB_BITS;
    }
    f[length - 1] = carry_f as i64;
    g[length - 1] = carry_g as i64;
}

/// Applies a transition to d and e modulo the modulus.
///
/// A multiple of the modulus is added first that makes the sum divisible by 2^62.
#[inline(always)]
fn update_cofactors(d: &mut Signed62, e: &mut Signed62, t: &Transition, modulus: &Modulus) {
    let m = &modulus.value;
    // Start from d, e lifted above zero: keeps both within (-2 m, m).
    let (negative_d, negative_e) = (d[4] >> 63, e[4] >> 63);
    let mut multiple_d = (t.u & negative_d) + (t.v & negative_e);
    let mut multiple_e = (t.q & negative_d) + (t.r & negative_e);
    let wide = |a: i64, b: i64| i128::from(a) * i128::from(b);
    let mut carry_d = wide(t.u, d[0]) + wide(t.v, e[0]);
    let mut carry_e = wide(t.q, d[0]) + wide(t.r, e[0]);
    let correction = |carry: i128, multiple: i64| {
        let low = modulus.inverse62.wrapping_mul(carry as u64);
        (low.wrapping_add(multiple as u64) & LIMB_MASK) as i64
    };
    multiple_d -= correction(carry_d, multiple_d);
    multiple_e -= correction(carry_e, multiple_e);
    carry_d = (carry_d + wide(m[0], multiple_d)) >> LIMB_BITS;
    carry_e = (carry_e + wide(m[0], multiple_e)) >> LIMB_BITS;
    for i in 1..5 {
        carry_d += wide(t.u, d[i]) + wide(t.v, e[i]) + wide(m[i], multiple_d);
        carry_e += wide(t.q, d[i]) + wide(t.r, e[i]) + wide(m[i], multiple_e);
        d[i - 1] = (carry_d as u64 & LIMB_MASK) as i64;
        e[i - 1] = (carry_e as u64 & LIMB_MASK) as i64;
        carry_d >>= LIMB_BITS;
        carry_e >>= LIMB_BITS;
    }
    d[4] = carry_d as i64;
    e[4] = carry_e as i64;
}

/// Brings a value of (-2 m, m), negated if asked, into [0, m).
fn normalize(mut value: Signed62, negate: bool, modulus: &Modulus) -> Signed62 {
    add_if_negative(&mut value, modulus);
    if negate {
        value = value.map(|limb| -limb);
    }
    carry(&mut value);
    add_if_negative(&mut value, modulus);
    carry(&mut value);
    value
}

fn add_if_negative(value: &mut Signed62, modulus: &Modulus) {
    if value[4] < 0 {
        for (limb, m) in value.iter_mut().zip(&modulus.value) {
            *limb += m;
        }
    }
}

fn carry(value: &mut Signed62) {
    for i in 0..4 {
        value[i + 1] += value[i] >> LIMB_BITS;
        value[i] &= LIMB_MASK as i64;
    }
}

const fn to_signed62(a: &Limbs) -> Signed62 {
    [
        (a[0] & LIMB_MASK) as i64,
        (((a[0] >> 62) | (a[1] << 2)) & LIMB_MASK) as i64,
        (((a[1] >> 60) | (a[2] << 4)) & LIMB_MASK) as i64,
        (((a[2] >> 58) | (a[3] << 6)) & LIMB_MASK) as i64,
        (a[3] >> 56) as i64,
    ]
}

const fn from_signed62(a: &Signed62) -> Limbs {
    [
        a[0] as u64 | ((a[1] as u64) << 62),
        ((a[1] as u64) >> 2) | ((a[2] as u64) << 60),
        ((a[2] as u64) >> 4) | ((a[3] as u64) << 58),
        ((a[3] as u64) >> 6) | ((a[4] as u64) << 56),
    ]
}
