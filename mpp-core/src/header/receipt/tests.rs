//! Receipts in headers: PROTOCOL.md section 1.

use alloc::string::String;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::{ReceiptWriter, encode, parse};
use crate::encoding::base64url;
use crate::encoding::base64url::DecodeError;
use crate::header::HeaderError;
use crate::header::limits::MAX_CREDENTIAL;
use crate::receipt::{Receipt, ReceiptError};
use crate::testing::{cases, receipt, text};

#[test]
fn recorded_receipts_are_read() {
    let mut sessions = 0;
    for case in cases("receipts") {
        let receipt = parse(text(&case, "header")).unwrap();
        assert_eq!(serde_json::to_value(&receipt).unwrap(), case["receipt"]);
        sessions += usize::from(matches!(receipt, Receipt::Session(_)));
    }
    assert!(sessions > 0, "no session receipt among the recordings");
}

#[test]
fn malformed_receipts_are_refused() {
    assert_eq!(parse("e3!"), Err(HeaderError::Base64(DecodeError)));
    assert_eq!(
        parse("e30"),
        Err(HeaderError::Receipt(ReceiptError::Member))
    );
    assert_eq!(
        parse(&"A".repeat(MAX_CREDENTIAL + 1)),
        Err(HeaderError::TooLarge)
    );
}

proptest! {
    // The short ways write what serde writes.
    #[test]
    fn every_way_writes_the_same_bytes(receipts in proptest::collection::vec(receipt(), 1..4)) {
        let mut writer = ReceiptWriter::default();
        for receipt in receipts {
            let expected = base64url::encode(receipt.to_json().as_bytes());
            prop_assert_eq!(encode(&receipt), expected.as_str());
            if let Receipt::Session(receipt) = &receipt {
                let mut out = String::from("before ");
                writer.write(&receipt.into(), &mut out);
                prop_assert_eq!(out.strip_prefix("before "), Some(expected.as_str()));
            }
        }
    }

    #[test]
    fn headers_round_trip(receipt in receipt()) {
        prop_assert_eq!(parse(&encode(&receipt)), Ok(receipt.clone()));
        // Padded standard base64, as some peers write it.
        prop_assert_eq!(parse(&STANDARD.encode(receipt.to_json())), Ok(receipt));
    }
}
