//! What the gate lets through, and what it says to the rest.

use mpp_core::{
    Challenge, ChallengeDraft, ChallengeId, Credential, EncodedJson, IntentName, KeyRing,
    MethodName, Realm, header,
    problem::ProblemKind,
    receipt::{ChargeReceipt, Receipt},
};
use serde_json::json;

use super::*;
use crate::{
    clock::ManualClock,
    error::Misuse,
    testing::{at, now, problem, refused, secret},
};

/// A method that takes any payload `{"paid": true}`.
struct Token {
    method: MethodName,
    intent: IntentName,
    request: EncodedJson,
}

impl PaymentMethod for Token {
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
        Some("text for a person")
    }

    fn redeem(
        &self,
        credential: BoundCredential,
        visit: Visit,
    ) -> BoxFuture<'_, Result<Redeemed, Failure>> {
        let paid = credential.payload()["paid"] == json!(true);
        let reference = self.request.as_str().to_owned();
        let receipt = ChargeReceipt::new(self.method.clone(), visit.now, reference);
        let redeemed = match paid {
            true => Ok(Redeemed::Serve(Grant::new(Receipt::Charge(receipt)))),
            false => Err(Rejection::InvalidPayload(String::from("unpaid")).into()),
        };
        Box::pin(std::future::ready(redeemed))
    }
}

fn offer(method: &str, intent: IntentName, price: &str) -> Offer {
    Offer::new(Token {
        method: MethodName::new(method).unwrap(),
        intent,
        request: EncodedJson::from_value(&json!({ "amount": price })).unwrap(),
    })
}

fn charge(price: &str) -> Offer {
    offer("tempo", IntentName::charge(), price)
}

fn session(price: &str) -> Offer {
    offer("tempo", IntentName::session(), price)
}

fn route(scope: &str) -> Route {
    Route::new(scope, [charge("5")]).unwrap()
}

struct House {
    gate: Gate,
    clock: ManualClock,
}

impl House {
    fn new(keys: KeyRing) -> Self {
        let clock = ManualClock::new(now());
        let gate = Gate {
            issuer: Issuer::new(Realm::new("shop.example").unwrap(), keys),
            challenge_lifetime: core::time::Duration::from_secs(300),
            clock: SharedClock::new(clock.clone()),
            events: Events::new(16),
            service: Service::default(),
        };
        Self { gate, clock }
    }

    async fn ask(&self, route: &Route) -> Vec<Challenge> {
        let attempt = Attempt::from_credential(None, Purpose::Content);
        let issued = refused(self.gate.decide(route, attempt).await).challenges;
        issued.iter().map(IssuedChallenge::to_challenge).collect()
    }

    async fn challenge(&self, route: &Route) -> Challenge {
        self.ask(route).await.remove(0)
    }

    async fn pay(&self, route: &Route, challenge: Challenge) -> Decision {
        let credential = Credential::new(challenge, json!({ "paid": true }));
        let attempt = Attempt::from_credential(Some(credential), Purpose::Content);
        self.gate.decide(route, attempt).await
    }

    async fn present(&self, route: &Route, values: &[&str]) -> Decision {
        let attempt = Attempt::from_headers(values.iter().copied(), [], Purpose::Content);
        self.gate.decide(route, attempt).await
    }
}

fn house() -> House {
    House::new(KeyRing::new(secret(1)))
}

fn is_grant(decision: &Decision) -> bool {
    matches!(decision, Decision::Grant(_))
}

fn encoded(value: serde_json::Value) -> EncodedJson {
    EncodedJson::from_value(&value).unwrap()
}

