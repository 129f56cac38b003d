//! Every rule and error of the v2 reserve.

use super::support::*;
use crate::{DevReceipt, Devnet};
use alloy_primitives::aliases::U96;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolEvent, SolValue};
use core::time::Duration;
use mpp_core::Amount;
use mpp_tempo::SessionProtocol::V2;
use tempo_contracts::precompiles::ITIP20ChannelReserve::{self as abi, ChannelDescriptor};
use tempo_contracts::precompiles::{ITIP20, TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE};

const DEPOSIT: u128 = 10_000;

struct Fixture {
    node: Devnet,
    payer: Actor,
    payee: Actor,
    operator: Actor,
    descriptor: ChannelDescriptor,
    id: B256,
}

fn open_call(node: &Devnet, deposit: u128) -> abi::openCall {
    abi::openCall {
        payee: actor(node, 1).address,
        operator: actor(node, 4).address,
        token: TOKEN,
        deposit: U96::from(deposit),
        salt: B256::repeat_byte(9),
        authorizedSigner: actor(node, 3).address,
    }
}

fn opened(receipt: &DevReceipt) -> Vec<abi::ChannelOpened> {
    receipt
        .logs
        .iter()
        .filter_map(|log| abi::ChannelOpened::decode_log(log).ok())
        .map(|log| log.data)
        .collect()
}

fn descriptor(event: &abi::ChannelOpened) -> ChannelDescriptor {
    ChannelDescriptor {
        payer: event.payer,
        payee: event.payee,
        operator: event.operator,
        token: event.token,
        salt: event.salt,
        authorizedSigner: event.authorizedSigner,
        expiringNonceHash: event.expiringNonceHash,
    }
}

/// A channel with [`DEPOSIT`], vouchers signed by account 3, operator account 4.
fn fixture() -> Fixture {
    let node = node();
    let payer = actor(&node, 2);
    let receipt = ok(&node, &payer, RESERVE, &open_call(&node, DEPOSIT));
    let event = opened(&receipt).remove(0);
    let (payee, operator) = (actor(&node, 1), actor(&node, 4));
    Fixture {
        node,
        payer,
        payee,
        operator,
        descriptor: descriptor(&event),
        id: event.channelId,
    }
}

impl Fixture {
    fn signer(&self) -> Actor {
        actor(&self.node, 3)
    }

    fn settle(&self, amount: u128) -> abi::settleCall {
        abi::settleCall {
            descriptor: self.descriptor.clone(),
            cumulativeAmount: U96::from(amount),
            signature: voucher_v2(&self.signer(), self.id, amount),
        }
    }

    fn close(&self, cumulative: u128, capture: u128) -> abi::closeCall {
        abi::closeCall {
            descriptor: self.descriptor.clone(),
            cumulativeAmount: U96::from(cumulative),
            captureAmount: U96::from(capture),
            signature: voucher_v2(&self.signer(), self.id, cumulative),
        }
    }

    fn top_up(&self, amount: u128) -> abi::topUpCall {
        abi::topUpCall {
            descriptor: self.descriptor.clone(),
            additionalDeposit: U96::from(amount),
        }
    }

    fn request_close(&self) -> abi::requestCloseCall {
        abi::requestCloseCall {
            descriptor: self.descriptor.clone(),
        }
    }

    fn withdraw(&self) -> abi::withdrawCall {
        abi::withdrawCall {
            descriptor: self.descriptor.clone(),
        }
    }
}

fn closed(receipt: &DevReceipt) -> (u128, u128) {
    let event = receipt
        .logs
        .iter()
        .find_map(|log| abi::ChannelClosed::decode_log(log).ok())
        .unwrap();
    (event.settledToPayee.to(), event.refundedToPayer.to())
}

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
