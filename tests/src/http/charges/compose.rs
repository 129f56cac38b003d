//! Several offers on one route: each credential pays for its own (SECURITY-CASES A3).

use alloy_primitives::B256;
use mpp_core::{Credential, ProblemKind, header};
use mpp_server::Offer;

use super::*;
use crate::wallet::Ask;

/// Offers that differ from the first one in one member each.
fn relatives(pair: &Pair) -> Vec<Offer> {
    let other = Address::repeat_byte(8);
    let token = pair.chain.config().tokens[1].address;
    let offers = [
        charge(pair),
        pair.server.charge().amount("0.02"),
        charge(pair).recipient(other),
        charge(pair).currency(token),
        charge(pair).split(other, "0.001"),
        charge(pair).split(other, "0.002"),
        charge(pair).memo(B256::repeat_byte(3)),
        charge(pair).sponsored(),
    ];
    offers.map(|offer| offer.build().unwrap()).into()
}

// PROTOCOL 1.2: the challenge decides which offer is paid. What would pay another offer of the
// same route pays nothing, although both are for sale here.
#[tokio::test]
async fn a_credential_pays_for_the_offer_of_its_challenge_and_for_no_other() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let app = sell(&pair.server, "/photo", relatives(&pair), photo(&visits));
    let wallet = pair.wallet();
    let challenges = Ask::get("/photo").send(&app).await.challenges();
    assert_eq!(challenges.len(), 8);
    let mined = pair.chain.transactions_mined();
    for (place, asked) in challenges.iter().enumerate() {
        for (other, shown) in challenges.iter().enumerate() {
            // Who pays the fees although the server would, pays what that offer asks for.
            let is_generous = (place, other) == (0, 7);
            if place == other || is_generous {
                continue;
            }
            let value = wallet.charge(asked, shown).await;
            let ask = Ask::get("/photo").header("authorization", &value);
            let answer = ask.send(&app).await;
            assert_eq!(answer.status, 402, "{place} under {other}: {answer:?}");
            assert!(!answer.has_receipt());
        }
    }
    assert_eq!(pair.chain.transactions_mined(), mined, "nothing was sent");
    assert_eq!(visits.count(), 0);
    // Each pays for its own.
    for (place, asked) in challenges.iter().enumerate() {
        let value = wallet.charge(asked, asked).await;
        let ask = Ask::get("/photo").header("authorization", &value);
        let answer = ask.send(&app).await;
        assert_eq!(answer.status, 200, "{place}: {answer:?}");
    }
    assert_eq!(visits.count(), 8);
}

#[tokio::test]
async fn a_challenge_of_a_cheap_route_buys_nothing_on_a_dear_one() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let offer = || charge(&pair).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer()], photo(&visits)).merge(sell(
        &pair.server,
        "/poster",
        [offer()],
        photo(&visits),
    ));
    let wallet = pair.wallet();
    let challenge = crate::wallet::challenge_of(&app, "/photo").await;
    let value = wallet.charge(&challenge, &challenge).await;
    let ask = Ask::get("/poster").header("authorization", &value);
    let answer = ask.send(&app).await;
    assert_eq!(answer.problem().kind, ProblemKind::InvalidChallenge);
    assert_eq!(visits.count(), 0);
    let ask = Ask::get("/photo").header("authorization", &value);
    assert_eq!(ask.send(&app).await.status, 200);
}

// PROTOCOL 1.3: what is not offered is refused, and never free.
#[tokio::test]
async fn an_unknown_method_or_intent_is_unsupported() {
    let (pair, visits) = selling(charge).await;
    let offer = charge(&pair).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], photo(&visits));
    let challenge = crate::wallet::challenge_of(&app, "/photo").await;
    let mut cases = Vec::new();
    for (method, intent) in [
        ("stripe", "charge"),
        ("tempo", "session"),
        ("tempo", "gift"),
    ] {
        let mut other = challenge.clone();
        other.method = method.parse().unwrap();
        other.intent = intent.parse().unwrap();
        cases.push(other);
    }
    for other in cases {
        let credential = Credential::new(other, serde_json::json!({"type": "hash"}));
        let value = header::credential::encode(&credential).unwrap();
        let ask = Ask::get("/photo").header("authorization", &value);
        let answer = ask.send(&app).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
        assert_eq!(answer.problem().kind, ProblemKind::MethodUnsupported);
        // What would do is said beside it.
        assert_eq!(answer.challenges().len(), 1);
    }
    assert_eq!(visits.count(), 0);
}

#[tokio::test]
async fn the_client_prefers_session_or_charge_as_its_owner_does() {
    for order in [[0, 1], [1, 0]] {
        let (pair, visits) = (Pair::new().await, Visits::default());
        let make = |kind: usize| match kind {
            0 => pair.offer(BOTH[1]).build().unwrap(),
            _ => charge(&pair).build().unwrap(),
        };
        let offers = order.map(make);
        pair.socket
            .serve(sell(&pair.server, "/photo", offers, photo(&visits)));
        let kind = async |intents: IntentPolicy| {
            let client = pair.client_with(policy().intents(intents));
            let response = client.get(pair.url("/photo")).send().await.unwrap();
            matches!(response.receipt(), Some(Receipt::Session(_)))
        };
        assert!(kind(IntentPolicy::SessionFirst).await);
        assert!(!kind(IntentPolicy::ChargeFirst).await);
        assert!(!kind(IntentPolicy::ChargeOnly).await);
        assert!(kind(IntentPolicy::SessionOnly).await);
        assert_eq!(visits.count(), 4);
    }
}

#[tokio::test]
async fn the_client_passes_over_what_its_policy_does_not_allow() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let dear = pair.server.charge().amount("0.9").build().unwrap();
    let token = pair.chain.config().tokens[1].address;
    let foreign = charge(&pair).currency(token).build().unwrap();
    let fair = charge(&pair).build().unwrap();
    pair.socket.serve(sell(
        &pair.server,
        "/photo",
        [dear, foreign, fair],
        photo(&visits),
    ));
    let client = pair.client_with(policy().max_charge(Amount::new(PRICE)));
    let before = pair.balance(pair.payee());
    buy(&pair, &client).await;
    assert_eq!(pair.balance(pair.payee()) - before, PRICE);
}
