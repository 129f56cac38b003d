//! Where credentials stand, and that no handler sees them.

use axum::response::IntoResponse as _;
use http::{Method, StatusCode};
use mpp_core::{Credential, ProblemKind, header::names};
use mpp_tempo::wire::SessionPayload;

use crate::{
    pair::{BOTH, PRICE, Pair},
    shop::{Visits, photo, sell},
    wallet::{Ask, authorization, challenge_of},
};

struct Stall {
    pair: Pair,
    app: axum::Router,
    visits: Visits,
}

impl Stall {
    async fn new() -> Self {
        let (pair, visits) = (Pair::new().await, Visits::default());
        let offer = || pair.offer(BOTH[1]).build().unwrap();
        let app = sell(&pair.server, "/photo", [offer()], photo(&visits)).merge(sell(
            &pair.server,
            "/other",
            [offer()],
            photo(&visits),
        ));
        Self { pair, app, visits }
    }
}

// PROTOCOL 1: may stand beside other schemes. SECURITY-CASES A18, A20: it
// goes no further than the layer.
#[tokio::test]
async fn handlers_see_other_credentials_and_never_a_payment() {
    let Stall { pair, app, visits } = Stall::new().await;
    let wallet = pair.wallet();
    let opened = wallet.open(&app, "/photo", PRICE).await;
    let mut units = 0;
    let mut next = async || {
        units += PRICE;
        authorization(&opened.challenge, &wallet.pay(&opened.terms, units).await)
    };

    let own_lines = Ask::get("/photo")
        .header("authorization", "Bearer of-the-user")
        .header("authorization", &next().await);
    assert_eq!(own_lines.send(&app).await.status, StatusCode::OK);
    let seen = visits.last();
    let left: Vec<_> = seen.get_all("authorization").iter().collect();
    assert_eq!(left, ["Bearer of-the-user"]);

    let one_line = format!("Bearer of-the-user, {}", next().await);
    let ask = Ask::get("/photo").header("authorization", &one_line);
    assert_eq!(ask.send(&app).await.status, StatusCode::OK);
    let seen = visits.last();
    let left: Vec<_> = seen.get_all("authorization").iter().collect();
    assert_eq!(left, ["Bearer of-the-user"]);

    let own_field = Ask::get("/photo")
        .header("authorization", "Bearer of-the-user")
        .header(names::PAYMENT_AUTHORIZATION, &next().await);
    assert_eq!(own_field.send(&app).await.status, StatusCode::OK);
    let seen = visits.last();
    assert!(!seen.contains_key(names::PAYMENT_AUTHORIZATION));
    assert_eq!(seen["authorization"], "Bearer of-the-user");
    assert_eq!(visits.count(), 3);
}

// A digest of a person's name may well hold the word: it is no payment.
#[tokio::test]
async fn another_scheme_that_quotes_the_word_payment_reaches_the_handler() {
    let Stall { pair, app, visits } = Stall::new().await;
    let wallet = pair.wallet();
    let opened = wallet.open(&app, "/photo", PRICE).await;
    let payload = wallet.pay(&opened.terms, PRICE).await;
    let digest = r#"Digest username="doe, payment e30", realm="shop""#;
    let ask = Ask::get("/photo")
        .header("authorization", digest)
        .pay(&opened.challenge, &payload);
    assert_eq!(ask.send(&app).await.status, StatusCode::OK);
    assert_eq!(visits.last()["authorization"], digest);
}

// PROTOCOL 1: more than one payment credential is a 400 (SECURITY-CASES A31).
#[tokio::test]
async fn two_credentials_are_a_bad_request_wherever_they_stand() {
    let Stall { pair, app, visits } = Stall::new().await;
    let wallet = pair.wallet();
    let opened = wallet.open(&app, "/photo", PRICE).await;
    let value = authorization(&opened.challenge, &wallet.pay(&opened.terms, PRICE).await);
    let twice = format!("{value}, {value}");
    let asks = [
        Ask::get("/photo").header("authorization", &twice),
        Ask::get("/photo")
            .header("authorization", &value)
            .header("payment-authorization", &value),
        Ask::get("/photo")
            .header("payment-authorization", &value)
            .header("payment-authorization", &value),
    ];
    for ask in asks {
        let answer = ask.send(&app).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.problem().kind, ProblemKind::BadRequest);
        assert_eq!(answer.challenges().len(), 1);
    }
    assert_eq!(visits.count(), 0);
    assert!(pair.record(opened.terms.id()).await.spent.is_zero());
}

