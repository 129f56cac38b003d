//! A route that takes payments over encrypted connections only (SECURITY-CASES A19).

use std::net::SocketAddr;

use axum::{Router, routing::get};
use http::StatusCode;
use mpp_http::server::{Encrypted, Encryption, Paid, PaymentLayer};
use mpp_server::Route;

use crate::{
    pair::{BOTH, PRICE, Pair},
    shop::{Visits, photo, sell},
    vectors::{cases, load, texts},
    wallet::{Answer, Ask},
};

/// The address of a proxy that ends TLS.
const PROXY: &str = "192.0.2.1";

fn app(pair: &Pair, visits: &Visits, encryption: Encryption) -> Router {
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let route = Route::new("/photo", [offer]).unwrap();
    let layer = PaymentLayer::new(pair.server.clone(), route).require_tls(encryption);
    let visits = visits.clone();
    let photo = get(move |_: Paid, headers: http::HeaderMap| async move {
        visits.note(headers);
        "a photo"
    });
    Router::new().route("/photo", photo.layer(layer))
}

fn proxied() -> Encryption {
    let vectors = load("security/a19-transport.json");
    let proxies = texts(&vectors, "proxies").into_iter();
    Encryption::at_proxies(proxies.map(|proxy| proxy.parse().unwrap()))
}

/// A request from `peer`, with these values of `X-Forwarded-Proto`.
fn ask(peer: Option<&str>, said: &[&str]) -> Ask {
    let mut ask = Ask::get("/photo");
    if let Some(peer) = peer {
        ask = ask.peer(SocketAddr::new(peer.parse().unwrap(), 4_711));
    }
    for value in said {
        ask = ask.header("x-forwarded-proto", value);
    }
    ask
}

#[track_caller]
fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
    assert_eq!(answer.problem().status(), 403);
    // A challenge would call for a credential.
    assert!(answer.challenges().is_empty());
    assert!(!answer.has_receipt());
    assert_eq!(answer.list(http::header::CACHE_CONTROL), "no-store");
}

#[tokio::test]
async fn a_proxy_that_is_trusted_tells_how_its_client_connected() {
    let pair = Pair::new().await;
    let app = app(&pair, &Visits::default(), proxied());
    for case in cases("security/a19-transport.json") {
        let mut ask = ask(case["peer"].as_str(), &texts(&case, "forwardedProto"));
        if case["encrypted"] == true {
            ask = ask.extension(Encrypted);
        }
        let answer = ask.send(&app).await;
        if case["admitted"] == true {
            assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED, "{case}");
        } else {
            assert_refused(&answer);
        }
    }
    // Nothing else counts.
    let others = [
        ask(Some(PROXY), &[]).header("forwarded", "proto=https"),
        Ask::get("https://shop.example/photo"),
    ];
    for ask in others {
        assert_refused(&ask.send(&app).await);
    }
}

#[tokio::test]
async fn a_server_that_ends_tls_itself_believes_no_header_field() {
    let pair = Pair::new().await;
    let app = app(&pair, &Visits::default(), Encryption::here());
    let encrypted = Ask::get("/photo").extension(Encrypted);
    let answer = encrypted.send(&app).await;
    assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED);
    assert_refused(&ask(Some(PROXY), &["https"]).send(&app).await);
    assert_refused(&Ask::get("/photo").send(&app).await);
}

#[tokio::test]
async fn a_credential_that_came_in_the_clear_is_not_spent() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let app = app(&pair, &visits, proxied());
    let plain = {
        let offer = pair.offer(BOTH[1]).build().unwrap();
        sell(&pair.server, "/photo", [offer], photo(&visits))
    };
    let wallet = pair.wallet();
    let opened = wallet.open(&plain, "/photo", 0).await;
    let payload = wallet.pay(&opened.terms, PRICE).await;
    let clear = ask(Some(PROXY), &["http"]).pay(&opened.challenge, &payload);
    assert_refused(&clear.send(&app).await);
    let record = pair.record(opened.terms.id()).await;
    assert_eq!((record.spent.base_units(), visits.count()), (0, 0));
    let answer = ask(Some(PROXY), &["https"]).pay(&opened.challenge, &payload);
    assert_eq!(answer.send(&app).await.status, StatusCode::OK);
    assert_eq!(visits.count(), 1);
}
