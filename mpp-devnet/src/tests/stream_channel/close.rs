//! Closing and leaving a v1 channel.

use super::*;
use crate::precompile::stream_channel::abi::IStreamEscrow as abi;
use crate::tests::support::*;
use crate::{DevChannel, STREAM_CHANNEL as ESCROW};
use alloy_primitives::{Bytes, U256};
use alloy_sol_types::SolEvent;
use core::time::Duration;
use mpp_core::Amount;

#[test]
fn forced_close_waits_900_seconds_and_refunds_the_rest() {
    // PROTOCOL.md 5.3: `withdraw` is allowed at `closeRequestedAt + 900`.
    let f = fixture();
    ok(&f.node, &f.payee, ESCROW, &f.settle(4_000));
    let withdraw = abi::withdrawCall { channelId: f.id };
    let request = abi::requestCloseCall { channelId: f.id };
    reverts(&f.node, &f.payer, ESCROW, &withdraw, abi::CloseNotReady {});
    reverts(&f.node, &f.payee, ESCROW, &request, abi::NotPayer {});
    let receipt = ok(&f.node, &f.payer, ESCROW, &request);
    let event = receipt
        .logs
        .iter()
        .find_map(|log| abi::CloseRequested::decode_log(log).ok())
        .unwrap();
    assert_eq!(event.closeGraceEnd, U256::from(START + 900));
    f.node.advance_time(Duration::from_secs(899));
    // A second request does not restart the grace period.
    ok(&f.node, &f.payer, ESCROW, &request);
    assert_eq!(f.channel().close_requested_at, Some(START));
    reverts(&f.node, &f.payer, ESCROW, &withdraw, abi::CloseNotReady {});
    f.node.advance_time(Duration::from_secs(1));
    reverts(&f.node, &f.payee, ESCROW, &withdraw, abi::NotPayer {});
    let before = balance(&f.node, f.payer.address);
    let receipt = ok(&f.node, &f.payer, ESCROW, &withdraw);
    let fee: u128 = receipt.fee.to();
    assert_eq!(balance(&f.node, f.payer.address), before + 6_000 - fee);
    let event = receipt
        .logs
        .iter()
        .find_map(|log| abi::ChannelClosed::decode_log(log).ok())
        .unwrap();
    assert_eq!(event.settledToPayee, U256::from(4_000));
    assert_eq!(event.refundedToPayer, U256::from(6_000));
}

#[test]
fn close_pays_the_full_voucher_and_refunds_the_rest() {
    let f = fixture();
    ok(&f.node, &f.payee, ESCROW, &f.settle(1_000));
    let (payee, payer) = (
        balance(&f.node, f.payee.address),
        balance(&f.node, f.payer.address),
    );
    reverts(&f.node, &f.payer, ESCROW, &f.close(7_000), abi::NotPayee {});
    reverts(
        &f.node,
        &f.payee,
        ESCROW,
        &f.close(DEPOSIT + 1),
        abi::AmountExceedsDeposit {},
    );
    let fees_before: u128 = payee - balance(&f.node, f.payee.address);
    let fees_payer: u128 = payer - balance(&f.node, f.payer.address);
    let receipt = ok(&f.node, &f.payee, ESCROW, &f.close(7_000));
    let fee: u128 = receipt.fee.to();
    assert_eq!(
        balance(&f.node, f.payee.address),
        payee - fees_before - fee + 6_000
    );
    assert_eq!(
        balance(&f.node, f.payer.address),
        payer - fees_payer + 3_000
    );
    assert_eq!(balance(&f.node, ESCROW), 0);
}

#[test]
fn close_at_or_below_settled_needs_no_voucher() {
    let f = fixture();
    ok(&f.node, &f.payee, ESCROW, &f.settle(1_000));
    let close = abi::closeCall {
        channelId: f.id,
        cumulativeAmount: 400,
        signature: Bytes::new(),
    };
    let receipt = ok(&f.node, &f.payee, ESCROW, &close);
    let event = receipt
        .logs
        .iter()
        .find_map(|log| abi::ChannelClosed::decode_log(log).ok())
        .unwrap();
    assert_eq!(event.settledToPayee, U256::from(1_000));
    assert_eq!(event.refundedToPayer, U256::from(9_000));
}

#[test]
fn a_closed_channel_reads_as_zeros_with_the_flag_and_stays_closed() {
    // LOCALNODE.md: a closed channel reads as zeros with finalized = true.
    let f = fixture();
    ok(&f.node, &f.payee, ESCROW, &f.close(7_000));
    let zeros = DevChannel {
        deposit: Amount::ZERO,
        settled: Amount::ZERO,
        close_requested_at: None,
        finalized: true,
    };
    assert_eq!(f.channel(), zeros);
    let gone = || abi::ChannelFinalized {};
    reverts(&f.node, &f.payee, ESCROW, &f.settle(8_000), gone());
    reverts(&f.node, &f.payee, ESCROW, &f.close(8_000), gone());
    reverts(&f.node, &f.payer, ESCROW, &f.top_up(1), gone());
    reverts(
        &f.node,
        &f.payer,
        ESCROW,
        &abi::requestCloseCall { channelId: f.id },
        gone(),
    );
    reverts(
        &f.node,
        &f.payer,
        ESCROW,
        &abi::withdrawCall { channelId: f.id },
        gone(),
    );
    let again = open_call(f.payee.address, 1, f.signer().address);
    reverts(
        &f.node,
        &f.payer,
        ESCROW,
        &again,
        abi::ChannelAlreadyExists {},
    );
}
