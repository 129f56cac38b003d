//! Unmodified alloy clients over a real socket.

use super::support::*;
use crate::{Devnet, DevnetConfig, DevnetServer, Mining, Outage, TimeSource, Times};
use alloy_network::{NetworkTransactionBuilder, ReceiptResponse, TransactionBuilder};
use alloy_primitives::aliases::U96;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_provider::{Provider, ProviderBuilder, SendableTx};
use alloy_rpc_types_eth::{BlockNumberOrTag, Filter};
use alloy_sol_types::{SolCall, SolError, SolEvent};
use core::time::Duration;
use mpp_core::Amount;
use mpp_tempo::chain::rpc::{RpcChain, RpcTimeouts};
use mpp_tempo::chain::{ChainClient, ChainError, LogFilter};
use mpp_tempo::{Existence, SessionProtocol};
use serde_json::{Value, json};
use tempo_alloy::TempoNetwork;
use tempo_alloy::rpc::{TempoTransactionReceipt, TempoTransactionRequest};
use tempo_contracts::precompiles::ITIP20ChannelReserve as reserve;
use tempo_contracts::precompiles::{
    INonce, ITIP20, NONCE_PRECOMPILE_ADDRESS, TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE,
};
use tempo_primitives::transaction::TempoTypedTransaction;

async fn serve(config: DevnetConfig) -> (Devnet, DevnetServer) {
    let node = Devnet::new(DevnetConfig {
        time: TimeSource::Fixed(START),
        ..config
    });
    let server = node.serve(([127, 0, 0, 1], 0).into()).await.unwrap();
    (node, server)
}

async fn default_node() -> (Devnet, DevnetServer) {
    serve(DevnetConfig {
        sync_timeout: Duration::from_millis(200),
        ..DevnetConfig::default()
    })
    .await
}

fn provider(server: &DevnetServer) -> impl Provider<TempoNetwork> + use<> {
    let url = server.url().parse().unwrap();
    ProviderBuilder::<_, _, TempoNetwork>::default().connect_http(url)
}

fn open_call(node: &Devnet) -> reserve::openCall {
    reserve::openCall {
        payee: actor(node, 1).address,
        operator: Address::ZERO,
        token: TOKEN,
        deposit: U96::from(500),
        salt: B256::ZERO,
        authorizedSigner: Address::ZERO,
    }
}

fn open(node: &Devnet) -> Bytes {
    raw(
        transaction(node, vec![call(RESERVE, &open_call(node))]),
        &actor(node, 2),
    )
    .into()
}

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
    let short = Duration::from_millis(100);
    let timeouts = RpcTimeouts {
        request: short,
        send: short,
        resolve: short,
        poll: short,
    };
    let chain = RpcChain::connect_with(&server.url(), timeouts)
        .await
        .unwrap();
    node.faults().drop_transactions(Times::Once);
    let dropped = chain.send_and_wait(open(&node)).await.unwrap_err();
    assert!(matches!(dropped, ChainError::Unknown { .. }), "{dropped:?}");
    node.faults().lose_responses(Times::Once);
    let lost = chain.send_and_wait(open(&node)).await.unwrap();
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

async fn view(
    provider: &impl Provider<TempoNetwork>,
    to: Address,
    function: &impl SolCall,
) -> Result<Bytes, alloy_transport_error::Error> {
    let request = TempoTransactionRequest::default()
        .with_to(to)
        .with_input(function.abi_encode());
    provider.call(request).await
}

mod alloy_transport_error {
    pub(super) type Error = alloy_provider::transport::TransportError;
}

