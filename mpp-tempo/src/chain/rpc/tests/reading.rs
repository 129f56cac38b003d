//! Reads: what nodes leave out, spell differently, or get wrong.

use alloy_sol_types::SolValue;

use alloc::vec;

use super::*;
use crate::chain::DynChain;

/// A node that gives every request the same answer.
async fn answering(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Node {
    Node::start(move |_, _| reply()).await
}

async fn with_result(result: Value) -> Node {
    answering(move || Reply::Result(result.clone())).await
}

// LOCALNODE: anvil's receipts omit members and carry a numeric blockTimestamp.
#[tokio::test]
async fn receipts_are_read_leniently() {
    let node = with_result(mined()).await;
    let receipt = node.chain().receipt(hash()).await.unwrap().unwrap();
    assert_eq!((receipt.block_number, receipt.gas_used), (16, 21000));
    assert_eq!(receipt.fee_payer, None);
    assert_eq!(receipt.logs.len(), 1);
    assert_eq!(receipt.logs[0].topics, [hash()]);
    assert_eq!(
        (receipt.logs[0].log_index, receipt.logs[0].block_number),
        (Some(0), None)
    );

    let mut full = mined();
    full["feePayer"] = json!("0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
    full["blockNumber"] = json!(16);
    let receipt = with_result(full)
        .await
        .chain()
        .receipt(hash())
        .await
        .unwrap()
        .unwrap();
    assert!(receipt.fee_payer.is_some());
    assert_eq!(receipt.block_number, 16);
}

#[tokio::test]
async fn an_absent_receipt_is_none_and_a_broken_one_malformed() {
    let chain = with_result(Value::Null).await.chain();
    assert_eq!(chain.receipt(hash()).await, Ok(None));
    for member in [
        "transactionHash",
        "status",
        "blockNumber",
        "gasUsed",
        "from",
        "logs",
    ] {
        let mut broken = mined();
        broken.as_object_mut().unwrap().remove(member);
        let answer = with_result(broken).await.chain().receipt(hash()).await;
        assert!(
            matches!(answer, Err(ChainError::Malformed { .. })),
            "{member}"
        );
    }
    let foreign = with_result(mined()).await.chain().receipt(B256::ZERO).await;
    assert!(matches!(foreign, Err(ChainError::Malformed { .. })));
}

#[tokio::test]
async fn failures_of_reads_are_typed() {
    let check = |reply: fn() -> Reply, transient: bool| async move {
        let error = answering(reply).await.hasty().block().await.unwrap_err();
        assert_eq!(error.is_transient(), transient, "{error:?}");
        assert!(!alloc::format!("{error:?}").contains("SECRET"));
    };
    check(|| Reply::Silence, true).await;
    check(|| Reply::HangUp, true).await;
    check(|| Reply::Status(503), true).await;
    check(|| Reply::Error(-32005, "limit exceeded"), true).await;
    check(|| Reply::Error(-32601, "no such method"), false).await;
    check(|| Reply::Result(json!({"number": "0x1"})), false).await;
}

#[tokio::test]
async fn channels_of_both_escrows_are_read() {
    let v1 = IStreamChannel::Channel {
        finalized: false,
        closeRequestedAt: 77,
        payer: Address::repeat_byte(1),
        payee: Address::repeat_byte(2),
        token: Address::repeat_byte(3),
        authorizedSigner: Address::ZERO,
        deposit: 10,
        settled: 4,
    };
    let chain = with_result(json!(Bytes::from(v1.abi_encode())))
        .await
        .chain();
    let view = chain
        .channel(SessionProtocol::V1, Address::ZERO, hash())
        .await
        .unwrap();
    assert_eq!(view.existence, Existence::Open);
    assert_eq!(view.close_requested_at, Some(77));
    assert_eq!(
        (view.deposit, view.settled),
        (Amount::new(10), Amount::new(4))
    );

    let empty = with_result(json!(Bytes::from([0; 96]))).await;
    let view = empty
        .chain()
        .channel(SessionProtocol::V2, Address::ZERO, hash())
        .await;
    assert_eq!(view, Ok(ChannelView::unknown()));
}

/// A v2 state whose deposit is the last two bytes of the id.
fn state_of(id: &B256) -> ITIP20ChannelReserve::ChannelState {
    let deposit = u16::from_be_bytes([id[30], id[31]]);
    ITIP20ChannelReserve::ChannelState {
        settled: alloy_primitives::aliases::U96::ZERO,
        deposit: alloy_primitives::aliases::U96::from(deposit),
        closeRequestedAt: 0,
    }
}

fn numbered(number: u16) -> ChannelRef {
    ChannelRef {
        protocol: SessionProtocol::V2,
        escrow: Address::ZERO,
        id: B256::left_padding_from(&number.to_be_bytes()),
    }
}

/// The input of an `eth_call`.
fn input(request: &Value) -> Bytes {
    serde_json::from_value(request["params"][0]["input"].clone()).unwrap()
}

#[tokio::test]
async fn many_channels_take_few_calls_and_come_in_the_order_asked() {
    let node = Node::start(|request, _| {
        let call = ITIP20ChannelReserve::getChannelStatesBatchCall::abi_decode(&input(request));
        let states: Vec<_> = call.unwrap().channelIds.iter().map(state_of).collect();
        Reply::Result(json!(Bytes::from(states.abi_encode())))
    })
    .await;
    let asked: Vec<_> = (1..=300).rev().map(numbered).collect();
    let views = node.chain().channels(asked).await.unwrap();
    let deposits: Vec<_> = views.iter().map(|view| view.deposit.base_units()).collect();
    assert_eq!(deposits, (1..=300).rev().collect::<Vec<_>>());
    assert_eq!(node.calls("eth_call"), 3);
    assert_eq!(node.chain().channels(Vec::new()).await, Ok(Vec::new()));
}

#[tokio::test]
async fn an_escrow_without_the_batch_function_is_read_one_by_one() {
    let node = Node::start(|request, _| {
        let input = input(request);
        match ITIP20ChannelReserve::getChannelStateCall::abi_decode(&input) {
            Ok(call) => {
                let state = state_of(&call.channelId);
                Reply::Result(json!(Bytes::from(state.abi_encode())))
            }
            Err(_) => Reply::Error(3, "execution reverted"),
        }
    })
    .await;
    let asked = [2, 1].map(numbered).to_vec();
    let views = node.chain().channels(asked).await.unwrap();
    assert_eq!(views[0].deposit, Amount::new(2));
    assert_eq!(views[1].deposit, Amount::new(1));
    assert_eq!(node.calls("eth_call"), 3);
}

#[tokio::test]
async fn a_batch_of_another_length_is_malformed() {
    let none: Vec<ITIP20ChannelReserve::ChannelState> = Vec::new();
    let chain = with_result(json!(Bytes::from(none.abi_encode())))
        .await
        .chain();
    let views = chain.channels(vec![numbered(1)]).await;
    assert!(matches!(views, Err(ChainError::Malformed { .. })));
}

#[tokio::test]
async fn an_escrow_without_code_is_malformed_and_not_an_empty_channel() {
    let chain = with_result(json!("0x")).await.chain();
    for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
        let view = chain.channel(protocol, Address::ZERO, hash()).await;
        assert!(matches!(view, Err(ChainError::Malformed { .. })));
    }
}

#[tokio::test]
async fn views_call_the_contract_at_the_latest_block() {
    let node = Node::start(|request, _| {
        assert_eq!(request["method"], "eth_call");
        assert_eq!(request["params"][1], "latest");
        let call = &request["params"][0];
        assert_eq!(call["to"], "0x20c0000000000000000000000000000000000000");
        assert!(call["input"].as_str().unwrap().starts_with("0x70a08231"));
        Reply::Result(json!(B256::with_last_byte(9)))
    })
    .await;
    let balance = node
        .chain()
        .token_balance(crate::network::PATH_USD, Address::ZERO)
        .await;
    assert_eq!(balance, Ok(Amount::new(9)));
}

#[tokio::test]
async fn filters_and_logs_cross_the_wire() {
    let node = Node::start(|request, _| {
        let expected = json!([{
            "fromBlock": "0x10",
            "toBlock": "latest",
            "topics": [[B256::ZERO], null],
            "address": [Address::ZERO]
        }]);
        assert_eq!(request["params"], expected);
        let log = mined()["logs"][0].clone();
        let mut removed = log.clone();
        removed["removed"] = json!(true);
        Reply::Result(json!([log, removed]))
    })
    .await;
    let filter = LogFilter {
        addresses: [Address::ZERO].into(),
        topics: [[B256::ZERO].into(), Vec::new()].into(),
        from_block: 16,
        to_block: None,
    };
    // Logs that a reorganization took back do not count.
    assert_eq!(node.chain().logs(filter).await.unwrap().len(), 1);
}

#[tokio::test]
async fn fees_allow_the_base_fee_to_rise_by_a_fifth() {
    let node = Node::start(|request, _| match request["method"].as_str() {
        Some("eth_maxPriorityFeePerGas") => Reply::Result(json!("0x3b9aca00")),
        _ => Reply::Result(json!({"baseFeePerGas": "0x4a817c800"})),
    })
    .await;
    let quote = node.chain().fees().await.unwrap();
    assert_eq!(quote.base_fee_per_gas, 20_000_000_000);
    assert_eq!(quote.max_priority_fee_per_gas, 1_000_000_000);
    assert_eq!(quote.max_fee_per_gas, 25_000_000_000);
    // A v1 open at Tempo's usual base fee stays within the default sponsor policy.
    let gas = crate::tx::gas::open(SessionProtocol::V1);
    let total =
        alloy_primitives::U256::from(gas) * alloy_primitives::U256::from(quote.max_fee_per_gas);
    assert!(total <= crate::tx::SponsorPolicy::default().max_total_fee);
}

#[tokio::test]
async fn connecting_asks_for_the_chain_id() {
    let node = with_result(json!("0xa5bf")).await;
    let chain = RpcChain::connect(&node.url).await.unwrap();
    assert_eq!(chain.chain_id(), 42431);
    assert_eq!(DynChain::new(chain).chain_id(), 42431);
    let error = RpcChain::connect("no url").await.unwrap_err();
    assert!(matches!(error, ChainError::Rejected { .. }));
}

#[tokio::test]
async fn an_erased_chain_answers_like_the_original() {
    let head = json!({"number": "0x2", "timestamp": "0x3", "hash": hash()});
    let chain = with_result(head).await.chain();
    let expected = BlockInfo {
        number: 2,
        timestamp: 3,
        hash: hash(),
    };
    assert_eq!(chain.block().await, Ok(expected));
    assert_eq!(DynChain::new(chain).block().await, Ok(expected));
}
