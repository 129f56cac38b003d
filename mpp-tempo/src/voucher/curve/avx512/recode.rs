//! The comb digits of eight claims: u1, the split of u2, and the recoding of both.

use core::arch::x86_64::{
    _mm512_mask_mov_epi64, _mm512_mask_sub_epi64, _mm512_mask_xor_epi64, _mm512_srai_epi64,
    _mm512_test_epi64_mask, _mm512_testn_epi64_mask,
};

use super::super::glv;
use super::super::tables::CORRECTIONS;
use super::convert::limbs52;
use super::lanes::LIMB;
use super::scalars::{N, ScalarVector, montgomery_mul};
use super::steps::{FIRST, Group, SECOND, Step};
use super::words::{Mask, Word, add, and, mul_high, mul_low, or, shl, shr, splat, sub, zero};

const ESTIMATES: [[u64; 5]; 2] = [limbs52(&glv::estimates()[0]), limbs52(&glv::estimates()[1])];
const A1: [u64; 3] = split_half(glv::A1, 0);
const MINUS_B1: [u64; 3] = split_half(glv::MINUS_B1, 0);
const A2: [u64; 3] = split_half(glv::A2_LOW, 1);

const fn split_half(low: u128, bit_128: u64) -> [u64; 3] {
    let [a, b, c, ..] = limbs52(&[low as u64, (low >> 64) as u64, bit_128, 0]);
    [a, b, c]
}

/// The digits of `u1 = message / s` and `u2 = r / s` for eight claims.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
pub(super) fn digits(
    message: &ScalarVector,
    r: &ScalarVector,
    inverse_s: &ScalarVector,
    group: &mut Group,
) {
    generator_digits(&reduce(&montgomery_mul(message, inverse_s)), group);
    let u2 = reduce(&montgomery_mul(r, inverse_s));
    let [first, second] = split_halves(&u2);
    half_digits::<FIRST>(&first, group);
    half_digits::<SECOND>(&second, group);
    correction(&first, &second, group);
}

/// Subtracts n once where that leaves no negative number: below n for results of products.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn reduce(value: &ScalarVector) -> ScalarVector {
    let mut t = *value;
    for i in 0..5 {
        t[i] = sub(t[i], splat(N[i]));
    }
    for i in 0..4 {
        t[i + 1] = add(t[i + 1], _mm512_srai_epi64::<52>(t[i]));
        t[i] = and(t[i], splat(LIMB));
    }
    let below = _mm512_test_epi64_mask(t[4], splat(1 << 63));
    for i in 0..5 {
        t[i] = _mm512_mask_mov_epi64(t[i], below, value[i]);
    }
    t
}

/// Eight halves of split scalars: magnitudes of 128 bits in two words, and signs.
struct HalfVector {
    low: Word,
    high: Word,
    negative: Mask,
}

/// See [`glv::split`].
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn split_halves(k: &ScalarVector) -> [HalfVector; 2] {
    let c1 = rounded_high(k, &ESTIMATES[0]);
    let c2 = rounded_high(k, &ESTIMATES[1]);
    let mut subtrahend = [zero(); 3];
    add_low_product(&mut subtrahend, &c1, &A1);
    add_low_product(&mut subtrahend, &c2, &A2);
    let first = difference(&[k[0], k[1], k[2]], &subtrahend);
    let (mut minuend, mut subtrahend) = ([zero(); 3], [zero(); 3]);
    add_low_product(&mut minuend, &c1, &MINUS_B1);
    add_low_product(&mut subtrahend, &c2, &A1);
    [first, difference(&minuend, &subtrahend)]
}

/// `k estimate / 2^384` rounded, in limbs of 52 bits.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn rounded_high(k: &ScalarVector, estimate: &[u64; 5]) -> [Word; 3] {
    let mut t = [zero(); 10];
    for i in 0..5 {
        for j in 0..5 {
            t[i + j] = mul_low(t[i + j], k[i], splat(estimate[j]));
            t[i + j + 1] = mul_high(t[i + j + 1], k[i], splat(estimate[j]));
        }
    }
    // 384 = 7 * 52 + 20: half a unit is bit 19 of column 7.
    t[7] = add(t[7], splat(1 << 19));
    for i in 0..9 {
        t[i + 1] = add(t[i + 1], shr::<52>(t[i]));
    }
    let mask = splat(LIMB);
    [
        and(or(shr::<20>(and(t[7], mask)), shl::<32>(t[8])), mask),
        and(or(shr::<20>(and(t[8], mask)), shl::<32>(t[9])), mask),
        shr::<20>(t[9]),
    ]
}

/// Adds `x y` modulo 2^156 to uncarried limbs.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn add_low_product(sum: &mut [Word; 3], x: &[Word; 3], y: &[u64; 3]) {
    for i in 0..3 {
        for j in 0..3 - i {
            sum[i + j] = mul_low(sum[i + j], x[i], splat(y[j]));
            if i + j < 2 {
                sum[i + j + 1] = mul_high(sum[i + j + 1], x[i], splat(y[j]));
            }
        }
    }
}

