//! Chains that answer late, wrong, or not at all.

use std::time::Duration;

use mpp_client::ClientError;
use mpp_core::Amount;
use mpp_devnet::{Outage, Times};
use mpp_http::client::Client;

use crate::pair::{BOTH, DEPOSIT, PRICE, Pair};

async fn get(client: &Client, pair: &Pair) -> u16 {
    let response = client.get(pair.url("/photo")).send().await.unwrap();
    let status = response.status().as_u16();
    // PROTOCOL 1: no receipt on an error response, ever.
    let has_receipt = response.headers().contains_key("payment-receipt");
    assert_eq!(has_receipt, status == 200);
    status
}

/// Buys until it works, and tells how many requests that took.
async fn insist(client: &Client, pair: &Pair) -> u32 {
    for attempt in 1..=5 {
        if get(client, pair).await == 200 {
            return attempt;
        }
    }
    panic!("five requests failed");
}

async fn assert_paid_once(pair: &Pair) {
    let record = pair.record(pair.only_channel()).await;
    assert_eq!(record.spent.base_units(), PRICE);
    assert_eq!(record.deposit.base_units(), DEPOSIT);
    assert_eq!(pair.chain.transactions_mined(), 1);
}

// SECURITY-CASES A34: the node took the open and the answer was lost.
#[tokio::test]
async fn an_open_whose_answer_is_lost_is_found_on_chain() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        pair.chain.faults().lose_responses(Times::Once);
        assert_eq!(get(&client, &pair).await, 503);
        assert_eq!(get(&client, &pair).await, 200);
        assert_paid_once(&pair).await;
    }
}

#[tokio::test]
async fn a_dropped_open_is_sent_again_as_it_was() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        pair.chain.faults().drop_transactions(Times::Once);
        assert_eq!(get(&client, &pair).await, 503);
        assert_eq!(insist(&client, &pair).await, 1);
        assert_paid_once(&pair).await;
    }
}

// The open can no longer be mined: the client makes a new one, on evidence.
#[tokio::test]
async fn an_open_that_ran_out_of_time_is_replaced() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        pair.chain.faults().drop_transactions(Times::Once);
        assert_eq!(get(&client, &pair).await, 503);
        pair.advance(120);
        pair.chain.mine();
        assert_eq!(insist(&client, &pair).await, 1);
        assert_eq!(pair.chain.transactions_mined(), 1);
        assert_eq!(client.channels().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn a_delayed_open_is_credited_when_it_is_mined() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        pair.chain
            .faults()
            .delay_transactions(Duration::from_secs(10), Times::Once);
        assert_eq!(get(&client, &pair).await, 503);
        let record = pair.record(pair.only_channel()).await;
        assert!(record.deposit.is_zero());
        pair.advance(11);
        pair.chain.mine();
        assert_eq!(insist(&client, &pair).await, 1);
        assert_paid_once(&pair).await;
    }
}

// PROTOCOL 5.4: an open that the chain reverted is not a live channel.
#[tokio::test]
async fn a_reverted_open_serves_nothing() {
    for (protocol, selector) in BOTH
        .into_iter()
        .zip([[0xc7, 0x9e, 0xa4, 0x85], [0xed, 0xc5, 0x3b, 0x00]])
    {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        pair.chain.faults().revert_calls(selector, Times::Once);
        let refused = client.get(pair.url("/photo")).send().await;
        assert!(
            matches!(refused, Err(ClientError::Problem(_))),
            "{refused:?}"
        );
        let record = pair.record(pair.only_channel()).await;
        assert!(record.deposit.is_zero() && record.spent.is_zero());
    }
}

#[tokio::test]
async fn a_delayed_top_up_is_credited_once_and_finished_before_another() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        assert_eq!(get(&client, &pair).await, 200);
        let session = client.session(pair.url("/photo")).unwrap();
        assert_eq!(session.get("/photo").send().await.unwrap().status(), 200);
        pair.chain
            .faults()
            .delay_transactions(Duration::from_secs(5), Times::Once);
        let additional = Amount::new(DEPOSIT);
        let undecided = session.top_up(additional).await;
        assert!(undecided.is_err(), "{undecided:?}");
        let record = pair.record(pair.only_channel()).await;
        assert_eq!(record.deposit.base_units(), DEPOSIT);
        pair.advance(6);
        pair.chain.mine();
        // The one under way is finished first, then the new one is made.
        session.top_up(additional).await.unwrap();
        let record = pair.record(pair.only_channel()).await;
        assert_eq!(record.deposit.base_units(), 3 * DEPOSIT);
        assert_eq!(pair.chain.transactions_mined(), 3);
        let state = session.state().unwrap().unwrap();
        assert_eq!(state.deposit.base_units(), 3 * DEPOSIT);
    }
}

