//! Answers that are lost, and requests that are given up.

use std::time::Duration;

use mpp_client::ClientError;
use mpp_core::{Problem, ProblemKind};

use crate::shop::{PRICE, Shop, does, units};
use crate::wire::{Head, Reply};

/// How often a request is sent before its answer is given up.
const SENDINGS: usize = 3;

// SECURITY-CASES: a cost taken twice when a client retries after a lost response.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_indeterminate_and_is_neither_paid_twice_nor_forgotten() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    shop.lose_answer(does("voucher"));
    let error = client.get(shop.at("/a")).send().await.unwrap_err();
    let id = client.channels().unwrap()[0].channel_id;
    assert!(matches!(
        error,
        ClientError::Indeterminate { channel_id, tx_hash: None, cumulative, cost, .. }
            if channel_id == id && cumulative == units(2 * PRICE) && cost == units(PRICE)
    ));
    // It was charged: the next request covers both.
    client.get(shop.at("/a")).send().await.unwrap();
    assert_eq!(shop.only().spent, units(3 * PRICE));
    assert_eq!(shop.only().accepted, units(3 * PRICE));
    // Another one is lost before it is charged: its voucher pays for the next request.
    for _ in 0..SENDINGS {
        shop.trick(does("voucher"), |_, _| async { Reply::HangUp });
    }
    let error = client.get(shop.at("/a")).send().await.unwrap_err();
    assert!(matches!(error, ClientError::Indeterminate { .. }));
    for _ in 0..2 {
        client.get(shop.at("/a")).send().await.unwrap();
    }
    assert_eq!(shop.only().spent, units(5 * PRICE));
    assert_eq!(shop.only().accepted, units(5 * PRICE));
}

// The open is repeated with the same transaction: one deposit.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_open_is_taken_over_by_the_next_request() {
    for is_done in [true, false] {
        let shop = Shop::open().await;
        let client = shop.client();
        if is_done {
            shop.lose_answer(does("open"));
        } else {
            for _ in 0..SENDINGS {
                shop.trick(does("open"), |_, _| async { Reply::HangUp });
            }
        }
        let error = client.get(shop.at("/a")).send().await.unwrap_err();
        let ClientError::Indeterminate { tx_hash, .. } = error else {
            panic!("not indeterminate: {error}");
        };
        assert!(tx_hash.is_some());
        let response = client.get(shop.at("/a")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let spent = if is_done { 2 * PRICE } else { PRICE };
        assert_eq!(shop.only().spent, units(spent));
        assert_eq!(client.channels().unwrap().len(), 1);
        assert_eq!(shop.chain.block_number(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_dropped_hands_its_open_to_the_next() {
    let shop = Shop::open().await;
    let client = shop.client();
    shop.trick(does("open"), |_, _| std::future::pending::<Reply>());
    let dropped = client.get(shop.at("/a")).send();
    let is_open = async || {
        while shop.story().last().is_none_or(|last| last != "GET open") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let given_up = async {
        tokio::select! {
            _ = dropped => false,
            () = async { is_open().await; tokio::time::sleep(Duration::from_millis(500)).await } => true,
        }
    };
    let waiting = async {
        is_open().await;
        client.get(shop.at("/a")).send().await
    };
    let (given_up, waiting) = tokio::join!(given_up, waiting);
    assert!(given_up);
    assert_eq!(waiting.unwrap().status(), 200);
    let opens: Vec<_> = shop.log().iter().filter_map(|r| r.payload()).collect();
    assert_eq!(opens.len(), 2);
    assert_eq!(opens[0], opens[1]);
    assert_eq!(client.channels().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_down_was_not_paid() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    shop.shut();
    // Connections of before may take some requests with them; then none is made anymore.
    let mut refused = false;
    for _ in 0..10 {
        // The last connection may have been about to serve one.
        if let Err(error) = client.get(shop.at("/a")).send().await {
            refused |= matches!(error, ClientError::Transport(_));
        }
    }
    assert!(refused);
    // What was not sent is not covered: one voucher serves all further requests.
    let signed = client.channels().unwrap()[0].signed;
    for _ in 0..3 {
        let error = client.get(shop.at("/a")).send().await.unwrap_err();
        assert!(matches!(error, ClientError::Transport(_)), "{error}");
        assert_eq!(client.channels().unwrap()[0].signed, signed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_late_is_lost() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    for _ in 0..SENDINGS {
        shop.trick(does("voucher"), |_, _| std::future::pending::<Reply>());
    }
    let request = client
        .get(shop.at("/a"))
        .timeout(Duration::from_millis(200));
    let error = request.send().await.unwrap_err();
    assert!(matches!(error, ClientError::Indeterminate { .. }));
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "the answer did not come in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_server_leaves_the_payment_in_doubt() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    shop.trick(does("voucher"), |shop, request| async move {
        shop.obey(request).await;
        Reply::Full(Head::new(500), Vec::new())
    });
    let response = client.get(shop.at("/a")).send().await.unwrap();
    assert_eq!(response.status(), 500);
    client.get(shop.at("/a")).send().await.unwrap();
    assert_eq!(shop.only().spent, units(3 * PRICE));
    assert_eq!(shop.only().accepted, units(3 * PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_was_paid() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    shop.trick(does("voucher"), |shop, request| async move {
        let id = request.payload().unwrap().channel_id();
        shop.obey(request).await;
        let receipt = mpp_core::Receipt::Session(shop.receipt(id));
        let field = mpp_core::header::receipt::encode(&receipt);
        Reply::BreakOff(Head::new(200).with("payment-receipt", field))
    });
    let response = client.get(shop.at("/a")).send().await.unwrap();
    assert!(response.receipt().is_some());
    let broken = response.bytes().await;
    assert!(matches!(broken, Err(ClientError::Transport(_))));
    assert_eq!(client.channels().unwrap()[0].spent, units(2 * PRICE));
}

// It can not be sent again, so what becomes of the sending that the server is busy with is not known.
#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_body_that_the_server_is_busy_with_is_in_doubt() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    shop.trick(does("voucher"), |shop, request| async move {
        shop.charge(request.payload().unwrap().channel_id());
        shop.refuse(Problem::new(ProblemKind::RequestInProgress, "wait"))
    });
    let pieces = [Ok::<_, std::io::Error>("one "), Ok("two")];
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let request = client.post(shop.at("/a")).body_stream(body);
    let error = request.send().await.unwrap_err();
    assert!(
        matches!(error, ClientError::Indeterminate { cumulative, .. } if cumulative == units(2 * PRICE)),
        "{error:?}"
    );
    // It was charged: the next request covers both.
    client.get(shop.at("/a")).send().await.unwrap();
    assert_eq!(shop.only().spent, units(3 * PRICE));
    assert_eq!(shop.only().accepted, units(3 * PRICE));
}
