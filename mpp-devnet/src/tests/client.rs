//! The node as a chain client, in process.

use super::support::*;
use crate::{Devnet, DevnetConfig, Outage, Reorged, TimeSource, Times};
use alloy_primitives::aliases::U96;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolEvent;
use core::time::Duration;
use mpp_core::Amount;
use mpp_tempo::chain::{ChainClient, ChainError, DynChain, LogFilter};
use mpp_tempo::{ChannelView, Existence, SessionProtocol};
use tempo_contracts::precompiles::ITIP20ChannelReserve as reserve;
use tempo_contracts::precompiles::{ITIP20, TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE};

fn quick() -> Devnet {
    Devnet::new(DevnetConfig {
        sync_timeout: Duration::from_millis(60),
        time: TimeSource::Fixed(START),
        ..DevnetConfig::default()
    })
}

fn open(node: &Devnet) -> Bytes {
    let open = reserve::openCall {
        payee: actor(node, 1).address,
        operator: Address::ZERO,
        token: TOKEN,
        deposit: U96::from(500),
        salt: B256::ZERO,
        authorizedSigner: Address::ZERO,
    };
    raw(
        transaction(node, vec![call(RESERVE, &open)]),
        &actor(node, 2),
    )
    .into()
}

#[tokio::test]
async fn it_sends_reads_channels_logs_blocks_and_balances() {
    let node = quick();
    let client = DynChain::new(node.clone());
    let raw = open(&node);
    let receipt = client.send_and_wait(raw.clone()).await.unwrap();
    assert!(receipt.success);
    assert_eq!(receipt.fee_payer, Some(actor(&node, 2).address));
    // Sending again yields the same receipt.
    assert_eq!(client.send_and_wait(raw).await.unwrap(), receipt);
    assert_eq!(
        client.receipt(receipt.hash).await.unwrap().as_ref(),
        Some(&receipt)
    );
    let filter = LogFilter {
        addresses: vec![RESERVE],
        topics: vec![vec![reserve::ChannelOpened::SIGNATURE_HASH]],
        ..LogFilter::default()
    };
    let logs = client.logs(filter).await.unwrap();
    assert_eq!(
        logs,
        receipt
            .logs
            .iter()
            .filter(|log| log.address == RESERVE)
            .cloned()
            .collect::<Vec<_>>()
    );
    let id = logs[0].topics[1];
    let view = client
        .channel(SessionProtocol::V2, RESERVE, id)
        .await
        .unwrap();
    let expected = ChannelView {
        deposit: Amount::new(500),
        settled: Amount::ZERO,
        close_requested_at: None,
        existence: Existence::Open,
    };
    assert_eq!(view, expected);
    let unknown = client
        .channel(SessionProtocol::V2, RESERVE, B256::ZERO)
        .await
        .unwrap();
    assert_eq!(unknown.existence, Existence::Unknown);
    assert!(
        client
            .channel(SessionProtocol::V1, RESERVE, id)
            .await
            .is_err()
    );
    let block = client.block().await.unwrap();
    assert_eq!((block.number, block.timestamp), (1, START));
    assert_eq!(
        client.token_balance(TOKEN, RESERVE).await.unwrap(),
        Amount::new(500)
    );
    assert_eq!(client.fees().await.unwrap().max_fee_per_gas, 1_000_000_000);
    assert_eq!(node.rpc_calls(), 0, "no call went over HTTP");
    assert!(node.client_calls() > 0);
}

#[tokio::test]
async fn refused_dropped_and_lost_sends_are_told_apart() {
    let node = quick();
    let refused = node
        .send_and_wait(Bytes::from_static(&[1, 2, 3]))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ChainError::Rejected { .. }),
        "{refused:?}"
    );
    node.faults().drop_transactions(Times::Once);
    let dropped = node.send_and_wait(open(&node)).await.unwrap_err();
    assert!(matches!(dropped, ChainError::Unknown { .. }), "{dropped:?}");
    node.faults().lose_responses(Times::Once);
    let raw = open(&node);
    let Err(ChainError::Unknown { hash }) = node.send_and_wait(raw.clone()).await else {
        panic!("the answer was lost");
    };
    let mined = ChainClient::receipt(&node, hash).await.unwrap();
    assert!(
        mined.is_some_and(|receipt| receipt.success),
        "it was mined all the same"
    );
    assert_eq!(node.send_and_wait(raw).await.unwrap().hash, hash);
}

#[tokio::test]
async fn an_outage_is_unreachable_and_ends() {
    let node = quick();
    for outage in [Outage::Refusing, Outage::Hanging] {
        node.faults().set_outage(outage);
        let error = node.block().await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
    }
    node.faults().set_outage(Outage::None);
    assert!(node.block().await.is_ok());
}

#[tokio::test]
async fn lagging_reads_see_the_past() {
    let node = quick();
    let payee = actor(&node, 1).address;
    let before = node.token_balance(token(1), payee).await.unwrap();
    let transfer = ITIP20::transferCall {
        to: payee,
        amount: U256::from(7),
    };
    let receipt = ok(&node, &actor(&node, 2), token(1), &transfer);
    node.faults().lag_reads(1);
    assert_eq!(node.token_balance(token(1), payee).await.unwrap(), before);
    assert_eq!(node.block().await.unwrap().number, 0);
    assert_eq!(
        ChainClient::receipt(&node, receipt.hash).await.unwrap(),
        None
    );
    assert!(
        ChainClient::logs(&node, LogFilter::default())
            .await
            .unwrap()
            .is_empty()
    );
    node.faults().lag_reads(0);
    assert!(node.token_balance(token(1), payee).await.unwrap() > before);
}

#[tokio::test]
async fn a_reorganized_channel_is_unknown_again() {
    let node = quick();
    let receipt = node.send_and_wait(open(&node)).await.unwrap();
    let id = receipt
        .logs
        .iter()
        .find(|log| log.address == RESERVE)
        .unwrap()
        .topics[1];
    node.faults().reorg(1, Reorged::Lost);
    let view = ChainClient::channel(&node, SessionProtocol::V2, RESERVE, id)
        .await
        .unwrap();
    assert_eq!(view, ChannelView::unknown());
    assert_eq!(
        ChainClient::receipt(&node, receipt.hash).await.unwrap(),
        None
    );
}
