//! Results that are charged, and results that are not.

use mpp_core::Amount;
use mpp_mcp::meta;
use serde_json::{Value, json};

use super::counter::{Counter, Paying, open, receipt, tool};
use crate::{
    pair::{BOTH, PRICE, Pair},
    wallet::Wallet,
};

async fn spent(pair: &Pair, paying: &Paying) -> Amount {
    pair.record(paying.terms.id()).await.spent
}

async fn call(counter: &Counter, wallet: &Wallet, paying: &Paying, calls: u128) -> Value {
    let name = paying.challenge.correlation().unwrap()["scope"]
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let credential = paying.voucher(wallet, calls).await;
    counter
        .call("tools/call", tool(&name, Some(credential)))
        .await
}

#[tokio::test]
async fn a_failing_tool_captures_nothing() {
    let pair = Pair::new().await;
    for name in ["broken", "failing", "waiting"] {
        let counter = Counter::of(&pair, BOTH[1]);
        let wallet = pair.wallet();
        let (paying, first) = open(&counter, &wallet, name).await;
        let second = call(&counter, &wallet, &paying, 1).await;
        assert_eq!(counter.runs(), 2, "{name}");
        assert_eq!(spent(&pair, &paying).await, Amount::ZERO, "{name}");
        for answer in [first, second] {
            assert!(!answer.to_string().contains(meta::RECEIPT), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_handlers_error_arrives_as_it_is() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let (_, answer) = open(&counter, &pair.wallet(), "broken").await;
    assert_eq!(
        answer["error"],
        json!({"code": -32_000, "message": "no luck"})
    );
}

// SECURITY-CASES A23: nobody but the server speaks of payments.
#[tokio::test]
async fn a_handler_can_not_forge_a_receipt() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let (_, answer) = open(&counter, &pair.wallet(), "forging").await;
    let meta = &answer["result"]["_meta"];
    assert_eq!(receipt(meta).spent, Amount::new(PRICE));
    assert_eq!(meta["example.org/kept"], 1);
}

#[tokio::test]
async fn a_handler_reserves_more_and_captures_less() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let wallet = pair.wallet();
    let (paying, short) = open(&counter, &wallet, "metered").await;
    // What the gate says, not what the handler said.
    assert_eq!(short["error"]["code"], -32_042);
    let problem = &short["error"]["data"]["problem"];
    assert_eq!(problem["requiredCumulative"], (3 * PRICE).to_string());
    assert_eq!(spent(&pair, &paying).await, Amount::ZERO);
    let answer = call(&counter, &wallet, &paying, 3).await;
    let receipt = receipt(&answer["result"]["_meta"]);
    assert_eq!(
        (receipt.spent, receipt.units),
        (Amount::new(2 * PRICE), Some(2))
    );
}

#[tokio::test]
async fn a_result_whose_hold_is_gone_is_withheld() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let wallet = pair.wallet();
    let (paying, _) = open(&counter, &wallet, "add").await;
    let credential = paying.voucher(&wallet, 2).await;
    let sale = {
        let params = tool("add", Some(credential));
        let mut nested = params["_meta"].as_object().cloned().unwrap();
        let operation = mpp_mcp::Operation::Tool("add".into());
        let call = mpp_mcp::server::Call::new(operation).take_from(&mut nested);
        match counter.catalog.admit(call).await {
            mpp_mcp::server::Admission::Granted(sale) => sale,
            other => panic!("{other:?}"),
        }
    };
    pair.clock.advance_secs(24 * 60 * 60);
    let refused = sale.settle(Ok(json!({"content": []}))).await.unwrap_err();
    assert_eq!(refused.code, -32_603);
    assert_eq!(spent(&pair, &paying).await, Amount::new(PRICE));
}

#[tokio::test]
async fn a_key_is_carried_out_and_charged_once() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let wallet = pair.wallet();
    let (paying, _) = open(&counter, &wallet, "add").await;
    let credential = paying.voucher(&wallet, 2).await;
    let keyed = |arguments: Value| {
        json!({"name": "add", "arguments": arguments, "_meta": {
            meta::CREDENTIAL: credential.clone(), meta::IDEMPOTENCY_KEY: "order 7",
        }})
    };
    let first = counter.call("tools/call", keyed(json!({"a": 1}))).await;
    let again = counter.call("tools/call", keyed(json!({"a": 1}))).await;
    assert_eq!(counter.runs(), 2);
    assert_eq!(first["result"]["content"], again["result"]["content"]);
    let (first, again) = (&first["result"]["_meta"], &again["result"]["_meta"]);
    assert_eq!(first[meta::RECEIPT], again[meta::RECEIPT]);
    assert_eq!(first.get(meta::REPLAYED), None);
    assert_eq!(again[meta::REPLAYED], true);
    assert_eq!(spent(&pair, &paying).await, Amount::new(2 * PRICE));

    let other = counter.call("tools/call", keyed(json!({"a": 2}))).await;
    assert_eq!(other["error"]["code"], -32_602);
    let kind = other["error"]["data"]["problem"]["type"].as_str().unwrap();
    assert!(kind.ends_with("/idempotency-key-reused"), "{kind}");
    assert_eq!(counter.runs(), 2);
}

// What is said of one sending is no part of the request: SDKs stamp each with a token of its own.
#[tokio::test]
async fn a_key_is_charged_once_whatever_else_its_metadata_says() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let wallet = pair.wallet();
    let (paying, _) = open(&counter, &wallet, "add").await;
    let credential = paying.voucher(&wallet, 2).await;
    let sent = |progress: u32| {
        json!({"name": "add", "arguments": {"a": 1}, "_meta": {
            meta::CREDENTIAL: credential.clone(), meta::IDEMPOTENCY_KEY: "order 7",
            "progressToken": progress, "traceparent": format!("00-{progress}"),
        }})
    };
    let first = counter.call("tools/call", sent(1)).await;
    let again = counter.call("tools/call", sent(2)).await;
    assert_eq!(first["result"]["content"], again["result"]["content"]);
    assert_eq!(again["result"]["_meta"][meta::REPLAYED], true, "{again}");
    // Also when there is no metadata left but that.
    let bare = json!({"name": "add", "arguments": {"a": 1}});
    let mut message = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": bare});
    message["_meta"] = json!({
        meta::CREDENTIAL: credential.clone(), meta::IDEMPOTENCY_KEY: "order 7",
    });
    let bare = counter.ask(message).await.unwrap();
    assert_eq!(bare["result"]["_meta"][meta::REPLAYED], true, "{bare}");
    assert_eq!(counter.runs(), 2);
    assert_eq!(spent(&pair, &paying).await, Amount::new(2 * PRICE));
}

#[tokio::test]
async fn a_key_that_is_no_text_is_refused() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    for key in [json!(7), json!(""), json!("a\nb"), json!("k".repeat(256))] {
        let params = json!({"name": "add", "_meta": {meta::IDEMPOTENCY_KEY: key}});
        let answer = counter.call("tools/call", params).await;
        assert_eq!(answer["error"]["code"], -32_602, "{key}");
    }
}
