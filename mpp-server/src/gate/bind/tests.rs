//! The short way accepts nothing that the long way refuses, whatever is remembered.

use mpp_core::{
    Credential, EncodedJson, KeyRing, Realm, SecretKey,
    header::{challenge, credential},
};
use mpp_tempo::{SessionProtocol, wire::SessionPayload};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    clock::{ManualClock, SharedClock},
    error::Failure,
    event::Events,
    gate::{BoxFuture, Issuer, PaymentMethod, Redeemed, Visit},
    testing::{at, now, payer, secret, sign, terms},
};

/// A session at a price; nothing is redeemed here.
struct Session {
    method: MethodName,
    intent: IntentName,
    request: EncodedJson,
}

impl PaymentMethod for Session {
    fn method(&self) -> &MethodName {
        &self.method
    }

    fn intent(&self) -> &IntentName {
        &self.intent
    }

    fn request(&self) -> &EncodedJson {
        &self.request
    }

    fn description(&self) -> Option<&str> {
        None
    }

    fn redeem(&self, _: BoundCredential, _: Visit) -> BoxFuture<'_, Result<Redeemed, Failure>> {
        Box::pin(std::future::ready(Err(Rejection::PaymentRequired.into())))
    }
}

fn route(scope: &str, price: &str) -> Route {
    let offer = Offer::new(Session {
        method: MethodName::tempo(),
        intent: IntentName::session(),
        request: EncodedJson::from_value(&json!({ "amount": price })).unwrap(),
    });
    Route::new(scope, [offer]).unwrap()
}

fn gate_with(realm: &str, keys: KeyRing) -> Gate {
    Gate {
        issuer: Issuer::new(Realm::new(realm).unwrap(), keys),
        challenge_lifetime: Duration::from_secs(300),
        clock: SharedClock::new(ManualClock::new(now())),
        events: Events::new(16),
        service: crate::tasks::Service::default(),
    }
}

fn gate() -> Gate {
    gate_with("shop.example", KeyRing::new(secret(1)))
}

fn voucher(units: u128) -> SessionPayload {
    let terms = terms(SessionProtocol::V2);
    let signed = sign(&payer(), &terms, units);
    SessionPayload::Voucher {
        channel_id: terms.id(),
        descriptor: Some(terms.descriptor),
        cumulative_amount: signed.voucher.cumulative,
        signature: signed.signature,
    }
}

/// The header value of a credential for a fresh challenge.
fn header(gate: &Gate, route: &Route, payload: &SessionPayload) -> String {
    let issued = gate.issue(&route.offers()[0], route, RequestBody::Unread, now());
    header_for(&issued.to_challenge(), payload)
}

