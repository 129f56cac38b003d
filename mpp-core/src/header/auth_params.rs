//! The common grammar of challenges and credentials (RFC 9110 section 11).
//!
//! ```abnf
//! list        = #( scheme [ 1*SP ( token68 / #auth-param ) ] )
//! auth-param  = token BWS "=" BWS ( token / quoted-string )
//! token68     = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="
//! ```
//!
//! A comma ends a parameter as well as a scheme, so what follows it decides:
//! `name =` is one more parameter, anything else starts the next scheme.

use alloc::string::String;
use alloc::vec::Vec;

use super::HeaderError;
use super::cursor::Cursor;
use super::limits::{MAX_PARAMETERS, MAX_VALUE};

/// One scheme with what belongs to it.
#[derive(Debug)]
pub(super) struct Element<'a> {
    pub(super) scheme: &'a str,
    pub(super) content: Result<Content<'a>, HeaderError>,
}

/// What follows a scheme.
#[derive(Debug)]
pub(super) enum Content<'a> {
    Token68(&'a str),
    Params(Vec<(&'a str, String)>),
}

impl Element<'_> {
    /// Whether this is the scheme of this protocol; scheme names have no case.
    pub(super) fn is_payment(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("Payment")
    }

    fn push(&mut self, param: Result<(), HeaderError>) {
        if let (Ok(_), Err(error)) = (&self.content, param) {
            self.content = Err(error);
        }
    }
}

/// Splits a header value into its schemes.
///
/// A broken parameter spoils its own scheme only; what follows the next comma
/// outside quotes is read again. A value with control characters is refused as
/// a whole.
pub(super) fn parse(value: &str) -> Result<Vec<Element<'_>>, HeaderError> {
    if value.len() > MAX_VALUE {
        return Err(HeaderError::TooLarge);
    }
    if value
        .chars()
        .any(|character| character.is_control() && character != '\t')
    {
        return Err(HeaderError::ControlCharacter);
    }
    let mut elements = Vec::new();
    let mut cursor = Cursor::new(value);
    loop {
        cursor.skip_blanks();
        if cursor.is_at_end() {
            return Ok(elements);
        }
        if cursor.eat(',') {
            continue;
        }
        read_item(&mut cursor, &mut elements);
    }
}

/// Reads one item between two commas.
fn read_item<'a>(cursor: &mut Cursor<'a>, elements: &mut Vec<Element<'a>>) {
    let token = cursor.take_token();
    let blanks = cursor.skip_blanks();
    let next = cursor.peek();
    if !token.is_empty() && next == Some('=') {
        let param = read_value(cursor);
        if let Some(element) = elements.last_mut() {
            add_param(element, token, param);
        }
    } else if !token.is_empty() && (blanks || matches!(next, None | Some(','))) {
        elements.push(read_scheme(cursor, token));
    } else if let Some(element) = elements.last_mut() {
        element.push(Err(HeaderError::Syntax));
    }
    skip_to_comma(cursor);
}

/// Reads what directly follows a scheme: nothing, a token68, or the first parameter.
fn read_scheme<'a>(cursor: &mut Cursor<'a>, scheme: &'a str) -> Element<'a> {
    let mut element = Element {
        scheme,
        content: Ok(Content::Params(Vec::new())),
    };
    if matches!(cursor.peek(), None | Some(',')) {
        return element;
    }
    if let Some(token68) = take_token68(cursor) {
        element.content = Ok(Content::Token68(token68));
        return element;
    }
    let name = cursor.take_token();
    cursor.skip_blanks();
    if name.is_empty() || cursor.peek() != Some('=') {
        element.content = Err(HeaderError::Syntax);
    } else {
        let param = read_value(cursor);
        add_param(&mut element, name, param);
    }
    element
}

