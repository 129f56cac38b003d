//! Case A33: what becomes of a sent transaction is known, or it is said to be unknown.

use super::*;

const SYNC: &str = "eth_sendRawTransactionSync";
const RECEIPT: &str = "eth_getTransactionReceipt";

/// A node that answers the sending and each look for the receipt by a script.
async fn node(
    send: impl Fn() -> Reply + Send + Sync + 'static,
    look: impl Fn(usize) -> Reply + Send + Sync + 'static,
) -> Node {
    Node::start(move |request, before| match request["method"].as_str() {
        Some(SYNC) => {
            assert_eq!(request["params"], json!([raw()]));
            send()
        }
        Some(RECEIPT) => {
            assert_eq!(request["params"], json!([hash()]));
            look(before)
        }
        other => panic!("unexpected method {other:?}"),
    })
    .await
}

fn absent(_: usize) -> Reply {
    Reply::Result(Value::Null)
}

fn found(_: usize) -> Reply {
    Reply::Result(mined())
}

fn found_later(before: usize) -> Reply {
    if before < 3 {
        absent(before)
    } else {
        found(before)
    }
}

#[tokio::test]
async fn the_receipt_of_the_sync_answer_is_the_result() {
    let node = node(|| Reply::Result(mined()), absent).await;
    let receipt = node.chain().send_and_wait(raw()).await.unwrap();
    assert_eq!((receipt.hash, receipt.success), (hash(), true));
    assert_eq!(node.calls(RECEIPT), 0);
}

#[tokio::test]
async fn a_reverted_transaction_is_a_receipt_without_success() {
    let reverted = || {
        let mut receipt = mined();
        receipt["status"] = json!("0x0");
        Reply::Result(receipt)
    };
    let node = node(reverted, absent).await;
    assert!(!node.chain().send_and_wait(raw()).await.unwrap().success);
}

// LOCALNODE: eth_sendRawTransactionSync may never answer.
#[tokio::test]
async fn silence_is_unknown_and_never_a_failure() {
    let node = node(|| Reply::Silence, absent).await;
    let sent = node.hasty().send_and_wait(raw()).await;
    assert_eq!(sent, Err(ChainError::Unknown { hash: hash() }));
    assert!(!sent.unwrap_err().is_transient());
    assert_eq!(node.calls(SYNC), 1);
    assert!(node.calls(RECEIPT) > 1);
}

#[tokio::test]
async fn silence_ends_with_the_receipt_when_one_appears() {
    let node = node(|| Reply::Silence, found_later).await;
    let chain = node.chain_within(SOON, PATIENCE);
    assert_eq!(chain.send_and_wait(raw()).await.unwrap().hash, hash());
}

#[tokio::test]
async fn lost_connections_and_gateway_errors_are_unknown() {
    for send in [
        || Reply::HangUp,
        || Reply::Status(502),
        || Reply::Status(500),
    ] {
        let node = node(send, absent).await;
        let sent = node.hasty().send_and_wait(raw()).await;
        assert_eq!(sent, Err(ChainError::Unknown { hash: hash() }));
        let node = self::node(send, found_later).await;
        assert!(node.chain().send_and_wait(raw()).await.is_ok());
    }
}

#[tokio::test]
async fn what_never_left_is_unreachable() {
    let node = node(|| Reply::Status(429), absent).await;
    let limited = node.chain().send_and_wait(raw()).await.unwrap_err();
    assert!(matches!(limited, ChainError::Unreachable { .. }));
    assert!(limited.is_transient());

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = alloc::format!("http://{}/?key=SECRET", listener.local_addr().unwrap());
    drop(listener);
    let gone = Node {
        url,
        methods: Arc::default(),
    };
    let refused = gone.chain().send_and_wait(raw()).await.unwrap_err();
    assert!(
        matches!(refused, ChainError::Unreachable { .. }),
        "{refused:?}"
    );
    // Case A20: the endpoint may carry a key.
    assert!(!alloc::format!("{refused} {refused:?} {:?}", gone.chain()).contains("SECRET"));
}

