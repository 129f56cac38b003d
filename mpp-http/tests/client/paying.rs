//! Requests that are paid as they should be.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use mpp_client::{ClientError, MemoryBook, Phase};
use mpp_core::{Receipt, SessionReceipt};
use mpp_http::client::PaidResponse;
use mpp_tempo::SessionProtocol;
use serde_json::json;

use crate::shop::{PRICE, Shop, does, policy, units};
use crate::wire::{Head, Reply};

#[track_caller]
pub(crate) fn session_receipt(response: &PaidResponse) -> SessionReceipt {
    match response.receipt() {
        Some(Receipt::Session(receipt)) => receipt.clone(),
        other => panic!("no session receipt: {other:?}"),
    }
}

// One transaction to open, none for vouchers, and no call to the chain for them.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_opens_and_the_others_sign() {
    for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
        let shop = Shop::of(protocol).await;
        let client = shop.client();
        let first = client.get(shop.at("/photo")).send().await.unwrap();
        assert_eq!(first.status(), 200);
        assert_eq!(session_receipt(&first).spent, units(PRICE));
        assert_eq!(first.text().await.unwrap(), "/photo");
        let calls = shop.chain.client_calls();
        for n in 2..=5 {
            let response = client.get(shop.at("/photo")).send().await.unwrap();
            assert_eq!(session_receipt(&response).spent, units(PRICE * n));
        }
        assert_eq!(shop.chain.client_calls(), calls);
        // Steady state: one round trip each.
        let mut expected = vec!["GET", "GET open"];
        expected.extend(["GET voucher"; 4]);
        assert_eq!(shop.story(), expected);
        let account = shop.only();
        assert_eq!(account.accepted, units(5 * PRICE));
        assert_eq!(account.spent, units(5 * PRICE));
        assert_eq!(account.deposit, units(10_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_free_costs_nothing() {
    let shop = Shop::open().await;
    shop.trick(
        |_| true,
        |_, _| async { Reply::Full(Head::new(200), b"free".to_vec()) },
    );
    let client = shop.client();
    let response = client.get(shop.at("/free")).send().await.unwrap();
    assert!(response.receipt().is_none());
    assert_eq!(response.text().await.unwrap(), "free");
    assert!(client.channels().unwrap().is_empty());
}

// An answer that may be a refusal is read ahead, and the rest of it comes behind that.
#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_an_error_is_read_to_its_end() {
    let shop = Shop::open().await;
    let client = shop.client();
    let long: Vec<u8> = (0..200_000_u32).flat_map(u32::to_be_bytes).collect();
    for (status, length) in [
        (410, long.len()),
        (409, 64 * 1024),
        (410, 64 * 1024 + 1),
        (410, 0),
    ] {
        let body = &long[..length];
        let answer = || async {
            let full = Reply::Full(Head::new(status), body.to_vec());
            shop.trick(|_| true, |_, _| async { full });
            let answer = client.get(shop.at("/free")).send().await.unwrap();
            assert_eq!(answer.status(), status);
            answer
        };
        assert!(answer().await.bytes().await.unwrap() == body, "{length}");
        let pieces: Vec<_> = answer().await.bytes_stream().try_collect().await.unwrap();
        assert!(pieces.concat() == body, "{length}");
        let inner = answer().await.into_inner();
        assert_eq!(inner.status(), status);
        assert!(inner.bytes().await.unwrap() == body, "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_an_error_that_breaks_off_is_no_whole_one() {
    let shop = Shop::open().await;
    let client = shop.client();
    let answer = || async {
        shop.trick(|_| true, |_, _| async { Reply::BreakOff(Head::new(410)) });
        client.get(shop.at("/free")).send().await.unwrap()
    };
    let broken = answer().await.bytes().await;
    assert!(
        matches!(broken, Err(ClientError::Transport(_))),
        "{broken:?}"
    );
    let broken = answer().await.text().await;
    assert!(
        matches!(broken, Err(ClientError::Transport(_))),
        "{broken:?}"
    );
    let pieces: Vec<_> = answer().await.bytes_stream().collect().await;
    assert!(matches!(pieces[..], [.., Err(_)]), "{pieces:?}");
    answer().await.into_inner().bytes().await.unwrap_err();
}

// Concurrent requests on one channel, no head-of-line lock, exact totals.
#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_requests_at_once_are_charged_exactly() {
    let shop = Shop::open().await;
    shop.change(|m| m.request["suggestedDeposit"] = json!("100000"));
    let client = shop.client();
    let requests = stream::iter(0..64).map(|_| client.get(shop.at("/photo")).send());
    let answers: Vec<_> = requests.buffer_unordered(64).collect().await;
    for answer in answers {
        assert_eq!(answer.unwrap().status(), 200);
    }
    let opens = shop.story().iter().filter(|s| *s == "GET open").count();
    assert_eq!(opens, 1);
    let account = shop.only();
    assert_eq!(account.spent, units(64 * PRICE));
    assert_eq!(account.accepted, units(64 * PRICE));
    let channels = client.channels().unwrap();
    assert_eq!(channels[0].signed, units(64 * PRICE));
    assert_eq!(channels[0].spent, units(64 * PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_over_one_book_pay_as_one() {
    let shop = Shop::open().await;
    shop.change(|m| m.request["suggestedDeposit"] = json!("100000"));
    let book = Arc::new(MemoryBook::default());
    let clients = [
        shop.client_of(policy(), book.clone()),
        shop.client_of(policy(), book),
    ];
    let clients = clients.iter().cycle().take(32);
    let requests = stream::iter(clients).map(|client| client.get(shop.at("/photo")).send());
    let answers: Vec<_> = requests.buffer_unordered(32).collect().await;
    assert!(answers.iter().all(Result::is_ok));
    let account = shop.only();
    assert_eq!(account.spent, units(32 * PRICE));
    assert_eq!(account.accepted, units(32 * PRICE));
}

// SECURITY-CASES: a lower voucher arriving out of order ending a healthy session on the client.
#[tokio::test(flavor = "multi_thread")]
async fn a_voucher_that_comes_late_is_sent_again() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    // The first voucher waits until the second one was taken.
    shop.trick(does("voucher"), |shop, request| async move {
        let voucher = request.payload().unwrap().voucher().unwrap().voucher;
        assert_eq!(voucher.cumulative, units(2 * PRICE));
        while shop.only().accepted < units(3 * PRICE) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        shop.obey(request).await
    });
    let slow = client.get(shop.at("/a?slow")).send();
    let fast = async {
        while shop.story().len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client.get(shop.at("/a?fast")).send().await
    };
    let (slow, fast) = tokio::join!(slow, fast);
    assert_eq!(fast.unwrap().status(), 200);
    assert_eq!(slow.unwrap().status(), 200);
    let expected = [
        "GET",
        "GET open",
        "GET voucher",
        "GET voucher",
        "GET voucher",
    ];
    assert_eq!(shop.story(), expected);
    let account = shop.only();
    assert_eq!(account.spent, units(3 * PRICE));
    // Nothing more was signed for the second try.
    assert_eq!(account.accepted, units(3 * PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_sent_again_with_the_payment() {
    let shop = Shop::open().await;
    let client = shop.client();
    let response = client
        .post(shop.at("/echo"))
        .json(&json!({"a": 1}))
        .send()
        .await
        .unwrap();
    assert_eq!(response.text().await.unwrap(), "/echo{\"a\":1}");
    for request in shop.log() {
        assert_eq!(request.body, b"{\"a\":1}");
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(
            request.header("accept-payment"),
            Some("tempo/session, tempo/charge;q=0.5")
        );
    }
}

// A streamed body is sent only after a challenge is known.
#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_body_goes_out_once_and_paid() {
    let shop = Shop::open().await;
    let client = shop.client();
    let pieces = [Ok::<_, std::io::Error>("one "), Ok("two")];
    let body = reqwest::Body::wrap_stream(stream::iter(pieces));
    let response = client.post(shop.at("/echo")).body_stream(body).send().await;
    assert_eq!(response.unwrap().text().await.unwrap(), "/echoone two");
    assert_eq!(shop.story(), ["HEAD", "POST open"]);
    // A key would be of no use, and have the server keep the whole body.
    let log = shop.log();
    assert!(log.iter().all(|r| r.header("idempotency-key").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_request_that_may_be_repeated_gets_a_key() {
    let shop = Shop::open().await;
    let client = shop.client();
    let key = || {
        shop.log()
            .pop()
            .unwrap()
            .header("idempotency-key")
            .map(str::to_owned)
    };
    client.post(shop.at("/a")).body("x").send().await.unwrap();
    assert!(key().is_some());
    let once = client.post(shop.at("/a")).body("x").without_repeats();
    once.send().await.unwrap();
    assert_eq!(key(), None);
    let chosen = client.post(shop.at("/a")).idempotency_key("order 7");
    chosen.without_repeats().send().await.unwrap();
    assert_eq!(key().as_deref(), Some("\"order 7\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_credentials_stay_beside_the_payment() {
    let shop = Shop::open().await;
    shop.change(|m| m.own_field = true);
    let client = shop.client();
    let request = client
        .get(shop.at("/x"))
        .header("authorization", "Bearer abc");
    request.send().await.unwrap();
    let paid = shop.log().pop().unwrap();
    assert_eq!(paid.header("authorization"), Some("Bearer abc"));
    assert!(paid.header("payment-authorization").is_some());
}

// PROTOCOL 1.3: 410. The old channel may hold money and stays in the book.
#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_gone_is_replaced_and_remembered() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    let old = client.channels().unwrap()[0].channel_id;
    shop.forget();
    let response = client.get(shop.at("/a")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(shop.story(), ["GET", "GET open", "GET voucher", "GET open"]);
    let channels = client.channels().unwrap();
    assert_eq!(channels.len(), 2);
    let old = channels.iter().find(|channel| channel.channel_id == old);
    assert!(matches!(old.unwrap().phase, Phase::Stale { .. }));
    assert!(old.unwrap().phase.may_hold_money());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_refills_the_channel_when_it_must() {
    let shop = Shop::open().await;
    shop.change(|m| m.request["suggestedDeposit"] = json!("2000"));
    let client = shop.client();
    for _ in 0..5 {
        client.get(shop.at("/a")).send().await.unwrap();
    }
    let account = shop.only();
    assert_eq!(account.spent, units(5 * PRICE));
    assert_eq!(account.deposit, units(6_000));
    let top_ups = shop.story().iter().filter(|s| *s == "HEAD topUp").count();
    assert_eq!(top_ups, 2);
}

// 100 paid requests of $0.01 from a $1 deposit and a refused 101st.
#[tokio::test(flavor = "multi_thread")]
async fn a_dollar_buys_a_hundred_cents_and_not_one_more() {
    let shop = Shop::open().await;
    shop.change(|m| {
        m.request["amount"] = json!("10000");
        m.request["suggestedDeposit"] = json!("1000000");
    });
    let client = shop.client_with(crate::shop::policy_of(units(1_000_000)));
    for _ in 0..100 {
        client.get(shop.at("/photo")).send().await.unwrap();
    }
    let requests = shop.log().len();
    let refused = client.get(shop.at("/photo")).send().await;
    assert!(matches!(refused, Err(ClientError::Policy(_))));
    assert_eq!(shop.log().len(), requests);
    let account = shop.only();
    assert_eq!(account.spent, units(1_000_000));
    assert_eq!(account.accepted, units(1_000_000));
}

// A server that charges before it looks: the failed request is honored when it is claimed.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_resource_does_not_end_the_session() {
    for names_amounts in [true, false] {
        let shop = Shop::open().await;
        shop.change(|m| m.names_amounts = names_amounts);
        let client = shop.client();
        client.get(shop.at("/a")).send().await.unwrap();
        shop.trick(does("voucher"), |shop, request| async move {
            shop.charge(request.payload().unwrap().channel_id());
            Reply::Full(Head::new(404), b"not here".to_vec())
        });
        let missing = client.get(shop.at("/missing")).send().await.unwrap();
        assert_eq!(missing.status(), 404);
        assert!(missing.receipt().is_none());
        for _ in 0..3 {
            let response = client.get(shop.at("/a")).send().await.unwrap();
            assert_eq!(response.status(), 200);
        }
        assert_eq!(shop.only().spent, units(5 * PRICE));
        assert_eq!(client.channels().unwrap()[0].signed, units(5 * PRICE));
    }
}

// The crate mpp: its receipts tell the totals before the request, and it takes no voucher twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_receipts_lag_behind_is_paid_what_was_ordered() {
    for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
        let shop = Shop::of(protocol).await;
        shop.change(|m| {
            m.charges_late = true;
            m.names_amounts = false;
        });
        let client = shop.client();
        let session = client.session(shop.at("/a")).unwrap();
        for _ in 0..4 {
            let response = session.get("/a").send().await.unwrap();
            assert_eq!(response.status(), 200);
        }
        assert_eq!(shop.only().spent, units(4 * PRICE));
        assert_eq!(client.channels().unwrap()[0].signed, units(4 * PRICE));
        session.close().await.unwrap();
        assert!(shop.only().is_closed);
    }
}