fn header_for(challenge: &Challenge, payload: &SessionPayload) -> String {
    let credential = Credential::new(challenge.clone(), payload.to_value())
        .with_source("did:pkh:eip155:42431:0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
    credential::encode(&credential).unwrap()
}

/// What a way made of a header value.
type Outcome = Result<(EncodedJson, Challenge, Value, Option<DidPkh>), Rejection>;

fn outcome(bound: Result<(&Offer, BoundCredential), Rejection>) -> Outcome {
    bound.map(|(offer, credential)| {
        (
            offer.request().clone(),
            credential.challenge().clone(),
            // Compared by meaning: the short way does not keep the case of hex digits.
            credential.session_payload().map_or_else(
                |_| credential.payload().clone(),
                |payload| payload.to_value(),
            ),
            credential.source().copied(),
        )
    })
}

fn content(now: Timestamp) -> Asked {
    Asked {
        purpose: Purpose::Content,
        body: RequestBody::Unread,
        now,
    }
}

/// Binds in both ways, which have to agree; whether the short one was taken.
#[track_caller]
fn both(gate: &Gate, route: &Route, value: &str, now: Timestamp) -> (Outcome, bool) {
    both_with(gate, route, value, content(now))
}

fn both_with(gate: &Gate, route: &Route, value: &str, asked: Asked) -> (Outcome, bool) {
    let long = outcome(bind(gate, route, Presented::find([value]), asked));
    let is_short = bind_voucher(gate, route, value, asked).is_some();
    let short = outcome(bind(gate, route, Presented::Value(value), asked));
    assert_eq!(short, long);
    (short, is_short)
}

/// Binds a header value and remembers its challenge, as after a payment.
fn pay(gate: &Gate, route: &Route, value: &str) -> Option<()> {
    let (_, mut credential) = bind_voucher(gate, route, value, content(now()))?;
    credential.take_fresh()?.remember(gate, route);
    Some(())
}

#[test]
fn vouchers_take_the_short_way_before_and_after_they_are_known() {
    let (gate, route) = (gate(), route("/poem", "5"));
    let value = header(&gate, &route, &voucher(1));
    let (first, is_short) = both(&gate, &route, &value, now());
    assert!(first.is_ok() && is_short);
    pay(&gate, &route, &value).unwrap();
    let challenge = first.unwrap().1;
    let next = header_for(&challenge, &voucher(2));
    let (bound, is_short) = both(&gate, &route, &next, now());
    assert!(bound.is_ok() && is_short);
    let (_, mut credential) = bind_voucher(&gate, &route, &next, content(now())).unwrap();
    assert!(credential.take_fresh().is_none(), "its challenge is known");
}

// A client that has paid for one challenge writes the next one alike.
#[test]
fn the_form_of_a_paid_challenge_is_known_in_the_next_one() {
    let (gate, route) = (gate(), route("/poem", "5"));
    let forms = || {
        let models = route.models(&gate.issuer);
        models
            .iter()
            .map(|model| model.forms().count())
            .sum::<usize>()
    };
    pay(&gate, &route, &header(&gate, &route, &voucher(1))).unwrap();
    assert_eq!(forms(), 1);
    let issued = gate.issue(&route.offers()[0], &route, RequestBody::Unread, at(7));
    let next = header_for(&issued.to_challenge(), &voucher(2));
    let (bound, is_short) = both(&gate, &route, &next, at(7));
    assert!(bound.is_ok() && is_short);
    pay(&gate, &route, &next).unwrap();
    assert_eq!(forms(), 1, "the form was known");
    // Its time is part of the MAC.
    let mut later = issued.to_challenge();
    later.expires = Some(at(10_000).to_string());
    let (bound, is_short) = both(&gate, &route, &header_for(&later, &voucher(3)), at(7));
    assert!(matches!(bound, Err(Rejection::InvalidChallenge(_))) && !is_short);
}

// Everything but the MAC is compared each time.
#[test]
fn a_known_challenge_is_checked_for_all_that_can_change() {
    let (gate, poem) = (gate(), route("/poem", "5"));
    let value = header(&gate, &poem, &voucher(1));
    pay(&gate, &poem, &value).unwrap();
    let refused = |gate: &Gate, route: &Route, now| both(gate, route, &value, now).0.unwrap_err();
    assert!(both(&gate, &poem, &value, at(299)).0.is_ok());
    assert_eq!(refused(&gate, &poem, at(300)), Rejection::ChallengeExpired);
    let invalid = |rejection| matches!(rejection, Rejection::InvalidChallenge(_));
    // The clock was set back, by a minute at most.
    assert!(both(&gate, &poem, &value, at(-60)).0.is_ok());
    assert!(invalid(refused(&gate, &poem, at(-61))));
    assert!(invalid(refused(&gate, &route("/photo", "5"), now())));
    assert!(invalid(refused(&gate, &route("/poem", "6"), now())));
    // Another realm and other keys are another issuer, which knows nothing yet.
    let moved = gate_with("bank.example", KeyRing::new(secret(1)));
    assert!(invalid(refused(&moved, &poem, now())));
    let rotated = gate_with("shop.example", KeyRing::new(secret(2)));
    assert!(invalid(refused(&rotated, &poem, now())));
    let ring = KeyRing::new(secret(2)).with_previous(secret(1));
    let rotating = gate_with("shop.example", ring);
    assert!(both(&rotating, &poem, &value, now()).0.is_ok());
}

// PROTOCOL 1.1: the body is compared each time, whatever is remembered.
#[test]
fn a_voucher_is_bound_to_the_body_on_a_route_that_binds_bodies() {
    let (gate, poem) = (gate(), route("/poem", "5").bind_body());
    let (mine, theirs) = (RequestBody::of(b"mine"), RequestBody::of(b"theirs"));
    let offer = &poem.offers()[0];
    let of_body = |body| {
        let issued = gate.issue(offer, &poem, body, now());
        header_for(&issued.to_challenge(), &voucher(1))
    };
    let (bound, free) = (of_body(mine), of_body(RequestBody::Empty));
    for _ in 0..2 {
        for (value, body, expected) in [
            (&bound, mine, true),
            (&bound, theirs, false),
            (&bound, RequestBody::Empty, false),
            (&free, RequestBody::Empty, true),
            (&free, mine, false),
        ] {
            let asked = Asked {
                body,
                ..content(now())
            };
            let (outcome, is_short) = both_with(&gate, &poem, value, asked);
            assert_eq!(
                (outcome.is_ok(), is_short),
                (expected, expected),
                "{body:?}"
            );
            if let Err(rejection) = outcome {
                assert!(matches!(rejection, Rejection::InvalidChallenge(_)));
            }
        }
        // The next round finds both challenges known.
        for (value, body) in [(&bound, mine), (&free, RequestBody::Empty)] {
            let asked = Asked {
                body,
                ..content(now())
            };
            if let Some((_, mut credential)) = bind_voucher(&gate, &poem, value, asked)
                && let Some(fresh) = credential.take_fresh()
            {
                fresh.remember(&gate, &poem);
            }
        }
    }
}

#[test]
fn a_route_serves_two_issuers() {
    let poem = route("/poem", "5");
    let (one, two) = (gate(), gate_with("bank.example", KeyRing::new(secret(2))));
    for gate in [&one, &two, &one] {
        let issued = gate.issue(&poem.offers()[0], &poem, RequestBody::Unread, now());
        let echoed = issued.to_challenge();
        assert_eq!(gate.issuer.keys().verify(&echoed), Ok(()));
        assert_eq!(echoed.realm, *gate.issuer.realm());
        assert_eq!(issued.header_value(), challenge::encode(&echoed));
    }
}

// Other actions and other forms go the long way.
#[test]
fn what_is_no_plain_voucher_goes_the_long_way() {
    let (gate, poem) = (gate(), route("/poem", "5"));
    let value = header(&gate, &poem, &voucher(1));
    pay(&gate, &poem, &value).unwrap();
    let SessionPayload::Voucher {
        channel_id,
        descriptor,
        cumulative_amount,
        signature,
    } = voucher(1)
    else {
        panic!("no voucher");
    };
    let close = SessionPayload::Close {
        channel_id,
        descriptor,
        cumulative_amount,
        signature,
        close_signature: None,
    };
    let (bound, is_short) = both(&gate, &poem, &header(&gate, &poem, &close), now());
    assert!(bound.is_ok() && !is_short);
    for other in [
        format!("Bearer abc, {value}"),
        format!(" {value}"),
        format!("{value} "),
        format!("{value}="),
        value.replacen(' ', "  ", 1),
    ] {
        assert!(!both(&gate, &poem, &other, now()).1, "{other}");
    }
    let lower = value.replacen("Payment", "pAYMENT", 1);
    assert!(both(&gate, &poem, &lower, now()).1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn both_ways_agree_on_mutated_credentials(
        realm in "[a-z.]{1,9}",
        places in prop::collection::vec((any::<prop::sample::Index>(), b' '..=b'~'), 0..3),
        in_json in any::<bool>(),
        is_known in any::<bool>(),
        is_formed in any::<bool>(),
    ) {
        let secret = SecretKey::from_bytes(b"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(").unwrap();
        let (gate, poem) = (gate_with(&realm, KeyRing::new(secret)), route("/poem", "5"));
        if is_formed {
            let issued = gate.issue(&poem.offers()[0], &poem, RequestBody::Unread, at(1));
            pay(&gate, &poem, &header_for(&issued.to_challenge(), &voucher(2))).unwrap();
        }
        let value = header(&gate, &poem, &voucher(1));
        if is_known {
            pay(&gate, &poem, &value).unwrap();
        }
        let (scheme, token) = value.split_at(8);
        let mut text = if in_json {
            mpp_core::encoding::base64url::decode(token).unwrap()
        } else {
            token.as_bytes().to_vec()
        };
        for (place, byte) in &places {
            let place = place.index(text.len());
            text[place] = *byte;
        }
        let token = if in_json {
            mpp_core::encoding::base64url::encode(&text)
        } else {
            String::from_utf8(text).unwrap()
        };
        let (bound, is_short) = both(&gate, &poem, &format!("{scheme}{token}"), now());
        prop_assert!(bound.is_ok() || !is_short);
        if places.is_empty() {
            prop_assert!(is_short);
        }
    }
}
