//! Challenges: fresh ones, bound ones, many of them.

use mpp_client::{ClientError, ClientEvent};
use mpp_core::header::challenge;
use mpp_core::{BodyDigest, Problem, ProblemKind};

use crate::shop::{PRICE, Shop, does, units};
use crate::wire::{Head, Reply};

// PROTOCOL 1.3: one retry with the fresh challenge; the same voucher, the same open.
#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_that_is_no_good_is_renewed() {
    for kind in [ProblemKind::PaymentExpired, ProblemKind::InvalidChallenge] {
        let shop = Shop::open().await;
        let client = shop.client();
        for action in ["open", "voucher"] {
            shop.trick(does(action), move |shop, _| async move {
                shop.refuse(Problem::new(kind, "again"))
            });
            client.get(shop.at("/a")).send().await.unwrap();
        }
        let payloads: Vec<_> = shop.log().iter().filter_map(|r| r.payload()).collect();
        assert_eq!(payloads.len(), 4);
        assert_eq!(payloads[0], payloads[1]);
        assert_eq!(payloads[2], payloads[3]);
        let ids: Vec<_> = shop
            .log()
            .iter()
            .filter_map(|request| Some(request.credential()?.challenge.id.to_string()))
            .collect();
        assert_ne!(ids[0], ids[1]);
        assert_eq!(shop.only().spent, units(2 * PRICE));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_takes_a_challenge_is_given_up() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    for _ in 0..2 {
        shop.trick(does("voucher"), |shop, _| async move {
            shop.refuse(Problem::new(ProblemKind::InvalidChallenge, "no"))
        });
    }
    let refused = client.get(shop.at("/a")).send().await;
    assert!(matches!(
        refused,
        Err(ClientError::Problem(problem)) if problem.kind == ProblemKind::InvalidChallenge
    ));
    // It was not charged: the next request presents the same voucher.
    client.get(shop.at("/a")).send().await.unwrap();
    assert_eq!(shop.only().accepted, units(2 * PRICE));
}

// Scope binds the path: each path has its own challenge, the channel is shared.
#[tokio::test(flavor = "multi_thread")]
async fn every_path_has_its_own_challenge() {
    let shop = Shop::open().await;
    let client = shop.client();
    for path in ["/a", "/b", "/a?q=1", "/b?q=2"] {
        client.get(shop.at(path)).send().await.unwrap();
    }
    let expected = [
        "GET",
        "GET open",
        "GET",
        "GET voucher",
        "GET voucher",
        "GET voucher",
    ];
    assert_eq!(shop.story(), expected);
}

// PROTOCOL 1: several challenges in one line, other schemes between them.
#[tokio::test(flavor = "multi_thread")]
async fn the_session_is_found_among_other_challenges() {
    let shop = Shop::open().await;
    shop.trick(
        |_| true,
        |shop, _| async move {
            let session = challenge::encode(&shop.challenge());
            let mut charge = shop.challenge();
            charge.intent = mpp_core::IntentName::charge();
            let line = format!(
                "Bearer realm=\"x\", {}, {session}",
                challenge::encode(&charge)
            );
            let broken = "Payment id=\"1\"";
            let head = Head::new(402)
                .with("www-authenticate", broken)
                .with("www-authenticate", line);
            Reply::Full(head, Vec::new())
        },
    );
    let client = shop.client();
    let mut events = client.events();
    let response = client.get(shop.at("/a")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let first = events.try_next();
    assert!(matches!(first, Some(ClientEvent::ChallengeReceived { .. })));
}

// PROTOCOL 1.1, body binding.
#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_for_another_body_is_not_paid() {
    for (body, is_paid) in [("mine", true), ("theirs", false)] {
        let shop = Shop::open().await;
        shop.trick(
            |_| true,
            |shop, _| async move {
                let mut bound = shop.challenge();
                bound.digest = Some(BodyDigest::of(b"mine").to_string());
                let field = challenge::encode(&bound);
                Reply::Full(Head::new(402).with("www-authenticate", field), Vec::new())
            },
        );
        let client = shop.client();
        let answer = client.post(shop.at("/echo")).body(body).send().await;
        assert_eq!(answer.is_ok(), is_paid, "{answer:?}");
        assert_eq!(shop.accounts().len(), usize::from(is_paid));
    }
}
