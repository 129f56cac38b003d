//! Settling a v1 channel.

use super::*;
use crate::STREAM_CHANNEL as ESCROW;
use crate::precompile::stream_channel::abi::IStreamEscrow as abi;
use crate::tests::support::*;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolEvent;
use mpp_core::Amount;
use tempo_contracts::precompiles::ITIP20;

#[test]
fn settle_pays_only_the_difference() {
    let f = fixture();
    let before = balance(&f.node, f.payee.address);
    let first = ok(&f.node, &f.payee, ESCROW, &f.settle(3_000));
    let second = ok(&f.node, &f.payee, ESCROW, &f.settle(4_500));
    let fees: u128 = (first.fee + second.fee).to();
    assert_eq!(balance(&f.node, f.payee.address), before + 4_500 - fees);
    assert_eq!(f.channel().settled, Amount::new(4_500));
    let event = second
        .logs
        .iter()
        .find_map(|log| abi::Settled::decode_log(log).ok())
        .unwrap();
    assert_eq!(event.deltaPaid, U256::from(1_500));
    assert_eq!(event.newSettled, U256::from(4_500));
}

#[test]
fn settle_checks_caller_bounds_and_growth() {
    let f = fixture();
    reverts(&f.node, &f.payer, ESCROW, &f.settle(1), abi::NotPayee {});
    reverts(
        &f.node,
        &f.payee,
        ESCROW,
        &f.settle(DEPOSIT + 1),
        abi::AmountExceedsDeposit {},
    );
    reverts(
        &f.node,
        &f.payee,
        ESCROW,
        &f.settle(0),
        abi::AmountNotIncreasing {},
    );
    ok(&f.node, &f.payee, ESCROW, &f.settle(100));
    reverts(
        &f.node,
        &f.payee,
        ESCROW,
        &f.settle(100),
        abi::AmountNotIncreasing {},
    );
    reverts(
        &f.node,
        &f.payee,
        ESCROW,
        &f.settle(99),
        abi::AmountNotIncreasing {},
    );
    let unknown = abi::settleCall {
        channelId: B256::ZERO,
        ..f.settle(200)
    };
    reverts(&f.node, &f.payee, ESCROW, &unknown, abi::ChannelNotFound {});
}

#[test]
fn vouchers_need_the_authorized_signer_and_a_canonical_signature() {
    let f = fixture();
    let good = voucher_v1(&f.signer(), f.id, 100);
    let refuse = |signature: Bytes| {
        let settle = abi::settleCall {
            channelId: f.id,
            cumulativeAmount: 100,
            signature,
        };
        reverts(&f.node, &f.payee, ESCROW, &settle, abi::InvalidSignature {});
    };
    // A named signer replaces the payer: the payer's own signature is then worth nothing.
    refuse(voucher_v1(&f.payer, f.id, 100));
    refuse(voucher_v1(&f.signer(), f.id, 101));
    refuse(voucher_v1(&f.signer(), B256::ZERO, 100));
    refuse(voucher_v2(&f.signer(), f.id, 100));
    refuse(high_s(&good));
    refuse(good[..63].to_vec().into());
    refuse([good.to_vec(), vec![0]].concat().into());
    refuse([good[..64].to_vec(), vec![good[64] - 27]].concat().into());
    refuse(Bytes::new());
    let settle = |amount, signature| abi::settleCall {
        channelId: f.id,
        cumulativeAmount: amount,
        signature,
    };
    ok(&f.node, &f.payee, ESCROW, &settle(100, good));
    // EIP-2098.
    let short = compact(&voucher_v1(&f.signer(), f.id, 101));
    ok(&f.node, &f.payee, ESCROW, &settle(101, short));
}

#[test]
fn without_authorized_signer_the_payer_signs() {
    let node = node();
    let (payer, payee) = (actor(&node, 2), actor(&node, 1));
    let open = open_call(payee.address, 50, Address::ZERO);
    assert!(
        run(
            &node,
            &payer,
            vec![call(TOKEN, &approve(50)), call(ESCROW, &open)]
        )
        .success
    );
    let id = id_of(payer.address, payee.address, Address::ZERO);
    let settle = |signer: &Actor| abi::settleCall {
        channelId: id,
        cumulativeAmount: 50,
        signature: voucher_v1(signer, id, 50),
    };
    reverts(
        &node,
        &payee,
        ESCROW,
        &settle(&payee),
        abi::InvalidSignature {},
    );
    ok(&node, &payee, ESCROW, &settle(&payer));
}

#[test]
fn a_frozen_payee_or_paused_token_stops_payouts() {
    let f = fixture();
    f.node.freeze(ESCROW);
    reverts(
        &f.node,
        &f.payee,
        ESCROW,
        &f.settle(1),
        ITIP20::PolicyForbids {},
    );
    f.node.unfreeze(ESCROW);
    let mut tx = transaction(&f.node, vec![call(ESCROW, &f.settle(1))]);
    tx.fee_token = Some(token(1));
    f.node.pause(TOKEN);
    let hash = f.node.submit(&raw(tx, &f.payee)).unwrap();
    let receipt = f.node.receipt(hash).unwrap();
    let expected = alloy_sol_types::SolError::abi_encode(&ITIP20::ContractPaused {});
    assert_eq!(receipt.revert, Some(expected.into()));
    assert_eq!(f.channel().settled, Amount::ZERO);
}
