//! Selectors and views of the escrows.

use alloy_primitives::Address;
use alloy_primitives::aliases::{U32, U96};
use alloy_sol_types::SolCall;
use mpp_core::Amount;

use super::*;
use crate::channel::{ChannelView, Existence};

mod events;

// PROTOCOL 4 and 5.3: every selector of the tables.
#[test]
fn selectors_are_those_of_the_protocol_tables() {
    use IStreamChannel as v1;
    use ITIP20ChannelReserve as v2;
    let check = |selector: [u8; 4], expected: u32| assert_eq!(selector, expected.to_be_bytes());
    check(ITIP20::approveCall::SELECTOR, 0x095e_a7b3);
    check(ITIP20::transferCall::SELECTOR, 0xa905_9cbb);
    check(ITIP20::transferWithMemoCall::SELECTOR, 0x9577_7d59);
    check(v1::openCall::SELECTOR, 0xc79e_a485);
    check(v1::topUp_0Call::SELECTOR, 0xb676_44b9);
    check(v1::settleCall::SELECTOR, 0x516d_3b88);
    check(v1::closeCall::SELECTOR, 0x0d65_c51d);
    check(v1::getChannelCall::SELECTOR, 0x831c_2b82);
    check(v2::openCall::SELECTOR, 0xedc5_3b00);
    check(v2::topUpCall::SELECTOR, 0xdc48_471e);
    check(v2::settleCall::SELECTOR, 0x97fb_5104);
    check(v2::closeCall::SELECTOR, 0x73b5_7f74);
    check(v2::requestCloseCall::SELECTOR, 0x6754_02e5);
    check(v2::withdrawCall::SELECTOR, 0x41e2_c664);
    check(v2::getChannelStateCall::SELECTOR, 0xd18d_a8b1);
    // The draft's width of topUp is another function, which an escrow may have too.
    assert_eq!(v1::topUp_1Call::SIGNATURE, "topUp(bytes32,uint128)");
    assert_ne!(v1::topUp_1Call::SELECTOR, v1::topUp_0Call::SELECTOR);
}

// PROTOCOL 5.3: state of both escrows; a closed v1 channel is zero but finalized, a closed v2
// channel is zero.
#[test]
fn views_tell_open_from_final_from_unknown() {
    let payer = Address::repeat_byte(2);
    let v1 = |finalized, payer, deposit| IStreamChannel::Channel {
        finalized,
        closeRequestedAt: 0,
        payer,
        payee: Address::repeat_byte(3),
        token: Address::ZERO,
        authorizedSigner: Address::ZERO,
        deposit,
        settled: 0,
    };
    let existence = |channel| ChannelView::from(&channel).existence;
    assert_eq!(existence(v1(false, payer, 10)), Existence::Open);
    assert_eq!(existence(v1(true, Address::ZERO, 0)), Existence::Finalized);
    assert_eq!(
        ChannelView::from(&v1(false, Address::ZERO, 0)),
        ChannelView::unknown()
    );

    let state = |deposit: u64, closing: u64| ITIP20ChannelReserve::ChannelState {
        settled: U96::from(3),
        deposit: U96::from(deposit),
        closeRequestedAt: U32::from(closing).to(),
    };
    let open = ChannelView::from(&state(10, 77));
    assert_eq!(open.existence, Existence::Open);
    assert_eq!(open.close_requested_at, Some(77));
    assert_eq!(
        (open.deposit, open.settled),
        (Amount::new(10), Amount::new(3))
    );
    assert_eq!(ChannelView::from(&state(10, 0)).close_requested_at, None);
    assert_eq!(
        ChannelView::from(&state(0, 0)).existence,
        Existence::Unknown
    );
}
