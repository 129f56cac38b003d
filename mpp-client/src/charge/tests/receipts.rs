//! Receipts of charges are verified (SECURITY-CASES A27).

use super::*;
use crate::event::ClientEvent;
use crate::session::ledger::Discrepancy;
use crate::{ChargeState, ClientError, TransportError};

#[track_caller]
fn discrepancy(refused: Result<(), ClientError>) -> Discrepancy {
    match refused {
        Err(ClientError::Discrepancy(discrepancy)) => discrepancy,
        other => panic!("believed: {other:?}"),
    }
}

#[tokio::test]
async fn a_receipt_that_confirms_something_else_is_not_believed() {
    let bench = Bench::new();
    let ordered = offer_with("c1", |request| request["externalId"] = json!("order-1"));
    let hash = transaction(&bench.pay(&ordered).await).hash().to_string();
    let check = async |change: fn(&mut ChargeReceipt), expected| {
        // The same challenge yields the same payment.
        let once = bench.pay(&ordered).await;
        let mut receipt = receipt("c1", hash.clone());
        change(&mut receipt);
        assert_eq!(discrepancy(once.confirm(&receipt)), expected);
        assert_eq!(bench.only().state, ChargeState::Open);
    };
    let other = B256::repeat_byte(1).to_string();
    assert_ne!(other, hash);
    check(
        |receipt| receipt.reference = B256::repeat_byte(1).to_string(),
        Discrepancy::OtherTransaction,
    )
    .await;
    check(
        |receipt| receipt.reference = String::from("paid"),
        Discrepancy::OtherTransaction,
    )
    .await;
    check(
        |receipt| receipt.challenge_id = Some(ChallengeId::new("c2").unwrap()),
        Discrepancy::OtherChallenge,
    )
    .await;
    check(
        |receipt| receipt.method = MethodName::new("stripe").unwrap(),
        Discrepancy::OtherIntent,
    )
    .await;
    check(
        |receipt| receipt.external_id = Some(String::from("order-2")),
        Discrepancy::OtherOrder,
    )
    .await;
    // Deployed peers leave members out.
    let mut short = receipt("c1", hash);
    short.challenge_id = None;
    bench.pay(&ordered).await.confirm(&short).unwrap();
    assert!(matches!(bench.only().state, ChargeState::Served { .. }));
}

#[tokio::test]
async fn the_receipt_of_a_proof_names_its_challenge() {
    let bench = Bench::new();
    let zero = offer_with("c1", |request| request["amount"] = json!("0"));
    let once = bench.pay(&zero).await;
    let refused = once.confirm(&receipt("c1", "c2"));
    assert_eq!(discrepancy(refused), Discrepancy::OtherChallenge);
}

#[tokio::test]
async fn a_confirmed_charge_is_told_and_counted_once() {
    let bench = Bench::new();
    let mut events = bench.payer.events();
    let once = bench.pay(&offer("c1")).await;
    let hash = transaction(&once).hash();
    let receipt = receipt("c1", hash.to_string());
    once.confirm(&receipt).unwrap();
    // A repeated answer confirms the same charge.
    bench.pay(&offer("c1")).await.confirm(&receipt).unwrap();
    let charges = bench.payer.charges().unwrap();
    assert_eq!(charges.len(), 1);
    assert_eq!(charges[0].tx_hash, Some(hash));
    assert_eq!(charges[0].state, ChargeState::Served { tx_hash: hash });
    let begun = events.try_next();
    assert!(matches!(begun, Some(ClientEvent::ChargeBegun { .. })));
    let paid = ClientEvent::Paid {
        origin: bench.site.origin.to_string(),
        amount: Some(units(PRICE)),
        receipt,
    };
    assert_eq!(events.try_next(), Some(paid));
}

