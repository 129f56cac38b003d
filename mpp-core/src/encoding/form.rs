//! Texts that differ in a few strings, read by comparing what they share.
//!
//! A client writes the same object again and again, with another signature and
//! another amount. Once such a text has been read, the next one need not be:
//! where everything else is equal, the strings are found by their places.

use alloc::boxed::Box;
use core::fmt;

use super::flat::{FlatText, plain_length};

/// A text of which `N` strings may change.
///
/// What it reads means the same to [`FlatReader`](super::flat::FlatReader):
/// all the rest, quotes included, is equal to a text that was read before.
pub struct Form<const N: usize> {
    /// What stands before each string, from the end of the one before.
    before: [Box<[u8]>; N],
    end: Box<[u8]>,
}

impl<const N: usize> Form<N> {
    /// Learns the form of a text that was read.
    ///
    /// `None` unless `values` are strings of `text`, in its order.
    ///
    /// ```
    /// use mpp_core::encoding::{flat::FlatReader, form::Form};
    ///
    /// let text = br#"{"action":"voucher","amount":"10"}"#;
    /// let mut reader = FlatReader::default();
    /// let (_, amount) = reader.read(text).unwrap().members().nth(1).unwrap();
    /// let form = Form::learn(text, [amount.text().unwrap()]).unwrap();
    ///
    /// let [amount] = form.read(br#"{"action":"voucher","amount":"2500"}"#).unwrap();
    /// assert_eq!(amount.as_str(), "2500");
    /// assert!(form.read(br#"{"action":"close","amount":"2500"}"#).is_none());
    /// ```
    #[must_use]
    pub fn learn(text: &[u8], values: [FlatText<'_>; N]) -> Option<Self> {
        let mut before = [const { None }; N];
        let mut at = 0;
        for (piece, value) in before.iter_mut().zip(values) {
            let value = value.as_bytes();
            // Where the value lies tells which of several equal ones it is.
            let start = value.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
            let end = start.checked_add(value.len())?;
            let quoted = text.get(start.checked_sub(1)?..end.checked_add(1)?)?;
            if quoted.first() != Some(&b'"') || quoted.last() != Some(&b'"') {
                return None;
            }
            *piece = Some(text.get(at..start)?);
            at = end;
        }
        let end = text.get(at..)?.into();
        Some(Self {
            before: before.map(|piece| piece.unwrap_or_default().into()),
            end,
        })
    }

    /// What stands before the first string, its quote included.
    #[must_use]
    pub fn opening(&self) -> &[u8] {
        self.before
            .first()
            .map(|piece| &**piece)
            .unwrap_or_default()
    }

    /// The strings of a text of this form.
    #[must_use]
    pub fn read<'t>(&self, text: &'t [u8]) -> Option<[FlatText<'t>; N]> {
        let (values, rest) = self.read_start(text)?;
        rest.is_empty().then_some(values)
    }

    /// The strings of a text that begins in this form, and what follows.
    pub(crate) fn read_start<'t>(&self, text: &'t [u8]) -> Option<([FlatText<'t>; N], &'t [u8])> {
        let mut values = [FlatText::default(); N];
        let mut rest = text;
        for (value, before) in values.iter_mut().zip(&self.before) {
            rest = rest.strip_prefix(&**before)?;
            // Whatever ends it, what follows must begin with its quote.
            let (plain, behind) = rest.split_at_checked(plain_length(rest))?;
            *value = FlatText::plain(plain);
            rest = behind;
        }
        Some((values, rest.strip_prefix(&*self.end)?))
    }
}

/// Never shows the text: it may be a credential.
impl<const N: usize> fmt::Debug for Form<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;
    use alloc::{format, vec};

    use proptest::prelude::*;

    use super::*;
    use crate::encoding::flat::{FlatObject, FlatReader};

    /// All strings that are values, inner ones included.
    fn values<'t>(object: FlatObject<'t>, found: &mut Vec<FlatText<'t>>) {
        for (_, value) in object.members() {
            match (value.text(), value.object()) {
                (Some(text), _) => found.push(text),
                (None, Some(inner)) => values(inner, found),
                (None, None) => {}
            }
        }
    }

    fn text() -> impl Strategy<Value = String> {
        prop::string::string_regex("[ !#-\\[\\]-~]{0,40}").unwrap()
    }

    fn object(texts: &[String]) -> String {
        let [a, b, c, d] = texts else {
            return String::new();
        };
        format!(r#"{{"a":"{a}","in":{{"b":"{b}","c":"{c}"}},"d":"{d}"}}"#)
    }

    proptest! {
        // What a form reads, the reader reads in the same way; what keeps the
        // form is read.
        #[test]
        fn a_form_reads_what_the_reader_reads(
            first in prop::collection::vec(text(), 4),
            mut second in prop::collection::vec(text(), 4),
            kept in any::<[bool; 2]>(),
            cut in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            for (index, kept) in [0, 2].into_iter().zip(kept) {
                if kept {
                    second[index] = first[index].clone();
                }
            }
            let (first, second) = (object(&first), object(&second));
            let mut reader = FlatReader::default();
            let mut found = Vec::new();
            values(reader.read(first.as_bytes()).unwrap(), &mut found);
            let form = Form::learn(first.as_bytes(), [found[1], found[3]]).unwrap();
            let mut damaged = second.clone().into_bytes();
            let at = cut.index(damaged.len());
            damaged[at] = byte;
            for text in [second.into_bytes(), damaged, vec![]] {
                let Some(read) = form.read(&text) else {
                    continue;
                };
                let mut reader = FlatReader::default();
                let mut again = Vec::new();
                values(reader.read(&text).unwrap(), &mut again);
                prop_assert_eq!(read.map(FlatText::as_str), [again[1].as_str(), again[3].as_str()]);
                prop_assert_eq!(again[0].as_str(), found[0].as_str());
                prop_assert_eq!(again[2].as_str(), found[2].as_str());
            }
            let same = form.read(first.as_bytes()).unwrap();
            prop_assert_eq!(same.map(FlatText::as_str), [found[1].as_str(), found[3].as_str()]);
        }
    }

    #[test]
    fn only_strings_of_the_text_in_its_order_are_learned() {
        let text = br#"{"a":"1","b":"1"}"#;
        let mut reader = FlatReader::default();
        let mut found = Vec::new();
        values(reader.read(text).unwrap(), &mut found);
        let [a, b] = found[..] else { panic!() };
        assert!(Form::learn(text, [a, b]).is_some());
        assert!(Form::learn(text, [b, a]).is_none());
        assert!(Form::learn(&text[..7], [a, b]).is_none());
        let elsewhere = br#"{"a":"1"}"#.to_vec();
        let mut other = FlatReader::default();
        let foreign = other.read(&elsewhere).unwrap().members().next().unwrap().1;
        assert!(Form::learn(text, [foreign.text().unwrap()]).is_none());
        // Of two equal strings the one that was given changes.
        let form = Form::learn(text, [b]).unwrap();
        assert!(form.read(br#"{"a":"1","b":"2"}"#).is_some());
        assert!(form.read(br#"{"a":"2","b":"1"}"#).is_none());
        assert!(form.read(br#"{"a":"1","b":"\""}"#).is_none());
    }
}
