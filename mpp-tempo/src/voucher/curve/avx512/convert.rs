//! Between field elements and lanes: loading, storing, canonical values.

use core::arch::x86_64::{
    _mm512_loadu_si512, _mm512_mask_mov_epi64, _mm512_permutex_epi64, _mm512_shuffle_epi32,
    _mm512_shuffle_i64x2, _mm512_test_epi64_mask, _mm512_testn_epi64_mask, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi64,
};

use super::super::field::{FOLD, FieldElement};
use super::super::point::AffinePoint;
use super::inverse;
use super::lanes::{FieldVector, LIMB, TOP, carry, carry_weak};
use super::words::{Mask, Word, add, and, load_words, or, shl, shr, splat, store_words, zero};

impl FieldVector {
    /// The same element in every lane.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn splat(value: &FieldElement) -> Self {
        let v = &value.0;
        split([splat(v[0]), splat(v[1]), splat(v[2]), splat(v[3])])
    }

    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    #[inline]
    pub(super) fn one() -> Self {
        Self::splat(&FieldElement::ONE)
    }

    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    pub(super) fn from_lanes(lanes: &[FieldElement; 8]) -> Self {
        split(core::array::from_fn(|limb| {
            load_words(&core::array::from_fn(|lane| lanes[lane].0[limb]))
        }))
    }

    /// The canonical elements of a weak value.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    pub(super) fn to_lanes(self) -> [FieldElement; 8] {
        let limbs: [[u64; 8]; 5] = {
            let c = self.normalize().0;
            [
                store_words(c[0]),
                store_words(c[1]),
                store_words(c[2]),
                store_words(c[3]),
                store_words(c[4]),
            ]
        };
        core::array::from_fn(|lane| FieldElement(join(core::array::from_fn(|i| limbs[i][lane]))))
    }

    /// The inverse of each lane with one inversion: the product of all lanes is inverted, and each
    /// lane gets it times the product of the others. No lane may be zero.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    pub(super) fn invert_lanes(&self) -> Self {
        let exchanged = Self(exchange::<1>(&self.0));
        let pairs = self.mul(&exchanged);
        let other_pairs = Self(exchange::<2>(&pairs.0));
        let halves = pairs.mul(&other_pairs);
        let other_half = Self(exchange::<4>(&halves.0));
        let [product, ..] = halves.mul(&other_half).to_lanes();
        let inverse = Self::splat(&inverse::of_element(&product));
        inverse.mul(&other_half).mul(&other_pairs).mul(&exchanged)
    }

    /// The canonical representatives of a weak value.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    pub(super) fn normalize(&self) -> Self {
        let mut t = carry_weak(self.0).0;
        // t >= p exactly if t + (2^256 - p) passes 2^256, and then that sum is the remainder.
        let mut shifted = t;
        shifted[0] = add(shifted[0], splat(FOLD));
        let reduced = carry(shifted).0;
        let at_least_p = _mm512_test_epi64_mask(reduced[4], splat(!TOP));
        for i in 0..4 {
            t[i] = _mm512_mask_mov_epi64(t[i], at_least_p, reduced[i]);
        }
        t[4] = _mm512_mask_mov_epi64(t[4], at_least_p, and(reduced[4], splat(TOP)));
        Self(t)
    }

    /// Lanes in which a weak value is zero.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    pub(super) fn zero_lanes(&self) -> Mask {
        let c = self.normalize().0;
        let any = or(or(or(c[0], c[1]), or(c[2], c[3])), c[4]);
        _mm512_testn_epi64_mask(any, any)
    }

    /// Lanes in which a weak value is odd.
    #[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
    pub(super) fn odd_lanes(&self) -> Mask {
        _mm512_test_epi64_mask(self.normalize().0[0], splat(1))
    }
}

/// Exchanges each lane with the one whose number differs by `DISTANCE`: 1, 2 or 4.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn exchange<const DISTANCE: usize>(limbs: &[Word; 5]) -> [Word; 5] {
    let mut exchanged = *limbs;
    for limb in &mut exchanged {
        *limb = match DISTANCE {
            1 => _mm512_shuffle_epi32::<0b01_00_11_10>(*limb),
            2 => _mm512_permutex_epi64::<0b01_00_11_10>(*limb),
            _ => _mm512_shuffle_i64x2::<0b01_00_11_10>(*limb, *limb),
        };
    }
    exchanged
}

