//! One value has one text of each spelling, and no other.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::{DecodeError, decode, encode};

// PROTOCOL.md section 1: decoders accept padding and the standard alphabet, encoders emit neither.
#[test]
fn reads_padding_and_the_standard_alphabet() {
    for text in ["-_8", "-_8=", "+/8", "+/8="] {
        assert_eq!(decode(text), Ok(Vec::from([0xfb, 0xff])), "{text}");
    }
    assert_eq!(decode(""), Ok(Vec::new()));
}

#[test]
fn refuses_everything_else() {
    for text in [
        "a", "-/8", "-_9", "+/9=", "-_8==", "AA=", "AAA==", "A A=", "AAAA\n", "=", "\u{e9}",
    ] {
        assert_eq!(decode(text), Err(DecodeError), "{text}");
    }
}

proptest! {
    #[test]
    fn bytes_round_trip(bytes in any::<Vec<u8>>()) {
        let text = encode(&bytes);
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        prop_assert_eq!(decode(&text), Ok(bytes.clone()));
        prop_assert_eq!(decode(&STANDARD.encode(&bytes)), Ok(bytes));
    }

    #[test]
    fn accepted_text_is_the_encoding_of_its_value(text in "[A-Za-z0-9_-]{0,12}={0,2}") {
        if let Ok(bytes) = decode(&text) {
            prop_assert_eq!(encode(&bytes), text.trim_end_matches('='));
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = decode(&text);
        let broken = decode(&format!("{text}!"));
        prop_assert_eq!(broken, Err(DecodeError));
    }
}