// PROTOCOL 1.3: whoever can not go on with a channel is told what else to pay by.
#[tokio::test]
async fn a_channel_that_is_gone_is_told_with_a_challenge() {
    let Stall { pair, app, .. } = Stall::new().await;
    let wallet = pair.wallet();
    let opened = wallet.open(&app, "/photo", PRICE).await;
    let mut elsewhere = opened.terms;
    elsewhere.descriptor.salt = [7; 32].into();
    let payload = wallet.pay(&elsewhere, PRICE).await;
    let ask = Ask::get("/photo").pay(&opened.challenge, &payload);
    let answer = ask.send(&app).await;
    assert_eq!(answer.status, StatusCode::GONE, "{answer:?}");
    assert_eq!(answer.problem().kind, ProblemKind::ChannelNotFound);
    assert_eq!(answer.challenges().len(), 1);
}

// Whoever is not let in is not asked for money.
#[tokio::test]
async fn a_layer_that_knows_its_users_stands_before_the_payment() {
    let Stall { app, .. } = Stall::new().await;
    let known = axum::middleware::from_fn(
        |request: axum::extract::Request, next: axum::middleware::Next| async move {
            let shown = request.headers().get_all("authorization").iter();
            match shown.into_iter().any(|value| value == "Bearer of-the-user") {
                true => next.run(request).await,
                false => StatusCode::UNAUTHORIZED.into_response(),
            }
        },
    );
    let app = app.layer(known);
    let stranger = Ask::get("/photo").send(&app).await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
    assert!(stranger.challenges().is_empty());
    let user = Ask::get("/photo").header("authorization", "Bearer of-the-user");
    let user = user.send(&app).await;
    assert_eq!(user.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(user.challenges().len(), 1);
}

// PROTOCOL 1.3: everything that does not pay is refused before the handler.
#[tokio::test]
async fn the_handler_runs_only_after_payment() {
    let Stall { pair, app, visits } = Stall::new().await;
    let wallet = pair.wallet();
    let opened = wallet.open(&app, "/photo", PRICE).await;
    let good = wallet.pay(&opened.terms, PRICE).await;
    let elsewhere = challenge_of(&app, "/other").await;

    let mut forged = good.clone();
    if let SessionPayload::Voucher {
        cumulative_amount, ..
    } = &mut forged
    {
        *cumulative_amount = mpp_core::Amount::new(2 * PRICE);
    }
    let mut unknown_method = opened.challenge.clone();
    unknown_method.method = "stripe".parse().unwrap();
    let mut cheaper = opened.challenge.clone();
    cheaper.expires = None;
    let unknown_action = Credential::new(
        opened.challenge.clone(),
        serde_json::json!({"action": "gift"}),
    );
    let unknown_action = mpp_core::header::credential::encode(&unknown_action).unwrap();

    let refused = [
        Ask::get("/photo"),
        Ask::get("/photo").header("authorization", "Payment e30"),
        Ask::get("/photo").header("authorization", &unknown_action),
        Ask::get("/photo").pay(&elsewhere, &good),
        Ask::get("/other").pay(&opened.challenge, &good),
        Ask::get("/photo").pay(&opened.challenge, &forged),
        Ask::get("/photo").pay(&unknown_method, &good),
        Ask::get("/photo").pay(&cheaper, &good),
    ];
    for (number, ask) in refused.into_iter().enumerate() {
        let answer = ask.send(&app).await;
        let status = answer.status.as_u16();
        assert!(matches!(status, 400 | 402), "{number}: {answer:?}");
        assert!(!answer.has_receipt(), "{number}");
    }
    pair.clock.advance_secs(300);
    let late = Ask::get("/photo").pay(&opened.challenge, &good);
    let answer = late.send(&app).await;
    assert_eq!(answer.problem().kind, ProblemKind::PaymentExpired);
    assert_eq!(visits.count(), 0);

    let fresh = challenge_of(&app, "/photo").await;
    let answer = Ask::get("/photo").pay(&fresh, &good).send(&app).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(visits.count(), 1);
}

// PROTOCOL 1: oversized credentials are refused before they are decoded.
#[tokio::test]
async fn a_credential_above_64_kib_is_a_bad_request() {
    let Stall { app, visits, .. } = Stall::new().await;
    let huge = format!("Payment {}", "A".repeat(65_537));
    let ask = Ask::new(Method::GET, "/photo").header("authorization", &huge);
    let answer = ask.send(&app).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(visits.count(), 0);
}
