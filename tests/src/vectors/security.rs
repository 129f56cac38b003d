//! Attacks that are data, against a route.

use axum::{Router, routing::MethodRouter};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Method, StatusCode, header};
use mpp_core::{SecretKey, header::challenge};
use mpp_tempo::{SessionProtocol, wire::SessionPayload};
use serde_json::Value;

use super::{cases, load, text, texts};
use crate::{
    pair::{BOTH, PRICE, Pair, mac},
    shop::{Visits, answer, photo, sell},
    wallet::{Answer, Ask, Opened, Wallet, authorization, challenge_of},
};

/// A route, and a payer with an open channel.
struct Counter {
    _pair: Pair,
    app: Router,
    wallet: Wallet,
    opened: Opened,
}

impl Counter {
    async fn open() -> Self {
        Self::selling(photo(&Visits::default())).await
    }

    async fn selling(handler: MethodRouter) -> Self {
        let pair = Pair::new().await;
        let offer = pair.offer(BOTH[1]).build().unwrap();
        let app = sell(&pair.server, "/photo", [offer], handler);
        let wallet = pair.wallet();
        let opened = wallet.open(&app, "/photo", 0).await;
        Self {
            _pair: pair,
            app,
            wallet,
            opened,
        }
    }

    /// A credential for so many prices in total, without its scheme.
    async fn token(&self, prices: u128) -> String {
        let payload = self.wallet.pay(&self.opened.terms, prices * PRICE).await;
        let value = authorization(&self.opened.challenge, &payload);
        value.strip_prefix("Payment ").unwrap().to_owned()
    }

    async fn pay(&self, value: &str) -> Answer {
        let ask = Ask::get("/photo").header("authorization", value);
        ask.send(&self.app).await
    }
}

#[track_caller]
fn assert_status(answer: &Answer, case: &Value) {
    let status = u64::from(answer.status.as_u16());
    assert_eq!(Some(status), case["status"].as_u64(), "{case}: {answer:?}");
}

// A5.
#[tokio::test]
async fn no_request_chooses_the_realm() {
    let shop = Counter::open().await;
    let honest = challenge_of(&shop.app, "/photo").await;
    let realm = load("security/a05-origin.json")["realm"].clone();
    assert_eq!(honest.realm.as_str(), realm);
    for case in cases("security/a05-origin.json") {
        let mut ask = Ask::get(text(&case, "target"));
        for field in case["headers"].as_array().unwrap() {
            ask = ask.header(field[0].as_str().unwrap(), field[1].as_str().unwrap());
        }
        // The clock stands still, so the very same challenge is issued.
        let answer = ask.send(&shop.app).await;
        assert_eq!(answer.challenges(), std::slice::from_ref(&honest), "{case}");
    }
}

// A6.
#[test]
fn challenges_are_read_by_a_strict_grammar() {
    for case in cases("security/a06-headers.json") {
        let read = challenge::parse_all([text(&case, "value")]);
        let broken = read.iter().filter(|one| one.is_err()).count();
        let ids: Vec<_> = read
            .into_iter()
            .flatten()
            .map(|one| one.id.to_string())
            .collect();
        assert_eq!(ids, texts(&case, "ids"), "{case}");
        assert_eq!(Some(broken as u64), case["broken"].as_u64(), "{case}");
    }
}

// A7.
#[tokio::test]
async fn bombs_are_refused_by_their_size_and_form() {
    let shop = Counter::open().await;
    for case in cases("security/a07-bombs.json") {
        let mut json = String::new();
        for part in case["parts"].as_array().unwrap() {
            let times = usize::try_from(part[1].as_u64().unwrap()).unwrap();
            json += &part[0].as_str().unwrap().repeat(times);
        }
        let value = format!("Payment {}", URL_SAFE_NO_PAD.encode(json));
        let answer = shop.pay(&value).await;
        assert_status(&answer, &case);
        let kind = answer.problem().kind.type_uri();
        assert!(kind.ends_with(text(&case, "problem")), "{case}: {kind}");
    }
}

