//! Text of a server, made safe to print.

use std::fmt;

/// The most characters of a server's text that are shown.
const MAX_SHOWN: usize = 256;

/// Shows a server's text without letting it act on a terminal (SECURITY-CASES A27).
///
/// Control characters, escapes, line breaks and the invisible characters that reorder or hide text
/// are written as `\u{..}`, and what exceeds 256 characters is cut off.
///
/// # Examples
///
/// ```
/// use mpp_client::text::Printable;
///
/// let hostile = "paid\u{1b}[2J\r\nnothing to see";
/// assert_eq!(
///     Printable(hostile).to_string(),
///     "paid\\u{1b}[2J\\r\\nnothing to see",
/// );
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for character in chars.by_ref().take(MAX_SHOWN) {
            if is_plain(character) {
                fmt::Write::write_char(f, character)?;
            } else {
                write!(f, "{}", character.escape_default())?;
            }
        }
        if chars.next().is_some() {
            f.write_str("...")?;
        }
        Ok(())
    }
}

/// Whether a character only ever shows itself.
fn is_plain(character: char) -> bool {
    let acts = character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        );
    !acts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str) {
        assert_eq!(Printable(text).to_string(), shown);
    }

    // SECURITY-CASES A27: terminal escapes in text.
    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        check("plain text, café", "plain text, café");
        check("\u{1b}]0;owned\u{7}", "\\u{1b}]0;owned\\u{7}");
        check("a\u{202e}b", "a\\u{202e}b");
        check("a\u{9b}31m", "a\\u{9b}31m");
        check("a\tb\nc", "a\\tb\\nc");
    }

    #[test]
    fn long_text_is_cut_off() {
        let shown = Printable(&"x".repeat(10_000)).to_string();
        assert_eq!(shown, format!("{}...", "x".repeat(MAX_SHOWN)));
        check(&"y".repeat(MAX_SHOWN), &"y".repeat(MAX_SHOWN));
    }

    proptest! {
        #[test]
        fn no_text_yields_a_control_character(text in any::<String>()) {
            let shown = Printable(&text).to_string();
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
