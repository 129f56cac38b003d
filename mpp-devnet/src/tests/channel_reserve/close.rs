//! Closing and leaving a v2 channel.

use super::*;
use crate::tests::support::*;
use alloy_primitives::{Bytes, U256};
use alloy_sol_types::SolEvent;
use core::time::Duration;
use mpp_tempo::SessionProtocol::V2;
use tempo_contracts::precompiles::ITIP20ChannelReserve::{self as abi};
use tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE;

#[test]
fn close_captures_at_most_the_voucher_and_at_least_what_was_settled() {
    let f = fixture();
    ok(&f.node, &f.payee, RESERVE, &f.settle(2_000));
    reverts(
        &f.node,
        &f.payer,
        RESERVE,
        &f.close(5_000, 5_000),
        abi::NotPayeeOrOperator {},
    );
    reverts(
        &f.node,
        &f.payee,
        RESERVE,
        &f.close(5_000, 1_999),
        abi::CaptureAmountInvalid {},
    );
    reverts(
        &f.node,
        &f.payee,
        RESERVE,
        &f.close(5_000, 5_001),
        abi::CaptureAmountInvalid {},
    );
    let above = f.close(DEPOSIT + 1, DEPOSIT + 1);
    reverts(
        &f.node,
        &f.payee,
        RESERVE,
        &above,
        abi::AmountExceedsDeposit {},
    );
    let forged = abi::closeCall {
        signature: voucher_v2(&f.payer, f.id, 5_000),
        ..f.close(5_000, 4_000)
    };
    reverts(
        &f.node,
        &f.payee,
        RESERVE,
        &forged,
        abi::InvalidSignature {},
    );
    let (payee, payer) = (
        balance(&f.node, f.payee.address),
        balance(&f.node, f.payer.address),
    );
    let receipt = ok(&f.node, &f.operator, RESERVE, &f.close(5_000, 4_000));
    assert_eq!(closed(&receipt), (4_000, 6_000));
    assert_eq!(balance(&f.node, f.payee.address), payee + 2_000);
    assert_eq!(balance(&f.node, f.payer.address), payer + 6_000);
    assert_eq!(balance(&f.node, RESERVE), 0);
}

#[test]
fn a_voucher_above_the_deposit_can_still_capture_within_it() {
    let f = fixture();
    let receipt = ok(&f.node, &f.payee, RESERVE, &f.close(DEPOSIT + 500, DEPOSIT));
    assert_eq!(closed(&receipt), (DEPOSIT, 0));
}

#[test]
fn close_at_the_settled_amount_needs_no_voucher() {
    let f = fixture();
    ok(&f.node, &f.payee, RESERVE, &f.settle(2_000));
    let close = abi::closeCall {
        signature: Bytes::new(),
        ..f.close(2_000, 2_000)
    };
    assert_eq!(
        closed(&ok(&f.node, &f.payee, RESERVE, &close)),
        (2_000, 8_000)
    );
}

#[test]
fn a_closed_channel_leaves_no_state() {
    // PROTOCOL.md 5.3: finalised = state slot deleted (deposit 0).
    let f = fixture();
    ok(&f.node, &f.payee, RESERVE, &f.close(1_000, 1_000));
    assert_eq!(f.node.channel(V2, f.id), None);
    let gone = || abi::ChannelNotFound {};
    reverts(&f.node, &f.payee, RESERVE, &f.settle(2_000), gone());
    reverts(&f.node, &f.payee, RESERVE, &f.close(2_000, 2_000), gone());
    reverts(&f.node, &f.payer, RESERVE, &f.top_up(1), gone());
    reverts(&f.node, &f.payer, RESERVE, &f.request_close(), gone());
    reverts(&f.node, &f.payer, RESERVE, &f.withdraw(), gone());
}

#[test]
fn forced_close_waits_900_seconds_and_refunds_the_rest() {
    let f = fixture();
    ok(&f.node, &f.payee, RESERVE, &f.settle(4_000));
    reverts(
        &f.node,
        &f.payee,
        RESERVE,
        &f.request_close(),
        abi::NotPayer {},
    );
    reverts(
        &f.node,
        &f.payer,
        RESERVE,
        &f.withdraw(),
        abi::CloseNotReady {},
    );
    let receipt = ok(&f.node, &f.payer, RESERVE, &f.request_close());
    let event = receipt
        .logs
        .iter()
        .find_map(|log| abi::CloseRequested::decode_log(log).ok())
        .unwrap();
    assert_eq!(event.closeGraceEnd, U256::from(START + 900));
    f.node.advance_time(Duration::from_secs(899));
    let repeated = ok(&f.node, &f.payer, RESERVE, &f.request_close());
    assert_eq!(repeated.logs.len(), 1, "a repeated request is silent");
    // The payee can still settle inside the grace period.
    ok(&f.node, &f.payee, RESERVE, &f.settle(5_000));
    reverts(
        &f.node,
        &f.payer,
        RESERVE,
        &f.withdraw(),
        abi::CloseNotReady {},
    );
    f.node.advance_time(Duration::from_secs(1));
    reverts(&f.node, &f.payee, RESERVE, &f.withdraw(), abi::NotPayer {});
    let receipt = ok(&f.node, &f.payer, RESERVE, &f.withdraw());
    assert_eq!(closed(&receipt), (5_000, 5_000));
}
