//! Every rule and error of the v1 escrow.

use super::support::*;
use crate::precompile::stream_channel::abi::IStreamEscrow as abi;
use crate::{DevChannel, Devnet, STREAM_CHANNEL as ESCROW};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolEvent, SolValue};
use core::time::Duration;
use mpp_core::Amount;
use mpp_tempo::SessionProtocol::V1;
use tempo_contracts::precompiles::ITIP20;

const DEPOSIT: u128 = 10_000;

struct Fixture {
    node: Devnet,
    payer: Actor,
    payee: Actor,
    id: B256,
}

fn open_call(payee: Address, deposit: u128, signer: Address) -> abi::openCall {
    let salt = B256::repeat_byte(7);
    abi::openCall {
        payee,
        token: TOKEN,
        deposit,
        salt,
        authorizedSigner: signer,
    }
}

fn approve(amount: u128) -> ITIP20::approveCall {
    ITIP20::approveCall {
        spender: ESCROW,
        amount: U256::from(amount),
    }
}

fn id_of(payer: Address, payee: Address, signer: Address) -> B256 {
    let salt = B256::repeat_byte(7);
    keccak256(
        (
            payer,
            payee,
            TOKEN,
            salt,
            signer,
            ESCROW,
            U256::from(CHAIN_ID),
        )
            .abi_encode(),
    )
}

/// A channel with [`DEPOSIT`] whose vouchers account 3 signs.
fn fixture() -> Fixture {
    let node = node();
    let (payer, payee) = (actor(&node, 2), actor(&node, 1));
    let signer = actor(&node, 3).address;
    let calls = vec![
        call(TOKEN, &approve(DEPOSIT)),
        call(ESCROW, &open_call(payee.address, DEPOSIT, signer)),
    ];
    let receipt = run(&node, &payer, calls);
    assert!(receipt.success, "{:?}", receipt.revert);
    let id = id_of(payer.address, payee.address, signer);
    Fixture {
        node,
        payer,
        payee,
        id,
    }
}

impl Fixture {
    fn signer(&self) -> Actor {
        actor(&self.node, 3)
    }

    fn settle(&self, amount: u128) -> abi::settleCall {
        let signature = voucher_v1(&self.signer(), self.id, amount);
        abi::settleCall {
            channelId: self.id,
            cumulativeAmount: amount,
            signature,
        }
    }

    fn close(&self, amount: u128) -> abi::closeCall {
        let signature = voucher_v1(&self.signer(), self.id, amount);
        abi::closeCall {
            channelId: self.id,
            cumulativeAmount: amount,
            signature,
        }
    }

    fn top_up(&self, amount: u128) -> abi::topUp_0Call {
        abi::topUp_0Call {
            channelId: self.id,
            additionalDeposit: U256::from(amount),
        }
    }

    fn channel(&self) -> DevChannel {
        self.node.channel(V1, self.id).unwrap()
    }
}

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
