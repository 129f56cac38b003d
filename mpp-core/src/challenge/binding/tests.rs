//! The binding: PROTOCOL.md section 1.1, security cases A3, A21 and A22.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use hmac::{Hmac, KeyInit as _, Mac as _};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;
use zeroize::ZeroizeOnDrop;

use super::{BindingError, KeyRing, KeyState, Midstate, Tag};
use crate::challenge::{Challenge, ChallengeDraft, CredentialHeader, EncodedJson, SecretKey};
use crate::encoding::base64url;
use crate::testing::{self, cases, text};
use crate::{BodyDigest, ChallengeId, IntentName, MethodName, Realm, Timestamp};

fn ring(seed: u8) -> KeyRing {
    KeyRing::new(secret(seed))
}

fn secret(seed: u8) -> SecretKey {
    let bytes: Vec<u8> = (seed..).take(32).collect();
    SecretKey::from_bytes(&bytes).unwrap()
}

fn draft() -> ChallengeDraft {
    ChallengeDraft::new(
        Realm::new("api.example.com").unwrap(),
        MethodName::tempo(),
        IntentName::charge(),
        EncodedJson::from_value(&json!({"amount": "1000000"})).unwrap(),
    )
}

fn full_draft() -> ChallengeDraft {
    draft()
        .with_expires(Timestamp::from_secs(1_736_164_800))
        .with_digest(BodyDigest::of(b"body"))
        .with_description("a photo")
        .with_opaque(EncodedJson::from_value(&json!({"pi": "pi_3abc"})).unwrap())
        .with_header(CredentialHeader::PaymentAuthorization)
}

fn vector_draft(case: &Value) -> ChallengeDraft {
    let mut draft = ChallengeDraft::new(
        text(case, "realm").parse().unwrap(),
        text(case, "method").parse().unwrap(),
        text(case, "intent").parse().unwrap(),
        EncodedJson::from_value(&case["request"]).unwrap(),
    );
    draft.expires = case["expires"]
        .as_str()
        .map(|expires| expires.parse().unwrap());
    let opaque = &case["opaque"];
    draft.opaque = opaque
        .is_object()
        .then(|| EncodedJson::from_value(opaque).unwrap());
    draft
}

#[test]
fn published_ids_verify_and_are_issued() {
    for case in cases("challenge_ids") {
        let keys = KeyRing::new(SecretKey::of_published_vector(
            text(&case, "key").as_bytes(),
        ));
        let mut challenge = keys.bind(vector_draft(&case));
        match case["digest"].as_str() {
            // The digests of the vectors have the bare form, or are no digests at all.
            Some(digest) => {
                challenge.digest = Some(digest.to_string());
                challenge.id = text(&case, "id").parse().unwrap();
            }
            None => assert_eq!(challenge.id.as_str(), text(&case, "id"), "{case}"),
        }
        assert_eq!(keys.verify(&challenge), Ok(()), "{case}");
    }
}

// PROTOCOL.md section 1.1: seven slots joined by `|`, absent = empty; `header` appends one more.
#[test]
fn mac_covers_all_slots_in_order() {
    let expected = |input: &str| {
        let key: Vec<u8> = (7..).take(32).collect();
        let mac = Hmac::<Sha256>::new_from_slice(&key)
            .unwrap()
            .chain_update(input);
        base64url::encode(&mac.finalize().into_bytes())
    };
    let request = "eyJhbW91bnQiOiIxMDAwMDAwIn0";
    let id = ring(7).bind(draft()).id;
    assert_eq!(
        id.as_str(),
        expected(&format!("api.example.com|tempo|charge|{request}|||"))
    );
    let id = ring(7).bind(full_draft()).id;
    let input = format!(
        "api.example.com|tempo|charge|{request}|2025-01-06T12:00:00Z|{}|eyJwaSI6InBpXzNhYmMifQ|Payment-Authorization",
        BodyDigest::of(b"body")
    );
    assert_eq!(id.as_str(), expected(&input));
}

#[test]
fn every_covered_field_is_protected() {
    let keys = ring(1);
    let good = keys.bind(full_draft());
    assert_eq!(keys.verify(&good), Ok(()));
    let changes: [fn(&mut Challenge); 12] = [
        |c| c.id = ring(2).bind(full_draft()).id,
        |c| c.realm = "api.example.org".parse().unwrap(),
        |c| c.method = "stripe".parse().unwrap(),
        |c| c.intent = IntentName::session(),
        |c| c.request = EncodedJson::from_value(&json!({"amount": "1"})).unwrap(),
        |c| c.expires = Some("2035-01-06T12:00:00Z".to_string()),
        |c| c.expires = None,
        |c| c.digest = Some(BodyDigest::of(b"other").to_string()),
        |c| c.digest = None,
        |c| c.opaque = Some(EncodedJson::from_value(&json!({})).unwrap()),
        |c| c.opaque = None,
        |c| c.header = None,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut changed = good.clone();
        change(&mut changed);
        assert_eq!(keys.verify(&changed), Err(BindingError), "change {index}");
    }
}

// PROTOCOL.md section 1.1: `description` is not covered.
#[test]
fn description_is_not_covered() {
    let mut challenge = ring(1).bind(full_draft());
    challenge.description = Some("something else".to_string());
    assert_eq!(ring(1).verify(&challenge), Ok(()));
}

