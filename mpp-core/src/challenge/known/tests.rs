//! What is recognized by its text is what would have been verified.

use alloc::format;
use alloc::string::String;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::challenge::{ChallengeDraft, SecretKey};
use crate::credential::{CredentialReader, Proof};
use crate::encoding::base64url;
use crate::testing::{self, mutation, to_value};
use crate::{Credential, EncodedJson, IntentName, MethodName, Realm, header};

fn ring(seed: u8) -> KeyRing {
    let bytes: alloc::vec::Vec<u8> = (seed..).take(32).collect();
    KeyRing::new(SecretKey::from_bytes(&bytes).unwrap())
}

fn draft(realm: &str) -> ChallengeDraft {
    ChallengeDraft::new(
        Realm::new(realm).unwrap(),
        MethodName::tempo(),
        IntentName::session(),
        EncodedJson::from_value(&json!({"amount": "1000"})).unwrap(),
    )
    .with_expires(Timestamp::from_secs(1_795_172_444))
}

fn json_of(challenge: &Challenge, payload: Value) -> String {
    Credential::new(challenge.clone(), payload).to_json()
}

fn token(challenge: &Challenge, payload: Value) -> String {
    base64url::encode(json_of(challenge, payload).as_bytes())
}

fn recognize(keys: &KeyRing, token68: &str) -> Option<KnownChallenge> {
    let mut reader = CredentialReader::default();
    let text = reader.read(token68)?;
    keys.recognize(&text)
}

/// What the memory makes of a token; the general reader and the MAC have to agree.
#[track_caller]
fn read(keys: &KeyRing, known: &KnownChallenge, token68: &str) -> Option<Value> {
    let mut reader = CredentialReader::default();
    let Proof { payload, source } = reader.read_known(known, token68)?;
    let credential = header::credential::parse(token68).expect("a credential");
    assert_eq!(&credential.challenge, known.challenge());
    assert_eq!(keys.verify(&credential.challenge), Ok(()));
    assert_eq!(credential.payload, to_value(payload));
    assert_eq!(
        credential.source.as_deref(),
        source.map(|source| source.as_str())
    );
    Some(credential.payload)
}

// The length of the realm moves the end of the challenge over all places in a group.
#[test]
fn the_next_credential_of_a_challenge_is_recognized() {
    let keys = ring(1);
    for realm in ["a", "ab", "abc", "abcd"] {
        let challenge = keys.bind(draft(realm));
        let known = recognize(&keys, &token(&challenge, json!({"n": "1"}))).unwrap();
        assert_eq!(known.challenge(), &challenge);
        assert_eq!(known.expires_at(), challenge.expires_at());
        let next = json!({"action": "voucher", "descriptor": {"payer": "0x"}});
        assert_eq!(
            read(&keys, &known, &token(&challenge, next.clone())),
            Some(next)
        );
    }
}

#[test]
fn only_challenges_of_the_ring_are_recognized() {
    let challenge = ring(1).bind(draft("shop"));
    let token = token(&challenge, json!({}));
    assert!(recognize(&ring(1), &token).is_some());
    assert!(recognize(&ring(2), &token).is_none());
    let rotated = ring(2)
        .with_previous(SecretKey::from_bytes(&(1..33).collect::<alloc::vec::Vec<u8>>()).unwrap());
    assert!(recognize(&rotated, &token).is_some());
}

#[test]
fn a_credential_that_begins_otherwise_is_not_remembered() {
    let keys = ring(1);
    let challenge = serde_json::to_string(&keys.bind(draft("shop"))).unwrap();
    let remembered = |json: String| recognize(&keys, &base64url::encode(json.as_bytes())).is_some();
    assert!(remembered(format!(
        r#"{{"challenge":{challenge},"payload":{{}}}}"#
    )));
    assert!(!remembered(format!(
        r#"{{"payload":{{}},"challenge":{challenge}}}"#
    )));
    assert!(!remembered(format!(
        r#"{{"a":{{}},"challenge":{challenge},"payload":{{}}}}"#
    )));
}

#[test]
fn what_follows_is_read_as_strictly_as_ever() {
    let keys = ring(1);
    for realm in ["a", "ab", "abc"] {
        let challenge = keys.bind(draft(realm));
        let known = recognize(&keys, &token(&challenge, json!({}))).unwrap();
        let opening = json_of(&challenge, json!({}));
        let opening = opening.strip_suffix(r#","payload":{}}"#).unwrap();
        let forged = serde_json::to_string(&ring(2).bind(draft("evil"))).unwrap();
        let follows = |rest: &str| {
            let token = base64url::encode(format!("{opening}{rest}").as_bytes());
            read(&keys, &known, &token).is_some()
        };
        assert!(follows(r#","payload":{}}"#));
        assert!(follows(
            r#","note":"x","payload":{"a":"b"},"source":"did"}"#
        ));
        for rest in [
            "",
            "}",
            r#","payload":{}"#,
            r#","payload":{}}}"#,
            r#""payload":{}}"#,
            r#" ,"payload":{}}"#,
            r#","payload":{},"payload":{}}"#,
            r#","payload":{},"challenge":{}}"#,
            r#","payload":{"a":1}}"#,
            r#","payload":"a"}"#,
            &format!(r#","challenge":{forged},"payload":{{}}}}"#),
            &format!(r#"}},"challenge":{forged},"payload":{{}}}}"#),
        ] {
            assert!(!follows(rest), "{rest}");
        }
    }
}

// A text in two alphabets is none, wherever the border of the memory lies.
#[test]
fn the_alphabet_is_one_for_the_whole_token() {
    let keys = ring(1);
    let challenge = keys.bind(draft("~~?"));
    let mixed = token(&challenge, json!({"a": "???~~~"}));
    let known = recognize(&keys, &mixed).unwrap();
    let at = known.opening().len();
    let (opening, rest) = mixed.split_at(at);
    assert!(rest.contains(['-', '_']));
    let standard = rest.replace('-', "+").replace('_', "/");
    assert_eq!(read(&keys, &known, &format!("{opening}{standard}")), None);
    assert!(read(&keys, &known, &mixed).is_some());
}

#[test]
fn debug_shows_no_credential() {
    let keys = ring(1);
    let challenge = keys.bind(draft("shop"));
    let token = token(&challenge, json!({"signature": "0x5ec7e7"}));
    let known = recognize(&keys, &token).unwrap();
    assert!(!format!("{known:?}").contains(known.opening()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_recognized_that_would_be_refused(
        realm in "[a-z:.?~]{1,12}",
        payloads in (testing::voucher(), testing::voucher()),
        mutations in prop::collection::vec(mutation(b' '..=b'~'), 1..3),
        in_json in any::<bool>(),
    ) {
        let keys = ring(1);
        let challenge = keys.bind(draft(&realm));
        let known = recognize(&keys, &token(&challenge, payloads.0)).unwrap();
        let json = json_of(&challenge, payloads.1.clone());
        let token68 = base64url::encode(json.as_bytes());
        prop_assert_eq!(read(&keys, &known, &token68), Some(payloads.1));
        let mut text = if in_json { json } else { token68 }.into_bytes();
        mutations.iter().for_each(|mutation| mutation.apply(&mut text));
        let token68 = if in_json {
            base64url::encode(&text)
        } else {
            String::from_utf8(text).unwrap()
        };
        read(&keys, &known, &token68);
    }
}
