//! Where credentials and receipts stand (draft-payment-transport-mcp-00).

use mpp_core::Amount;
use mpp_mcp::meta;
use serde_json::json;

use super::counter::{Counter, credential, members, open, receipt, tool};
use crate::pair::{BOTH, PRICE, Pair};

#[tokio::test]
async fn an_unpaid_call_is_told_what_it_costs() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    for (method, params) in [
        ("tools/call", tool("add", None)),
        ("resources/read", json!({"uri": "data://any/thing"})),
        ("prompts/get", json!({"name": "ask"})),
        ("eth_paid", json!(["latest", false])),
    ] {
        let answer = counter.call(method, params).await;
        let error = &answer["error"];
        assert_eq!(error["code"], -32_042);
        assert_eq!(error["message"], "Payment Required");
        assert_eq!(error["data"]["httpStatus"], 402);
        assert_eq!(error["data"]["problem"]["status"], 402);
        let challenge = &error["data"]["challenges"][0];
        // A native object, not text in base64.
        assert_eq!(challenge["request"]["amount"], PRICE.to_string());
        assert_eq!(challenge["method"], "tempo");
        assert_eq!(challenge["intent"], "session");
        assert_eq!(error["data"]["problem"]["challengeId"], challenge["id"]);
        assert_eq!(answer.get("result"), None);
        assert_eq!(answer.get("_meta"), None);
    }
    assert_eq!(counter.runs(), 0);
}

#[tokio::test]
async fn an_mcp_receipt_is_nested_in_the_result() {
    let pair = Pair::new().await;
    for protocol in BOTH {
        let counter = Counter::of(&pair, protocol);
        let (paying, answer) = open(&counter, &pair.wallet(), "add").await;
        assert_eq!(answer["result"]["content"][0]["text"], "5");
        assert_eq!(answer.get("_meta"), None);
        let receipt = receipt(&answer["result"]["_meta"]);
        assert_eq!(receipt.challenge_id, paying.challenge.id);
        assert_eq!(receipt.spent, Amount::new(PRICE));
        assert_eq!(counter.runs(), 1);
    }
}

#[tokio::test]
async fn a_receipt_of_plain_json_rpc_is_at_the_root() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let wallet = pair.wallet();
    let challenge = counter.challenge("eth_paid", json!(["latest"])).await;
    let (_, payload) = wallet.opening(&challenge, PRICE).await;
    let credential = credential(&challenge, &payload);
    let answer = counter
        .ask(json!({
            "jsonrpc": "2.0", "id": "a", "method": "eth_paid", "params": ["latest"],
            "_meta": {meta::CREDENTIAL: credential},
        }))
        .await
        .unwrap();
    assert_eq!(answer["result"], "0x10");
    assert_eq!(answer["id"], "a");
    assert_eq!(receipt(&answer["_meta"]).spent, Amount::new(PRICE));
}

// Metadata Placement: servers MUST check both locations.
#[tokio::test]
async fn a_credential_counts_in_either_place() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let wallet = pair.wallet();
    let (paying, _) = open(&counter, &wallet, "add").await;
    let call = |id: u32, params, root| {
        let mut message = json!({
            "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params,
        });
        if let Some(credential) = root {
            message["_meta"] = json!({meta::CREDENTIAL: credential});
        }
        counter.ask(message)
    };
    let second = paying.voucher(&wallet, 2).await;
    let answer = call(2, tool("add", None), Some(second)).await.unwrap();
    let spent = receipt(&answer["result"]["_meta"]).spent;
    assert_eq!(spent, Amount::new(2 * PRICE));

    let third = paying.voucher(&wallet, 3).await;
    let both = call(3, tool("add", Some(third.clone())), Some(third));
    let answer = both.await.unwrap();
    assert_eq!(answer["error"]["code"], -32_602);
    assert_eq!(counter.runs(), 2);
}

#[tokio::test]
async fn the_order_of_members_does_not_matter() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let wallet = pair.wallet();
    let (paying, _) = open(&counter, &wallet, "add").await;
    let mut credential = paying.voucher(&wallet, 2).await;
    let request = &mut credential["challenge"]["request"];
    let mut turned: Vec<_> = members(request).into_iter().collect();
    turned.reverse();
    // The text, because a value may sort its members.
    let text: Vec<_> = turned
        .iter()
        .map(|(name, value)| format!("\"{name}\" : {value}"))
        .collect();
    let turned = format!("{{{}}}", text.join(", "));
    *request = serde_json::from_str(&turned).unwrap();
    let answer = counter
        .call("tools/call", tool("add", Some(credential)))
        .await;
    assert_eq!(
        receipt(&answer["result"]["_meta"]).spent,
        Amount::new(2 * PRICE)
    );
}

#[tokio::test]
async fn what_is_free_needs_no_credential_and_has_no_receipt() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let params = json!({"_meta": {meta::CREDENTIAL: "ignored"}});
    let answer = counter.call("eth_free", params).await;
    assert_eq!(answer, json!({"jsonrpc": "2.0", "id": 7, "result": "0x10"}));
    let answer = counter.call("unknown", json!([])).await;
    assert_eq!(answer["error"]["code"], -32_601);
}
