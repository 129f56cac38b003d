//! Several offers on one route.

use axum::Router;
use http::StatusCode;
use mpp_client::Policy;
use mpp_core::{
    Amount, ChargeReceipt, EncodedJson, IntentName, MethodName, ProblemKind, Receipt, header::names,
};
use mpp_server::{
    Failure, Offer, Rejection,
    gate::{BoundCredential, BoxFuture, Grant, PaymentMethod, Redeemed, Visit},
};
use mpp_tempo::{SessionProtocol, wire::SessionRequest};

use crate::{
    pair::{BOTH, PRICE, Pair},
    shop::{Visits, photo, sell},
    wallet::Ask,
};

/// A method of somebody else: a coupon, which is a word.
#[derive(Debug)]
struct Coupon {
    method: MethodName,
    intent: IntentName,
    request: EncodedJson,
}

impl Coupon {
    fn offer() -> Offer {
        Offer::new(Self {
            method: "coupon".parse().unwrap(),
            intent: IntentName::charge(),
            request: EncodedJson::from_value(&serde_json::json!({"amount": "1"})).unwrap(),
        })
    }
}

impl PaymentMethod for Coupon {
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

    fn redeem(
        &self,
        credential: BoundCredential,
        visit: Visit,
    ) -> BoxFuture<'_, Result<Redeemed, Failure>> {
        Box::pin(async move {
            if credential.payload()["word"] != "please" {
                return Err(Rejection::VerificationFailed(String::from("wrong word")).into());
            }
            let receipt = ChargeReceipt::new(self.method.clone(), visit.now, "coupon-1");
            Ok(Redeemed::Serve(Grant::new(Receipt::Charge(receipt))))
        })
    }
}

fn protocols(challenges: &[mpp_core::Challenge]) -> Vec<Option<SessionProtocol>> {
    let of = |challenge: &mpp_core::Challenge| {
        let request: Option<SessionRequest> = challenge.request.decode().ok();
        request.map(|request| request.method_details.protocol())
    };
    challenges.iter().map(of).collect()
}

fn both(pair: &Pair, visits: &Visits) -> Router {
    let offers = BOTH.map(|protocol| pair.offer(protocol).build().unwrap());
    sell(&pair.server, "/photo", offers, photo(visits))
}

// PROTOCOL 1: one header line per offer.
#[tokio::test]
async fn both_protocols_are_sold_on_one_route() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let app = both(&pair, &visits);
    let answer = Ask::get("/photo").send(&app).await;
    let lines = answer.headers.get_all("www-authenticate").iter().count();
    assert_eq!(lines, 2);
    let challenges = answer.challenges();
    assert_eq!(protocols(&challenges), BOTH.map(Some));
    let wallet = pair.wallet();
    for challenge in challenges {
        let opened = wallet.open_under(&app, "/photo", challenge, PRICE).await;
        let payload = wallet.pay(&opened.terms, PRICE).await;
        let ask = Ask::get("/photo").pay(&opened.challenge, &payload);
        let answer = ask.send(&app).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.receipt().spent.base_units(), PRICE);
    }
    assert_eq!(visits.count(), 2);
}

// PROTOCOL 1.2: a credential is dispatched to the offer it answers, never to
// another one of the same route.
#[tokio::test]
async fn a_channel_of_one_protocol_does_not_pay_under_the_other() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let app = both(&pair, &visits);
    let wallet = pair.wallet();
    let challenges = Ask::get("/photo").send(&app).await.challenges();
    for (own, other) in [(0, 1), (1, 0)] {
        let own = challenges[own].clone();
        let opened = wallet.open_under(&app, "/photo", own, PRICE).await;
        let payload = wallet.pay(&opened.terms, PRICE).await;
        let ask = Ask::get("/photo").pay(&challenges[other], &payload);
        let answer = ask.send(&app).await;
        assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED, "{answer:?}");
        assert_eq!(answer.problem().kind, ProblemKind::VerificationFailed);
        assert!(pair.record(opened.terms.id()).await.spent.is_zero());
    }
    assert_eq!(visits.count(), 0);
}

