//! The same inputs every time: the committed ones, and changes of them.
//!
//! Unlike libFuzzer this learns nothing from what it sees, so it needs no
//! instrumented build and does the same on every machine. It is a gate;
//! libFuzzer explores.

use crate::{Shape, trace};

/// Runs `check` over the inputs and then over `runs` changes of them, which
/// `seed` chooses, and
/// returns the checksum of all that was done. `before` is told every input.
pub fn run(
    check: fn(&[u8]),
    inputs: &[Vec<u8>],
    shape: Shape,
    (runs, seed): (u64, u64),
    mut before: impl FnMut(&[u8]),
) -> u32 {
    let mut play = |input: &[u8]| {
        before(input);
        trace::note(input);
        check(input);
    };
    for input in inputs {
        play(input);
    }
    let mut changes = Changes {
        inputs,
        shape,
        random: Random(seed),
    };
    for _ in 0..runs {
        play(&changes.next());
    }
    trace::checksum()
}

/// The seed of the gate; another one tries other changes.
pub const SEED: u64 = 20_260;

/// Bytes that are limits somewhere, and those that grammars are made of.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff \t\r\n\"',:;=[]{}\\/-_.+0129aAfzZ";

/// Makes inputs of inputs.
struct Changes<'a> {
    inputs: &'a [Vec<u8>],
    shape: Shape,
    random: Random,
}

impl Changes<'_> {
    fn next(&mut self) -> Vec<u8> {
        let mut input = self.any().to_vec();
        for _ in 0..1 << self.random.below(4) {
            self.change(&mut input);
        }
        input.truncate(self.shape.longest);
        input
    }

    fn any(&mut self) -> &[u8] {
        let which = self.random.below(self.inputs.len());
        self.inputs.get(which).map_or(&[], Vec::as_slice)
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        match self.random.below(9) {
            0 => self.byte(input, |byte, random| byte ^ 1 << (random % 8)),
            1 => self.byte(input, |byte, random| {
                byte.wrapping_add(random % 9).wrapping_sub(4)
            }),
            2 => self.byte(input, |_, random| {
                TELLING[usize::from(random) % TELLING.len()]
            }),
            3 => self.byte(input, |_, random| random),
            4 => {
                let removed = self.piece(input);
                input.drain(removed);
            }
            5 => {
                let piece = input[self.piece(input)].to_vec();
                self.insert(input, piece);
            }
            6 => {
                let unit = self.shape.unit;
                let piece = (0..unit).map(|_| self.random.byte()).collect();
                self.insert(input, piece);
            }
            7 => {
                let other = self.any().to_vec();
                let piece = other[self.piece(&other)].to_vec();
                self.insert(input, piece);
            }
            // The beginning of one and the end of another.
            _ => {
                let other = self.any().to_vec();
                let (keep, from) = (self.place(input), self.place(&other));
                input.truncate(keep);
                input.extend_from_slice(&other[from..]);
            }
        }
    }

    fn byte(&mut self, input: &mut [u8], change: impl FnOnce(u8, u8) -> u8) {
        let (place, random) = (self.random.below(input.len()), self.random.byte());
        if let Some(byte) = input.get_mut(place) {
            *byte = change(*byte, random);
        }
    }

    fn insert(&mut self, input: &mut Vec<u8>, piece: Vec<u8>) {
        let place = self.place(input);
        input.splice(place..place, piece);
    }

    /// A place between two units.
    fn place(&mut self, input: &[u8]) -> usize {
        self.random.below(input.len() / self.shape.unit + 1) * self.shape.unit
    }

    /// Some units that follow each other, short ones more often.
    fn piece(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let from = self.place(input);
        let most = self
            .random
            .below((input.len() - from) / self.shape.unit + 1);
        let units = self.random.below(most + 1);
        from..from + units * self.shape.unit
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// Less than `end`; 0 for 0.
    fn below(&mut self, end: usize) -> usize {
        self.next().checked_rem(end as u64).unwrap_or(0) as usize
    }
}