#[tokio::test]
async fn eth_call_answers_views_and_dry_runs_batches_without_a_trace() {
    let (node, server) = default_node().await;
    let provider = provider(&server);
    let payer = actor(&node, 2).address;
    let balance_of = ITIP20::balanceOfCall { account: payer };
    let before = view(&provider, TOKEN, &balance_of).await.unwrap();
    assert_eq!(
        ITIP20::balanceOfCall::abi_decode_returns(&before).unwrap(),
        U256::from(u64::MAX)
    );
    let symbol = view(&provider, TOKEN, &ITIP20::symbolCall {})
        .await
        .unwrap();
    assert_eq!(
        ITIP20::symbolCall::abi_decode_returns(&symbol).unwrap(),
        "pathUSD"
    );
    let grace = view(&provider, RESERVE, &reserve::CLOSE_GRACE_PERIODCall {})
        .await
        .unwrap();
    assert_eq!(
        reserve::CLOSE_GRACE_PERIODCall::abi_decode_returns(&grace).unwrap(),
        900
    );
    let batch = TempoTransactionRequest::default()
        .with_from(payer)
        .with_calls(vec![call(RESERVE, &open_call(&node))]);
    let output = provider.call(batch).await.unwrap();
    assert_eq!(output.len(), 32, "the last call's output is the channel id");
    assert_eq!(view(&provider, TOKEN, &balance_of).await.unwrap(), before);
    assert!(
        view(&provider, stranger(3).address, &balance_of)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn reverts_carry_their_data_in_calls_and_estimates() {
    let (node, server) = default_node().await;
    let provider = provider(&server);
    let bad = reserve::openCall {
        deposit: U96::ZERO,
        ..open_call(&node)
    };
    let request = || {
        TempoTransactionRequest::default()
            .with_from(actor(&node, 2).address)
            .with_calls(vec![call(RESERVE, &bad)])
    };
    let errors = [
        provider.call(request()).await.unwrap_err(),
        provider.estimate_gas(request()).await.unwrap_err(),
    ];
    for error in errors {
        let payload = error.as_error_resp().unwrap();
        assert_eq!(payload.code, 3);
        assert_eq!(
            payload.as_revert_data(),
            Some(reserve::ZeroDeposit {}.abi_encode().into())
        );
    }
}

#[tokio::test]
async fn logs_filter_by_address_topics_and_range() {
    let (node, server) = default_node().await;
    let provider = provider(&server);
    for _ in 0..2 {
        node.submit(&open(&node)).unwrap();
    }
    let opened = reserve::ChannelOpened::SIGNATURE_HASH;
    let payer = actor(&node, 2).address.into_word();
    let count = async |filter: Filter| provider.get_logs(&filter).await.unwrap().len();
    let all = Filter::new().from_block(0);
    assert_eq!(count(all.clone().address(RESERVE)).await, 2);
    assert_eq!(
        count(all.clone().event_signature(vec![opened, B256::ZERO])).await,
        2
    );
    assert_eq!(
        count(all.clone().event_signature(opened).topic2(payer)).await,
        2
    );
    assert_eq!(
        count(all.clone().event_signature(opened).topic2(B256::ZERO)).await,
        0
    );
    assert_eq!(count(all.clone().address(RESERVE).to_block(1)).await, 1);
    assert_eq!(
        count(Filter::new().address(RESERVE)).await,
        1,
        "the default range is the head"
    );
    let head = provider
        .get_block_by_number(BlockNumberOrTag::Latest)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        count(
            Filter::new()
                .at_block_hash(head.header.inner.hash)
                .address(RESERVE)
        )
        .await,
        1
    );
    let logs = provider.get_logs(&all.address(RESERVE)).await.unwrap();
    assert_eq!(logs[1].block_number, Some(2));
    assert!(logs[1].transaction_hash.is_some() && logs[1].log_index.is_some());
}

#[tokio::test]
async fn accounts_fees_and_identity_answer_like_a_tempo_node() {
    let (node, server) = default_node().await;
    let provider = provider(&server);
    let account = actor(&node, 2).address;
    assert_eq!(provider.get_chain_id().await.unwrap(), CHAIN_ID);
    assert_eq!(provider.get_net_version().await.unwrap(), CHAIN_ID);
    assert!(
        provider
            .get_client_version()
            .await
            .unwrap()
            .starts_with("mpp-devnet/")
    );
    assert_eq!(provider.get_gas_price().await.unwrap(), 1_000_000_000);
    assert_eq!(provider.get_max_priority_fee_per_gas().await.unwrap(), 0);
    assert_eq!(
        provider
            .estimate_eip1559_fees()
            .await
            .unwrap()
            .max_fee_per_gas,
        2_000_000_001
    );
    let history = provider
        .get_fee_history(1, BlockNumberOrTag::Latest, &[50.0])
        .await
        .unwrap();
    assert_eq!(history.base_fee_per_gas, [1_000_000_000, 1_000_000_000]);
    assert_eq!(provider.get_transaction_count(account).await.unwrap(), 0);
    assert!(!provider.get_balance(account).await.unwrap().is_zero());
    assert_eq!(
        provider.get_code_at(RESERVE).await.unwrap(),
        Bytes::from_static(&[0xef])
    );
    assert!(provider.get_code_at(account).await.unwrap().is_empty());
    let unknown = provider
        .raw_request::<_, Value>("eth_fillTransaction".into(), ())
        .await
        .unwrap_err();
    assert_eq!(unknown.as_error_resp().unwrap().code, -32601);
}

#[tokio::test]
async fn time_and_mining_are_controlled_over_rpc() {
    let (node, server) = serve(DevnetConfig {
        mining: Mining::Manual,
        ..DevnetConfig::default()
    })
    .await;
    let provider = provider(&server);
    let ask = async |method: &'static str, params: Value| {
        provider
            .raw_request::<_, Value>(method.into(), params)
            .await
            .unwrap()
    };
    ask("evm_increaseTime", json!([900])).await;
    ask("evm_mine", json!([])).await;
    assert_eq!((node.block_number(), node.now()), (1, START + 900));
    ask("evm_increaseTime", json!(["0x10"])).await;
    assert_eq!(node.now(), START + 916);
    ask("anvil_setTime", json!([START])).await;
    assert_eq!(node.now(), START);
    ask("evm_setNextBlockTimestamp", json!([START + 50])).await;
    ask("anvil_mine", json!(["0x2"])).await;
    let head = provider
        .get_block_by_number(BlockNumberOrTag::Latest)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (head.header.inner.inner.inner.number, node.now()),
        (3, START + 50)
    );
    let pending = node.submit(&open(&node)).unwrap();
    let tx = provider
        .get_transaction_by_hash(pending)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(tx.block_number, None);
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

