//! Trying calls on nodes that can, and on nodes that can not.

use alloc::vec;

use super::*;

fn tried() -> Simulation {
    Simulation {
        from: Address::repeat_byte(1),
        calls: vec![
            (Address::repeat_byte(2), Bytes::from_static(b"one")),
            (Address::repeat_byte(3), Bytes::from_static(b"two")),
        ],
    }
}

async fn simulated(node: &Node) -> Result<Simulated, ChainError> {
    node.chain().simulate(tried()).await
}

fn succeeded(gas_used: Option<u64>) -> Result<Simulated, ChainError> {
    Ok(Simulated::Succeeded { gas_used })
}

fn reverted(reason: &str) -> Result<Simulated, ChainError> {
    Ok(Simulated::Reverted {
        reason: reason.into(),
    })
}

#[tokio::test]
async fn all_calls_are_simulated_in_one_block() {
    let node = Node::start(|request, _| {
        assert_eq!(request["method"], "eth_simulateV1");
        let calls = &request["params"][0]["blockStateCalls"][0]["calls"];
        assert_eq!(calls.as_array().unwrap().len(), 2);
        assert_eq!(calls[1]["from"], json!(Address::repeat_byte(1)));
        assert_eq!(calls[1]["to"], json!(Address::repeat_byte(3)));
        // No call is the first of its account, which would cost more.
        assert_eq!(
            (&calls[0]["nonce"], &calls[1]["nonce"]),
            (&json!("0x1"), &json!("0x2"))
        );
        let good = |gas| json!({"status": "0x1", "gasUsed": gas});
        Reply::Result(json!([{"calls": [good("0x493b0"), good("0x100")]}]))
    })
    .await;
    assert_eq!(simulated(&node).await, succeeded(Some(300_208)));
}

// What a part has used says nothing of the whole.
#[tokio::test]
async fn gas_is_told_for_all_calls_or_not_at_all() {
    let node = Node::start(|_, _| {
        let silent = json!({"status": "0x1"});
        Reply::Result(json!([{"calls": [{"status": "0x1", "gasUsed": "0x1"}, silent]}]))
    })
    .await;
    assert_eq!(simulated(&node).await, succeeded(None));
}

#[tokio::test]
async fn one_reverted_call_is_a_revert() {
    let node = Node::start(|_, _| {
        let bad = json!({"status": "0x0", "error": {"code": 3, "message": "too little"}});
        Reply::Result(json!([{"calls": [{"status": "0x1"}, bad]}]))
    })
    .await;
    assert_eq!(simulated(&node).await, reverted("too little"));
}

#[tokio::test]
async fn nodes_without_simulation_are_asked_for_the_first_call() {
    let node = Node::start(|request, _| match request["method"].as_str() {
        Some("eth_simulateV1") => Reply::Error(-32601, "the method does not exist"),
        _ => Reply::Error(3, "execution reverted: paused"),
    })
    .await;
    assert_eq!(
        simulated(&node).await,
        reverted("execution reverted: paused")
    );
    assert_eq!(node.calls("eth_call"), 1);

    let node = Node::start(|request, _| match request["method"].as_str() {
        Some("eth_simulateV1") => Reply::Error(-32000, "method is not supported"),
        _ => Reply::Result(json!("0x")),
    })
    .await;
    assert_eq!(simulated(&node).await, succeeded(None));
    assert_eq!(node.calls("eth_call"), 1);
}

// A node that is in trouble has not said that the calls succeed.
#[tokio::test]
async fn trouble_is_neither_success_nor_revert() {
    let check = async |reply: fn() -> Reply| {
        let node = Node::start(move |_, _| reply()).await;
        simulated(&node).await.unwrap_err()
    };
    let error = check(|| Reply::Error(-32000, "header not found")).await;
    assert!(matches!(error, ChainError::Rejected { .. }), "{error}");
    let error = check(|| Reply::Result(json!([{"calls": [{}]}]))).await;
    assert!(matches!(error, ChainError::Malformed { .. }), "{error}");
    let error = check(|| Reply::HangUp).await;
    assert!(error.is_transient(), "{error}");
}
