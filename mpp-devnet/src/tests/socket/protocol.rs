//! JSON-RPC itself and the control methods.

use super::*;
use crate::tests::support::*;
use crate::{DevnetConfig, Mining};
use alloy_primitives::U256;
use alloy_provider::Provider;
use alloy_rpc_types_eth::BlockNumberOrTag;
use serde_json::{Value, json};

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
