//! Opening and topping up a v1 channel.

use super::*;
use crate::STREAM_CHANNEL as ESCROW;
use crate::precompile::stream_channel::abi::IStreamEscrow as abi;
use crate::tests::support::*;
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent;
use core::time::Duration;
use mpp_core::Amount;
use tempo_contracts::precompiles::ITIP20;

#[test]
fn selectors_are_those_deployed_clients_call() {
    // PROTOCOL.md 5.3, column v1.
    use alloy_sol_types::SolCall;
    assert_eq!(abi::openCall::SELECTOR, [0xc7, 0x9e, 0xa4, 0x85]);
    assert_eq!(abi::topUp_0Call::SELECTOR, [0xb6, 0x76, 0x44, 0xb9]);
    assert_eq!(abi::settleCall::SELECTOR, [0x51, 0x6d, 0x3b, 0x88]);
    assert_eq!(abi::closeCall::SELECTOR, [0x0d, 0x65, 0xc5, 0x1d]);
    assert_eq!(abi::getChannelCall::SELECTOR, [0x83, 0x1c, 0x2b, 0x82]);
}

#[test]
fn open_locks_the_deposit_and_logs_the_salt() {
    let f = fixture();
    assert_eq!(f.channel().deposit, Amount::new(DEPOSIT));
    assert_eq!(balance(&f.node, ESCROW), DEPOSIT);
    assert_eq!(f.node.allowance(TOKEN, f.payer.address, ESCROW), U256::ZERO);
    let query = crate::LogQuery {
        addresses: vec![ESCROW],
        topics: vec![vec![abi::ChannelOpened::SIGNATURE_HASH], vec![f.id]],
        ..crate::LogQuery::default()
    };
    let logs = f.node.logs(&query);
    let event = abi::ChannelOpened::decode_log(&logs[0].log).unwrap();
    assert_eq!(event.salt, B256::repeat_byte(7));
    assert_eq!(
        (event.payer, event.payee),
        (f.payer.address, f.payee.address)
    );
    assert_eq!(event.deposit, U256::from(DEPOSIT));
}

#[test]
fn open_refuses_bad_arguments_and_a_second_channel_of_the_same_id() {
    let f = fixture();
    let (node, payer) = (&f.node, &f.payer);
    let signer = f.signer().address;
    ok(node, payer, TOKEN, &approve(DEPOSIT));
    let open = |payee, deposit| open_call(payee, deposit, signer);
    reverts(
        node,
        payer,
        ESCROW,
        &open(Address::ZERO, 1),
        abi::InvalidPayee {},
    );
    reverts(
        node,
        payer,
        ESCROW,
        &open(f.payee.address, 0),
        abi::ZeroDeposit {},
    );
    reverts(
        node,
        payer,
        ESCROW,
        &open(f.payee.address, 1),
        abi::ChannelAlreadyExists {},
    );
    let no_token = abi::openCall {
        token: Address::ZERO,
        ..open(f.payee.address, 1)
    };
    reverts(node, payer, ESCROW, &no_token, abi::InvalidToken {});
    let other_salt = abi::openCall {
        salt: B256::ZERO,
        ..open(f.payee.address, DEPOSIT + 1)
    };
    reverts(
        node,
        payer,
        ESCROW,
        &other_salt,
        ITIP20::InsufficientAllowance {},
    );
}

#[test]
fn top_up_adds_and_both_selectors_work() {
    let f = fixture();
    ok(&f.node, &f.payer, TOKEN, &approve(5_000));
    let receipt = ok(&f.node, &f.payer, ESCROW, &f.top_up(3_000));
    let event = receipt
        .logs
        .iter()
        .find_map(|log| abi::TopUp::decode_log(log).ok())
        .unwrap();
    assert_eq!(event.additionalDeposit, U256::from(3_000));
    assert_eq!(event.newDeposit, U256::from(13_000));
    let draft = abi::topUp_1Call {
        channelId: f.id,
        additionalDeposit: 2_000,
    };
    ok(&f.node, &f.payer, ESCROW, &draft);
    assert_eq!(f.channel().deposit, Amount::new(15_000));
}

#[test]
fn top_up_checks_caller_amount_and_overflow() {
    let f = fixture();
    reverts(&f.node, &f.payee, ESCROW, &f.top_up(1), abi::NotPayer {});
    reverts(&f.node, &f.payer, ESCROW, &f.top_up(0), abi::ZeroDeposit {});
    reverts(
        &f.node,
        &f.payer,
        ESCROW,
        &f.top_up(1),
        ITIP20::InsufficientAllowance {},
    );
    reverts(
        &f.node,
        &f.payer,
        ESCROW,
        &f.top_up(u128::MAX),
        abi::DepositOverflow {},
    );
    let wide = abi::topUp_0Call {
        channelId: f.id,
        additionalDeposit: U256::MAX,
    };
    reverts(&f.node, &f.payer, ESCROW, &wide, abi::DepositOverflow {});
}

#[test]
fn top_up_cancels_a_close_request() {
    let f = fixture();
    ok(
        &f.node,
        &f.payer,
        ESCROW,
        &abi::requestCloseCall { channelId: f.id },
    );
    ok(&f.node, &f.payer, TOKEN, &approve(1));
    let receipt = ok(&f.node, &f.payer, ESCROW, &f.top_up(1));
    assert!(
        receipt
            .logs
            .iter()
            .any(|log| abi::CloseRequestCancelled::decode_log(log).is_ok())
    );
    assert_eq!(f.channel().close_requested_at, None);
    f.node.advance_time(Duration::from_secs(10_000));
    let withdraw = abi::withdrawCall { channelId: f.id };
    reverts(&f.node, &f.payer, ESCROW, &withdraw, abi::CloseNotReady {});
}
