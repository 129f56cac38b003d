//! Settling a v2 channel.

use super::*;
use crate::tests::support::*;
use alloy_primitives::aliases::U96;
use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::SolEvent;
use core::time::Duration;
use tempo_contracts::precompiles::ITIP20ChannelReserve::{self as abi};
use tempo_contracts::precompiles::{ITIP20, TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE};

#[test]
fn settle_is_for_payee_and_operator_and_pays_the_payee() {
    let f = fixture();
    reverts(
        &f.node,
        &f.payer,
        RESERVE,
        &f.settle(1),
        abi::NotPayeeOrOperator {},
    );
    reverts(
        &f.node,
        &f.signer(),
        RESERVE,
        &f.settle(1),
        abi::NotPayeeOrOperator {},
    );
    let before = balance(&f.node, f.payee.address);
    ok(&f.node, &f.operator, RESERVE, &f.settle(3_000));
    assert_eq!(balance(&f.node, f.payee.address), before + 3_000);
    let receipt = ok(&f.node, &f.payee, RESERVE, &f.settle(3_500));
    let event = receipt
        .logs
        .iter()
        .find_map(|log| abi::Settled::decode_log(log).ok())
        .unwrap();
    assert_eq!(
        (event.deltaPaid, event.newSettled),
        (U96::from(500), U96::from(3_500))
    );
}

#[test]
fn a_zero_operator_is_nobody() {
    let node = node();
    let payer = actor(&node, 2);
    let open = abi::openCall {
        operator: Address::ZERO,
        ..open_call(&node, 100)
    };
    let event = opened(&ok(&node, &payer, RESERVE, &open)).remove(0);
    let settle = abi::settleCall {
        descriptor: descriptor(&event),
        cumulativeAmount: U96::from(1),
        signature: voucher_v2(&actor(&node, 3), event.channelId, 1),
    };
    reverts(
        &node,
        &actor(&node, 4),
        RESERVE,
        &settle,
        abi::NotPayeeOrOperator {},
    );
    ok(&node, &actor(&node, 1), RESERVE, &settle);
}

#[test]
fn settle_checks_bounds_growth_and_the_descriptor() {
    let f = fixture();
    reverts(
        &f.node,
        &f.payee,
        RESERVE,
        &f.settle(DEPOSIT + 1),
        abi::AmountExceedsDeposit {},
    );
    reverts(
        &f.node,
        &f.payee,
        RESERVE,
        &f.settle(0),
        abi::AmountNotIncreasing {},
    );
    ok(&f.node, &f.payee, RESERVE, &f.settle(100));
    reverts(
        &f.node,
        &f.payee,
        RESERVE,
        &f.settle(100),
        abi::AmountNotIncreasing {},
    );
    let mut foreign = f.settle(200);
    foreign.descriptor.salt = B256::ZERO;
    reverts(
        &f.node,
        &f.payee,
        RESERVE,
        &foreign,
        abi::ChannelNotFound {},
    );
    // A descriptor naming another payee is another channel, not a way to redirect money.
    let mut redirected = f.settle(200);
    redirected.descriptor.payee = f.operator.address;
    reverts(
        &f.node,
        &f.operator,
        RESERVE,
        &redirected,
        abi::ChannelNotFound {},
    );
}

#[test]
fn vouchers_need_the_authorized_signer_and_a_chain_form_signature() {
    let f = fixture();
    let good = voucher_v2(&f.signer(), f.id, 100);
    let refuse = |signature: Bytes| {
        let settle = abi::settleCall {
            signature,
            ..f.settle(100)
        };
        reverts(
            &f.node,
            &f.payee,
            RESERVE,
            &settle,
            abi::InvalidSignature {},
        );
    };
    refuse(voucher_v2(&f.payer, f.id, 100));
    refuse(voucher_v2(&f.signer(), f.id, 101));
    refuse(voucher_v1(&f.signer(), f.id, 100));
    refuse(high_s(&good));
    // PROTOCOL.md 5.3: what goes on chain is the 65-byte form.
    refuse(compact(&good));
    // Keychain wrappers are refused.
    for kind in [3u8, 4] {
        refuse(
            [vec![kind], f.payer.address.to_vec(), good.to_vec()]
                .concat()
                .into(),
        );
    }
    refuse(Bytes::new());
    ok(&f.node, &f.payee, RESERVE, &f.settle(100));
}

#[test]
fn freezing_the_payer_stops_settling_but_not_a_refund() {
    let f = fixture();
    f.node.freeze(f.payer.address);
    reverts(
        &f.node,
        &f.payee,
        RESERVE,
        &f.settle(1),
        ITIP20::PolicyForbids {},
    );
    reverts(
        &f.node,
        &f.payee,
        RESERVE,
        &f.close(1, 1),
        ITIP20::PolicyForbids {},
    );
    f.node.unfreeze(f.payer.address);
    f.node.freeze(f.payee.address);
    reverts(
        &f.node,
        &f.payer,
        RESERVE,
        &f.top_up(1),
        ITIP20::PolicyForbids {},
    );
    reverts(
        &f.node,
        &f.payer,
        RESERVE,
        &open_call(&f.node, 1),
        ITIP20::PolicyForbids {},
    );
    ok(&f.node, &f.payer, RESERVE, &f.request_close());
    f.node.advance_time(Duration::from_secs(900));
    assert_eq!(
        closed(&ok(&f.node, &f.payer, RESERVE, &f.withdraw())),
        (0, DEPOSIT)
    );
}
