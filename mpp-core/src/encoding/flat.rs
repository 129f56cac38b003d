//! A reader for the JSON that conforming peers really send.
//!
//! Payment messages are objects of plain strings. [`FlatReader`] reads just
//! that, without building anything: no blanks, no escapes, ASCII only, nothing
//! but strings and objects. It never refuses a text, it only passes: what it
//! reads means the same to [`json::parse`](super::json::parse), and what it
//! passes, that reader decides.

use alloc::vec::Vec;
use core::fmt;

mod scan;

use scan::Scanner;
pub(crate) use scan::plain_length;

/// The most members in one text, those of inner objects included.
const MAX_MEMBERS: usize = 64;
/// How deeply objects may nest: a credential has its payload, that its descriptor.
const MAX_DEPTH: usize = 4;
/// Positions are kept in 16 bits.
const MAX_BYTES: usize = 0xffff;

/// The places of members in a text; kept and reused, so that reading does not
/// allocate.
#[derive(Debug, Default)]
pub struct FlatReader {
    members: Vec<Member>,
}

/// One member, in the order of the text; the members of an object follow it.
#[derive(Clone, Copy, Debug)]
struct Member {
    name: Span,
    value: Span,
    /// How many of the members that follow belong to this one, if it is an object.
    inner: Option<u16>,
}

/// A part of the text; of an object, its braces included.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u16,
    end: u16,
}

impl FlatReader {
    /// Reads a text that is one object.
    ///
    /// ```
    /// use mpp_core::encoding::flat::FlatReader;
    ///
    /// let mut reader = FlatReader::default();
    /// let object = reader.read(br#"{"action":"voucher","amount":"1"}"#).unwrap();
    /// let (name, value) = object.members().nth(1).unwrap();
    /// assert_eq!((name, value.text().unwrap().as_str()), (&b"amount"[..], "1"));
    /// // Numbers are for the general reader.
    /// assert!(reader.read(br#"{"amount":1}"#).is_none());
    /// ```
    pub fn read<'t>(&'t mut self, text: &'t [u8]) -> Option<FlatObject<'t>> {
        self.members.clear();
        Scanner::new(text, &mut self.members)?.whole()?;
        Some(self.object(text))
    }

    /// Reads the rest of an object behind its first member, which is not an
    /// object named in `rest`.
    ///
    /// `rest` begins with the comma or brace behind that member. Members of
    /// the name `first` are passed: there would be two.
    pub(crate) fn read_after<'t>(
        &'t mut self,
        first: &[u8],
        rest: &'t [u8],
    ) -> Option<FlatObject<'t>> {
        self.members.clear();
        Scanner::new(rest, &mut self.members)?.rest()?;
        let object = self.object(rest);
        object
            .members()
            .all(|(name, _)| name != first)
            .then_some(object)
    }

    fn object<'t>(&'t self, text: &'t [u8]) -> FlatObject<'t> {
        FlatObject {
            text,
            members: &self.members,
        }
    }
}

/// An object in a text.
#[derive(Clone, Copy)]
pub struct FlatObject<'t> {
    text: &'t [u8],
    members: &'t [Member],
}

/// A value in a text.
#[derive(Clone, Copy, Debug)]
pub enum FlatValue<'t> {
    /// A string.
    Text(FlatText<'t>),
    /// An object.
    Object(FlatObject<'t>),
}

/// A string in a text: ASCII without control characters, quotes and backslashes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct FlatText<'t>(&'t [u8]);

impl<'t> FlatObject<'t> {
    /// The members in the order of the text; each name stands once.
    pub fn members(self) -> impl Iterator<Item = (&'t [u8], FlatValue<'t>)> {
        let Self { text, mut members } = self;
        core::iter::from_fn(move || {
            let (member, behind) = members.split_first()?;
            let inner = usize::from(member.inner.unwrap_or(0));
            let (inner, behind) = behind.split_at_checked(inner)?;
            members = behind;
            let value = match member.inner {
                None => FlatValue::Text(FlatText(member.value.of(text)?)),
                Some(_) => FlatValue::Object(FlatObject {
                    text,
                    members: inner,
                }),
            };
            Some((member.name.of(text)?, value))
        })
    }

    /// Where the first member's value ends in the text, if it is an object.
    pub(crate) fn first_object_end(self) -> Option<usize> {
        let first = self.members.first()?;
        first.inner?;
        Some(usize::from(first.value.end))
    }
}

impl<'t> FlatValue<'t> {
    /// The string, if it is one.
    #[must_use]
    pub const fn text(self) -> Option<FlatText<'t>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Object(_) => None,
        }
    }

    /// The object, if it is one.
    #[must_use]
    pub const fn object(self) -> Option<FlatObject<'t>> {
        match self {
            Self::Object(object) => Some(object),
            Self::Text(_) => None,
        }
    }
}

impl<'t> FlatText<'t> {
    /// Of characters that were seen to be plain.
    pub(super) const fn plain(text: &'t [u8]) -> Self {
        Self(text)
    }

    /// The characters, one byte each.
    #[must_use]
    pub const fn as_bytes(self) -> &'t [u8] {
        self.0
    }

    /// The characters.
    #[must_use]
    pub fn as_str(self) -> &'t str {
        // ASCII by construction.
        core::str::from_utf8(self.0).unwrap_or_default()
    }
}

impl Span {
    fn new(start: usize, end: usize) -> Option<Self> {
        Some(Self {
            start: u16::try_from(start).ok()?,
            end: u16::try_from(end).ok()?,
        })
    }

    fn of(self, text: &[u8]) -> Option<&[u8]> {
        text.get(usize::from(self.start)..usize::from(self.end))
    }
}

/// Never shows a value: it may be a credential.
impl fmt::Debug for FlatObject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlatObject").finish_non_exhaustive()
    }
}

/// Never shows a value: it may be a signature.
impl fmt::Debug for FlatText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlatText").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
