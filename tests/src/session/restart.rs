//! A restart of either side loses nothing that its store keeps.

use mpp_core::Receipt;
use mpp_http::client::{Client, PaidResponse};

use crate::pair::{BOTH, PRICE, Pair};

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

#[tokio::test]
async fn a_new_client_with_the_old_book_continues_on_the_channel() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        buy(&pair.client(), &pair).await;
        let channel = pair.only_channel();
        pair.chain.reset_counters();
        for number in 2..=4_u128 {
            let response = buy(&pair.client(), &pair).await;
            assert_eq!(spent(&response), number * PRICE);
        }
        assert_eq!(pair.only_channel(), channel);
        assert_eq!(pair.chain.transactions_mined(), 0);
        assert_eq!(pair.chain.client_calls(), 0);
    }
}

#[tokio::test]
async fn a_new_server_over_the_old_store_continues_on_the_channel() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        buy(&client, &pair).await;
        buy(&client, &pair).await;
        pair.server.shutdown().await;

        let restarted = pair.configure().build().unwrap();
        pair.socket.serve(pair.goods(&restarted, protocol));
        restarted.catch_up().await.unwrap();
        pair.chain.reset_counters();
        let response = buy(&client, &pair).await;
        assert_eq!(spent(&response), 3 * PRICE);
        assert_eq!(pair.chain.transactions_mined(), 0);
        let record = restarted.channel(pair.only_channel()).await.unwrap();
        assert_eq!(record.spent.base_units(), 3 * PRICE);

        // And with a client that was restarted too, up to the refund.
        let client = pair.client();
        buy(&client, &pair).await;
        let session = client.session(pair.url("/photo")).unwrap();
        let receipt = session.close().await.unwrap();
        assert!(receipt.tx_hash.is_some());
        let record = restarted.channel(pair.only_channel()).await.unwrap();
        assert_eq!(record.settled.base_units(), 4 * PRICE);
    }
}

// A server that lost its store answers 410 (PROTOCOL 1.3); the client opens
// another channel and never forgets the first, which holds money.
#[tokio::test]
async fn a_server_without_its_store_costs_a_new_channel_and_no_money() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        buy(&client, &pair).await;
        let first = pair.only_channel();

        let forgetful = pair.configure().store(mpp_server::MemoryStore::new());
        let forgetful = forgetful.build().unwrap();
        pair.socket.serve(pair.goods(&forgetful, protocol));
        let response = buy(&client, &pair).await;
        assert_eq!(spent(&response), PRICE);
        let channels = client.channels().unwrap();
        assert_eq!(channels.len(), 2);
        assert!(channels.iter().any(|channel| channel.channel_id == first));

        // The deposit of the first comes back without any server.
        client.request_close(&first).await.unwrap();
        pair.advance(900);
        pair.chain.mine();
        let before = pair.balance(pair.payer());
        client.withdraw(&first).await.unwrap();
        assert!(pair.balance(pair.payer()) > before);
        assert_eq!(spent(&buy(&client, &pair).await), 2 * PRICE);
    }
}
