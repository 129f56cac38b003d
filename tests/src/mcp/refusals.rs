//! Credentials that are no good, and what is said about them.

use mpp_core::Amount;
use mpp_mcp::{meta, native};
use serde_json::{Value, json};

use super::counter::{Counter, open, tool};
use crate::pair::{BOTH, PRICE, Pair};

#[track_caller]
fn check_fresh(answer: &Value, code: i32) {
    let error = &answer["error"];
    assert_eq!(error["code"], code, "{answer}");
    let challenges = error["data"]["challenges"].as_array().unwrap();
    assert!(!challenges.is_empty());
    for challenge in challenges {
        native::read_challenge(challenge.clone()).unwrap();
    }
    assert_eq!(answer.get("result"), None);
    assert!(!answer.to_string().contains(meta::RECEIPT));
}

#[tokio::test]
async fn a_malformed_credential_is_invalid_params() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let challenge = counter.challenge("tools/call", tool("add", None)).await;
    let echoed = native::challenge(&challenge).unwrap();
    let mut encoded = echoed.clone();
    encoded["request"] = json!(challenge.request.as_str());
    let mut floating = echoed.clone();
    floating["request"]["amount"] = json!(1.5);
    for bad in [
        json!("e30"),
        json!({}),
        json!({"challenge": echoed}),
        json!({"challenge": echoed, "payload": "x"}),
        json!({"challenge": encoded, "payload": {}}),
        json!({"challenge": floating, "payload": {}}),
        json!({"challenge": {"id": "x"}, "payload": {}}),
        json!({"challenge": echoed, "payload": {"action": "dance"}}),
        json!({"challenge": echoed, "payload": {"padding": "x".repeat(64 * 1024)}}),
    ] {
        let answer = counter.call("tools/call", tool("add", Some(bad))).await;
        check_fresh(&answer, -32_602);
        assert!(answer["error"]["data"]["detail"].is_string());
    }
    assert_eq!(counter.runs(), 0);
}

// SECURITY-CASES A3.
#[tokio::test]
async fn a_credential_of_one_operation_opens_no_other() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let wallet = pair.wallet();
    let (paying, _) = open(&counter, &wallet, "add").await;
    let credential = paying.voucher(&wallet, 2).await;
    let nested = json!({meta::CREDENTIAL: credential});
    for (method, params) in [
        ("tools/call", json!({"name": "other", "_meta": nested})),
        ("prompts/get", json!({"name": "ask", "_meta": nested})),
        (
            "resources/read",
            json!({"uri": "data://x", "_meta": nested}),
        ),
        ("eth_paid", json!({"_meta": nested})),
    ] {
        let answer = counter.call(method, params).await;
        check_fresh(&answer, -32_043);
        let failure = &answer["error"]["data"]["failure"];
        assert_eq!(failure["reason"], "invalid-challenge");
    }
    assert_eq!(counter.runs(), 1);
}

#[tokio::test]
async fn a_challenge_with_other_terms_is_refused() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let wallet = pair.wallet();
    let (paying, _) = open(&counter, &wallet, "add").await;
    for (member, value) in [
        ("realm", json!("elsewhere.example")),
        ("expires", json!("2099-01-01T00:00:00Z")),
        ("request", json!({"amount": "1"})),
    ] {
        let mut credential = paying.voucher(&wallet, 2).await;
        credential["challenge"][member] = value;
        let answer = counter
            .call("tools/call", tool("add", Some(credential)))
            .await;
        check_fresh(&answer, -32_043);
    }
}

#[tokio::test]
async fn a_replayed_voucher_buys_nothing() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let wallet = pair.wallet();
    let (paying, _) = open(&counter, &wallet, "add").await;
    let second = paying.voucher(&wallet, 2).await;
    let third = paying.voucher(&wallet, 3).await;
    for credential in [&second, &third] {
        let params = tool("add", Some(credential.clone()));
        let answer = counter.call("tools/call", params).await;
        assert!(answer["result"].is_object(), "{answer}");
    }
    let answer = counter.call("tools/call", tool("add", Some(second))).await;
    check_fresh(&answer, -32_043);
    assert_eq!(
        answer["error"]["data"]["failure"]["reason"],
        "delta-too-small"
    );
    // The newest one is still good; it only covers no further call.
    let answer = counter.call("tools/call", tool("add", Some(third))).await;
    check_fresh(&answer, -32_042);
    let problem = &answer["error"]["data"]["problem"];
    assert_eq!(problem["requiredCumulative"], (4 * PRICE).to_string());
    let record = pair.record(paying.terms.id()).await;
    assert_eq!(record.spent, Amount::new(3 * PRICE));
    assert_eq!(counter.runs(), 3);
}

#[tokio::test]
async fn a_forged_voucher_is_a_failed_verification() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let wallet = pair.wallet();
    let (paying, _) = open(&counter, &wallet, "add").await;
    let mut forged = paying.voucher(&wallet, 2).await;
    forged["payload"]["cumulativeAmount"] = json!((3 * PRICE).to_string());
    let params = tool("add", Some(forged));
    let answer = counter.call("tools/call", params).await;
    check_fresh(&answer, -32_043);
    assert_eq!(answer["error"]["message"], "Payment Verification Failed");
    assert_eq!(
        answer["error"]["data"]["failure"]["reason"],
        "signer-mismatch"
    );
}

// The draft wants a challenge with every failed verification, also where HTTP
// has none because no other credential would help.
#[tokio::test]
async fn a_proof_that_was_used_comes_with_a_challenge() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let wallet = pair.wallet();
    drop(open(&counter, &wallet, "add").await);
    let mut params = tool("add", None);
    params["_meta"] = json!({meta::MANAGEMENT: true, meta::ACCEPT_PAYMENT: "tempo/charge"});
    let challenge = counter.challenge("tools/call", params.clone()).await;
    let terms = mpp_tempo::charge::ProofTerms {
        account: pair.payer(),
        chain_id: 42_431,
        challenge_id: challenge.id.as_str(),
        realm: challenge.realm.as_str(),
    };
    let signature = terms.sign(&wallet.signer).await.unwrap();
    let proof = mpp_core::Credential::new(
        challenge,
        serde_json::to_value(mpp_tempo::wire::ChargePayload::Proof { signature }).unwrap(),
    )
    .with_source(format!(
        "did:pkh:eip155:42431:{}",
        pair.payer().to_string().to_lowercase()
    ));
    params["_meta"][meta::CREDENTIAL] = native::credential(&proof).unwrap();
    let answer = counter.call("tools/call", params.clone()).await;
    assert!(
        answer["result"]["_meta"][meta::SESSION_SNAPSHOT].is_object(),
        "{answer}"
    );
    assert_eq!(answer["result"]["content"], json!([]));
    let again = counter.call("tools/call", params).await;
    check_fresh(&again, -32_043);
    assert_eq!(again["error"]["data"]["httpStatus"], 403);
    assert_eq!(counter.runs(), 1);
}