#[tokio::test]
async fn batches_are_answered_together_and_each_call_counts() {
    let (node, server) = default_node().await;
    let client = alloy_rpc_client::ClientBuilder::default().http(server.url().parse().unwrap());
    let mut batch = client.new_batch();
    let id = batch.add_call::<_, U256>("eth_chainId", &()).unwrap();
    let height = batch.add_call::<_, U256>("eth_blockNumber", &()).unwrap();
    batch.send().await.unwrap();
    assert_eq!(id.await.unwrap(), U256::from(CHAIN_ID));
    assert_eq!(height.await.unwrap(), U256::ZERO);
    assert_eq!(node.rpc_calls(), 2);
    assert_eq!(node.rpc_calls_by_method("eth_chainId"), 1);
    node.reset_counters();
    assert_eq!(node.rpc_calls(), 0);
}

#[tokio::test]
async fn historic_reads_see_old_balances() {
    let (node, server) = default_node().await;
    let provider = provider(&server);
    node.submit(&open(&node)).unwrap();
    let balance_at = async |number: u64| {
        let call = ITIP20::balanceOfCall { account: RESERVE };
        let request = TempoTransactionRequest::default()
            .with_to(TOKEN)
            .with_input(call.abi_encode());
        let answer = provider.call(request).block(number.into()).await.unwrap();
        ITIP20::balanceOfCall::abi_decode_returns(&answer).unwrap()
    };
    assert_eq!(
        (balance_at(0).await, balance_at(1).await),
        (U256::ZERO, U256::from(500))
    );
}

#[tokio::test]
async fn malformed_requests_get_json_rpc_errors() {
    let (_, server) = default_node().await;
    for (body, code) in [("{", -32700), ("[]", -32600), ("{\"id\":1}", -32600)] {
        let answer = post(&server, body).await;
        assert_eq!(answer["error"]["code"], code, "{body}");
    }
    let wrong = post(
        &server,
        r#"{"jsonrpc":"2.0","id":1,"method":"eth_getCode","params":["0x12"]}"#,
    )
    .await;
    assert_eq!(wrong["error"]["code"], -32602);
}

/// A request written by hand.
async fn post(server: &DevnetServer, body: &str) -> Value {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(server.local_addr())
        .await
        .unwrap();
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream
        .write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}
