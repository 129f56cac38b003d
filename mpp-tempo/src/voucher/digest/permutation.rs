//! Keccak-f[1600] in vector registers, and what its users share.

/// Round constants.
pub(super) const ROUNDS: [u64; 24] = [
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
pub(super) const LAST: usize = 16;
pub(super) const END_OF_PADDING: u64 = 1 << 63;

/// A little-endian word of a hash.
pub(super) fn word(hash: &[u8], index: usize) -> u64 {
    hash.as_chunks::<8>()
        .0
        .get(index)
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Defines `permute` over registers of one width: their states lie side by side.
///
/// AVX-512 rotates and has any function of three bits in one instruction, and its 32 registers
/// hold the 25 words of the state. That is worth it for a single state, too.
macro_rules! permutation {
    ($dollar:tt $features:literal, $word:ty, $splat:ident, $ternary:ident, $rotate:ident, $xor:ident) => {
        /// Keccak-f[1600].
        #[target_feature(enable = $features)]
        fn permute(s: &mut [$word; 25]) {
            /// Three-way exclusive or.
            const XOR: i32 = 0x96;
            /// `a ^ (!b & c)`.
            const CHI: i32 = 0xd2;
            for round in super::permutation::ROUNDS {
                let column = |x: usize| {
                    let upper = $ternary::<XOR>(s[x], s[x + 5], s[x + 10]);
                    $ternary::<XOR>(upper, s[x + 15], s[x + 20])
                };
                let c = [column(0), column(1), column(2), column(3), column(4)];
                let rotated = c.map(|word| $rotate::<1>(word));
                // theta and rho of one word of the state
                macro_rules! lane {
                    ($dollarindex:literal, $dollarrotation:literal) => {{
                        let (left, right) = (c[($dollarindex + 4) % 5], rotated[($dollarindex + 1) % 5]);
                        $rotate::<$dollarrotation>($ternary::<XOR>(s[$dollarindex], left, right))
                    }};
                }
                // pi names the words of a row, chi mixes them
                macro_rules! row {
                    ($dollara:literal $dollarra:literal, $dollarb:literal $dollarrb:literal, $dollarc:literal $dollarrc:literal,
                     $dollard:literal $dollarrd:literal, $dollare:literal $dollarre:literal) => {{
                        let (a, b, c) = (lane!($dollara, $dollarra), lane!($dollarb, $dollarrb), lane!($dollarc, $dollarrc));
                        let (d, e) = (lane!($dollard, $dollarrd), lane!($dollare, $dollarre));
                        [
                            $ternary::<CHI>(a, b, c),
                            $ternary::<CHI>(b, c, d),
                            $ternary::<CHI>(c, d, e),
                            $ternary::<CHI>(d, e, a),
                            $ternary::<CHI>(e, a, b),
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
                for (place, word) in s.iter_mut().zip(rows.as_flattened()) {
                    *place = *word;
                }
                s[0] = $xor(s[0], $splat(round));
            }
        }
    };
}
pub(super) use permutation;
