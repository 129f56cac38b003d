//! Challenges that grow old while a session goes on.

use futures_util::StreamExt as _;
use mpp_core::Receipt;
use mpp_http::client::{Client, PaidResponse};

use crate::{
    pair::{BOTH, PRICE, Pair, secret},
    shop::WORDS,
};

async fn buy(client: &Client, pair: &Pair) -> PaidResponse {
    let response = client.get(pair.url("/photo")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

fn spent(response: &PaidResponse) -> u128 {
    match response.receipt() {
        Some(Receipt::Session(receipt)) => receipt.spent.base_units(),
        other => panic!("{other:?}"),
    }
}

// PROTOCOL 1.1: a key ring verifies the current and the previous secret.
#[tokio::test]
async fn a_rotated_secret_is_honored_once_and_healed_after() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        buy(&client, &pair).await;

        let rotated = pair.configure().secret_key(secret(2));
        let rotated = rotated.previous_secret_key(secret(1)).build().unwrap();
        pair.socket.serve(pair.goods(&rotated, protocol));
        let before = pair.socket.requests();
        assert_eq!(spent(&buy(&client, &pair).await), 2 * PRICE);
        assert_eq!(pair.socket.requests() - before, 1);

        // The secret behind the client's challenge is gone for good.
        let rotated = pair.configure().secret_key(secret(3));
        let rotated = rotated.previous_secret_key(secret(2)).build().unwrap();
        pair.socket.serve(pair.goods(&rotated, protocol));
        let before = pair.socket.requests();
        assert_eq!(spent(&buy(&client, &pair).await), 3 * PRICE);
        assert_eq!(pair.socket.requests() - before, 2);
        let before = pair.socket.requests();
        assert_eq!(spent(&buy(&client, &pair).await), 4 * PRICE);
        assert_eq!(pair.socket.requests() - before, 1);
        assert_eq!(pair.chain.transactions_mined(), 1);
    }
}

// PROTOCOL 5.5: one retry with the fresh challenge of a 402. The server's
// clock alone moves, so the client can not foresee it.
#[tokio::test]
async fn an_expired_challenge_costs_one_more_request_and_no_money() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        buy(&client, &pair).await;
        pair.clock.advance_secs(300);
        let before = pair.socket.requests();
        assert_eq!(spent(&buy(&client, &pair).await), 2 * PRICE);
        assert_eq!(pair.socket.requests() - before, 2);
        let record = pair.record(pair.only_channel()).await;
        assert_eq!(record.spent.base_units(), 2 * PRICE);
        assert_eq!(record.accepted().base_units(), 2 * PRICE);
        assert_eq!(pair.chain.transactions_mined(), 1);
    }
}

// PROTOCOL 5.7: the stream is never re-opened for a voucher, also when the
// challenge it began under has expired.
#[tokio::test]
async fn a_stream_outlives_the_challenge_it_began_under() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        let session = client.session(pair.url("/words")).unwrap();
        let mut stream = session.sse("/words").await.unwrap();
        let mut words = 0;
        while let Some(word) = stream.next().await {
            word.unwrap();
            words += 1;
            if words % 6 == 0 {
                pair.clock.advance_secs(301);
            }
        }
        assert_eq!(words, WORDS + 1);
        let receipt = stream.receipt().unwrap();
        assert_eq!(receipt.units, Some(WORDS));
        assert_eq!(receipt.spent.base_units(), u128::from(WORDS) * PRICE);
    }
}
