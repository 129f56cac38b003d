//! Header bytes become text.

use super::decode_bytes;

#[test]
fn latin_1_is_the_fallback_of_utf_8() {
    assert_eq!(decode_bytes(b"plain"), "plain");
    assert_eq!(
        decode_bytes("caf\u{e9} \u{2615}".as_bytes()),
        "caf\u{e9} \u{2615}"
    );
    assert_eq!(decode_bytes(b"caf\xe9 \xff"), "caf\u{e9} \u{ff}");
}
