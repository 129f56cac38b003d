//! The EIP-712 digest of one voucher, with one word of the state per register.

use core::arch::x86_64::{
    __m128i, _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_rol_epi64, _mm_ternarylogic_epi64,
    _mm_xor_si128,
};

use super::permutation::{END_OF_PADDING, LAST, permutation, word};
use crate::voucher::curve::Avx512;
use crate::voucher::domain::Message;

/// The digest of a message.
pub(super) fn digest(_proof: Avx512, message: &Message) -> [u8; 32] {
    // SAFETY: the proof says that the CPU has AVX-512F and its short registers.
    unsafe { digest_in_registers(message) }
}

#[target_feature(enable = "avx512f,avx512vl")]
fn digest_in_registers(message: &Message) -> [u8; 32] {
    // keccak(type hash, channel id, uint256 amount): twelve words, and the padding after them.
    let mut state = [splat(0); 25];
    for index in 0..4 {
        state[index] = splat(word(message.type_hash.as_slice(), index));
        state[4 + index] = splat(word(message.channel_id.as_slice(), index));
    }
    state[10] = splat(((message.cumulative >> 64) as u64).swap_bytes());
    state[11] = splat((message.cumulative as u64).swap_bytes());
    state[12] = splat(1);
    state[LAST] = splat(END_OF_PADDING);
    permute(&mut state);

    // keccak(0x19 0x01, separator, that hash): everything is shifted by two bytes.
    let hash = store(&state);
    let mut state = [splat(0); 25];
    let mut carried = 0x0119;
    for index in 0..8 {
        let word = if index < 4 {
            word(message.separator.as_slice(), index)
        } else {
            hash[index - 4]
        };
        state[index] = splat(carried | word << 16);
        carried = word >> 48;
    }
    state[8] = splat(carried | 1 << 16);
    state[LAST] = splat(END_OF_PADDING);
    permute(&mut state);

    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut::<8>().0.iter_mut().zip(store(&state)) {
        *bytes = word.to_le_bytes();
    }
    digest
}

permutation! {
    $ "avx512f,avx512vl", __m128i, splat,
    _mm_ternarylogic_epi64, _mm_rol_epi64, _mm_xor_si128
}

#[target_feature(enable = "avx512f,avx512vl")]
fn splat(value: u64) -> __m128i {
    _mm_cvtsi64_si128(value.cast_signed())
}

/// The words of the hash.
#[target_feature(enable = "avx512f,avx512vl")]
fn store(state: &[__m128i; 25]) -> [u64; 4] {
    core::array::from_fn(|index| _mm_cvtsi128_si64(state[index]).cast_unsigned())
}
