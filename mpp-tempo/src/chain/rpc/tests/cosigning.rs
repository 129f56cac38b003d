//! A fee payer behind a URL: what it answers is not trusted.

use core::time::Duration;
use std::format;

use mpp_core::Timestamp;

use super::*;
use crate::network::PATH_USD;
use crate::signer::Signer;
use crate::testing::{payer, sponsor};
use crate::tx::build::{self, Transfer};
use crate::tx::{CosignError, FeeMode, FeePayer, SignedTx, Sponsorship, TxContext, TxFees, cosign};

async fn request(amount: u128) -> SignedTx {
    let context = TxContext {
        chain_id: 42431,
        now: Timestamp::from_secs(1_795_172_500),
        valid_for: Duration::from_secs(25),
        fees: TxFees {
            max_fee_per_gas: 1,
            max_priority_fee_per_gas: 1,
            gas_limit: 100_000,
        },
        fee_mode: FeeMode::Sponsored,
        valid_after: None,
    };
    let transfer = Transfer {
        token: PATH_USD,
        to: Address::repeat_byte(1),
        amount: Amount::new(amount),
        memo: None,
    };
    let unsigned = build::transfer(&context, &[transfer]).unwrap();
    unsigned.sign(&payer()).await.unwrap()
}

/// A service that answers with this, and asks for what it is sent.
async fn service(answer: Value) -> Node {
    Node::start(move |request, _| {
        assert_eq!(request["method"], "eth_signRawTransaction");
        let raw: Bytes = serde_json::from_value(request["params"][0].clone()).unwrap();
        assert_eq!(raw.first(), Some(&0x78));
        Reply::Result(answer.clone())
    })
    .await
}

fn fee_payer(node: &Node) -> RemoteFeePayer {
    let timeouts = RpcTimeouts {
        request: PATIENCE,
        ..RpcTimeouts::default()
    };
    RemoteFeePayer::new(&node.url)
        .unwrap()
        .with_timeouts(timeouts)
}

#[tokio::test]
async fn the_service_signs_the_transaction_it_is_sent() {
    let asked = request(1).await;
    let signed = cosign(asked.clone(), &sponsor(), PATH_USD).await.unwrap();
    let raw = signed.encode();
    for answer in [json!(raw), json!({"raw": raw, "tx": {}})] {
        let node = service(answer).await;
        let got = fee_payer(&node).cosign(asked.clone(), PATH_USD).await;
        let got = got.unwrap();
        assert_eq!(got.sponsorship(), Sponsorship::Signed(sponsor().address()));
        assert_eq!(got.replay_id(), asked.replay_id());
    }
}

#[tokio::test]
async fn other_transactions_and_signers_are_not_taken() {
    let asked = request(1).await;
    let other = cosign(request(2).await, &sponsor(), PATH_USD)
        .await
        .unwrap();
    for answer in [
        json!(other.encode()),
        // Nobody has signed for the fees.
        json!(asked.encode()),
        json!("0x76"),
        json!(null),
    ] {
        let node = service(answer).await;
        let got = fee_payer(&node).cosign(asked.clone(), PATH_USD).await;
        assert_eq!(got, Err(CosignError::Altered));
    }
    let signed = cosign(asked.clone(), &sponsor(), PATH_USD).await.unwrap();
    let node = service(json!(signed.encode())).await;
    let picky = fee_payer(&node).of_account(Address::repeat_byte(9));
    let got = picky.cosign(asked.clone(), PATH_USD).await;
    assert_eq!(got, Err(CosignError::Altered));
}

#[tokio::test]
async fn refusals_and_outages_are_told_apart() {
    let asked = request(1).await;
    let refusing = Node::start(|_, _| Reply::Error(-32000, "over the limit")).await;
    let refused = fee_payer(&refusing).cosign(asked.clone(), PATH_USD).await;
    let Err(CosignError::Signer(error)) = refused else {
        panic!("{refused:?}");
    };
    assert!(!error.is_transient(), "{error}");
    let silent = Node::start(|_, _| Reply::HangUp).await;
    let lost = fee_payer(&silent).cosign(asked, PATH_USD).await;
    let Err(CosignError::Signer(error)) = lost else {
        panic!("{lost:?}");
    };
    assert!(error.is_transient(), "{error}");
    // The endpoint may carry a key.
    let shown = format!("{error} {:?}", fee_payer(&silent));
    assert!(!shown.contains("SECRET"), "{shown}");
}

/// A service that only fills: what it was asked for, and `change` made to its answer.
async fn filling_service(
    signed: SignedTx,
    change: impl Fn(&mut Value) + Send + Sync + 'static,
) -> Node {
    Node::start(move |request, _| {
        if request["method"] == "eth_signRawTransaction" {
            return Reply::Error(-32601, "the method does not exist");
        }
        assert_eq!(request["method"], "eth_fillTransaction");
        let asked = &request["params"][0];
        assert_eq!(asked["feePayer"], true);
        // Whoever has it could send the transaction.
        assert!(asked.get("signature").is_none() && asked.get("feeToken").is_none());
        let tx = signed.tx();
        let signature = tx.fee_payer_signature.unwrap();
        let mut answer = asked.clone();
        answer["feeToken"] = json!(tx.fee_token);
        answer["feePayerSignature"] = json!({
            "r": signature.r(),
            "s": signature.s(),
            "yParity": format!("{:#x}", u8::from(signature.v())),
        });
        change(&mut answer);
        Reply::Result(json!({"tx": answer, "raw": "0x"}))
    })
    .await
}

#[tokio::test]
async fn a_service_that_fills_gives_its_signature_and_nothing_else() {
    let asked = request(1).await;
    let signed = cosign(asked.clone(), &sponsor(), PATH_USD).await.unwrap();
    let node = filling_service(signed.clone(), |_| {}).await;
    let payer = fee_payer(&node).of_account(sponsor().address());
    assert_eq!(
        payer.cosign(asked.clone(), PATH_USD).await,
        Ok(signed.clone())
    );
    // What it leaves out is ours all the same.
    let terse = filling_service(signed.clone(), |answer| {
        let kept = ["feeToken", "feePayerSignature"];
        let members = answer.as_object_mut().unwrap();
        members.retain(|name, _| kept.contains(&name.as_str()));
    });
    let got = fee_payer(&terse.await).cosign(asked, PATH_USD).await;
    assert_eq!(got, Ok(signed));
}

#[tokio::test]
async fn a_service_that_fills_changes_nothing() {
    let asked = request(1).await;
    let signed = cosign(asked.clone(), &sponsor(), PATH_USD).await.unwrap();
    let changes: [fn(&mut Value); 11] = [
        |answer| answer["gas"] = json!("0x1"),
        |answer| answer["maxFeePerGas"] = json!("0x2"),
        |answer| answer["nonceKey"] = json!("0x0"),
        |answer| answer["nonce"] = json!(1),
        |answer| answer["validBefore"] = json!("0x1"),
        |answer| answer["chainId"] = json!(1),
        |answer| answer["calls"][0]["to"] = json!(Address::repeat_byte(9)),
        |answer| answer["calls"] = json!([]),
        // It has signed for another fee token, or is somebody else.
        |answer| answer["feeToken"] = json!(Address::repeat_byte(9)),
        |answer| answer["feePayer"] = json!(Address::repeat_byte(9)),
        |answer| answer["feePayerSignature"] = json!(null),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let node = filling_service(signed.clone(), change).await;
        let payer = fee_payer(&node).of_account(sponsor().address());
        let got = payer.cosign(asked.clone(), PATH_USD).await;
        assert_eq!(got, Err(CosignError::Altered), "change {number}");
    }
}
