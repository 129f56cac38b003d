//! The instructions used here, on one 64-bit word in each of eight lanes.

use core::arch::x86_64::{
    __m512i, __mmask8, _mm512_add_epi64, _mm512_and_si512, _mm512_loadu_si512,
    _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_or_si512, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_slli_epi64, _mm512_srli_epi64, _mm512_storeu_si512,
    _mm512_sub_epi64,
};

/// One 64-bit word in each of eight lanes.
pub(super) type Word = __m512i;
/// One bit per lane.
pub(super) type Mask = __mmask8;

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn splat(value: u64) -> Word {
    _mm512_set1_epi64(value as i64)
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn load_words(words: &[u64; 8]) -> Word {
    // SAFETY: reads the 64 bytes of the array.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn store_words(word: Word) -> [u64; 8] {
    let mut words = [0; 8];
    // SAFETY: writes the 64 bytes of the array.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), word) };
    words
}

/// `sum` plus the low 52 bits of the product of the low 52 bits of each factor.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn mul_low(sum: Word, a: Word, b: Word) -> Word {
    _mm512_madd52lo_epu64(sum, a, b)
}

/// `sum` plus the next 52 bits of that product.
#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn mul_high(sum: Word, a: Word, b: Word) -> Word {
    _mm512_madd52hi_epu64(sum, a, b)
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn add(a: Word, b: Word) -> Word {
    _mm512_add_epi64(a, b)
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn sub(a: Word, b: Word) -> Word {
    _mm512_sub_epi64(a, b)
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn and(a: Word, b: Word) -> Word {
    _mm512_and_si512(a, b)
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn or(a: Word, b: Word) -> Word {
    _mm512_or_si512(a, b)
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn shr<const BITS: u32>(a: Word) -> Word {
    _mm512_srli_epi64::<BITS>(a)
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn shl<const BITS: u32>(a: Word) -> Word {
    _mm512_slli_epi64::<BITS>(a)
}

#[target_feature(enable = "avx512f,avx512ifma,bmi1,bmi2")]
#[inline]
pub(super) fn zero() -> Word {
    _mm512_setzero_si512()
}
