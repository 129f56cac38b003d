//! Selectors, events and views of the escrows.

use alloc::vec;
use alloc::vec::Vec;

use alloy_primitives::aliases::{U32, U96};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall, SolEvent};
use mpp_core::Amount;

use super::*;
use crate::chain::ChainLog;
use crate::channel::{ChannelView, Existence, SessionProtocol};

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

const ID: B256 = B256::repeat_byte(1);
const PAYER: Address = Address::repeat_byte(2);
const PAYEE: Address = Address::repeat_byte(3);

fn log(event: &impl SolEvent) -> ChainLog {
    let data = event.encode_log_data();
    ChainLog {
        topics: data.topics().to_vec(),
        data: data.data,
        ..ChainLog::default()
    }
}

fn v1_logs() -> Vec<ChainLog> {
    use IStreamChannel as abi;
    let (id, payer, payee) = (ID, PAYER, PAYEE);
    let units = U256::from;
    vec![
        log(&abi::ChannelOpened {
            channelId: id,
            payer,
            payee,
            token: Address::repeat_byte(4),
            authorizedSigner: Address::repeat_byte(5),
            salt: B256::repeat_byte(6),
            deposit: units(10),
        }),
        log(&abi::TopUp {
            channelId: id,
            payer,
            payee,
            additionalDeposit: units(5),
            newDeposit: units(15),
        }),
        log(&abi::Settled {
            channelId: id,
            payer,
            payee,
            cumulativeAmount: units(7),
            deltaPaid: units(3),
            newSettled: units(7),
        }),
        log(&abi::CloseRequested {
            channelId: id,
            payer,
            payee,
            closeGraceEnd: units(900),
        }),
        log(&abi::CloseRequestCancelled {
            channelId: id,
            payer,
            payee,
        }),
        log(&abi::ChannelClosed {
            channelId: id,
            payer,
            payee,
            settledToPayee: units(7),
            refundedToPayer: units(8),
        }),
    ]
}

fn v2_logs() -> Vec<ChainLog> {
    use ITIP20ChannelReserve as abi;
    let (id, payer, payee) = (ID, PAYER, PAYEE);
    let units = U96::from::<u64>;
    vec![
        log(&abi::ChannelOpened {
            channelId: id,
            payer,
            payee,
            operator: Address::repeat_byte(7),
            token: Address::repeat_byte(4),
            authorizedSigner: Address::repeat_byte(5),
            salt: B256::repeat_byte(6),
            expiringNonceHash: B256::repeat_byte(8),
            deposit: units(10),
        }),
        log(&abi::TopUp {
            channelId: id,
            payer,
            payee,
            additionalDeposit: units(5),
            newDeposit: units(15),
        }),
        log(&abi::Settled {
            channelId: id,
            payer,
            payee,
            cumulativeAmount: units(7),
            deltaPaid: units(3),
            newSettled: units(7),
        }),
        log(&abi::CloseRequested {
            channelId: id,
            payer,
            payee,
            closeGraceEnd: U256::from(900),
        }),
        log(&abi::CloseRequestCancelled {
            channelId: id,
            payer,
            payee,
        }),
        log(&abi::ChannelClosed {
            channelId: id,
            payer,
            payee,
            settledToPayee: units(7),
            refundedToPayer: units(8),
        }),
    ]
}

