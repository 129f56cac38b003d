//! Opening and topping up a v2 channel.

use super::*;
use crate::tests::support::*;
use alloy_primitives::aliases::U96;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolEvent, SolValue};
use core::time::Duration;
use mpp_core::Amount;
use mpp_tempo::SessionProtocol::V2;
use tempo_contracts::precompiles::ITIP20ChannelReserve::{self as abi};
use tempo_contracts::precompiles::{ITIP20, TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE};

#[test]
fn selectors_are_those_of_the_precompile() {
    // PROTOCOL.md 5.3, column v2.
    assert_eq!(abi::openCall::SELECTOR, [0xed, 0xc5, 0x3b, 0x00]);
    assert_eq!(abi::topUpCall::SELECTOR, [0xdc, 0x48, 0x47, 0x1e]);
    assert_eq!(abi::settleCall::SELECTOR, [0x97, 0xfb, 0x51, 0x04]);
    assert_eq!(abi::closeCall::SELECTOR, [0x73, 0xb5, 0x7f, 0x74]);
    assert_eq!(abi::requestCloseCall::SELECTOR, [0x67, 0x54, 0x02, 0xe5]);
    assert_eq!(abi::withdrawCall::SELECTOR, [0x41, 0xe2, 0xc6, 0x64]);
    assert_eq!(abi::getChannelStateCall::SELECTOR, [0xd1, 0x8d, 0xa8, 0xb1]);
}

#[test]
fn open_needs_no_approval_and_hashes_the_descriptor_into_the_id() {
    let f = fixture();
    let d = &f.descriptor;
    let fields = (
        d.payer,
        d.payee,
        d.operator,
        d.token,
        d.salt,
        d.authorizedSigner,
        d.expiringNonceHash,
        RESERVE,
        U256::from(CHAIN_ID),
    );
    assert_eq!(f.id, keccak256(fields.abi_encode()));
    assert_eq!(balance(&f.node, RESERVE), DEPOSIT);
    assert_eq!(
        f.node.channel(V2, f.id).unwrap().deposit,
        Amount::new(DEPOSIT)
    );
}

#[test]
fn the_id_takes_its_entropy_from_the_signed_payload_and_the_sender() {
    // PROTOCOL.md 5.3: expiringNonceHash = keccak(encodeForSigning(open tx) ++ sender).
    use alloy_consensus::SignableTransaction;
    let node = node();
    let payer = actor(&node, 2);
    let tx = transaction(&node, vec![call(RESERVE, &open_call(&node, 5))]);
    let mut payload = Vec::new();
    tx.encode_for_signing(&mut payload);
    payload.extend_from_slice(payer.address.as_slice());
    let hash = node.submit(&raw(tx, &payer)).unwrap();
    let event = opened(&node.receipt(hash).unwrap()).remove(0);
    assert_eq!(event.expiringNonceHash, keccak256(payload));
}

#[test]
fn open_refuses_bad_arguments() {
    let node = node();
    let payer = actor(&node, 2);
    let good = open_call(&node, 5);
    let check = |change: fn(&mut abi::openCall)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    let no_payee = check(|c| c.payee = Address::ZERO);
    reverts(&node, &payer, RESERVE, &no_payee, abi::InvalidPayee {});
    let token_payee = check(|c| c.payee = TOKEN);
    reverts(&node, &payer, RESERVE, &token_payee, abi::InvalidPayee {});
    let not_tip20 = check(|c| c.token = Address::repeat_byte(5));
    reverts(&node, &payer, RESERVE, &not_tip20, ITIP20::InvalidToken {});
    let not_deployed = check(|c| c.token = token(99));
    reverts(
        &node,
        &payer,
        RESERVE,
        &not_deployed,
        ITIP20::Uninitialized {},
    );
    let empty = check(|c| c.deposit = U96::ZERO);
    reverts(&node, &payer, RESERVE, &empty, abi::ZeroDeposit {});
    let poor = stranger(0x51);
    node.mint(token(1), poor.address, Amount::new(1_000_000))
        .unwrap();
    let mut tx = transaction(&node, vec![call(RESERVE, &good)]);
    tx.fee_token = Some(token(1));
    let hash = node.submit(&raw(tx, &poor)).unwrap();
    let missing = ITIP20::InsufficientBalance {
        available: U256::ZERO,
        required: U256::from(5),
        token: TOKEN,
    };
    let expected = alloy_sol_types::SolError::abi_encode(&missing);
    assert_eq!(node.receipt(hash).unwrap().revert, Some(expected.into()));
}