// The server has not heard of the top-up it was sent; the client sees to it.
#[tokio::test]
async fn a_refill_mined_late_is_told_to_the_server() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        for _ in 0..10 {
            assert_eq!(get(&client, &pair).await, 200);
        }
        pair.chain
            .faults()
            .delay_transactions(Duration::from_secs(5), Times::Once);
        let undecided = client.get(pair.url("/photo")).send().await;
        assert!(undecided.is_err(), "{undecided:?}");
        pair.advance(6);
        pair.chain.mine();
        assert_eq!(get(&client, &pair).await, 200);
        let record = pair.record(pair.only_channel()).await;
        assert_eq!(record.deposit.base_units(), 2 * DEPOSIT);
        assert_eq!(record.spent.base_units(), 11 * PRICE);
        assert_eq!(pair.chain.transactions_mined(), 2);
    }
}

// DESIGN 2.5: no RPC on the voucher path.
#[tokio::test]
async fn vouchers_are_served_while_the_chain_is_out() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        assert_eq!(get(&client, &pair).await, 200);
        pair.chain.faults().set_outage(Outage::Refusing);
        pair.link.cut();
        let before = pair.link.calls();
        for _ in 0..8 {
            assert_eq!(get(&client, &pair).await, 200);
        }
        assert_eq!(pair.link.calls(), before);
        // Only what needs the chain has to wait: here a larger deposit.
        assert_eq!(get(&client, &pair).await, 200);
        let refused = client.get(pair.url("/photo")).send().await;
        assert!(matches!(refused, Err(ClientError::Chain(_))), "{refused:?}");
        pair.chain.faults().set_outage(Outage::None);
        pair.link.mend();
        assert_eq!(get(&client, &pair).await, 200);
        let record = pair.record(pair.only_channel()).await;
        assert_eq!(record.spent.base_units(), 11 * PRICE);
        assert_eq!(record.deposit.base_units(), 2 * DEPOSIT);
    }
}

#[tokio::test]
async fn an_open_during_the_servers_outage_is_repeated_not_doubled() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        pair.link.cut();
        assert_eq!(get(&client, &pair).await, 503);
        assert_eq!(get(&client, &pair).await, 503);
        assert_eq!(pair.chain.transactions_mined(), 0);
        pair.link.mend();
        assert_eq!(insist(&client, &pair).await, 1);
        assert_paid_once(&pair).await;
    }
}

#[tokio::test]
async fn an_outage_on_the_clients_side_signs_nothing() {
    let pair = Pair::trading(BOTH[1]).await;
    let client = pair.client();
    pair.chain.faults().set_outage(Outage::Refusing);
    let refused = client.get(pair.url("/photo")).send().await;
    assert!(matches!(refused, Err(ClientError::Chain(_))), "{refused:?}");
    assert!(client.channels().unwrap().is_empty());
    pair.chain.faults().clear();
    assert_eq!(get(&client, &pair).await, 200);
    assert_paid_once(&pair).await;
}

// SECURITY-CASES A33, A34: a close whose answer was lost is closed once.
#[tokio::test]
async fn a_close_whose_answer_is_lost_is_finished_by_the_next_one() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        let session = client.session(pair.url("/photo")).unwrap();
        assert_eq!(session.get("/photo").send().await.unwrap().status(), 200);
        pair.chain.faults().lose_responses(Times::Once);
        let lost = session.close().await;
        assert!(lost.is_err(), "{lost:?}");
        let receipt = session.close().await.unwrap();
        assert!(receipt.tx_hash.is_some());
        assert_eq!(pair.chain.transactions_mined(), 2);
        let record = pair.record(pair.only_channel()).await;
        assert_eq!(record.settled.base_units(), PRICE);
    }
}
