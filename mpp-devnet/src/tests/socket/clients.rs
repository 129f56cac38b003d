//! Sending and reading with whole clients.

use super::*;
use crate::tests::support::*;
use crate::{DevnetConfig, Mining, Outage, Times};
use alloy_network::{NetworkTransactionBuilder, ReceiptResponse, TransactionBuilder};
use alloy_primitives::{B256, Bytes, U256};
use alloy_provider::{Provider, ProviderBuilder, SendableTx};
use alloy_rpc_types_eth::BlockNumberOrTag;
use alloy_sol_types::{SolCall, SolEvent};
use core::time::Duration;
use mpp_core::Amount;
use mpp_tempo::chain::rpc::{RpcChain, RpcTimeouts};
use mpp_tempo::chain::{ChainClient, ChainError, LogFilter};
use mpp_tempo::{Existence, SessionProtocol};
use serde_json::Value;
use tempo_alloy::TempoNetwork;
use tempo_alloy::rpc::{TempoTransactionReceipt, TempoTransactionRequest};
use tempo_contracts::precompiles::ITIP20ChannelReserve as reserve;
use tempo_contracts::precompiles::{
    INonce, ITIP20, NONCE_PRECOMPILE_ADDRESS, TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE,
};
use tempo_primitives::transaction::TempoTypedTransaction;

#[tokio::test]
async fn the_rpc_client_of_mpp_tempo_opens_reads_and_closes() {
    let (node, server) = default_node().await;
    let chain = RpcChain::connect(&server.url()).await.unwrap();
    assert_eq!(chain.chain_id(), CHAIN_ID);
    let raw = open(&node);
    let receipt = chain.send_and_wait(raw.clone()).await.unwrap();
    assert!(receipt.success);
    assert_eq!(receipt.fee_payer, Some(actor(&node, 2).address));
    assert_eq!(
        chain.send_and_wait(raw).await.unwrap().hash,
        receipt.hash,
        "sending again is harmless"
    );
    assert_eq!(
        chain.receipt(receipt.hash).await.unwrap(),
        Some(receipt.clone())
    );
    let topics = vec![vec![reserve::ChannelOpened::SIGNATURE_HASH]];
    let filter = LogFilter {
        addresses: vec![RESERVE],
        topics,
        ..LogFilter::default()
    };
    let id = chain.logs(filter).await.unwrap()[0].topics[1];
    let view = chain
        .channel(SessionProtocol::V2, RESERVE, id)
        .await
        .unwrap();
    assert_eq!(
        (view.deposit, view.existence),
        (Amount::new(500), Existence::Open)
    );
    let never = chain
        .channel(SessionProtocol::V1, crate::STREAM_CHANNEL, id)
        .await
        .unwrap();
    assert_eq!(never.existence, Existence::Unknown);
    assert_eq!(
        chain.token_balance(TOKEN, RESERVE).await.unwrap(),
        Amount::new(500)
    );
    assert_eq!(chain.block().await.unwrap().timestamp, START);
    assert!(chain.fees().await.unwrap().max_fee_per_gas >= 1_000_000_000);
    let refused = chain
        .send_and_wait(Bytes::from_static(&[0x76]))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ChainError::Rejected { .. }),
        "{refused:?}"
    );
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn faults_reach_rpc_clients() {
    let (node, server) = default_node().await;
    // Only what never answers is waited for briefly.
    let connect = async |request: u64, resolve: u64| {
        let timeouts = RpcTimeouts {
            request: Duration::from_millis(request),
            send: Duration::from_millis(request),
            resolve: Duration::from_millis(resolve),
            poll: Duration::from_millis(20),
        };
        RpcChain::connect_with(&server.url(), timeouts)
            .await
            .unwrap()
    };
    let chain = connect(30_000, 100).await;
    node.faults().drop_transactions(Times::Once);
    let dropped = chain.send_and_wait(open(&node)).await.unwrap_err();
    assert!(matches!(dropped, ChainError::Unknown { .. }), "{dropped:?}");
    let patient = connect(30_000, 30_000).await;
    node.faults().lose_responses(Times::Once);
    let lost = patient.send_and_wait(open(&node)).await.unwrap();
    assert!(
        lost.success,
        "the receipt is found after the answer got lost"
    );
    for outage in [Outage::Refusing, Outage::Hanging] {
        node.faults().set_outage(outage);
        let error = chain.block().await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
    }
    node.faults().clear();
    assert!(chain.block().await.is_ok());
}