#[test]
fn one_transaction_opens_an_id_only_once() {
    let node = node();
    let payer = actor(&node, 2);
    let open = call(RESERVE, &open_call(&node, 5));
    let receipt = run(&node, &payer, vec![open.clone(), open]);
    let expected = alloy_sol_types::SolError::abi_encode(&abi::ChannelAlreadyExists {});
    assert_eq!(receipt.revert, Some(expected.into()));
    // Two different channels in one batch share the hash and differ by salt.
    let other = abi::openCall {
        salt: B256::ZERO,
        ..open_call(&node, 5)
    };
    let receipt = run(
        &node,
        &payer,
        vec![call(RESERVE, &open_call(&node, 5)), call(RESERVE, &other)],
    );
    let events = opened(&receipt);
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].expiringNonceHash, events[1].expiringNonceHash);
    assert_ne!(events[0].channelId, events[1].channelId);
}

#[test]
fn top_up_adds_and_is_bounded_by_96_bits() {
    let f = fixture();
    reverts(&f.node, &f.payee, RESERVE, &f.top_up(1), abi::NotPayer {});
    let receipt = ok(&f.node, &f.payer, RESERVE, &f.top_up(500));
    let event = receipt
        .logs
        .iter()
        .find_map(|log| abi::TopUp::decode_log(log).ok())
        .unwrap();
    assert_eq!(
        (event.additionalDeposit, event.newDeposit),
        (U96::from(500), U96::from(10_500))
    );
    reverts(
        &f.node,
        &f.payer,
        RESERVE,
        &f.top_up((1 << 96) - 1),
        abi::DepositOverflow {},
    );
    // Zero without a pending close does nothing and logs nothing but the fee.
    let receipt = ok(&f.node, &f.payer, RESERVE, &f.top_up(0));
    assert_eq!(receipt.logs.len(), 1);
}

#[test]
fn top_up_cancels_a_close_request_even_with_nothing_to_add() {
    let f = fixture();
    for amount in [0, 5] {
        ok(&f.node, &f.payer, RESERVE, &f.request_close());
        assert_eq!(
            f.node.channel(V2, f.id).unwrap().close_requested_at,
            Some(START)
        );
        let receipt = ok(&f.node, &f.payer, RESERVE, &f.top_up(amount));
        assert!(
            receipt
                .logs
                .iter()
                .any(|log| abi::CloseRequestCancelled::decode_log(log).is_ok())
        );
        assert_eq!(f.node.channel(V2, f.id).unwrap().close_requested_at, None);
    }
    f.node.advance_time(Duration::from_secs(10_000));
    reverts(
        &f.node,
        &f.payer,
        RESERVE,
        &f.withdraw(),
        abi::CloseNotReady {},
    );
}

#[test]
fn unknown_functions_and_malformed_arguments_revert_as_on_chain() {
    let f = fixture();
    let mut unknown = call(RESERVE, &f.request_close());
    unknown.input = Bytes::from_static(&[0xde, 0xad, 0xbe, 0xef]);
    let receipt = run(&f.node, &f.payer, vec![unknown]);
    let error = tempo_contracts::precompiles::UnknownFunctionSelector {
        selector: [0xde, 0xad, 0xbe, 0xef].into(),
    };
    assert_eq!(
        receipt.revert,
        Some(alloy_sol_types::SolError::abi_encode(&error).into())
    );
    let mut short = call(RESERVE, &f.request_close());
    short.input = short.input[..40].to_vec().into();
    assert_eq!(
        run(&f.node, &f.payer, vec![short]).revert,
        Some(Bytes::new())
    );
}
