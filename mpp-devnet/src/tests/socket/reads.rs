//! Calls, logs and account queries.

use super::*;
use crate::tests::support::*;
use alloy_network::TransactionBuilder;
use alloy_primitives::aliases::U96;
use alloy_primitives::{B256, Bytes, U256};
use alloy_provider::Provider;
use alloy_rpc_types_eth::{BlockNumberOrTag, Filter};
use alloy_sol_types::{SolCall, SolError, SolEvent};
use serde_json::{Value, json};
use tempo_alloy::rpc::TempoTransactionRequest;
use tempo_contracts::precompiles::ITIP20ChannelReserve as reserve;
use tempo_contracts::precompiles::{ITIP20, TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE};

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
async fn simulated_calls_see_what_the_ones_before_have_done() {
    let (node, server) = default_node().await;
    let provider = provider(&server);
    let (payer, other) = (actor(&node, 2).address, actor(&node, 3).address);
    let approve = ITIP20::approveCall {
        spender: payer,
        amount: U256::from(5),
    };
    let take = |amount: u64| ITIP20::transferFromCall {
        from: payer,
        to: other,
        amount: U256::from(amount),
    };
    let call =
        |from, input: Vec<u8>| json!({"from": from, "to": TOKEN, "input": Bytes::from(input)});
    let calls = [
        call(payer, take(3).abi_encode()),
        call(payer, approve.abi_encode()),
        call(payer, take(3).abi_encode()),
        call(payer, take(3).abi_encode()),
    ];
    let request = json!({"blockStateCalls": [{"calls": calls}]});
    let answer: Value = provider
        .raw_request("eth_simulateV1".into(), json!([request, "latest"]))
        .await
        .unwrap();
    let calls = answer[0]["calls"].as_array().unwrap();
    let statuses: Vec<_> = calls.iter().map(|call| call["status"].clone()).collect();
    assert_eq!(statuses, ["0x0", "0x1", "0x1", "0x0"]);
    let error = calls[0]["error"]["message"].as_str().unwrap();
    assert!(error.starts_with("execution reverted"), "{error}");
    assert_eq!(node.transactions_mined(), 0, "it leaves no trace");
    let mixed = [
        call(payer, take(3).abi_encode()),
        call(other, take(3).abi_encode()),
    ];
    let request = json!({"blockStateCalls": [{"calls": mixed}]});
    let answer = provider.raw_request::<_, Value>("eth_simulateV1".into(), json!([request]));
    let error = answer.await.unwrap_err();
    assert!(error.to_string().contains("one sender"), "{error}");
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