#[tokio::test]
async fn receipts_blocks_and_transactions_parse_as_tempo_types() {
    let (node, server) = default_node().await;
    let provider = provider(&server);
    let bytes = open(&node);
    let receipt: TempoTransactionReceipt = provider
        .client()
        .request("eth_sendRawTransactionSync", (bytes,))
        .await
        .unwrap();
    assert!(receipt.status());
    assert_eq!(receipt.fee_token, Some(TOKEN));
    assert_eq!(receipt.fee_payer, actor(&node, 2).address);
    let hash = receipt.transaction_hash();
    let again = provider
        .get_transaction_receipt(hash)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again.block_hash(), receipt.block_hash());
    let tx = provider
        .get_transaction_by_hash(hash)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tx.inner.signer(), actor(&node, 2).address);
    assert_eq!(
        *alloy_consensus::transaction::TxHashRef::tx_hash(tx.inner.inner()),
        hash
    );
    let block = provider
        .get_block_by_number(BlockNumberOrTag::Latest)
        .full()
        .await
        .unwrap()
        .unwrap();
    assert_eq!(block.transactions.len(), 1);
    assert_eq!(Some(block.header.inner.hash), receipt.block_hash());
    assert_eq!(
        block.header.inner.hash,
        alloy_consensus::Sealable::hash_slow(&block.header.inner.inner)
    );
    let parent = provider
        .get_block_by_hash(block.header.inner.inner.inner.parent_hash)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(parent.header.inner.inner.inner.number, 0);
    assert!(
        provider
            .get_block_by_number(99.into())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_provider_fills_estimates_and_sends_a_tempo_transaction() {
    let (node, server) = default_node().await;
    let provider = ProviderBuilder::<_, _, TempoNetwork>::default()
        .filler(tempo_alloy::fillers::TempoGasFiller::default())
        .filler(alloy_provider::fillers::ChainIdFiller::default())
        .connect_http(server.url().parse().unwrap());
    let sender = actor(&node, 2);
    let request = TempoTransactionRequest::default()
        .with_from(sender.address)
        .with_nonce_key(U256::from(5))
        .with_nonce(0)
        .with_calls(vec![
            call(
                TOKEN,
                &ITIP20::approveCall {
                    spender: RESERVE,
                    amount: U256::from(1),
                },
            ),
            call(RESERVE, &open_call(&node)),
        ]);
    let SendableTx::Builder(filled) = provider.fill(request).await.unwrap() else {
        panic!("nobody signed");
    };
    let TempoTypedTransaction::AA(tx) = filled.build_unsigned().unwrap() else {
        panic!("a batch is a Tempo transaction");
    };
    let gas_limit = tx.gas_limit;
    let hash = *provider
        .send_raw_transaction(&raw(tx, &sender))
        .await
        .unwrap()
        .tx_hash();
    let receipt = provider
        .get_transaction_receipt(hash)
        .await
        .unwrap()
        .unwrap();
    assert!(receipt.status());
    assert_eq!(receipt.gas_used(), gas_limit, "estimates are exact");
    let get_nonce = INonce::getNonceCall {
        account: sender.address,
        nonceKey: U256::from(5),
    };
    let answer = view(&provider, NONCE_PRECOMPILE_ADDRESS, &get_nonce)
        .await
        .unwrap();
    assert_eq!(
        INonce::getNonceCall::abi_decode_returns(&answer).unwrap(),
        1
    );
}

#[tokio::test]
async fn a_sync_send_that_does_not_finish_names_the_hash() {
    // EIP-7966: error code 4, the transaction hash as data.
    let (node, server) = serve(DevnetConfig {
        mining: Mining::Manual,
        ..DevnetConfig::default()
    })
    .await;
    let provider = provider(&server);
    let bytes = open(&node);
    let hash = alloy_primitives::keccak256(&bytes);
    let answer = provider
        .raw_request::<_, Value>("eth_sendRawTransactionSync".into(), (bytes, 50))
        .await;
    let error = answer.unwrap_err();
    let payload = error.as_error_resp().unwrap();
    assert_eq!(payload.code, 4);
    assert_eq!(payload.try_data_as::<B256>().unwrap().unwrap(), hash);
    assert_eq!(node.pending_transactions(), vec![hash]);
}
