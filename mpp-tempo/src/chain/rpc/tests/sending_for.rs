//! Accounts whose key somebody else holds: what is said of their payments is true.

use core::time::Duration;
use std::vec;

use super::*;
use crate::network::PATH_USD;
use crate::tx::build::Transfer;

const HASH: B256 = B256::repeat_byte(7);

fn account() -> Address {
    Address::repeat_byte(1)
}

fn transfers(count: usize) -> Vec<Transfer> {
    let one = Transfer {
        token: PATH_USD,
        to: Address::repeat_byte(2),
        amount: Amount::new(5),
        memo: Some(B256::repeat_byte(3)),
    };
    vec![one; count]
}

fn mined(success: bool, from: Address) -> Value {
    json!({
        "transactionHash": HASH,
        "status": if success { "0x1" } else { "0x0" },
        "blockNumber": "0x1",
        "logs": [],
        "gasUsed": "0x1",
        "from": from,
    })
}

/// An endpoint that answers what a script does not with what an honest one answers.
async fn endpoint(script: impl Fn(&str, &Value) -> Option<Reply> + Send + Sync + 'static) -> Node {
    Node::start(move |request, _| {
        let method = request["method"].as_str().unwrap();
        if let Some(reply) = script(method, &request["params"]) {
            return reply;
        }
        match method {
            "eth_chainId" => Reply::Result(json!("0xa5bf")),
            "eth_accounts" => Reply::Result(json!([Address::ZERO, account()])),
            "eth_getTransactionReceipt" => Reply::Result(mined(true, account())),
            "wallet_sendCalls" => Reply::Result(json!({"id": "0xba7c"})),
            "wallet_getCallsStatus" => Reply::Result(json!({
                "status": 200,
                "receipts": [{"transactionHash": HASH}],
            })),
            other => panic!("{other} is not asked"),
        }
    })
    .await
}

async fn pay(node: &Node, count: usize) -> Result<B256, SendError> {
    pay_within(node, count, PATIENCE).await
}

async fn pay_within(node: &Node, count: usize, resolve: Duration) -> Result<B256, SendError> {
    let timeouts = RpcTimeouts {
        request: PATIENCE,
        send: PATIENCE,
        resolve,
        poll: Duration::from_millis(5),
    };
    let sender = RpcAccount::new(&node.url, account()).unwrap();
    let sender = sender.with_timeouts(timeouts);
    sender.send(42_431, &transfers(count)).await
}

#[tokio::test]
async fn a_wallet_makes_all_transfers_at_once() {
    let node = endpoint(|method, params| {
        if method == "wallet_sendCalls" {
            let batch = &params[0];
            assert_eq!(batch["chainId"], "0xa5bf");
            assert_eq!(batch["from"], json!(account()));
            assert_eq!(batch["atomicRequired"], true);
            assert_eq!(batch["calls"].as_array().unwrap().len(), 3);
            let data = batch["calls"][0]["data"].as_str().unwrap();
            assert!(data.starts_with("0x95777d59"), "transferWithMemo");
        }
        None
    })
    .await;
    assert_eq!(pay(&node, 3).await, Ok(HASH));
}

#[tokio::test]
async fn a_node_with_the_key_sends_one_transfer_and_no_more() {
    let node = endpoint(|method, params| match method {
        "wallet_sendCalls" => Some(Reply::Error(-32601, "method not found")),
        "eth_sendTransaction" => {
            assert_eq!(params[0]["from"], json!(account()));
            assert_eq!(params[0]["to"], json!(PATH_USD));
            Some(Reply::Result(json!(HASH)))
        }
        _ => None,
    })
    .await;
    assert_eq!(pay(&node, 1).await, Ok(HASH));
    let several = pay(&node, 2).await;
    assert!(matches!(several, Err(SendError::NotSent(_))), "{several:?}");
}

#[tokio::test]
async fn nothing_is_sent_from_another_chain_or_account() {
    let never = |method: &str| assert_ne!(method, "wallet_sendCalls");
    let elsewhere = endpoint(move |method, _| {
        never(method);
        (method == "eth_chainId").then(|| Reply::Result(json!("0x1")))
    });
    let nobody = endpoint(move |method, _| {
        never(method);
        (method == "eth_accounts").then(|| Reply::Result(json!([Address::ZERO])))
    });
    for node in [elsewhere.await, nobody.await] {
        let failed = pay(&node, 1).await;
        assert!(matches!(failed, Err(SendError::NotSent(_))), "{failed:?}");
    }
}

/// What is said when this method is answered so.
async fn said(
    method: &'static str,
    reply: impl Fn() -> Reply + Send + Sync + 'static,
) -> SendError {
    let node = endpoint(move |asked, _| (asked == method).then(&reply)).await;
    pay_within(&node, 1, SOON).await.unwrap_err()
}

#[tokio::test]
async fn only_what_was_certainly_not_sent_is_said_to_be_so() {
    let (send, status) = ("wallet_sendCalls", "wallet_getCallsStatus");
    let ended = |code: u64| move || Reply::Result(json!({"status": code}));
    let receipt = "eth_getTransactionReceipt";
    let not_sent = [
        said(send, || Reply::Error(4001, "the user said no")).await,
        said(send, || Reply::Error(5760, "not atomic")).await,
        said(status, ended(400)).await,
        said(status, ended(500)).await,
        said(receipt, || Reply::Result(mined(false, account()))).await,
    ];
    for error in not_sent {
        assert!(matches!(error, SendError::NotSent(_)), "{error:?}");
    }
    let unknown = [
        said(send, || Reply::HangUp).await,
        said(send, || Reply::Error(-32000, "replaced")).await,
        said(send, || Reply::Result(json!({}))).await,
        said(status, ended(200)).await,
        said(status, ended(600)).await,
        said(receipt, || Reply::Result(Value::Null)).await,
        said(receipt, || Reply::Result(mined(true, Address::ZERO))).await,
    ];
    for (number, error) in unknown.into_iter().enumerate() {
        let SendError::Unknown { tx_hash, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(tx_hash.is_some(), number >= 5, "{error:?}");
    }
}