#[tokio::test]
async fn how_a_charge_ends_without_a_receipt() {
    let lost = || TransportError::new("the connection broke");
    // Never sent: it is void, because its transaction has not left.
    let bench = Bench::new();
    let once = bench.pay(&offer("c1")).await;
    let error = once.release(ClientError::Transport(lost()));
    assert!(matches!(error, ClientError::Transport(_)));
    assert_eq!(bench.only().state, ChargeState::Void);
    // Not sent this time, but the server was shown the same payment before.
    let bench = Bench::new();
    drop(bench.pay(&offer("c1")).await);
    let again = bench.pay(&offer("c1")).await;
    let error = again.release(ClientError::Transport(lost()));
    assert!(matches!(error, ClientError::ChargeIndeterminate { .. }));
    assert_eq!(bench.only().state, ChargeState::Open);
    // Refused: the server has the transaction, and the chain will tell.
    let bench = Bench::new();
    let once = bench.pay(&offer("c1")).await;
    let error = once.refuse(ClientError::Status { status: 402 });
    assert!(matches!(error, ClientError::Status { status: 402 }));
    assert_eq!(bench.only().state, ChargeState::Open);
    // Lost: it may have been paid.
    let bench = Bench::new();
    let once = bench.pay(&offer("c1")).await;
    let hash = transaction(&once).hash();
    let ClientError::ChargeIndeterminate { charge, source } = once.lose(lost()) else {
        panic!("not indeterminate");
    };
    assert_eq!(
        (charge.tx_hash, charge.state),
        (Some(hash), ChargeState::Open)
    );
    assert!(matches!(*source, ClientError::Transport(_)));
    // Pushed and refused: it is paid, and the caller must hear of that.
    let bench = Bench::with(policy().charge_by(mpp_tempo::wire::ChargeMode::Push));
    for end in [Once::refuse, Once::release] {
        let once = bench.pay(&offer("c1")).await;
        let error = end(once, ClientError::Status { status: 402 });
        let ClientError::ChargeIndeterminate { charge, .. } = error else {
            panic!("not indeterminate: {error}");
        };
        assert!(matches!(charge.state, ChargeState::Paid { .. }));
    }
}

// A purchase is paid once, also when one of two tasks that present it never gets to send it.
#[tokio::test]
async fn a_payment_that_another_task_has_shown_is_not_given_up() {
    let bench = Bench::new();
    let offer = offer("c1");
    let first = bench.payer.charge(&bench.site, &offer, Some("\"k\""));
    let first = first.await.unwrap();
    let presented = || bench.payer.paid_before(&bench.site, "\"k\"");
    let other = presented().await.unwrap().unwrap();
    let error = first.release(ClientError::Transport(TransportError::new("refused")));
    assert!(
        matches!(error, ClientError::ChargeIndeterminate { .. }),
        "{error:?}"
    );
    assert_eq!(bench.only().state, ChargeState::Open);
    // The server has the transaction and sends it; its answers are lost.
    let sent = transaction(&other).encode();
    bench.chain.submit(&sent).unwrap();
    bench.chain.mine();
    drop(other.lose(TransportError::new("the connection broke")));
    let again = presented().await.unwrap().unwrap();
    assert_eq!(transaction(&again).encode(), sent);
    assert!(matches!(bench.only().state, ChargeState::Paid { .. }));
}

// Whoever takes a payment out of the book finds it given up, or keeps it from being given up.
#[tokio::test]
async fn a_payment_that_was_given_up_is_not_shown() {
    let bench = Bench::new();
    let offer = offer("c1");
    let first = bench.payer.charge(&bench.site, &offer, Some("\"k\""));
    let first = first.await.unwrap();
    bench.chain.faults().set_outage(mpp_devnet::Outage::Hanging);
    let mut presenting = Box::pin(bench.payer.paid_before(&bench.site, "\"k\""));
    assert!(futures_util::poll!(presenting.as_mut()).is_pending());
    let lost = ClientError::Transport(TransportError::new("refused"));
    assert!(matches!(first.release(lost), ClientError::Transport(_)));
    bench.chain.faults().set_outage(mpp_devnet::Outage::None);
    assert!(presenting.await.unwrap().is_none());
    assert_eq!(bench.only().state, ChargeState::Void);
}
