//! Transactions that collect vouchers.

use super::building::{calls, single};
use super::*;
use crate::escrow::{IStreamChannel, ITIP20ChannelReserve};
use crate::voucher::{SignedVoucher, sign_voucher};

async fn voucher(terms: &ChannelTerms, cumulative: u128) -> SignedVoucher {
    sign_voucher(&payer(), terms, Amount::new(cumulative))
        .await
        .unwrap()
}

// PROTOCOL 5.3: settle; what goes on chain is the 65-byte form.
#[tokio::test]
async fn settle_carries_the_voucher() {
    let v1 = terms(SessionProtocol::V1);
    let signed = voucher(&v1, 700).await;
    let tx = build::settle(&self_paid(), &v1, &signed).unwrap();
    let call: IStreamChannel::settleCall = single(tx, v1.escrow);
    assert_eq!((call.channelId, call.cumulativeAmount), (v1.id(), 700));
    assert_eq!(call.signature.len(), 65);

    let v2 = terms(SessionProtocol::V2);
    let signed = voucher(&v2, 700).await;
    let tx = build::settle(&self_paid(), &v2, &signed).unwrap();
    let call: ITIP20ChannelReserve::settleCall = single(tx, v2.escrow);
    assert_eq!(call.descriptor, (&v2.descriptor).into());
    assert_eq!(call.cumulativeAmount.to::<u128>(), 700);
    assert_eq!(call.signature.as_ref(), signed.signature.to_bytes());
}

#[tokio::test]
async fn several_channels_settle_in_one_transaction() {
    let (v1, v2) = (terms(SessionProtocol::V1), terms(SessionProtocol::V2));
    let vouchers = [voucher(&v1, 1).await, voucher(&v2, 2).await];
    let tx = build::settle_all(&self_paid(), [(&v1, &vouchers[0]), (&v2, &vouchers[1])]).unwrap();
    let targets: Vec<_> = calls(tx).into_iter().map(|(to, _)| to).collect();
    assert_eq!(targets, [v1.escrow, v2.escrow]);
    assert_eq!(
        build::settle_all(&self_paid(), []),
        Err(BuildError::NoCalls)
    );
}

// PROTOCOL 5.3: v2 captures at most the voucher; v1 has no capture argument.
#[tokio::test]
async fn close_captures_within_the_voucher() {
    let v2 = terms(SessionProtocol::V2);
    let signed = voucher(&v2, 1000).await;
    let tx = build::close(&self_paid(), &v2, &signed, Amount::new(400)).unwrap();
    let call: ITIP20ChannelReserve::closeCall = single(tx, v2.escrow);
    assert_eq!(call.cumulativeAmount.to::<u128>(), 1000);
    assert_eq!(call.captureAmount.to::<u128>(), 400);
    let above = build::close(&self_paid(), &v2, &signed, Amount::new(1001));
    assert_eq!(above, Err(BuildError::Capture));

    let v1 = terms(SessionProtocol::V1);
    let signed = voucher(&v1, 1000).await;
    let tx = build::close(&self_paid(), &v1, &signed, Amount::new(1000)).unwrap();
    let call: IStreamChannel::closeCall = single(tx, v1.escrow);
    assert_eq!(call.cumulativeAmount, 1000);
    for capture in [999, 1001] {
        let other = build::close(&self_paid(), &v1, &signed, Amount::new(capture));
        assert_eq!(other, Err(BuildError::Capture));
    }
}

#[tokio::test]
async fn closing_at_the_settled_amount_needs_no_voucher() {
    let v2 = terms(SessionProtocol::V2);
    let tx = build::close_at_settled(&self_paid(), &v2, Amount::new(30)).unwrap();
    let call: ITIP20ChannelReserve::closeCall = single(tx, v2.escrow);
    assert_eq!(call.captureAmount, call.cumulativeAmount);
    assert!(call.signature.is_empty());
    let v1 = terms(SessionProtocol::V1);
    let tx = build::close_at_settled(&self_paid(), &v1, Amount::ZERO).unwrap();
    let call: IStreamChannel::closeCall = single(tx, v1.escrow);
    assert_eq!(call.cumulativeAmount, 0);
}

#[tokio::test]
async fn a_voucher_of_another_channel_is_not_sent() {
    let own = terms(SessionProtocol::V2);
    let mut other = own;
    other.descriptor.salt = B256::ZERO;
    let foreign = voucher(&other, 5).await;
    assert_eq!(
        build::settle(&self_paid(), &own, &foreign),
        Err(BuildError::WrongChannel)
    );
    let close = build::close(&self_paid(), &own, &foreign, Amount::new(5));
    assert_eq!(close, Err(BuildError::WrongChannel));
}

#[tokio::test]
async fn settlements_and_closes_go_into_one_transaction() {
    let (v1, v2) = (terms(SessionProtocol::V1), terms(SessionProtocol::V2));
    let vouchers = [voucher(&v1, 10).await, voucher(&v2, 20).await];
    let collect = |capture: u128| {
        let settle = build::Collection::Settle {
            terms: &v1,
            signed: &vouchers[0],
        };
        let close = build::Collection::Close {
            terms: &v2,
            signed: &vouchers[1],
            capture: Amount::new(capture),
        };
        build::collect(&self_paid(), [settle, close])
    };
    let inputs: Vec<_> = calls(collect(15).unwrap());
    let alone = [
        calls(build::settle(&self_paid(), &v1, &vouchers[0]).unwrap()),
        calls(build::close(&self_paid(), &v2, &vouchers[1], Amount::new(15)).unwrap()),
    ];
    assert_eq!(inputs, alone.concat());
    // What may not be closed alone may not be closed among others.
    assert_eq!(collect(21), Err(BuildError::Capture));
}
