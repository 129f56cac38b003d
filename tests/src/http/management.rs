//! Content and management requests (PROTOCOL 5.5).

use http::{Method, StatusCode};
use mpp_server::session::record::Phase;

use crate::{
    pair::{BOTH, DEPOSIT, PRICE, Pair},
    shop::{Visits, anything, photo, sell},
    wallet::{Ask, challenge_of},
};

// PROTOCOL 5.5: GET-only routes accept management credentials on every
// method; topUp and close answer 204 with a receipt; nothing is charged.
#[tokio::test]
async fn a_get_only_route_is_managed_by_head_and_by_empty_post() {
    for protocol in BOTH {
        for method in [Method::HEAD, Method::POST] {
            let (pair, visits) = (Pair::new().await, Visits::default());
            let offer = pair.offer(protocol).build().unwrap();
            let app = sell(&pair.server, "/photo", [offer], photo(&visits));
            let wallet = pair.wallet();
            let challenge = challenge_of(&app, "/photo").await;
            let (terms, open) = wallet.opening(&challenge, PRICE).await;
            let steps = [
                open,
                wallet.pay(&terms, 3 * PRICE).await,
                wallet.top_up(&terms, DEPOSIT).await,
                wallet.pay(&terms, DEPOSIT + PRICE).await,
            ];
            for payload in &steps {
                let ask = Ask::new(method.clone(), "/photo").pay(&challenge, payload);
                let answer = ask.send(&app).await;
                assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
                assert_eq!(answer.body, "");
                assert!(answer.receipt().spent.is_zero());
            }
            let record = pair.record(terms.id()).await;
            assert_eq!(record.deposit.base_units(), 2 * DEPOSIT);
            assert_eq!(record.accepted().base_units(), DEPOSIT + PRICE);
            assert!(record.spent.is_zero());

            let buy = wallet.pay(&terms, DEPOSIT + PRICE).await;
            let answer = Ask::get("/photo").pay(&challenge, &buy).send(&app).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            let close = wallet.close(&terms, PRICE).await;
            let ask = Ask::new(method.clone(), "/photo").pay(&challenge, &close);
            let answer = ask.send(&app).await;
            assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
            assert!(answer.receipt().tx_hash.is_some());
            let record = pair.record(terms.id()).await;
            assert!(matches!(record.phase, Phase::Closed { .. }));
            assert_eq!(record.settled.base_units(), PRICE);
            assert_eq!(visits.count(), 1);
        }
    }
}

// PROTOCOL 5.5: any other request with an open or a voucher buys content.
#[tokio::test]
async fn a_post_with_a_query_or_a_body_is_content() {
    for protocol in BOTH {
        let (pair, visits) = (Pair::new().await, Visits::default());
        let offer = pair.offer(protocol).build().unwrap();
        let app = sell(&pair.server, "/photo", [offer], anything(&visits));
        let wallet = pair.wallet();
        let opened = wallet.open(&app, "/photo", PRICE).await;
        let asks = [
            Ask::new(Method::POST, "/photo?size=large"),
            Ask::new(Method::POST, "/photo?"),
            Ask::new(Method::POST, "/photo").body("size=large"),
            Ask::new(Method::PUT, "/photo"),
            Ask::new(Method::DELETE, "/photo"),
        ];
        for (number, ask) in (1..).zip(asks) {
            let payload = wallet.pay(&opened.terms, number * PRICE).await;
            let answer = ask.pay(&opened.challenge, &payload).send(&app).await;
            assert_eq!(answer.status, StatusCode::OK, "{number}: {answer:?}");
            assert_eq!(answer.receipt().spent.base_units(), number * PRICE);
        }
        assert_eq!(visits.count(), 5);
    }
}

// PROTOCOL 5.5: topUp and close never run the handler, whatever the method.
#[tokio::test]
async fn top_up_and_close_are_management_by_any_method() {
    for protocol in BOTH {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let (pair, visits) = (Pair::new().await, Visits::default());
            let offer = pair.offer(protocol).build().unwrap();
            let app = sell(&pair.server, "/photo", [offer], anything(&visits));
            let wallet = pair.wallet();
            let opened = wallet.open(&app, "/photo", PRICE).await;
            let buy = wallet.pay(&opened.terms, PRICE).await;
            let ask = Ask::get("/photo").pay(&opened.challenge, &buy);
            assert_eq!(ask.send(&app).await.status, StatusCode::OK);
            let top_up = wallet.top_up(&opened.terms, DEPOSIT).await;
            let close = wallet.close(&opened.terms, PRICE).await;
            for payload in [top_up, close] {
                let ask = Ask::new(method.clone(), "/photo?a=b").body("content");
                let answer = ask.pay(&opened.challenge, &payload).send(&app).await;
                assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
                assert_eq!(answer.receipt().spent.base_units(), PRICE);
            }
            assert_eq!(visits.count(), 1);
        }
    }
}

// PROTOCOL 5.5: scope binds the path, not the method and not the query.
#[tokio::test]
async fn a_challenge_of_one_method_is_answered_by_another() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let app = sell(&pair.server, "/photo", [offer], anything(&visits));
    let wallet = pair.wallet();
    let asked = Ask::new(Method::DELETE, "/photo?x=1").send(&app).await;
    let challenge = asked.challenges().remove(0);
    let opened = wallet.open_under(&app, "/photo", challenge, PRICE).await;
    let payload = wallet.pay(&opened.terms, PRICE).await;
    let ask = Ask::get("/photo").pay(&opened.challenge, &payload);
    assert_eq!(ask.send(&app).await.status, StatusCode::OK);
}
