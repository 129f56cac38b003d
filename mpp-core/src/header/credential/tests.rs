//! Credentials in headers: PROTOCOL.md section 1, security case A31.

use alloc::format;

use proptest::prelude::*;

use super::{encode, find, parse};
use crate::Credential;
use crate::credential::CredentialError;
use crate::encoding::base64url::{self, DecodeError};
use crate::encoding::json::JsonError;
use crate::header::HeaderError;
use crate::header::limits::{MAX_CREDENTIAL, MAX_VALUE};
use crate::testing::{self, cases, text};

#[test]
fn recorded_credentials_are_read() {
    for case in cases("credentials") {
        let token = find([text(&case, "header")]).unwrap().unwrap();
        let credential = parse(token).unwrap();
        assert_eq!(
            serde_json::to_value(&credential).unwrap(),
            case["credential"]
        );
        let written = encode(&credential).unwrap();
        assert_eq!(
            parse(find([written.as_str()]).unwrap().unwrap()),
            Ok(credential)
        );
    }
}

// Draft-httpauth-payment-00, Size Considerations: 4 KB are taken, and 64 KiB.
#[test]
fn large_credentials_are_read_up_to_the_limit() {
    let case = cases("credentials").remove(0);
    let mut credential = parse(find([text(&case, "header")]).unwrap().unwrap()).unwrap();
    credential.source = Some(alloc::string::String::new());
    let bare = credential.to_json().len();
    for size in [4 * 1024, MAX_CREDENTIAL] {
        // Three bytes are four characters.
        credential.source = Some("a".repeat(size / 4 * 3 - bare));
        let written = encode(&credential).unwrap();
        let token = find([written.as_str()]).unwrap().unwrap();
        assert_eq!(token.len(), size);
        assert_eq!(parse(token).as_ref(), Ok(&credential));
    }
}

// PROTOCOL.md section 1: it may stand beside other schemes.
#[test]
fn credentials_stand_beside_other_schemes() {
    assert_eq!(find([]), Ok(None));
    assert_eq!(find(["Bearer abc"]), Ok(None));
    assert_eq!(find(["Bearer abc", "payment  e30 "]), Ok(Some("e30")));
    assert_eq!(
        find(["Bearer abc, PAYMENT e30, Basic QQ=="]),
        Ok(Some("e30"))
    );
    assert_eq!(
        find(["Digest a=\"x, Payment e30\", b=2, Payment e31"]),
        Ok(Some("e31"))
    );
    assert_eq!(find(["Bearer Payment"]), Ok(None));
    assert_eq!(find(["Payments e30"]), Ok(None));
}

// PROTOCOL.md section 1: more than one Payment credential -> 400.
#[test]
fn two_credentials_are_refused() {
    for values in [
        &["Payment e30", "Payment e30"][..],
        &["Payment e30, Payment e31"],
        &["Payment e30, Bearer a", "Basic QQ==, payment x=1"],
        &["Payment", "Payment e30"],
    ] {
        let refused = find(values.iter().copied());
        assert_eq!(refused, Err(HeaderError::MultipleCredentials), "{values:?}");
    }
}

#[test]
fn other_forms_of_credentials_are_refused() {
    for value in [
        "Payment",
        "Payment id=\"1\"",
        "Payment e3!0",
        "Payment e30 e31",
        "Payment e30, x=1",
    ] {
        assert_eq!(find([value]), Err(HeaderError::Syntax), "{value}");
    }
    assert_eq!(find(["Payment e30\n"]), Err(HeaderError::ControlCharacter));
}

// PROTOCOL.md section 1: credentials at most 64 KiB, checked before decoding.
#[test]
fn oversized_credentials_are_refused() {
    let token = "A".repeat(MAX_CREDENTIAL + 1);
    let value = format!("Payment {token}");
    assert_eq!(find([value.as_str()]), Err(HeaderError::TooLarge));
    assert_eq!(parse(&token), Err(HeaderError::TooLarge));
    let value = format!("Payment {}", "A".repeat(MAX_VALUE));
    assert_eq!(find([value.as_str()]), Err(HeaderError::TooLarge));
    let case = cases("credentials").remove(0);
    let mut credential = parse(find([text(&case, "header")]).unwrap().unwrap()).unwrap();
    credential.source = Some("a".repeat(MAX_CREDENTIAL));
    assert_eq!(encode(&credential), Err(HeaderError::TooLarge));
}

#[test]
fn malformed_content_is_refused() {
    assert_eq!(parse("e3!"), Err(HeaderError::Base64(DecodeError)));
    let content = |json: &str| parse(&base64url::encode(json.as_bytes())).unwrap_err();
    let syntax = CredentialError::Json(JsonError::Syntax);
    assert_eq!(content("{"), HeaderError::Credential(syntax));
    assert_eq!(
        content("{}"),
        HeaderError::Credential(CredentialError::Missing("challenge"))
    );
}

proptest! {
    #[test]
    fn headers_round_trip(challenge in testing::challenge(), payload in testing::object()) {
        let credential = Credential::new(challenge, payload);
        let value = encode(&credential).unwrap();
        let among = format!("Bearer abc, {value}");
        let token = find([among.as_str()]).unwrap().unwrap();
        prop_assert_eq!(parse(token), Ok(credential));
    }
}
