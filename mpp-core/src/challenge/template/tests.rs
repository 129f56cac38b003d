//! The short way issues what the long way binds.

use core::str::FromStr as _;

use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::challenge::SecretKey;
use crate::credential::CredentialReader;
use crate::testing;
use crate::{BodyDigest, Credential, header};

/// A draft with everything in it that challenges can have.
fn draft() -> impl Strategy<Value = ChallengeDraft> {
    (testing::challenge(), option::of(any::<[u8; 4]>())).prop_map(|(challenge, body)| {
        let expires = challenge.expires.as_deref().map(Timestamp::from_str);
        ChallengeDraft {
            realm: challenge.realm,
            method: challenge.method,
            intent: challenge.intent,
            request: challenge.request,
            expires: expires.transpose().unwrap(),
            digest: body.map(|body| BodyDigest::of(&body)),
            description: challenge.description,
            opaque: challenge.opaque,
            header: challenge.header,
        }
    })
}

proptest! {
    #[test]
    fn both_ways_issue_the_same_bytes(
        secret in any::<[u8; 32]>(),
        draft in draft(),
        times in prop::collection::vec(option::of(testing::timestamp()), 1..4),
    ) {
        let Ok(secret) = SecretKey::from_bytes(&secret) else {
            return Ok(());
        };
        let keys = KeyRing::new(secret);
        let template = keys.template(draft.clone());
        for expires in times {
            let challenge = keys.bind(ChallengeDraft { expires, ..draft.clone() });
            let issued = template.issue(expires);
            prop_assert_eq!(issued.id(), challenge.id.clone());
            prop_assert_eq!(issued.header_value(), header::challenge::encode(&challenge));
            prop_assert_eq!(issued.to_challenge(), challenge);
        }
    }
}

/// Changes one field of an echoed challenge.
fn tamper(challenge: &mut Challenge, field: u8) {
    let text = |text: &mut Option<String>| match text {
        Some(text) => text.push('|'),
        None => *text = Some("x".into()),
    };
    let other = EncodedJson::from_value(&serde_json::json!({"other": "1"})).unwrap();
    match field {
        0 => {}
        1 => challenge.id = ChallengeId::from_mac(&[7; 32]),
        2 => challenge.realm = crate::Realm::new("other.example").unwrap(),
        3 => challenge.method = crate::MethodName::new("other").unwrap(),
        4 => challenge.intent = crate::IntentName::new("other").unwrap(),
        5 => challenge.request = other,
        6 => text(&mut challenge.expires),
        7 => text(&mut challenge.digest),
        8 => challenge.opaque = Some(other),
        _ => {
            challenge.header = match challenge.header {
                None => Some(CredentialHeader::PaymentAuthorization),
                Some(_) => None,
            }
        }
    }
}

proptest! {
    // A template never takes what the key ring refuses, and takes its own.
    #[test]
    fn a_template_verifies_its_own_challenges_only(
        draft in draft(),
        expires in option::of(testing::timestamp()),
        field in 0..10_u8,
    ) {
        let keys = KeyRing::new(SecretKey::from_bytes(b"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(").unwrap());
        let template = keys.template(draft.clone());
        let mut challenge = keys.bind(ChallengeDraft { expires, ..draft });
        tamper(&mut challenge, field);
        let credential = Credential::new(challenge, serde_json::json!({"a": "b"}));
        let value = header::credential::encode(&credential).unwrap();
        let token = value.strip_prefix("Payment ").unwrap();
        let mut reader = CredentialReader::default();
        // Other forms are never read in the short way.
        let Some(text) = reader.read(token) else {
            return Ok(());
        };
        let fast = template.verify_text(&text.challenge);
        prop_assert_eq!(fast, keys.verify_text(&text.challenge));
        prop_assert_eq!(fast.is_ok(), field == 0);
        prop_assert_eq!(template.recognize(&text).is_some(), fast.is_ok());
    }
}