/// [`limbs52`] in every lane.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn split(w: [Word; 4]) -> FieldVector {
    let mask = splat(LIMB);
    FieldVector([
        and(w[0], mask),
        and(or(shr::<52>(w[0]), shl::<12>(w[1])), mask),
        and(or(shr::<40>(w[1]), shl::<24>(w[2])), mask),
        and(or(shr::<28>(w[2]), shl::<36>(w[3])), mask),
        shr::<16>(w[3]),
    ])
}

/// Four words of 64 bits as five limbs of 52.
pub(super) const fn limbs52(w: &[u64; 4]) -> [u64; 5] {
    [
        w[0] & LIMB,
        ((w[0] >> 52) | (w[1] << 12)) & LIMB,
        ((w[1] >> 40) | (w[2] << 24)) & LIMB,
        ((w[2] >> 28) | (w[3] << 36)) & LIMB,
        w[3] >> 16,
    ]
}

/// The reverse of [`split`] for one lane; bits above 2^256 are dropped.
pub(super) const fn join(c: [u64; 5]) -> [u64; 4] {
    [
        c[0] | (c[1] << 52),
        (c[1] >> 12) | (c[2] << 40),
        (c[2] >> 24) | (c[3] << 28),
        (c[3] >> 36) | (c[4] << 16),
    ]
}

/// The coordinates of eight points, one point per lane.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn load_points(points: [&AffinePoint; 8]) -> (FieldVector, FieldVector) {
    let mut rows = [zero(); 8];
    for (row, point) in rows.iter_mut().zip(points) {
        *row = load_point(point);
    }
    let t = transpose(rows);
    (
        split([t[0], t[1], t[2], t[3]]),
        split([t[4], t[5], t[6], t[7]]),
    )
}

/// Turns eight rows of eight words into columns.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn transpose(r: [Word; 8]) -> [Word; 8] {
    // Words of equal parity from two rows, then even or odd 128-bit groups, twice.
    let mut even = [zero(); 4];
    let mut odd = [zero(); 4];
    for i in 0..4 {
        even[i] = _mm512_unpacklo_epi64(r[2 * i], r[2 * i + 1]);
        odd[i] = _mm512_unpackhi_epi64(r[2 * i], r[2 * i + 1]);
    }
    const LOW: i32 = 0x88;
    const HIGH: i32 = 0xdd;
    let quarter = |pairs: [Word; 4]| {
        [
            _mm512_shuffle_i64x2::<LOW>(pairs[0], pairs[1]),
            _mm512_shuffle_i64x2::<HIGH>(pairs[0], pairs[1]),
            _mm512_shuffle_i64x2::<LOW>(pairs[2], pairs[3]),
            _mm512_shuffle_i64x2::<HIGH>(pairs[2], pairs[3]),
        ]
    };
    let (e, o) = (quarter(even), quarter(odd));
    [
        _mm512_shuffle_i64x2::<LOW>(e[0], e[2]),
        _mm512_shuffle_i64x2::<LOW>(o[0], o[2]),
        _mm512_shuffle_i64x2::<LOW>(e[1], e[3]),
        _mm512_shuffle_i64x2::<LOW>(o[1], o[3]),
        _mm512_shuffle_i64x2::<HIGH>(e[0], e[2]),
        _mm512_shuffle_i64x2::<HIGH>(o[0], o[2]),
        _mm512_shuffle_i64x2::<HIGH>(e[1], e[3]),
        _mm512_shuffle_i64x2::<HIGH>(o[1], o[3]),
    ]
}

/// The limbs of x, then those of y.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn load_point(point: &AffinePoint) -> Word {
    const { assert!(size_of::<AffinePoint>() == 64) };
    // SAFETY: reads the 64 bytes of the point, which are eight initialized u64.
    unsafe { _mm512_loadu_si512(core::ptr::from_ref(point).cast()) }
}
