//! Snapshots: their JSON, and what makes one untrustworthy.

use serde_json::json;

use super::*;
use crate::signer::Signer;
use crate::testing::{payer, terms_signed_by};
use crate::voucher::sign_voucher;

async fn snapshot() -> SessionSnapshot {
    let terms = terms_signed_by(SessionProtocol::V2, payer().address());
    let signed = sign_voucher(&payer(), &terms, Amount::new(3000))
        .await
        .unwrap();
    SessionSnapshot {
        accepted_cumulative: Amount::new(3000),
        chain_id: terms.chain_id,
        channel_id: terms.id(),
        close_requested_at: Some(1_795_172_518),
        deposit: Amount::new(10_000),
        descriptor: terms.descriptor,
        escrow: terms.escrow,
        highest_voucher: Some((&signed).into()),
        required_cumulative: Amount::new(4000),
        settled: Amount::new(1000),
        spent: Amount::new(2500),
        units: Some(2),
    }
}

// PROTOCOL 5.8: members and their types.
#[tokio::test]
async fn snapshots_survive_json() {
    let snapshot = snapshot().await;
    let json = serde_json::to_value(&snapshot).unwrap();
    assert_eq!(json["closeRequestedAt"], "1795172518");
    assert_eq!(json["acceptedCumulative"], "3000");
    assert_eq!(json["chainId"], 42431);
    assert_eq!(json["highestVoucher"]["cumulativeAmount"], "3000");
    assert_eq!(
        serde_json::from_value::<SessionSnapshot>(json.clone()).unwrap(),
        snapshot
    );
    let mut number = json;
    number["closeRequestedAt"] = json!(1_795_172_518);
    assert_eq!(
        serde_json::from_value::<SessionSnapshot>(number).unwrap(),
        snapshot
    );
}

#[tokio::test]
async fn optional_members_may_be_absent() {
    let bare = SessionSnapshot {
        close_requested_at: None,
        highest_voucher: None,
        units: None,
        ..snapshot().await
    };
    let json = serde_json::to_value(&bare).unwrap();
    assert_eq!(json.as_object().unwrap().len(), 9);
    // Only that of the chain has a value of its own where it is absent.
    for member in json.as_object().unwrap().keys() {
        let mut partial = json.clone();
        partial.as_object_mut().unwrap().remove(member);
        let read = serde_json::from_value::<SessionSnapshot>(partial);
        assert_eq!(read.is_ok(), member == "chainId", "{member}");
    }
    assert_eq!(
        serde_json::from_value::<SessionSnapshot>(json).unwrap(),
        bare
    );
    assert!(bare.verify().is_ok());
}

// PROTOCOL 5.8: clients verify id derivation and their own signature before they use it.
#[tokio::test]
async fn a_snapshot_that_contradicts_itself_is_refused() {
    let good = snapshot().await;
    let verified = good.verify().unwrap();
    assert_eq!(verified.id(), good.channel_id);

    let check = |change: fn(&mut SessionSnapshot), expected: SnapshotError| {
        let mut changed = good.clone();
        change(&mut changed);
        assert_eq!(changed.verify(), Err(expected));
    };
    check(|s| s.chain_id = 4217, SnapshotError::WrongChannelId);
    check(|s| s.escrow = Address::ZERO, SnapshotError::WrongChannelId);
    check(
        |s| s.descriptor.payee = Address::ZERO,
        SnapshotError::WrongChannelId,
    );
    check(
        |s| s.channel_id = ChannelId::ZERO,
        SnapshotError::WrongChannelId,
    );
    check(|s| s.spent = Amount::new(3001), SnapshotError::Amounts);
    check(|s| s.settled = Amount::new(3001), SnapshotError::Amounts);
    check(|s| s.deposit = Amount::new(2999), SnapshotError::Amounts);
    check(
        |s| s.accepted_cumulative = Amount::new(3500),
        SnapshotError::Amounts,
    );
    check(
        |s| {
            if let Some(highest) = &mut s.highest_voucher {
                highest.channel_id = ChannelId::ZERO;
            }
        },
        SnapshotError::Voucher(VoucherError::WrongChannel),
    );
    // The server claims a higher voucher than the client ever signed.
    let mut forged = good.clone();
    forged.accepted_cumulative = Amount::new(9000);
    forged.highest_voucher.as_mut().unwrap().cumulative_amount = Amount::new(9000);
    let refused = forged.verify();
    assert!(matches!(
        refused,
        Err(SnapshotError::Voucher(VoucherError::SignerMismatch { .. }))
    ));
}