// PROTOCOL 1 and 1.1: 402 with one bound challenge per offer.
#[tokio::test]
async fn an_unpaid_request_gets_a_challenge_per_offer() {
    let house = house();
    let mut events = house.gate.events.subscribe();
    let route = Route::new("/poem", [session("1"), charge("5")]).unwrap();
    let attempt = Attempt::from_headers([], [], Purpose::Content);
    let refusal = refused(house.gate.decide(&route, attempt).await);
    assert_eq!(refusal.problem.kind, ProblemKind::PaymentRequired);
    assert_eq!(refusal.problem.status(), 402);
    assert_eq!(refusal.challenges.len(), 2);
    assert_eq!(
        refusal.problem.challenge_id.as_ref(),
        Some(&refusal.challenges[0].id())
    );
    for (issued, offer) in refusal.challenges.iter().zip(route.offers()) {
        let challenge = issued.to_challenge();
        house.gate.issuer.keys().verify(&challenge).unwrap();
        assert_eq!(challenge.realm.as_str(), "shop.example");
        assert_eq!(challenge.request, *offer.request());
        // Default: now + 5 min.
        assert_eq!(challenge.expires_at().unwrap(), at(300));
        let issued = events.try_recv().unwrap();
        assert_eq!(
            issued,
            ServerEvent::ChallengeIssued {
                challenge_id: challenge.id.clone(),
                scope: String::from("/poem"),
            }
        );
    }
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn a_credential_for_a_fresh_challenge_is_granted() {
    let house = house();
    let challenge = house.challenge(&route("/poem")).await;
    assert!(is_grant(&house.pay(&route("/poem"), challenge).await));
}

// PROTOCOL 1.1: expiry fails closed; equal to now = expired. SECURITY-CASES A26.
#[tokio::test]
async fn a_challenge_expires_at_its_moment() {
    let house = house();
    let challenge = house.challenge(&route("/poem")).await;
    house.clock.advance_secs(299);
    assert!(is_grant(
        &house.pay(&route("/poem"), challenge.clone()).await
    ));
    house.clock.advance_secs(1);
    let decision = house.pay(&route("/poem"), challenge).await;
    problem(decision, ProblemKind::PaymentExpired);
}

// SECURITY-CASES A26: a clock that was ahead does not leave challenges that live on.
#[tokio::test]
async fn a_challenge_of_a_clock_that_was_ahead_is_refused() {
    let house = house();
    // Servers may disagree by a minute.
    for (expires, is_taken) in [(300, true), (360, true), (361, false), (86_400, false)] {
        let challenge = bound(|draft| draft.expires = Some(at(expires)));
        let decision = house.pay(&route("/poem"), challenge).await;
        if is_taken {
            assert!(is_grant(&decision), "{expires}");
        } else {
            problem(decision, ProblemKind::InvalidChallenge);
        }
    }
}

/// A challenge that our own key has bound to other contents.
fn bound(change: impl FnOnce(&mut ChallengeDraft)) -> Challenge {
    let mut draft = ChallengeDraft::new(
        Realm::new("shop.example").unwrap(),
        MethodName::tempo(),
        IntentName::charge(),
        encoded(json!({ "amount": "5" })),
    );
    draft.expires = Some(at(60));
    draft.opaque = Some(encoded(json!({ "scope": "/poem" })));
    change(&mut draft);
    KeyRing::new(secret(1)).bind(draft)
}

// PROTOCOL 1.2: a bound credential is also compared with what the route would issue now.
#[tokio::test]
async fn a_bound_challenge_of_other_contents_is_refused() {
    let check = async |change: fn(&mut ChallengeDraft), kind| {
        let decision = house().pay(&route("/poem"), bound(change)).await;
        problem(decision, kind);
    };
    let unchanged = house().pay(&route("/poem"), bound(|_| ())).await;
    assert!(is_grant(&unchanged));
    check(|draft| draft.expires = None, ProblemKind::PaymentExpired).await;
    let foreign = ProblemKind::InvalidChallenge;
    check(|draft| draft.opaque = None, foreign).await;
    check(|draft| draft.opaque = Some(encoded(json!({}))), foreign).await;
    check(
        |draft| draft.opaque = Some(encoded(json!({ "scope": "/poem/2" }))),
        foreign,
    )
    .await;
    check(
        |draft| draft.realm = Realm::new("bank.example").unwrap(),
        foreign,
    )
    .await;
    check(
        |draft| draft.request = encoded(json!({ "amount": "1" })),
        foreign,
    )
    .await;
    let unsupported = ProblemKind::MethodUnsupported;
    check(|draft| draft.intent = IntentName::session(), unsupported).await;
}

// PROTOCOL 1.1: HMAC over all seven slots. SECURITY-CASES A3, A4.
#[tokio::test]
async fn an_altered_challenge_is_refused_in_every_slot() {
    let house = house();
    let route = Route::new(
        "/poem",
        [
            charge("5"),
            session("5"),
            offer("other", IntentName::charge(), "5"),
            charge("1"),
        ],
    )
    .unwrap();
    let honest = house.challenge(&route).await;
    type Alter = fn(&mut Challenge);
    let alterations: [(&str, Alter); 9] = [
        ("id", |c| c.id = ChallengeId::new("x").unwrap()),
        ("realm", |c| c.realm = Realm::new("evil.example").unwrap()),
        ("method", |c| c.method = MethodName::new("other").unwrap()),
        ("intent", |c| c.intent = IntentName::session()),
        ("request", |c| {
            c.request = EncodedJson::from_value(&json!({ "amount": "1" })).unwrap();
        }),
        ("expires", |c| c.expires = Some(at(9_999).to_string())),
        ("no expires", |c| c.expires = None),
        ("digest", |c| {
            c.digest = Some(String::from("sha-256=:AA==:"))
        }),
        ("opaque", |c| {
            c.opaque = Some(EncodedJson::from_value(&json!({ "scope": "/" })).unwrap());
        }),
    ];
    for (slot, alter) in alterations {
        let mut altered = honest.clone();
        alter(&mut altered);
        let refusal = refused(house.pay(&route, altered).await);
        assert_eq!(
            refusal.problem.kind,
            ProblemKind::InvalidChallenge,
            "{slot}"
        );
        // Every 402 carries a fresh challenge per offer.
        assert_eq!(refusal.challenges.len(), 4);
    }
    // The description is for people and not covered.
    let mut described = honest.clone();
    described.description = None;
    assert!(is_grant(&house.pay(&route, described).await));
}

// SECURITY-CASES A3: a credential bought on route A is refused on B, also at one price.
#[tokio::test]
async fn a_credential_opens_only_its_own_route() {
    let house = house();
    let bought = house.challenge(&route("/a")).await;
    let decision = house.pay(&route("/b"), bought.clone()).await;
    problem(decision, ProblemKind::InvalidChallenge);
    assert!(is_grant(&house.pay(&route("/a"), bought).await));
}

// PROTOCOL 1.2: the terms of the route may have changed since.
#[tokio::test]
async fn a_credential_at_an_old_price_is_refused() {
    let house = house();
    let old = house.challenge(&route("/poem")).await;
    let dearer = Route::new("/poem", [charge("6")]).unwrap();
    let decision = house.pay(&dearer, old).await;
    problem(decision, ProblemKind::InvalidChallenge);
}

#[tokio::test]
async fn a_credential_is_redeemed_by_the_offer_it_answers() {
    let house = house();
    let route = Route::new("/poem", [charge("5"), charge("7")]).unwrap();
    for (challenge, offer) in house.ask(&route).await.into_iter().zip(route.offers()) {
        let Decision::Grant(grant) = house.pay(&route, challenge).await else {
            panic!("not granted");
        };
        let Receipt::Charge(receipt) = grant.capture(None).await.unwrap() else {
            panic!("not a charge");
        };
        assert_eq!(receipt.reference, offer.request().as_str());
    }
}

// PROTOCOL 1.1: a key ring verifies the current and the previous secret.
#[tokio::test]
async fn challenges_survive_one_key_rotation() {
    let old = house();
    let challenge = old.challenge(&route("/poem")).await;
    let rotated = House::new(KeyRing::new(secret(2)).with_previous(secret(1)));
    let decision = rotated.pay(&route("/poem"), challenge.clone()).await;
    assert!(is_grant(&decision));
    let twice = House::new(KeyRing::new(secret(3)).with_previous(secret(2)));
    let decision = twice.pay(&route("/poem"), challenge).await;
    problem(decision, ProblemKind::InvalidChallenge);
}

// SECURITY-CASES A5: no request changes the realm; one secret in two houses does not mix them.
#[tokio::test]
async fn a_challenge_of_another_realm_is_refused() {
    let mut other = house();
    let realm = Realm::new("evil.example").unwrap();
    other.gate.issuer = Issuer::new(realm, KeyRing::new(secret(1)));
    let challenge = other.challenge(&route("/poem")).await;
    let decision = house().pay(&route("/poem"), challenge).await;
    problem(decision, ProblemKind::InvalidChallenge);
}

async fn token(house: &House) -> String {
    let challenge = house.challenge(&route("/poem")).await;
    let credential = Credential::new(challenge, json!({ "paid": true }));
    header::credential::encode(&credential).unwrap()
}

// PROTOCOL 1: the credential may stand beside other schemes, in either header.
#[tokio::test]
async fn a_credential_is_found_in_either_header() {
    let house = house();
    let payment = token(&house).await;
    let beside = format!("Bearer abc, {payment}");
    for values in [
        vec![payment.as_str()],
        vec!["Basic dTpw", payment.as_str()],
        vec![beside.as_str()],
    ] {
        assert!(is_grant(&house.present(&route("/poem"), &values).await));
    }
    let attempt = Attempt::from_headers(["Bearer abc"], [payment.as_str()], Purpose::Content);
    let decision = house.gate.decide(&route("/poem"), attempt).await;
    assert!(is_grant(&decision));
}

// PROTOCOL 1: more than one Payment credential -> 400. SECURITY-CASES A31.
#[tokio::test]
async fn two_credentials_are_a_bad_request() {
    let house = house();
    let payment = token(&house).await;
    let list = format!("{payment}, {payment}");
    for values in [
        vec![payment.as_str(), payment.as_str()],
        vec![list.as_str()],
    ] {
        let decision = house.present(&route("/poem"), &values).await;
        let problem = problem(decision, ProblemKind::BadRequest);
        assert_eq!(problem.status(), 400);
    }
    let both = Attempt::from_headers([payment.as_str()], [payment.as_str()], Purpose::Content);
    let decision = house.gate.decide(&route("/poem"), both).await;
    problem(decision, ProblemKind::BadRequest);
}

// PROTOCOL 1: credentials at most 64 KiB, checked before decoding. SECURITY-CASES A7.
#[tokio::test]
async fn an_oversized_credential_is_a_bad_request() {
    let house = house();
    let oversized = format!("Payment {}", "A".repeat(header::limits::MAX_CREDENTIAL + 1));
    let decision = house.present(&route("/poem"), &[&oversized]).await;
    let problem = problem(decision, ProblemKind::BadRequest);
    assert!(problem.detail.contains("64 KiB"));
    let huge = format!("Payment {}", "A".repeat(header::limits::MAX_VALUE + 1));
    let decision = house.present(&route("/poem"), &[&huge]).await;
    assert_eq!(refused(decision).problem.status(), 400);
}

// PROTOCOL 1.3: malformed -> 402 with a fresh challenge.
#[tokio::test]
async fn a_malformed_credential_is_told_so() {
    let house = house();
    for value in [
        "Payment !!!",
        "Payment",
        "Payment e30",
        "Payment bm90IGpzb24",
        "Payment id=\"x\"",
        "Payment W10",
    ] {
        let decision = house.present(&route("/poem"), &[value]).await;
        let problem = problem(decision, ProblemKind::MalformedCredential);
        assert_eq!(problem.status(), 402, "{value}");
    }
}

// SECURITY-CASES A3: an unknown method never falls through to free service.
#[tokio::test]
async fn an_unknown_method_is_unsupported() {
    let house = house();
    let mut challenge = house.challenge(&route("/poem")).await;
    challenge.method = MethodName::new("stripe").unwrap();
    let decision = house.pay(&route("/poem"), challenge).await;
    let problem = problem(decision, ProblemKind::MethodUnsupported);
    assert_eq!(problem.status(), 400);
}

#[tokio::test]
async fn a_source_that_is_not_a_did_is_refused() {
    let house = house();
    let challenge = house.challenge(&route("/poem")).await;
    let credential = Credential::new(challenge, json!({ "paid": true })).with_source("me");
    let attempt = Attempt::from_credential(Some(credential), Purpose::Content);
    let decision = house.gate.decide(&route("/poem"), attempt).await;
    problem(decision, ProblemKind::InvalidPayload);
}

// PROTOCOL 1, Accept-Payment: filter q=0, order by q; malformed or nothing matching -> ignore.
#[tokio::test]
async fn offers_are_ranked_by_the_clients_preference() {
    let house = house();
    let route = Route::new("/poem", [session("1"), charge("5")]).unwrap();
    let check = async |accept: Option<&str>, expected: &[&str]| {
        let attempt = Attempt::from_credential(None, Purpose::Content).accept_payment(accept);
        let refusal = refused(house.gate.decide(&route, attempt).await);
        let intents: Vec<_> = refusal
            .challenges
            .iter()
            .map(|challenge| challenge.draft().intent.as_str())
            .collect();
        assert_eq!(intents, expected, "{accept:?}");
    };
    check(None, &["session", "charge"]).await;
    let prefers_charge = Some("tempo/session;q=0.5, tempo/charge");
    check(prefers_charge, &["charge", "session"]).await;
    check(Some("tempo/session;q=0, */*"), &["charge"]).await;
    check(Some("stripe/charge"), &["session", "charge"]).await;
    check(Some("tempo//;;q=x"), &["session", "charge"]).await;
}

// The preference ranks what is offered; it never decides what is accepted.
#[tokio::test]
async fn a_preference_does_not_take_an_offer_away() {
    let house = house();
    let challenge = house.challenge(&route("/poem")).await;
    let credential = Credential::new(challenge, json!({ "paid": true }));
    let attempt = Attempt::from_credential(Some(credential), Purpose::Content)
        .accept_payment(Some("tempo/charge;q=0"));
    assert!(is_grant(&house.gate.decide(&route("/poem"), attempt).await));
}

// Issue: typed events, rejected with reason.
#[tokio::test]
async fn a_rejection_is_told_with_its_fresh_challenge() {
    let house = house();
    let mut events = house.gate.events.subscribe();
    let decision = house.present(&route("/poem"), &["Payment !!!"]).await;
    let refusal = refused(decision);
    let issued = ServerEvent::ChallengeIssued {
        challenge_id: refusal.challenges[0].id(),
        scope: String::from("/poem"),
    };
    let rejected = ServerEvent::Rejected {
        channel_id: None,
        reason: ProblemKind::MalformedCredential,
    };
    let told = [events.try_recv().unwrap(), events.try_recv().unwrap()];
    assert!(told.contains(&issued) && told.contains(&rejected));
}

// SECURITY-CASES A20: no credential in Debug.
#[tokio::test]
async fn debug_shows_no_credential() {
    let house = house();
    let payment = token(&house).await;
    let attempt = Attempt::from_headers([payment.as_str()], [], Purpose::Content);
    let (_, secret) = payment.split_once(' ').unwrap();
    assert!(!format!("{attempt:?}").contains(secret));
    let challenge = house.challenge(&route("/poem")).await;
    let credential = Credential::new(challenge, json!({ "signature": "0x5ec7e7" }));
    let attempt = Attempt::from_credential(Some(credential), Purpose::Content);
    assert!(!format!("{attempt:?}").contains("5ec7e7"));
    let route = route("/poem");
    let presented = attempt.presented;
    let asked = Asked {
        purpose: Purpose::Content,
        body: RequestBody::Unread,
        now: now(),
    };
    let bound = bind::bind(&house.gate, &route, presented, asked);
    let (_, bound) = bound.unwrap();
    assert!(!format!("{bound:?}").contains("5ec7e7"));
}

#[test]
fn a_route_needs_offers_that_can_be_told_apart() {
    let none: [Offer; 0] = [];
    assert!(matches!(
        Route::new("/poem", none),
        Err(Misuse::Missing("offers"))
    ));
    let same = Route::new("/poem", [charge("5"), charge("5")]);
    assert!(matches!(same, Err(Misuse::Invalid(_))));
    // Equal terms, different intents: told apart by the challenge.
    assert!(Route::new("/poem", [charge("5"), session("5")]).is_ok());
}
