//! Eight EIP-712 digests at once: Keccak-f[1600] with one state per lane of AVX-512.

use core::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_or_si512, _mm512_rol_epi64, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_slli_epi64, _mm512_srli_epi64, _mm512_storeu_si512,
    _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use super::permutation::{END_OF_PADDING, LAST, permutation, word};
use crate::voucher::curve::Avx512;
use crate::voucher::domain::Message;

/// The digests of eight messages.
pub(super) fn digests(_proof: Avx512, messages: &[Message; 8]) -> [[u8; 32]; 8] {
    // SAFETY: the proof says that the CPU has AVX-512F.
    unsafe { digests_in_lanes(messages) }
}

#[target_feature(enable = "avx512f")]
fn digests_in_lanes(messages: &[Message; 8]) -> [[u8; 32]; 8] {
    let gather = |word: &dyn Fn(&Message) -> u64| load(&messages.each_ref().map(word));
    // keccak(type hash, channel id, uint256 amount): twelve words, and the padding after them.
    let mut state = [_mm512_setzero_si512(); 25];
    for index in 0..4 {
        state[index] = gather(&|m| word(m.type_hash.as_slice(), index));
        state[4 + index] = gather(&|m| word(m.channel_id.as_slice(), index));
    }
    state[10] = gather(&|m| ((m.cumulative >> 64) as u64).swap_bytes());
    state[11] = gather(&|m| (m.cumulative as u64).swap_bytes());
    state[12] = splat(1);
    state[LAST] = splat(END_OF_PADDING);
    permute(&mut state);

    // keccak(0x19 0x01, separator, that hash): everything is shifted by two bytes.
    let hash = [state[0], state[1], state[2], state[3]];
    let mut words = [_mm512_setzero_si512(); 8];
    for index in 0..4 {
        words[index] = gather(&|m| word(m.separator.as_slice(), index));
        words[4 + index] = hash[index];
    }
    let mut state = [_mm512_setzero_si512(); 25];
    let mut carried = splat(0x0119);
    for (place, word) in state.iter_mut().zip(words) {
        *place = _mm512_or_si512(carried, _mm512_slli_epi64::<16>(word));
        carried = _mm512_srli_epi64::<48>(word);
    }
    state[8] = _mm512_or_si512(carried, splat(1 << 16));
    state[LAST] = splat(END_OF_PADDING);
    permute(&mut state);

    let words = [
        store(state[0]),
        store(state[1]),
        store(state[2]),
        store(state[3]),
    ];
    core::array::from_fn(|lane| {
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut::<8>().0.iter_mut().zip(&words) {
            *bytes = word[lane].to_le_bytes();
        }
        digest
    })
}

permutation! {
    $ "avx512f", __m512i, splat,
    _mm512_ternarylogic_epi64, _mm512_rol_epi64, _mm512_xor_si512
}

#[target_feature(enable = "avx512f")]
fn splat(value: u64) -> __m512i {
    _mm512_set1_epi64(value.cast_signed())
}

#[target_feature(enable = "avx512f")]
fn load(words: &[u64; 8]) -> __m512i {
    // SAFETY: reads the 64 bytes of the array.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn store(word: __m512i) -> [u64; 8] {
    let mut words = [0; 8];
    // SAFETY: writes the 64 bytes of the array.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), word) };
    words
}
