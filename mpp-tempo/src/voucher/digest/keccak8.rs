//! Eight EIP-712 digests at once: Keccak-f[1600] with one state per lane of AVX-512.

use core::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_or_si512, _mm512_rol_epi64, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_slli_epi64, _mm512_srli_epi64, _mm512_storeu_si512,
    _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use crate::voucher::curve::Avx512;
use crate::voucher::domain::Message;

/// Round constants.
const ROUNDS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// Last word of a block of 136 bytes: the end of the padding.
const LAST: usize = 16;
const END_OF_PADDING: u64 = 1 << 63;

type State = [__m512i; 25];

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

/// A little-endian word of a hash.
fn word(hash: &[u8], index: usize) -> u64 {
    hash.as_chunks::<8>()
        .0
        .get(index)
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Keccak-f[1600].
#[target_feature(enable = "avx512f")]
fn permute(s: &mut State) {
    /// Three-way exclusive or.
    const XOR: i32 = 0x96;
    /// `a ^ (!b & c)`.
    const CHI: i32 = 0xd2;
    for round in ROUNDS {
        let column = |x: usize| {
            let upper = _mm512_ternarylogic_epi64::<XOR>(s[x], s[x + 5], s[x + 10]);
            _mm512_ternarylogic_epi64::<XOR>(upper, s[x + 15], s[x + 20])
        };
        let c = [column(0), column(1), column(2), column(3), column(4)];
        let rotated = c.map(|word| _mm512_rol_epi64::<1>(word));
        // theta and rho of one lane of the state
        macro_rules! lane {
            ($index:literal, $rotation:literal) => {{
                let (left, right) = (c[($index + 4) % 5], rotated[($index + 1) % 5]);
                let mixed = _mm512_ternarylogic_epi64::<XOR>(s[$index], left, right);
                _mm512_rol_epi64::<$rotation>(mixed)
            }};
        }
        // pi names the lanes of a row, chi mixes them
        macro_rules! row {
            ($($index:literal $rotation:literal),*) => {{
                let b = [$(lane!($index, $rotation)),*];
                [
                    _mm512_ternarylogic_epi64::<CHI>(b[0], b[1], b[2]),
                    _mm512_ternarylogic_epi64::<CHI>(b[1], b[2], b[3]),
                    _mm512_ternarylogic_epi64::<CHI>(b[2], b[3], b[4]),
                    _mm512_ternarylogic_epi64::<CHI>(b[3], b[4], b[0]),
                    _mm512_ternarylogic_epi64::<CHI>(b[4], b[0], b[1]),
                ]
            }};
        }
        let rows = [
            row!(0 0, 6 44, 12 43, 18 21, 24 14),
            row!(3 28, 9 20, 10 3, 16 45, 22 61),
            row!(1 1, 7 6, 13 25, 19 8, 20 18),
            row!(4 27, 5 36, 11 10, 17 15, 23 56),
            row!(2 62, 8 55, 14 39, 15 41, 21 2),
        ];
        for (place, lane) in s.iter_mut().zip(rows.as_flattened()) {
            *place = *lane;
        }
        s[0] = _mm512_xor_si512(s[0], splat(round));
    }
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