#[test]
fn empty_correlation_data_is_present_not_absent() {
    let empty = EncodedJson::from_value(&json!({})).unwrap();
    let with = ring(1).bind(draft().with_opaque(empty)).id;
    assert_ne!(with, ring(1).bind(draft()).id);
}

#[test]
fn separators_inside_fields_never_verify() {
    let keys = ring(1);
    let expires = Timestamp::from_secs(1_736_164_800);
    let good = keys.bind(
        draft()
            .with_expires(expires)
            .with_header(CredentialHeader::PaymentAuthorization),
    );
    // The same bytes under the MAC, cut into other fields.
    let mut shifted = good.clone();
    shifted.header = None;
    shifted.expires = Some(format!("{expires}|"));
    shifted.opaque = Some(EncodedJson::from_wire("Payment-Authorization".to_string()).unwrap());
    assert_eq!(keys.verify(&shifted), Err(BindingError));
}

#[test]
fn a_mac_has_one_spelling() {
    let keys = ring(1);
    let good = keys.bind(draft());
    let mut padded = good.clone();
    padded.id = format!("{}=", good.id).parse().unwrap();
    assert_eq!(keys.verify(&padded), Err(BindingError));
    // The seeds are tried until an id has a character that the other alphabet spells differently.
    let aliased = (0..100).map(ring).find_map(|keys| {
        let good = keys.bind(draft());
        let alias: String = good.id.as_str().replace('-', "+").replace('_', "/");
        (alias != good.id.as_str()).then(|| {
            (
                keys,
                Challenge {
                    id: alias.parse().unwrap(),
                    ..good
                },
            )
        })
    });
    let (keys, aliased) = aliased.unwrap();
    assert_eq!(keys.verify(&aliased), Err(BindingError));
}

// PROTOCOL.md section 1.1: a key ring verifies the current and the previous secret.
#[test]
fn previous_secret_verifies_but_does_not_issue() {
    let old = ring(1).bind(full_draft());
    let rotated = KeyRing::new(secret(2)).with_previous(secret(1));
    assert_eq!(rotated.verify(&old), Ok(()));
    let new = rotated.bind(full_draft());
    assert_eq!(rotated.verify(&new), Ok(()));
    assert_eq!(ring(2).verify(&new), Ok(()));
    assert_eq!(ring(1).verify(&new), Err(BindingError));
    assert_eq!(ring(2).verify(&old), Err(BindingError));
    assert_eq!(
        KeyRing::new(secret(3))
            .with_previous(secret(2))
            .verify(&old),
        Err(BindingError)
    );
}

#[test]
fn keys_of_every_length_are_hmac_keys() {
    for length in [32, 63, 64, 65, 200] {
        let key: Vec<u8> = (0..=255).cycle().take(length).collect();
        let state = KeyState::new(&SecretKey::from_bytes(&key).unwrap());
        let ours = state.0.chain_update("text").finalize().into_bytes();
        let theirs = Hmac::<Sha256>::new_from_slice(&key)
            .unwrap()
            .chain_update("text");
        assert_eq!(ours, theirs.finalize().into_bytes(), "{length}");
    }
}

#[test]
fn keyed_state_is_wiped_and_never_printed() {
    // An HMAC state is two states of the hash, which wipe themselves.
    const fn is_wiped<T: ZeroizeOnDrop>() {}
    is_wiped::<Sha256>();
    assert_eq!(format!("{:?}", ring(1)), "KeyRing { keys: 1, .. }");
}

proptest! {
    #[test]
    fn bound_challenges_verify_under_their_ring_only(challenge in testing::challenge(), seed in 1_u8..100) {
        let mut draft = ChallengeDraft::new(
            challenge.realm, challenge.method, challenge.intent, challenge.request,
        );
        draft.expires = challenge.expires.map(|expires| expires.parse().unwrap());
        draft.description = challenge.description;
        draft.opaque = challenge.opaque;
        draft.header = challenge.header;
        let bound = ring(seed).bind(draft);
        prop_assert_eq!(ring(seed).verify(&bound), Ok(()));
        prop_assert_eq!(ring(seed.wrapping_add(1)).verify(&bound), Err(BindingError));
    }
}

/// Tells whether a type can be compared with `==`: the constant of the type itself goes before the
/// one of the trait.
trait Incomparable {
    const COMPARABLE: bool = false;
}

impl<T> Incomparable for T {}

struct Probe<T>(core::marker::PhantomData<T>);

impl<T: PartialEq> Probe<T> {
    const COMPARABLE: bool = true;
}

// SECURITY-CASES A21: what takes another time for another mistake does not compile.
#[test]
fn macs_and_secrets_can_not_be_compared_by_accident() {
    const { assert!(Probe::<ChallengeId>::COMPARABLE) };
    const { assert!(!Probe::<Tag>::COMPARABLE) };
    const { assert!(!Probe::<Midstate>::COMPARABLE) };
    const { assert!(!Probe::<KeyRing>::COMPARABLE) };
    const { assert!(!Probe::<SecretKey>::COMPARABLE) };
}