// PROTOCOL 5.1: clients answer with the protocol of the challenge.
#[tokio::test]
async fn the_paying_client_follows_the_servers_preference() {
    for first in BOTH {
        let (pair, visits) = (Pair::new().await, Visits::default());
        let mut order = BOTH;
        order.sort_by_key(|protocol| *protocol != first);
        let offers = order.map(|protocol| pair.offer(protocol).build().unwrap());
        pair.socket
            .serve(sell(&pair.server, "/photo", offers, photo(&visits)));
        let client = pair.client_with(Policy::new(Amount::new(10_000)));
        for _ in 0..2 {
            let response = client.get(pair.url("/photo")).send().await.unwrap();
            assert_eq!(response.status(), 200);
        }
        let record = pair.record(pair.only_channel()).await;
        assert_eq!(record.terms.protocol, first);
        assert_eq!(record.spent.base_units(), 2 * PRICE);
    }
}

// PROTOCOL 1, Accept-Payment: filter q=0, order by q, the most specific range
// wins; what is malformed or matches nothing is ignored.
#[tokio::test]
async fn accept_payment_ranks_and_filters_the_offers() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let session = pair.offer(SessionProtocol::V2).build().unwrap();
    let offers = [session, Coupon::offer()];
    let app = sell(&pair.server, "/photo", offers, photo(&visits));
    let cases: [(&str, &[&str]); 8] = [
        ("*/*", &["tempo", "coupon"]),
        ("coupon/charge, tempo/session;q=0.5", &["coupon", "tempo"]),
        ("tempo/session;q=0.5, */*;q=0.6", &["coupon", "tempo"]),
        ("tempo/session", &["tempo"]),
        ("tempo/session;q=0, */*", &["coupon"]),
        ("coupon/*;q=0, */*;q=0.1", &["tempo"]),
        ("stripe/charge", &["tempo", "coupon"]),
        ("tempo;;q=x,", &["tempo", "coupon"]),
    ];
    for (accept, expected) in cases {
        let ask = Ask::get("/photo").header(names::ACCEPT_PAYMENT, accept);
        let answer = ask.send(&app).await;
        let challenges = answer.challenges();
        let methods: Vec<_> = challenges
            .iter()
            .map(|challenge| challenge.method.as_str())
            .collect();
        assert_eq!(methods, expected, "{accept}");
        assert_eq!(
            answer.problem().challenge_id,
            Some(challenges[0].id.clone())
        );
    }
}

#[tokio::test]
async fn a_method_of_somebody_else_is_served_beside_sessions() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let session = pair.offer(SessionProtocol::V2).build().unwrap();
    let offers = [session, Coupon::offer()];
    let app = sell(&pair.server, "/photo", offers, photo(&visits));
    let challenges = Ask::get("/photo").send(&app).await.challenges();
    let present = |challenge: &mpp_core::Challenge, word: &str| {
        let payload = serde_json::json!({ "word": word });
        let credential = mpp_core::Credential::new(challenge.clone(), payload);
        let value = mpp_core::header::credential::encode(&credential).unwrap();
        Ask::get("/photo").header("authorization", &value)
    };
    let refused = present(&challenges[1], "now").send(&app).await;
    assert_eq!(refused.problem().kind, ProblemKind::VerificationFailed);
    // The coupon's payload under the session's challenge opens nothing.
    let crossed = present(&challenges[0], "please").send(&app).await;
    assert_eq!(crossed.problem().kind, ProblemKind::InvalidPayload);
    assert_eq!(visits.count(), 0);
    let served = present(&challenges[1], "please").send(&app).await;
    assert_eq!(served.status, StatusCode::OK, "{served:?}");
    assert!(served.has_receipt());
    // A client that knows only sessions pays by session.
    pair.socket.serve(app);
    let response = pair.client().get(pair.url("/photo")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(visits.count(), 2);
}