fn add_param<'a>(element: &mut Element<'a>, name: &'a str, value: Result<String, HeaderError>) {
    let added = match (&mut element.content, value) {
        (Err(_), _) => Ok(()),
        (_, Err(error)) => Err(error),
        (Ok(Content::Token68(_)), _) => Err(HeaderError::Syntax),
        (Ok(Content::Params(params)), Ok(value)) => {
            if params
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
            {
                Err(HeaderError::DuplicateParameter)
            } else if params.len() >= MAX_PARAMETERS {
                Err(HeaderError::TooManyEntries)
            } else {
                params.push((name, value));
                Ok(())
            }
        }
    };
    element.push(added);
}

/// Takes a token68 if one fills the rest of the item, else leaves the cursor.
fn take_token68<'a>(cursor: &mut Cursor<'a>) -> Option<&'a str> {
    let start = *cursor;
    let mut ahead = start;
    let characters = ahead.take_while(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
    });
    let padding = ahead.take_while(|byte| byte == b'=');
    if characters.is_empty() || !ahead.ends_element() {
        return None;
    }
    *cursor = ahead;
    start
        .rest()
        .split_at_checked(characters.len().saturating_add(padding.len()))
        .map(|(token68, _)| token68)
}

/// Reads `= value` up to the end of the item.
fn read_value(cursor: &mut Cursor<'_>) -> Result<String, HeaderError> {
    cursor.eat('=');
    cursor.skip_blanks();
    let value = if cursor.eat('"') {
        read_quoted(cursor)?
    } else {
        match cursor.take_token() {
            "" => return Err(HeaderError::Syntax),
            token => String::from(token),
        }
    };
    if cursor.ends_element() {
        Ok(value)
    } else {
        Err(HeaderError::Syntax)
    }
}

/// Reads a quoted string after its opening quote, to the closing one in any case.
fn read_quoted(cursor: &mut Cursor<'_>) -> Result<String, HeaderError> {
    let mut text = String::new();
    let mut fault = None;
    loop {
        let character = match cursor.next() {
            None => return Err(HeaderError::Syntax),
            Some('"') => break,
            Some('\\') => match read_escape(cursor) {
                Ok(character) => character,
                Err(error) => {
                    fault = fault.or(Some(error));
                    continue;
                }
            },
            Some(character) => character,
        };
        text.push(character);
    }
    fault.map_or(Ok(text), Err)
}

/// Reads what follows a backslash: `uXXXX`, twice for a surrogate pair, or any character.
fn read_escape(cursor: &mut Cursor<'_>) -> Result<char, HeaderError> {
    let character = match take_unit(cursor) {
        None => return cursor.next().ok_or(HeaderError::Syntax),
        // The second half is consumed only with a valid pair: after a lone half
        // a backslash still escapes the quote behind it.
        Some(high @ 0xd800..=0xdbff) => {
            let mut ahead = *cursor;
            let low = if ahead.eat('\\') {
                take_unit(&mut ahead)
            } else {
                None
            };
            let pair = low.and_then(|low| char::decode_utf16([high, low]).next());
            let character = pair.and_then(Result::ok).ok_or(HeaderError::Syntax)?;
            *cursor = ahead;
            character
        }
        Some(unit) => char::from_u32(u32::from(unit)).ok_or(HeaderError::Syntax)?,
    };
    if character.is_control() && character != '\t' {
        return Err(HeaderError::ControlCharacter);
    }
    Ok(character)
}

/// Takes `uXXXX` if it comes next.
fn take_unit(cursor: &mut Cursor<'_>) -> Option<u16> {
    let mut ahead = *cursor;
    if !ahead.eat('u') {
        return None;
    }
    let mut unit = 0_u32;
    for _ in 0..4 {
        let digit = ahead.next()?.to_digit(16)?;
        unit = unit.wrapping_shl(4) | digit;
    }
    *cursor = ahead;
    u16::try_from(unit).ok()
}

/// Passes whatever is left of an item, quotes respected.
fn skip_to_comma(cursor: &mut Cursor<'_>) {
    let mut quoted = false;
    while let Some(character) = cursor.peek() {
        match character {
            ',' if !quoted => return,
            '"' => quoted = !quoted,
            '\\' if quoted => {
                cursor.next();
            }
            _ => {}
        }
        cursor.next();
    }
}

#[cfg(test)]
mod tests;
