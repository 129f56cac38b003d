//! One pass over the text.

use alloc::vec::Vec;

use super::{MAX_BYTES, MAX_DEPTH, MAX_MEMBERS, Member, Span};

/// Bytes that are looked at together inside of strings.
const STRIDE: usize = 32;

pub(super) struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    members: &'t mut Vec<Member>,
}

/// `None` wherever the general reader has to decide.
impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t [u8], members: &'t mut Vec<Member>) -> Option<Self> {
        let at = 0;
        (text.len() <= MAX_BYTES).then_some(Self { text, at, members })
    }

    /// Reads an object that fills the text.
    pub(super) fn whole(&mut self) -> Option<()> {
        self.eat(b'{')?;
        self.object(MAX_DEPTH)?;
        self.end()
    }

    /// Reads what follows the first member of an object that ends the text.
    pub(super) fn rest(&mut self) -> Option<()> {
        match self.next()? {
            b',' => self.members_of_object(MAX_DEPTH)?,
            b'}' => {}
            _ => return None,
        }
        self.end()
    }

    fn end(&self) -> Option<()> {
        (self.at == self.text.len()).then_some(())
    }

    /// Reads an object behind its opening brace.
    fn object(&mut self, depth_left: usize) -> Option<()> {
        if self.text.get(self.at) == Some(&b'}') {
            return self.eat(b'}');
        }
        self.members_of_object(depth_left)
    }

    fn members_of_object(&mut self, depth_left: usize) -> Option<()> {
        let depth_left = depth_left.checked_sub(1)?;
        let siblings = self.members.len();
        loop {
            self.eat(b'"')?;
            let name = self.string()?;
            if self.members.len() >= MAX_MEMBERS || self.is_known(siblings, name) {
                return None;
            }
            self.eat(b':')?;
            let index = self.members.len();
            self.members.push(Member {
                name,
                value: Span::default(),
                inner: None,
            });
            let start = self.at;
            let (value, inner) = match self.next()? {
                b'"' => (self.string()?, None),
                b'{' => {
                    self.object(depth_left)?;
                    let behind = index.checked_add(1)?;
                    let inner = self.members.len().checked_sub(behind)?;
                    let inner = u16::try_from(inner).ok()?;
                    (Span::new(start, self.at)?, Some(inner))
                }
                _ => return None,
            };
            let member = self.members.get_mut(index)?;
            (member.value, member.inner) = (value, inner);
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Whether one of the siblings before has this name.
    ///
    /// The members of inner objects are compared as well: the keys of real
    /// messages differ in all levels, so that costs nothing, and a needless
    /// pass is not wrong.
    fn is_known(&self, siblings: usize, name: Span) -> bool {
        let before = self.members.get(siblings..).unwrap_or_default();
        let length = name.end.wrapping_sub(name.start);
        before.iter().any(|member| {
            let other = member.name;
            other.end.wrapping_sub(other.start) == length
                && other.of(self.text) == name.of(self.text)
        })
    }

    /// Reads a string behind its opening quote, and the closing one.
    fn string(&mut self) -> Option<Span> {
        let start = self.at;
        let rest = self.text.get(start..)?;
        let length = plain_length(rest);
        let end = start.checked_add(length)?;
        self.at = end;
        self.eat(b'"')?;
        Span::new(start, end)
    }

    fn next(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at = self.at.checked_add(1)?;
        Some(byte)
    }

    fn eat(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }
}

/// How many plain characters of a string come first.
pub(crate) fn plain_length(text: &[u8]) -> usize {
    let mut rest = text;
    // Many characters at once: the compiler makes vector code of this.
    while let Some((stride, behind)) = rest.split_first_chunk::<STRIDE>() {
        if stride
            .iter()
            .fold(false, |any, byte| any | !is_plain(*byte))
        {
            break;
        }
        rest = behind;
    }
    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
        let special = special_bits(u64::from_le_bytes(*word));
        if special != 0 {
            let plain = usize::try_from(special.trailing_zeros() / 8).unwrap_or(0);
            return text.len().saturating_sub(rest.len()).saturating_add(plain);
        }
        rest = behind;
    }
    let plain = rest.iter().take_while(|byte| is_plain(**byte)).count();
    text.len().saturating_sub(rest.len()).saturating_add(plain)
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=0x7f) && byte != b'"' && byte != b'\\'
}

/// Sets the top bit of each byte that is not plain, exactly up to the lowest such byte.
///
/// Above it a borrow may mark a plain byte, which nobody looks at.
const fn special_bits(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const TOPS: u64 = ONES << 7;
    const BLANKS: u64 = ONES * b' ' as u64;
    const QUOTES: u64 = ONES * b'"' as u64;
    const BACKSLASHES: u64 = ONES * b'\\' as u64;
    const fn zero_bytes(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    let control = word.wrapping_sub(BLANKS) & !word;
    let quote = zero_bytes(word ^ QUOTES);
    let backslash = zero_bytes(word ^ BACKSLASHES);
    (control | quote | backslash | word) & TOPS
}
