use mpp_core::header::credential;
use mpp_tempo::voucher::{sign_close_authorization, sign_voucher};
use serde_json::Value;

use super::*;
use crate::testing::{recorded, recorded_offer, recorded_payer};

/// The recorded credentials of an action, addresses in lower case.
fn credentials(name: &str, action: &str) -> Vec<Value> {
    let recorded = recorded(name);
    let all = recorded["credentials"].as_array().unwrap();
    all.iter()
        .map(|entry| lower(entry["credential"].clone()))
        .filter(|credential| credential["payload"]["action"] == action)
        .collect()
}

/// Peers write addresses with checksums, we write them in lower case (PROTOCOL 2).
fn lower(mut credential: Value) -> Value {
    lower_texts(&mut credential["payload"]);
    lower_texts(&mut credential["source"]);
    credential
}

fn lower_texts(value: &mut Value) {
    match value {
        // The one member that is not hex and has a capital letter.
        Value::String(text) if text != "topUp" => *text = text.to_lowercase(),
        Value::Object(members) => members.values_mut().for_each(lower_texts),
        _ => {}
    }
}

/// The terms of the recorded channel, from its open transaction.
fn terms(name: &str) -> ChannelTerms {
    let open = &credentials(name, "open")[0];
    let bytes = alloy_primitives::hex::decode(open["payload"]["transaction"].as_str().unwrap());
    let tx = mpp_tempo::tx::SignedTx::decode(&bytes.unwrap()).unwrap();
    let offer = recorded_offer(name);
    mpp_tempo::tx::check::open(&tx, offer.protocol(), offer.escrow(), offer.chain_id())
        .unwrap()
        .terms
}

fn read(field: &CredentialField) -> Value {
    assert_eq!(field.name, "authorization");
    let token = credential::find([field.value.as_str()]).unwrap().unwrap();
    serde_json::to_value(credential::parse(token).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Our credential echoes the challenge of its offer, and says what the recorded one says.
#[track_caller]
fn check_equal(ours: &CredentialField, offer: &Offer, recorded: &Value) {
    let mut ours = read(ours);
    let echo = serde_json::to_value(offer.challenge()).unwrap();
    assert_eq!(ours["challenge"], echo);
    // Only the first challenge of the exchange is kept; the peer fetched a new one at times.
    ours["challenge"] = recorded["challenge"].clone();
    assert_eq!(ours, *recorded);
}

const EXCHANGES: [&str; 3] = ["v1", "v2", "sponsored"];

// PROTOCOL 5.2, voucher: the same bytes as the deployed client's, signature included.
#[tokio::test]
async fn vouchers_equal_the_recorded_ones() {
    for name in EXCHANGES {
        let recorded = credentials(name, "voucher");
        assert_eq!(recorded.len(), 2);
        for expected in recorded {
            let amount = text(&expected["payload"]["cumulativeAmount"])
                .parse()
                .unwrap();
            let terms = terms(name);
            let signed = sign_voucher(&recorded_payer(), &terms, amount).await;
            let ours = voucher(&recorded_offer(name), &terms, &signed.unwrap()).unwrap();
            check_equal(&ours, &recorded_offer(name), &expected);
        }
    }
}

// PROTOCOL 5.2, open: v2 with descriptor, v1 without; `source` in both.
#[tokio::test]
async fn opens_equal_the_recorded_ones() {
    for name in EXCHANGES {
        let expected = &credentials(name, "open")[0];
        let terms = terms(name);
        let payload = &expected["payload"];
        let first = sign_voucher(&recorded_payer(), &terms, Amount::new(1_000)).await;
        let attempt = OpenAttempt {
            transaction: text(&payload["transaction"]).parse().unwrap(),
            tx_hash: alloy_primitives::B256::ZERO,
            valid_before: 0,
            deposit: Amount::new(2_000),
            first_voucher: first.unwrap(),
            challenge: recorded_offer(name).challenge().clone(),
        };
        let ours = open(&recorded_offer(name), &terms, terms.id(), &attempt).unwrap();
        check_equal(&ours, &recorded_offer(name), expected);
    }
}

// PROTOCOL 5.2, topUp.
#[test]
fn top_ups_equal_the_recorded_ones() {
    for name in EXCHANGES {
        let expected = &credentials(name, "topUp")[0];
        let terms = terms(name);
        let payload = &expected["payload"];
        let pending = PendingTopUp {
            transaction: text(&payload["transaction"]).parse().unwrap(),
            tx_hash: alloy_primitives::B256::ZERO,
            valid_before: 0,
            additional: text(&payload["additionalDeposit"]).parse().unwrap(),
            deposit_before: Amount::new(2_000),
        };
        let ours = top_up(&recorded_offer(name), &terms, terms.id(), &pending).unwrap();
        check_equal(&ours, &recorded_offer(name), expected);
    }
}

// PROTOCOL 5.2, close: as recorded, and with the `closeSignature` that recent peers require.
#[tokio::test]
async fn closes_equal_the_recorded_ones_but_for_the_authorization() {
    for name in EXCHANGES {
        let mut expected = credentials(name, "close").remove(0);
        let payload = &mut expected["payload"];
        let amount = text(&payload["cumulativeAmount"]).parse().unwrap();
        let terms = terms(name);
        let payer = recorded_payer();
        let signed = sign_voucher(&payer, &terms, amount).await.unwrap();
        let authorization = sign_close_authorization(&payer, &terms, amount)
            .await
            .unwrap();
        payload["closeSignature"] = authorization.to_hex().into();
        let ours = close(&recorded_offer(name), &terms, &signed, Some(authorization)).unwrap();
        check_equal(&ours, &recorded_offer(name), &expected);
    }
}

// PROTOCOL 1: `header="Payment-Authorization"` keeps `Authorization` free.
#[tokio::test]
async fn the_challenge_chooses_the_header_field() {
    let terms = terms("v2");
    let signed = sign_voucher(&recorded_payer(), &terms, Amount::new(1)).await;
    let mut challenge = recorded_offer("v2").challenge().clone();
    challenge.header = Some(mpp_core::CredentialHeader::PaymentAuthorization);
    let offer = Offer::read(challenge).unwrap();
    let field = voucher(&offer, &terms, &signed.unwrap()).unwrap();
    assert_eq!(field.name, "payment-authorization");
}

// SECURITY-CASES A20: no credential in Debug.
#[tokio::test]
async fn debug_does_not_show_the_credential() {
    let terms = terms("v2");
    let signed = sign_voucher(&recorded_payer(), &terms, Amount::new(1)).await;
    let field = voucher(&recorded_offer("v2"), &terms, &signed.unwrap()).unwrap();
    let secret = field.value.strip_prefix("Payment ").unwrap();
    assert!(!format!("{field:?}").contains(secret));
    assert!(!format!("{field:#?}").contains("eyJ"));
}
