//! A payer that leaves, and a token that stands still (SECURITY-CASES A12, A29).

use std::time::Duration;

use http::StatusCode;
use mpp_core::{Amount, ProblemKind};
use mpp_server::{PaymentServer, SettlePolicy};
use mpp_tempo::{chain::ChainClient, channel::Existence, network::PATH_USD};

use crate::{
    pair::{BOTH, PRICE, Pair},
    shop::{Visits, photo, sell},
    wallet::{Ask, challenge_of},
};

/// Timers that never run by themselves: the tests look when they want to.
fn by_hand(policy: SettlePolicy) -> SettlePolicy {
    SettlePolicy {
        every: Duration::from_secs(1_000_000),
        scan_every: Duration::from_secs(1),
        ..policy
    }
}

/// A server that settles when it is told to, and alone.
async fn patient(pair: &Pair, policy: SettlePolicy) -> PaymentServer {
    pair.server.shutdown().await;
    pair.configure()
        .settlement(by_hand(policy))
        .build()
        .unwrap()
}

// A12: nobody tells the server of the request, the node is away for ten minutes, and the server
// starts again in the middle of them. The payee still gets all of it in time.
#[tokio::test]
async fn a_silent_close_request_is_answered_in_time_through_an_outage_and_a_restart() {
    for protocol in BOTH {
        let pair = Pair::new().await;
        let first = patient(&pair, SettlePolicy::on_demand()).await;
        first.catch_up().await.unwrap();
        pair.socket.serve(pair.goods(&first, protocol));
        let client = pair.client();
        for _ in 0..4 {
            let answer = client.get(pair.url("/photo")).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        }
        let channel = pair.only_channel();
        let payee = pair.balance(pair.payee());
        client.request_close(&channel).await.unwrap();
        let asked = pair.chain.now();

        pair.link.cut();
        for _ in 0..30 {
            pair.advance(10);
            first.catch_up().await.unwrap_err();
            drop(first.collect().await);
        }
        first.shutdown().await;
        let second = patient(&pair, SettlePolicy::on_demand()).await;
        for _ in 0..30 {
            pair.advance(10);
            second.catch_up().await.unwrap_err();
            drop(second.collect().await);
        }
        pair.link.mend();
        second.ready().await.unwrap();
        for _ in 0..5 {
            pair.advance(2);
            second.collect().await.unwrap();
        }
        assert!(pair.chain.now() < asked + 900, "too late on {protocol}");
        let escrow = protocol.default_escrow(42_431).unwrap();
        let view = ChainClient::channel(&pair.chain, protocol, escrow, channel).await;
        // A closed v2 channel leaves an empty slot.
        assert_ne!(view.unwrap().existence, Existence::Open, "{protocol}");
        // Fees come out of the same account.
        assert!(pair.balance(pair.payee()) > payee + 3 * PRICE, "{protocol}");
        pair.socket.serve(pair.goods(&second, protocol));
        let answer = Ask::get("/photo")
            .send(&pair.goods(&second, protocol))
            .await;
        assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED);
    }
}

// Its timers had not run yet, and must not begin to lead after it has left.
#[tokio::test]
async fn a_server_that_has_ended_leaves_the_lease_to_the_next() {
    let pair = Pair::new().await;
    let next = patient(&pair, SettlePolicy::on_demand()).await;
    assert!(next.collect().await.unwrap().leading);
}

// A29: while nothing of the token can be collected, little more is sold for it.
#[tokio::test]
async fn a_paused_token_caps_what_is_sold_until_it_moves_again() {
    for protocol in BOTH {
        let (pair, visits) = (Pair::new().await, Visits::default());
        let server = patient(
            &pair,
            SettlePolicy {
                blocked_exposure: Amount::new(3 * PRICE),
                ..SettlePolicy::on_demand()
            },
        )
        .await;
        server.catch_up().await.unwrap();
        let offer = crate::pair::offer_of(&server, protocol).build().unwrap();
        let app = sell(&server, "/photo", [offer], photo(&visits));
        let wallet = pair.wallet();
        let opened = wallet.open(&app, "/photo", 0).await;
        let buy = async |prices: u128| {
            let challenge = challenge_of(&app, "/photo").await;
            let payload = wallet.pay(&opened.terms, prices * PRICE).await;
            let ask = Ask::get("/photo").pay(&challenge, &payload);
            ask.send(&app).await
        };
        for prices in 1..=2 {
            assert_eq!(buy(prices).await.status, StatusCode::OK);
        }
        pair.chain.pause(PATH_USD);
        server.settle().await.unwrap();
        for _ in 0..6 {
            pair.advance(1);
            server.collect().await.unwrap();
        }
        // One more fits below the cap.
        assert_eq!(buy(3).await.status, StatusCode::OK);
        let refused = buy(4).await;
        assert_eq!(refused.problem().kind, ProblemKind::ServiceUnavailable);
        assert_eq!(visits.count(), 3);

        // It stands still for hours, and is collected from within two after that.
        for _ in 0..120 {
            pair.advance(60);
            server.catch_up().await.unwrap();
            server.collect().await.unwrap();
        }
        pair.chain.unpause(PATH_USD);
        for _ in 0..120 {
            pair.advance(60);
            server.catch_up().await.unwrap();
            server.collect().await.unwrap();
        }
        server.settle().await.unwrap();
        let record = server.channel(opened.terms.id()).await.unwrap();
        assert_eq!(record.settled.base_units(), 3 * PRICE);
        assert_eq!(buy(4).await.status, StatusCode::OK);
    }
}
