//! Expiry, correlation data and the serde form of challenges.

use alloc::string::ToString;

use proptest::prelude::*;
use serde_json::json;

use super::{Challenge, CredentialHeader, EncodedJson, ExpiryError};
use crate::testing;
use crate::{IntentName, MethodName, Timestamp};

fn challenge() -> Challenge {
    Challenge {
        id: "a1".parse().unwrap(),
        realm: "shop".parse().unwrap(),
        method: MethodName::tempo(),
        intent: IntentName::charge(),
        request: EncodedJson::from_value(&json!({"amount": "1"})).unwrap(),
        expires: None,
        digest: None,
        description: None,
        opaque: None,
        header: None,
    }
}

// PROTOCOL.md section 1.1: no or a malformed `expires` is refused; equal to now = expired.
#[test]
fn expiry_fails_closed() {
    let end: Timestamp = "2026-11-20T11:05:44.030Z".parse().unwrap();
    let before = Timestamp::from_millis(end.as_millis() - 1);
    let mut challenge = challenge();
    assert_eq!(challenge.expires_at(), Err(ExpiryError::Missing));
    assert_eq!(challenge.ensure_live(before), Err(ExpiryError::Missing));
    for text in ["", "tomorrow", "2026-11-20T11:05:44"] {
        challenge.expires = Some(text.to_string());
        assert_eq!(
            challenge.expires_at(),
            Err(ExpiryError::Malformed),
            "{text}"
        );
        assert_eq!(
            challenge.ensure_live(before),
            Err(ExpiryError::Malformed),
            "{text}"
        );
    }
    challenge.expires = Some("2026-11-20T12:05:44.030+01:00".to_string());
    assert_eq!(challenge.expires_at(), Ok(end));
    assert_eq!(challenge.ensure_live(before), Ok(()));
    assert_eq!(challenge.ensure_live(end), Err(ExpiryError::Expired));
}

#[test]
fn correlation_data_is_a_flat_map_of_strings() {
    let mut challenge = challenge();
    assert!(challenge.correlation().unwrap().is_empty());
    challenge.opaque = Some(EncodedJson::from_value(&json!({"pi": "pi_3abc"})).unwrap());
    assert_eq!(challenge.correlation().unwrap()["pi"], "pi_3abc");
    for bad in [json!({"pi": 1}), json!({"pi": {"a": "b"}}), json!(["pi"])] {
        challenge.opaque = Some(EncodedJson::from_value(&bad).unwrap());
        assert!(challenge.correlation().is_err(), "{bad}");
    }
}

#[test]
fn serde_form_is_the_challenge_object_of_a_credential() {
    let mut challenge = challenge();
    let minimal = json!({
        "id": "a1", "realm": "shop", "method": "tempo", "intent": "charge",
        "request": "eyJhbW91bnQiOiIxIn0",
    });
    assert_eq!(serde_json::to_value(&challenge).unwrap(), minimal);
    challenge.header = Some(CredentialHeader::PaymentAuthorization);
    assert_eq!(
        serde_json::to_value(&challenge).unwrap()["header"],
        "Payment-Authorization"
    );
}

proptest! {
    #[test]
    fn serde_round_trips(challenge in testing::challenge()) {
        let json = serde_json::to_value(&challenge).unwrap();
        prop_assert_eq!(serde_json::from_value::<Challenge>(json).unwrap(), challenge);
    }
}
