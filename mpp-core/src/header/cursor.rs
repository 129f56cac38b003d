//! A read position in a header value.

/// The rest of a header value; every step hands out what it passes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(value: &'a str) -> Self {
        Self { rest: value }
    }

    pub(super) const fn is_at_end(self) -> bool {
        self.rest.is_empty()
    }

    pub(super) const fn rest(self) -> &'a str {
        self.rest
    }

    pub(super) fn peek(self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Passes one character.
    pub(super) fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let character = chars.next();
        self.rest = chars.as_str();
        character
    }

    /// Passes `wanted` if it comes next.
    pub(super) fn eat(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Passes ASCII bytes as long as they satisfy `accept`.
    pub(super) fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a str {
        let accept = |byte: u8| byte.is_ascii() && accept(byte);
        let end = self
            .rest
            .bytes()
            .position(|byte| !accept(byte))
            .unwrap_or(self.rest.len());
        // Everything before `end` is ASCII, so this is a character boundary.
        let Some((taken, rest)) = self.rest.split_at_checked(end) else {
            return "";
        };
        self.rest = rest;
        taken
    }

    /// Passes a token of RFC 9110; empty when none comes next.
    pub(super) fn take_token(&mut self) -> &'a str {
        self.take_while(is_token)
    }

    /// Passes blanks (OWS, BWS).
    pub(super) fn skip_blanks(&mut self) -> bool {
        !self
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .is_empty()
    }

    /// Passes blanks and checks that the list element ends here.
    pub(super) fn ends_element(&mut self) -> bool {
        self.skip_blanks();
        matches!(self.peek(), None | Some(','))
    }
}

/// `tchar` of RFC 9110 section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
