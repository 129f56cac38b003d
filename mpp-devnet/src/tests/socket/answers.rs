//! Answers have the members that those of another node have.

use super::*;
use crate::STREAM_CHANNEL;
use alloy_primitives::U256;
use alloy_rpc_types_eth::TransactionRequest;
use alloy_rpc_types_eth::simulate::{SimBlock, SimulatePayload};
use alloy_sol_types::SolError;
use serde_json::json;
use tempo_contracts::precompiles::ITIP20;

/// Places of the recorded answer that have no counterpart, or one of another type.
fn missing(path: &str, recorded: &Value, answer: &Value, found: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match recorded {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .map(|(at, value)| (at.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    if core::mem::discriminant(recorded) != core::mem::discriminant(answer) {
        found.push(path.to_owned());
        return;
    }
    for (name, value) in members {
        let path = format!("{path}/{name}");
        match answer.pointer(&format!("/{name}")) {
            Some(answer) => missing(&path, value, answer, found),
            None => found.push(path),
        }
    }
}

#[tokio::test]
async fn recorded_answers_have_no_more_members() {
    let (_node, server) = default_node().await;
    let provider = provider(&server);
    let recorded = include_str!("../../../../vectors/devnet/answers.json");
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    for case in recorded["cases"].as_array().unwrap() {
        let method = case["method"].as_str().unwrap().to_owned();
        let answer = provider.raw_request::<_, Value>(method.into(), case["params"].clone());
        let mut found = Vec::new();
        missing("", &case["answer"], &answer.await.unwrap(), &mut found);
        assert_eq!(json!(found), case["onlyThere"], "{}", case["name"]);
    }
}

#[tokio::test]
async fn receipts_of_a_block_are_found_by_its_hash() {
    let (node, server) = default_node().await;
    let hash = node.submit(&open(&node)).unwrap();
    let block = node.receipt(hash).unwrap().block_hash;
    let provider = provider(&server);
    for reference in [json!(block), json!({ "blockHash": block }), json!("0x1")] {
        let receipts: Value = provider
            .raw_request("eth_getBlockReceipts".into(), [reference])
            .await
            .unwrap();
        assert_eq!(receipts[0]["transactionHash"], json!(hash));
    }
    let unknown: Value = provider
        .raw_request("eth_getBlockReceipts".into(), [B256::ZERO])
        .await
        .unwrap();
    assert_eq!(unknown, Value::Null);
}

#[tokio::test]
async fn simulations_show_events_and_revert_data() {
    let (node, server) = default_node().await;
    let provider = provider(&server);
    let request = |to: Address, input: Vec<u8>| TransactionRequest {
        from: Some(actor(&node, 2).address),
        to: Some(to.into()),
        input: Bytes::from(input).into(),
        ..TransactionRequest::default()
    };
    let transfer = ITIP20::transferCall {
        to: actor(&node, 3).address,
        amount: U256::from(5),
    };
    let empty = reserve::openCall {
        deposit: U96::ZERO,
        ..open_call(&node)
    };
    let bad = request(RESERVE, empty.abi_encode());
    let good = request(TOKEN, transfer.abi_encode());
    let block = SimBlock::default().extend_calls([bad, good]);
    let payload = SimulatePayload::default().extend(block);
    let blocks = provider.simulate(&payload).await.unwrap();
    assert_eq!(blocks[0].inner.header.inner.inner.inner.number, 1);
    let [failed, done] = &blocks[0].calls[..] else {
        panic!("two calls");
    };
    assert!(!failed.status && failed.logs.is_empty());
    let reason = reserve::ZeroDeposit {}.abi_encode();
    assert_eq!(failed.return_data, Bytes::from(reason));
    assert!(done.status && done.gas_used > 0);
    assert_eq!(done.logs.len(), 1);
    assert_eq!(done.logs[0].address(), TOKEN);
}

/// The v1 escrow is a Solidity contract, the reserve a precompile.
#[tokio::test]
async fn only_precompiles_name_an_unknown_function() {
    let (_node, server) = default_node().await;
    let provider = provider(&server);
    let data_of = async |to: Address| {
        let request = json!([{"to": to, "input": "0x09090909"}, "latest"]);
        let error = provider.raw_request::<_, Value>("eth_call".into(), request);
        let error = error.await.unwrap_err();
        error.as_error_resp().unwrap().as_revert_data().unwrap()
    };
    assert!(data_of(STREAM_CHANNEL).await.is_empty());
    assert!(
        data_of(RESERVE)
            .await
            .starts_with(&[0xaa, 0x4b, 0xc6, 0x9a])
    );
}

#[tokio::test]
async fn refusals_name_a_fee_token_that_is_none() {
    let (node, server) = default_node().await;
    let provider = provider(&server);
    let refused = async |fee_token: Address| {
        let mut transaction = transaction(&node, vec![call(RESERVE, &open_call(&node))]);
        transaction.fee_token = Some(fee_token);
        let raw = Bytes::from(raw(transaction, &actor(&node, 2)));
        let error = provider.raw_request::<_, Value>("eth_sendRawTransaction".into(), [raw]);
        let error = error.await.unwrap_err().as_error_resp().unwrap().clone();
        let data: Value = serde_json::from_str(error.data.unwrap().get()).unwrap();
        assert_eq!(error.code, -32003);
        assert_eq!(data["token"], fee_token.to_checksum(None));
        data["name"].clone()
    };
    let nothing = Address::repeat_byte(0xab);
    assert_eq!(refused(nothing).await, "FeeTokenNotTip20Error");
    node.pause(TOKEN);
    assert_eq!(refused(TOKEN).await, "FeeTokenPausedError");
}
