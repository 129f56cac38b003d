//! Many requests that are no good (SECURITY-CASES A8, A16).

use std::net::SocketAddr;

use axum::{Router, routing::MethodRouter};
use http::StatusCode;
use mpp_core::{Amount, ProblemKind};
use mpp_tempo::wire::SessionPayload;

use crate::{
    pair::{BOTH, DEPOSIT, PRICE, Pair},
    shop::{Visits, anything, sell},
    wallet::{Answer, Ask, Opened, Wallet, challenge_of},
};

/// A route, and a payer with an open channel.
struct Counter {
    pair: Pair,
    app: Router,
    wallet: Wallet,
    opened: Opened,
}

impl Counter {
    async fn selling(handler: MethodRouter) -> Self {
        let pair = Pair::new().await;
        let offer = pair.offer(BOTH[1]).build();
        let app = sell(&pair.server, "/photo", [offer.unwrap()], handler);
        let wallet = pair.wallet();
        let opened = wallet.open(&app, "/photo", 0).await;
        Self {
            pair,
            app,
            wallet,
            opened,
        }
    }

    /// A voucher that claims so much, and is signed for `signed` units.
    async fn show(&self, claimed: u128, signed: u128, peer: &str) -> Answer {
        let mut payload = self.wallet.pay(&self.opened.terms, signed).await;
        if let SessionPayload::Voucher {
            cumulative_amount, ..
        } = &mut payload
        {
            *cumulative_amount = Amount::new(claimed);
        }
        let peer: SocketAddr = peer.parse().unwrap();
        let ask = Ask::get("/photo").peer(peer);
        let ask = ask.pay(&self.opened.challenge, &payload);
        ask.send(&self.app).await
    }
}

// A8: honest requests go on, and what is refused by its numbers never gets to the curve: it is
// told the number, whoever has signed it.
#[tokio::test]
async fn an_honest_payer_is_served_through_a_flood_of_bad_signatures() {
    let visits = Visits::default();
    let shop = Counter::selling(anything(&visits)).await;
    let mut limited = 0;
    for units in (1..=8).map(|number| number * PRICE) {
        for host in 0..40 {
            // One sender has a network of addresses.
            let peer = format!("[2001:db8::{host:x}]:1");
            let forged = shop.show(units + PRICE, 1, &peer).await;
            match forged.problem().kind {
                ProblemKind::SignerMismatch => {}
                ProblemKind::RateLimited => limited += 1,
                other => panic!("{other:?}"),
            }
        }
        let honest = shop.show(units, units, "192.0.2.7:1").await;
        assert_eq!(honest.status, StatusCode::OK, "{honest:?}");
        // The sender is cut off already, and still told what is wrong with the amount.
        let stale = shop.show(units - 1, 1, "[2001:db8::1]:1").await;
        assert_eq!(
            stale.problem().kind,
            ProblemKind::DeltaTooSmall,
            "{stale:?}"
        );
        let above = shop.show(DEPOSIT + 1, 1, "[2001:db8::1]:1").await;
        assert_eq!(above.problem().kind, ProblemKind::AmountExceedsDeposit);
    }
    assert_eq!((limited, visits.count()), (8 * 40 - 20, 8));
}

// A16: keys that buy nothing take no room from the answers that were paid for, and an answer that
// is forgotten is not served again for free.
#[tokio::test]
async fn a_flood_of_keys_buys_nothing_and_pushes_out_no_answer() {
    let visits = Visits::default();
    let shop = Counter::selling(anything(&visits)).await;
    let payload = shop.wallet.pay(&shop.opened.terms, DEPOSIT).await;
    let keyed = async |key: u64| {
        let ask = Ask::get("/photo").header("idempotency-key", &format!("key-{key}"));
        let ask = ask.pay(&shop.opened.challenge, &payload);
        ask.send(&shop.app).await
    };
    // One voucher pays for all that the deposit buys.
    for key in 0..10 {
        assert_eq!(keyed(key).await.status, StatusCode::OK);
    }
    for key in 10..60 {
        let refused = keyed(key).await;
        assert_eq!(refused.problem().kind, ProblemKind::InsufficientBalance);
        assert!(!refused.has_receipt());
    }
    for key in 0..10 {
        let again = keyed(key).await;
        assert_eq!(again.status, StatusCode::OK);
        assert_eq!(again.list("idempotent-replayed".parse().unwrap()), "true");
    }
    shop.pair.clock.advance_secs(24 * 60 * 60 + 1);
    shop.pair.server.catch_up().await.unwrap();
    let challenge = challenge_of(&shop.app, "/photo").await;
    let ask = Ask::get("/photo").header("idempotency-key", "key-0");
    let late = ask.pay(&challenge, &payload).send(&shop.app).await;
    assert_eq!(late.problem().kind, ProblemKind::InsufficientBalance);
    assert_eq!(visits.count(), 10);
}
