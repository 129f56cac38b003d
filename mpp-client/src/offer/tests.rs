use serde_json::json;

use super::*;
use crate::testing::{challenge, offer, offer_with, recorded_offer, request, units};

#[test]
fn a_recorded_challenge_is_read() {
    let offer = recorded_offer("v2");
    assert_eq!(offer.price(), units(1_000));
    assert_eq!(offer.protocol(), SessionProtocol::V2);
    assert_eq!(offer.chain_id(), 42_431);
    assert_eq!(offer.suggested_deposit(), Some(units(10_000)));
    assert_eq!(offer.min_delta(), Amount::ZERO);
    assert!(!offer.is_sponsored());
    assert!(offer.is_reusable());
    assert_eq!(recorded_offer("v1").protocol(), SessionProtocol::V1);
    assert!(recorded_offer("sponsored").is_sponsored());
}

// PROTOCOL 5.1: `sessionProtocol` absent means v1.
#[test]
fn a_challenge_without_protocol_is_v1() {
    let offer = offer_with(|request| {
        request["methodDetails"]
            .as_object_mut()
            .unwrap()
            .remove("sessionProtocol");
    });
    assert_eq!(offer.protocol(), SessionProtocol::V1);
}

#[test]
fn challenges_that_can_not_be_answered_are_named() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Challenge), reason: Unpayable) {
        let mut challenge = challenge(&request());
        change(&mut challenge);
        assert_eq!(Offer::read(challenge), Err(reason));
    }
    check(
        |c| c.method = "stripe".parse().unwrap(),
        Unpayable::NotOffered,
    );
    check(|c| c.intent = IntentName::charge(), Unpayable::NotOffered);
    // SECURITY-CASES A26: a challenge without a readable end is refused.
    check(|c| c.expires = None, Unpayable::Expiry);
    check(|c| c.expires = Some("tomorrow".into()), Unpayable::Expiry);
    let with = |change: fn(&mut serde_json::Value)| {
        let mut request = request();
        change(&mut request);
        move |c: &mut Challenge| *c = challenge(&request)
    };
    check(with(|r| *r = json!([])), Unpayable::Request);
    check(with(|r| r["amount"] = json!("1.5")), Unpayable::Request);
    for member in ["amount", "currency", "recipient"] {
        let mut partial = request();
        partial.as_object_mut().unwrap().remove(member);
        check(|c| *c = challenge(&partial), Unpayable::Request);
    }
    let no_escrow = |r: &mut serde_json::Value| {
        r["methodDetails"]
            .as_object_mut()
            .unwrap()
            .remove("escrowContract");
    };
    check(with(no_escrow), Unpayable::Request);
    // PROTOCOL 5.1: the price is above zero.
    check(with(|r| r["amount"] = json!("0")), Unpayable::Price);
    // PROTOCOL 5.3: v2 amounts are uint96.
    check(
        with(|r| r["amount"] = json!("79228162514264337593543950336")),
        Unpayable::Price,
    );
}

#[test]
fn the_first_challenge_that_can_be_answered_is_chosen() {
    let good = challenge(&request());
    let mut charge = good.clone();
    charge.intent = IntentName::charge();
    let mut broken = good.clone();
    broken.expires = None;
    let chosen = Offer::choose([charge.clone(), broken.clone(), good]).unwrap();
    assert_eq!(chosen, offer());
    assert_eq!(
        Offer::choose([charge.clone(), broken]),
        Err(Unpayable::Expiry)
    );
    assert_eq!(Offer::choose([charge]), Err(Unpayable::NotOffered));
    assert_eq!(Offer::choose([]), Err(Unpayable::NoChallenge));
}

// PROTOCOL 1.1, body binding: both digest forms.
#[test]
fn a_challenge_for_another_body_is_not_answered() {
    let mut bound = challenge(&request());
    bound.digest = Some(BodyDigest::of(b"{}").to_string());
    let offer = Offer::read(bound).unwrap();
    assert!(!offer.is_reusable());
    assert_eq!(offer.check_body(Some(b"{}")), Ok(()));
    assert_eq!(offer.check_body(Some(b"[]")), Err(Unpayable::Digest));
    assert_eq!(offer.check_body(None), Err(Unpayable::StreamedBody));
    assert_eq!(self::offer().check_body(None), Ok(()));
}