fn expected(protocol: SessionProtocol) -> [EscrowEvent; 6] {
    let v2 = protocol == SessionProtocol::V2;
    let units = Amount::new;
    let channel_id = ID;
    let descriptor = crate::channel::ChannelDescriptor {
        payer: PAYER,
        payee: PAYEE,
        operator: if v2 {
            Address::repeat_byte(7)
        } else {
            Address::ZERO
        },
        token: Address::repeat_byte(4),
        salt: B256::repeat_byte(6),
        authorized_signer: Address::repeat_byte(5),
        expiring_nonce_hash: if v2 { B256::repeat_byte(8) } else { B256::ZERO },
    };
    [
        EscrowEvent::Opened {
            channel_id,
            descriptor,
            deposit: units(10),
        },
        EscrowEvent::TopUp {
            channel_id,
            additional: units(5),
            new_deposit: units(15),
        },
        EscrowEvent::Settled {
            channel_id,
            cumulative: units(7),
            delta: units(3),
            new_settled: units(7),
        },
        EscrowEvent::CloseRequested {
            channel_id,
            grace_end: 900,
        },
        EscrowEvent::CloseRequestCancelled { channel_id },
        EscrowEvent::Closed {
            channel_id,
            settled_to_payee: units(7),
            refunded_to_payer: units(8),
        },
    ]
}

// PROTOCOL 5.3: events of both escrows; channelId, payer and payee are indexed.
#[test]
fn every_event_of_both_escrows_decodes() {
    for (protocol, logs) in [
        (SessionProtocol::V1, v1_logs()),
        (SessionProtocol::V2, v2_logs()),
    ] {
        let topics = EscrowEvent::topics(protocol);
        for ((log, event), topic) in logs.iter().zip(expected(protocol)).zip(topics) {
            assert_eq!(EscrowEvent::decode(log, protocol), Some(event));
            assert_eq!(event.channel_id(), ID);
            assert_eq!(log.topics[0], topic);
            assert_eq!(log.topics[1..3], [ID, PAYER.into_word()]);
            assert_eq!(log.topics[3], PAYEE.into_word());
        }
    }
}

// Case A10: an event of one version means nothing in the other, unless it is the same event.
#[test]
fn events_with_amounts_are_told_apart_by_version() {
    for (own, other) in v1_logs().iter().zip(v2_logs()) {
        if own != &other {
            assert_eq!(EscrowEvent::decode(own, SessionProtocol::V2), None);
            assert_eq!(EscrowEvent::decode(&other, SessionProtocol::V1), None);
        }
    }
}

#[test]
fn malformed_logs_are_no_events() {
    for (protocol, logs) in [
        (SessionProtocol::V1, v1_logs()),
        (SessionProtocol::V2, v2_logs()),
    ] {
        for log in logs {
            let mut no_topic = log.clone();
            no_topic.topics.pop();
            assert_eq!(EscrowEvent::decode(&no_topic, protocol), None);
            if !log.data.is_empty() {
                let mut short = log.clone();
                short.data = short.data.slice(..short.data.len() - 1);
                assert_eq!(EscrowEvent::decode(&short, protocol), None);
            }
        }
    }
}

// Case A32: a uint256 that is no amount is no event.
#[test]
fn amounts_beyond_128_bits_are_no_events() {
    let mut log = v1_logs()[1].clone();
    let mut data = log.data.to_vec();
    data[0] = 1;
    log.data = data.into();
    assert_eq!(EscrowEvent::decode(&log, SessionProtocol::V1), None);
}

// PROTOCOL 5.3: state of both escrows; a closed v1 channel is zero but finalized, a closed v2
// channel is zero.
#[test]
fn views_tell_open_from_final_from_unknown() {
    let v1 = |finalized, payer, deposit| IStreamChannel::Channel {
        finalized,
        closeRequestedAt: 0,
        payer,
        payee: PAYEE,
        token: Address::ZERO,
        authorizedSigner: Address::ZERO,
        deposit,
        settled: 0,
    };
    let existence = |channel| ChannelView::from(&channel).existence;
    assert_eq!(existence(v1(false, PAYER, 10)), Existence::Open);
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

#[test]
fn descriptors_survive_the_abi() {
    let EscrowEvent::Opened { descriptor, .. } = expected(SessionProtocol::V2)[0] else {
        panic!("the first event opens")
    };
    let abi = ITIP20ChannelReserve::ChannelDescriptor::from(&descriptor);
    assert_eq!(crate::channel::ChannelDescriptor::from(&abi), descriptor);
}