#[tokio::test]
async fn a_refusal_is_a_rejection() {
    let node = node(
        || Reply::Error(-32000, "insufficient funds for gas"),
        absent,
    )
    .await;
    let sent = node.chain().send_and_wait(raw()).await;
    assert_eq!(
        sent,
        Err(ChainError::rejected("insufficient funds for gas"))
    );
}

// The word "nonce" is no doubt when the bound of an expiring one is what is refused. In order: the
// pools of the first networks, the EVM since, and what they say without words of their own.
#[tokio::test]
async fn a_refused_end_of_validity_is_a_rejection() {
    for message in [
        "Expiring nonce 'valid_before' 99 exceeds max allowed 30 (must be within 30s)",
        "nonce manager error: expiring nonce valid_before (99) too far in the future: must be \
         within 30s of block timestamp (0), max allowed is 30",
        "nonce manager error: expiring nonce transaction expired: valid_before (9) <= block \
         timestamp (10)",
        "expiring nonce transaction requires valid_before to be set",
        "Tempo Transaction nonce error: InvalidExpiringNonceExpiry(InvalidExpiringNonceExpiry)",
    ] {
        for code in [-32000, -32003] {
            let node = node(move || Reply::Error(code, message), absent).await;
            let sent = node.chain().send_and_wait(raw()).await;
            assert_eq!(sent, Err(ChainError::rejected(message)));
        }
    }
    // It may be on its way all the same when that is said, too.
    let seen = "already known, with valid_before 99";
    let node = node(move || Reply::Error(-32000, seen), absent).await;
    let sent = node.hasty().send_and_wait(raw()).await;
    assert_eq!(sent, Err(ChainError::Unknown { hash: hash() }));
}

#[tokio::test]
async fn a_refusal_of_a_mined_transaction_is_its_receipt() {
    let node = node(|| Reply::Error(-32000, "validity window has passed"), found).await;
    assert_eq!(
        node.chain().send_and_wait(raw()).await.unwrap().hash,
        hash()
    );
}

#[tokio::test]
async fn a_refusal_that_can_not_be_checked_is_unknown() {
    let node = node(|| Reply::Error(-32000, "nope"), |_| Reply::Status(503)).await;
    let sent = node.chain().send_and_wait(raw()).await;
    assert_eq!(sent, Err(ChainError::Unknown { hash: hash() }));
}

// "already known" or mined resolves to the receipt.
#[tokio::test]
async fn known_transactions_resolve_to_their_receipt() {
    for message in [
        "already known",
        "ALREADY_EXISTS: already imported",
        "nonce too low",
        "nonce manager error: Tempo Transaction nonce error: ExpiringNonceReplay",
    ] {
        let node = node(move || Reply::Error(-32000, message), found_later).await;
        assert!(node.chain().send_and_wait(raw()).await.is_ok(), "{message}");
        let node = self::node(move || Reply::Error(-32000, message), absent).await;
        let sent = node.hasty().send_and_wait(raw()).await;
        assert_eq!(sent, Err(ChainError::Unknown { hash: hash() }), "{message}");
    }
}

// EIP-7966: code 4 says that the transaction waits in the pool.
#[tokio::test]
async fn other_error_codes_leave_the_outcome_open() {
    for code in [4, 5, -32603] {
        let node = node(move || Reply::Error(code, "not processed in time"), absent).await;
        let sent = node.hasty().send_and_wait(raw()).await;
        assert_eq!(sent, Err(ChainError::Unknown { hash: hash() }));
    }
}

#[tokio::test]
async fn a_nonsensical_answer_to_the_sending_is_not_believed() {
    let other = || {
        let mut receipt = mined();
        receipt["transactionHash"] = json!(B256::ZERO);
        Reply::Result(receipt)
    };
    for send in [
        other,
        || Reply::Result(json!("0x01")),
        || Reply::Result(Value::Null),
    ] {
        let node = node(send, found_later).await;
        assert_eq!(
            node.chain().send_and_wait(raw()).await.unwrap().hash,
            hash()
        );
    }
}