/// `a - b` modulo 2^156, taken as signed.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn difference(a: &[Word; 3], b: &[Word; 3]) -> HalfVector {
    let t = carry_signed([sub(a[0], b[0]), sub(a[1], b[1]), sub(a[2], b[2])]);
    let negative = _mm512_test_epi64_mask(t[2], splat(1 << 51));
    let negated = carry_signed([sub(zero(), t[0]), sub(zero(), t[1]), sub(zero(), t[2])]);
    let t0 = _mm512_mask_mov_epi64(t[0], negative, negated[0]);
    let t1 = _mm512_mask_mov_epi64(t[1], negative, negated[1]);
    let t2 = _mm512_mask_mov_epi64(t[2], negative, negated[2]);
    HalfVector {
        low: or(t0, shl::<52>(t1)),
        high: or(shr::<12>(t1), shl::<40>(t2)),
        negative,
    }
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn carry_signed(t: [Word; 3]) -> [Word; 3] {
    let mask = splat(LIMB);
    let t1 = add(t[1], _mm512_srai_epi64::<52>(t[0]));
    let t2 = add(t[2], _mm512_srai_epi64::<52>(t1));
    [and(t[0], mask), and(t1, mask), and(t2, mask)]
}

/// u1, or minus n - u1 where it is even, recoded as in the scalar code.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn generator_digits(u1: &ScalarVector, group: &mut Group) {
    let even = _mm512_testn_epi64_mask(u1[0], splat(1));
    let mut odd = *u1;
    for i in 0..5 {
        odd[i] = _mm512_mask_sub_epi64(odd[i], even, splat(N[i]), odd[i]);
    }
    for i in 0..4 {
        odd[i + 1] = add(odd[i + 1], _mm512_srai_epi64::<52>(odd[i]));
        odd[i] = and(odd[i], splat(LIMB));
    }
    // The words of odd >> 1, with the bit that the recoding sets at the top.
    let blocks = [
        or(shr::<1>(odd[0]), shl::<51>(odd[1])),
        or(shr::<13>(odd[1]), shl::<39>(odd[2])),
        or(shr::<25>(odd[2]), shl::<27>(odd[3])),
        or(or(shr::<37>(odd[3]), shl::<15>(odd[4])), splat(1 << 63)),
    ];
    for (block, bits) in blocks.into_iter().enumerate() {
        let first = (block as u64) << 15;
        let mut put = |position: usize, teeth: Word| {
            let teeth = and(or(teeth, shr::<24>(teeth)), splat(0xffff));
            *group.step(position, block) = entry::<16>(teeth, first, even);
        };
        put(0, every_fourth_bit::<0>(bits));
        put(1, every_fourth_bit::<1>(bits));
        put(2, every_fourth_bit::<2>(bits));
        put(3, every_fourth_bit::<3>(bits));
    }
}

/// The digits of eight halves, at steps `COLUMN` to `COLUMN + 3` of each position.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn half_digits<const COLUMN: usize>(half: &HalfVector, group: &mut Group) {
    let words = [
        or(shr::<1>(half.low), shl::<63>(half.high)),
        or(shr::<1>(half.high), splat(1 << 63)),
    ];
    for (index, bits) in words.into_iter().enumerate() {
        let block = 2 * index;
        let mut put = |position: usize, teeth: Word| {
            let (low, high) = (and(teeth, splat(0xff)), shr::<32>(teeth));
            let first = (block as u64) << 7;
            *group.step(position, COLUMN + block) = entry::<8>(low, first, half.negative);
            *group.step(position, COLUMN + block + 1) =
                entry::<8>(high, first + (1 << 7), half.negative);
        };
        put(0, every_fourth_bit::<0>(bits));
        put(1, every_fourth_bit::<1>(bits));
        put(2, every_fourth_bit::<2>(bits));
        put(3, every_fourth_bit::<3>(bits));
    }
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn every_fourth_bit<const POSITION: u32>(word: Word) -> Word {
    let y = and(shr::<POSITION>(word), splat(0x1111_1111_1111_1111));
    let y = and(or(y, shr::<3>(y)), splat(0x0303_0303_0303_0303));
    let y = and(or(y, shr::<6>(y)), splat(0x000f_000f_000f_000f));
    and(or(y, shr::<12>(y)), splat(0x0000_00ff_0000_00ff))
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn entry<const TEETH: u32>(teeth: Word, first: u64, flip: Mask) -> Step {
    let top_positive = _mm512_test_epi64_mask(teeth, splat(1 << (TEETH - 1)));
    let low = splat((1 << (TEETH - 1)) - 1);
    let index = and(
        _mm512_mask_xor_epi64(teeth, !top_positive, teeth, splat(u64::MAX)),
        low,
    );
    Step::new(add(index, splat(first)), !top_positive ^ flip)
}

/// See [`Digits::correction`](super::super::digits::Digits).
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
fn correction(first: &HalfVector, second: &HalfVector, group: &mut Group) {
    let even_first = _mm512_testn_epi64_mask(first.low, splat(1));
    let even_second = _mm512_testn_epi64_mask(second.low, splat(1));
    let both = even_first & even_second;
    let differ = first.negative ^ second.negative;
    let mut offset = zero();
    offset = _mm512_mask_mov_epi64(offset, even_second & !even_first, splat(1));
    offset = _mm512_mask_mov_epi64(offset, both & !differ, splat(2));
    offset = _mm512_mask_mov_epi64(offset, both & differ, splat(3));
    let negative = (even_first & !first.negative) | (!even_first & even_second & !second.negative);
    let entry = add(offset, splat(CORRECTIONS as u64));
    group.correction = Step::new(entry, negative);
    group.corrected = even_first | even_second;
}