// A17.
#[tokio::test]
async fn caches_are_told_what_not_to_keep() {
    let shop = Counter::open().await;
    let failing = Counter::selling(answer(|| {
        axum::response::IntoResponse::into_response(StatusCode::INTERNAL_SERVER_ERROR)
    }))
    .await;
    let elsewhere = Counter::open().await;
    for case in cases("security/a17-caching.json") {
        let good = format!("Payment {}", shop.token(1).await);
        let answer = match text(&case, "request") {
            "unpaid" => Ask::get("/photo").send(&shop.app).await,
            "malformed" => shop.pay("Payment !!!").await,
            "two credentials" => shop.pay(&format!("{good}, {good}")).await,
            "unknown channel" => {
                // The first channel there has the id of the one here.
                let other = elsewhere.wallet.open(&elsewhere.app, "/photo", 0).await;
                let payload = elsewhere.wallet.pay(&other.terms, PRICE).await;
                shop.pay(&authorization(&shop.opened.challenge, &payload))
                    .await
            }
            "paid" => shop.pay(&good).await,
            "managed" => {
                let ask = Ask::new(Method::HEAD, "/photo").header("authorization", &good);
                ask.send(&shop.app).await
            }
            "paid, the handler fails" => {
                let good = format!("Payment {}", failing.token(1).await);
                failing.pay(&good).await
            }
            other => panic!("{other}"),
        };
        assert_status(&answer, &case);
        assert_eq!(
            answer.list(header::CACHE_CONTROL),
            text(&case, "cacheControl"),
            "{case}"
        );
        let vary = answer.list(header::VARY);
        let fields: Vec<_> = vary.split(", ").collect();
        for name in ["authorization", "payment-authorization"] {
            assert!(fields.contains(&name), "{case}: {fields:?}");
        }
        assert_eq!(answer.has_receipt(), case["receipt"] == true, "{case}");
    }
}

// A22.
#[test]
fn weak_secrets_are_refused() {
    for case in cases("security/a22-secrets.json") {
        let key = SecretKey::from_bytes(text(&case, "secret").as_bytes());
        assert_eq!(key.is_ok(), case["accepted"] == true, "{case}");
    }
}

// A26.
#[tokio::test]
async fn expiry_fails_closed() {
    let shop = Counter::open().await;
    let mut prices = 0;
    for case in cases("security/a26-expires.json") {
        let mut challenge = shop.opened.challenge.clone();
        challenge.expires = case["expires"].as_str().map(str::to_owned);
        challenge.id = mac(&challenge);
        let payload = shop
            .wallet
            .pay(&shop.opened.terms, (prices + 1) * PRICE)
            .await;
        let answer = shop.pay(&authorization(&challenge, &payload)).await;
        match text(&case, "verdict") {
            "valid" => {
                assert_eq!(answer.status, StatusCode::OK, "{case}: {answer:?}");
                prices += 1;
            }
            problem => {
                let kind = answer.problem().kind.type_uri();
                assert!(kind.ends_with(problem), "{case}: {kind}");
            }
        }
    }
}

// A31.
#[tokio::test]
async fn exactly_one_credential_pays() {
    let shop = Counter::open().await;
    let mut prices = 0;
    for case in cases("security/a31-credentials.json") {
        let (first, second) = (shop.token(prices + 1).await, shop.token(prices + 2).await);
        let mut ask = Ask::get("/photo");
        for (field, member) in [
            ("authorization", "authorization"),
            ("payment-authorization", "paymentAuthorization"),
        ] {
            for value in texts(&case, member) {
                ask = ask.header(field, &value.replace("{a}", &first).replace("{b}", &second));
            }
        }
        let answer = ask.send(&shop.app).await;
        assert_status(&answer, &case);
        prices += u128::from(answer.status == StatusCode::OK);
    }
}

// A32.
#[test]
fn amounts_are_decimal_texts_within_the_width_of_their_version() {
    for case in cases("security/a32-amounts.json") {
        let amount: Value = serde_json::from_str(text(&case, "json")).unwrap();
        let payload = serde_json::json!({
            "action": "voucher",
            "channelId": format!("0x{}", "11".repeat(32)),
            "cumulativeAmount": amount,
            "signature": format!("0x{}{}1b", "11".repeat(32), "22".repeat(32)),
        });
        let read = SessionPayload::from_value(&payload);
        for (protocol, member) in [(SessionProtocol::V1, "v1"), (SessionProtocol::V2, "v2")] {
            let fits = read.as_ref().is_ok_and(|payload| {
                payload.voucher().unwrap().voucher.cumulative <= protocol.max_amount()
            });
            assert_eq!(fits, case[member] == true, "{case} on {member}");
        }
    }
}
