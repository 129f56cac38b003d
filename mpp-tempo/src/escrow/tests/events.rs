//! Events of both escrows.

use alloc::vec;
use alloc::vec::Vec;

use alloy_primitives::aliases::U96;
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent;
use mpp_core::Amount;

use crate::chain::ChainLog;
use crate::channel::SessionProtocol;
use crate::escrow::{EscrowEvent, IStreamChannel, ITIP20ChannelReserve};

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

#[test]
fn descriptors_survive_the_abi() {
    let EscrowEvent::Opened { descriptor, .. } = expected(SessionProtocol::V2)[0] else {
        panic!("the first event opens")
    };
    let abi = ITIP20ChannelReserve::ChannelDescriptor::from(&descriptor);
    assert_eq!(crate::channel::ChannelDescriptor::from(&abi), descriptor);
}
