//! Notifications, batches and what is no message at all.

use serde_json::{Value, json};

use super::counter::{Counter, open, tool};
use crate::pair::{BOTH, Pair};

// Notifications: servers MUST NOT process payment-gated operations invoked so.
#[tokio::test]
async fn a_notification_of_a_paid_operation_is_dropped() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let wallet = pair.wallet();
    let (paying, _) = open(&counter, &wallet, "add").await;
    let credential = paying.voucher(&wallet, 2).await;
    for params in [tool("add", None), tool("add", Some(credential))] {
        let notice = json!({"jsonrpc": "2.0", "method": "tools/call", "params": params});
        assert_eq!(counter.ask(notice).await, None);
    }
    assert_eq!(counter.runs(), 1);
    let record = pair.record(paying.terms.id()).await;
    assert_eq!(record.accepted(), record.spent);
    // One of a free operation is carried out.
    let free = json!({"jsonrpc": "2.0", "method": "eth_free"});
    assert_eq!(counter.ask(free).await, None);
    assert_eq!(counter.runs(), 2);
}

#[tokio::test]
async fn a_batch_is_answered_in_order() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let answer = counter
        .ask(json!([
            {"jsonrpc": "2.0", "id": 1, "method": "eth_free"},
            {"jsonrpc": "2.0", "method": "eth_free"},
            {"jsonrpc": "2.0", "id": 2, "method": "eth_paid"},
            17,
        ]))
        .await
        .unwrap();
    let answers = answer.as_array().unwrap();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0]["result"], "0x10");
    assert_eq!(answers[1]["error"]["code"], -32_042);
    assert_eq!(answers[2]["error"]["code"], -32_600);
    assert_eq!(answers[2]["id"], Value::Null);
}

#[tokio::test]
async fn what_is_no_request_is_told_so() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let many = vec![json!({"jsonrpc": "2.0", "id": 1, "method": "eth_free"}); 65];
    for bad in [
        json!({}),
        json!([]),
        json!("eth_free"),
        json!({"jsonrpc": "1.0", "id": 1, "method": "eth_free"}),
        json!({"jsonrpc": "2.0", "id": [], "method": "eth_free"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "eth_free", "params": 1}),
        json!({"jsonrpc": "2.0", "id": 1, "method": 1}),
        Value::Array(many),
    ] {
        let answer = counter.ask(bad).await.unwrap();
        assert_eq!(answer["error"]["code"], -32_600, "{answer}");
    }
    assert_eq!(counter.runs(), 0);
}
