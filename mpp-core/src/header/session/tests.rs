//! Resuming: PROTOCOL.md sections 1 and 5.8.

use alloc::format;
use alloc::string::ToString;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{encode_snapshot, parse_channel, parse_snapshot};
use crate::encoding::base64url::{self, DecodeError};
use crate::encoding::json::JsonError;
use crate::header::HeaderError;
use crate::header::limits::MAX_CREDENTIAL;
use crate::testing;

#[test]
fn other_channel_ids_are_refused() {
    let digits = "e8".repeat(32);
    for value in [
        digits.clone(),
        format!("0X{digits}"),
        format!("0x{digits}0"),
        format!("0x{}", "e8".repeat(20)),
        format!("0x{}g", "e".repeat(63)),
        format!("0x{digits}, 0x{digits}"),
        "".to_string(),
    ] {
        assert_eq!(parse_channel(&value), Err(HeaderError::Syntax), "{value}");
    }
}

#[test]
fn malformed_snapshots_are_refused() {
    assert_eq!(parse_snapshot("e3!"), Err(HeaderError::Base64(DecodeError)));
    assert_eq!(
        parse_snapshot("W10"),
        Err(HeaderError::Json(JsonError::Shape))
    );
    let twice = base64url::encode(br#"{"spent":"1","spent":"2"}"#);
    assert_eq!(
        parse_snapshot(&twice),
        Err(HeaderError::Json(JsonError::DuplicateKey))
    );
    assert_eq!(
        parse_snapshot(&"A".repeat(MAX_CREDENTIAL + 1)),
        Err(HeaderError::TooLarge)
    );
}

// The crate mpp reads standard base64, and only with its padding.
#[test]
fn the_value_is_right_for_readers_of_both_alphabets() {
    for length in 0..6 {
        let snapshot = json!({"channelId": "0xe8d5", "units": "7".repeat(length)});
        let value = encode_snapshot(&snapshot);
        let text = STANDARD.decode(&value).unwrap();
        let read: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(read, snapshot);
        assert_eq!(parse_snapshot(&value), Ok(snapshot));
    }
}

proptest! {
    #[test]
    fn channel_ids_are_normalized(value in "0x[0-9a-fA-F]{64}") {
        let channel = parse_channel(&format!(" {value}\t")).unwrap();
        prop_assert_eq!(&channel, &value.to_ascii_lowercase());
        prop_assert_eq!(parse_channel(&channel), Ok(channel.clone()));
    }

    #[test]
    fn snapshots_round_trip(snapshot in testing::object()) {
        prop_assert_eq!(parse_snapshot(&encode_snapshot(&snapshot)), Ok(snapshot.clone()));
        // Peers emit padded standard base64.
        prop_assert_eq!(parse_snapshot(&STANDARD.encode(snapshot.to_string())), Ok(snapshot));
    }
}
