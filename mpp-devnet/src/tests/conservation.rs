//! Money is neither made nor lost, whatever is sent in whatever order.

use super::support::*;
use crate::precompile::stream_channel::abi::IStreamEscrow as stream;
use crate::{Devnet, Reorged, STREAM_CHANNEL as ESCROW};
use alloy_primitives::aliases::U96;
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent;
use core::time::Duration;
use mpp_core::Amount;
use mpp_tempo::SessionProtocol::{V1, V2};
use proptest::prelude::*;
use tempo_contracts::precompiles::ITIP20ChannelReserve::{self as reserve, ChannelDescriptor};
use tempo_contracts::precompiles::{ITIP20, TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE};

#[derive(Debug, Clone)]
enum Step {
    Open {
        v2: bool,
        deposit: u16,
    },
    TopUp {
        channel: usize,
        amount: u16,
        sponsored: bool,
    },
    Settle {
        channel: usize,
        amount: u32,
    },
    Close {
        channel: usize,
        cumulative: u32,
        capture: u32,
    },
    RequestClose {
        channel: usize,
    },
    Withdraw {
        channel: usize,
    },
    Transfer {
        from: usize,
        to: usize,
        amount: u32,
    },
    Wait {
        secs: u16,
    },
    Reorg {
        depth: u8,
        lost: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let channel = 0usize..4;
    let amount = 0u32..70_000;
    let step = prop_oneof![
        3 => (any::<bool>(), any::<u16>()).prop_map(|(v2, deposit)| Step::Open { v2, deposit }),
        2 => (channel.clone(), any::<u16>(), any::<bool>())
            .prop_map(|(channel, amount, sponsored)| Step::TopUp { channel, amount, sponsored }),
        3 => (channel.clone(), amount.clone()).prop_map(|(channel, amount)| Step::Settle { channel, amount }),
        2 => (channel.clone(), amount.clone(), amount.clone())
            .prop_map(|(channel, cumulative, capture)| Step::Close { channel, cumulative, capture }),
        1 => channel.clone().prop_map(|channel| Step::RequestClose { channel }),
        1 => channel.prop_map(|channel| Step::Withdraw { channel }),
        1 => (0usize..10, 0usize..10, amount).prop_map(|(from, to, amount)| Step::Transfer { from, to, amount }),
        1 => (0u16..1_200).prop_map(|secs| Step::Wait { secs }),
        1 => (0u8..4, any::<bool>()).prop_map(|(depth, lost)| Step::Reorg { depth, lost }),
    ];
    prop::collection::vec(step, 1..24)
}

#[derive(Clone)]
struct Known {
    id: B256,
    descriptor: Option<ChannelDescriptor>,
}

struct World {
    node: Devnet,
    channels: Vec<Known>,
}

impl World {
    fn apply(&mut self, step: &Step) {
        let (payer, payee) = (actor(&self.node, 2), actor(&self.node, 1));
        match step {
            Step::Open { v2, deposit } => self.open(*v2, u128::from(*deposit)),
            Step::TopUp {
                channel,
                amount,
                sponsored: sponsor,
            } => {
                let Some(known) = self.channels.get(*channel).cloned() else {
                    return;
                };
                let amount = u128::from(*amount);
                let calls = match known.descriptor {
                    Some(descriptor) => {
                        let additional = U96::from(amount);
                        vec![call(
                            RESERVE,
                            &reserve::topUpCall {
                                descriptor,
                                additionalDeposit: additional,
                            },
                        )]
                    }
                    None => vec![
                        call(
                            TOKEN,
                            &ITIP20::approveCall {
                                spender: ESCROW,
                                amount: U256::from(amount),
                            },
                        ),
                        call(
                            ESCROW,
                            &stream::topUp_1Call {
                                channelId: known.id,
                                additionalDeposit: amount,
                            },
                        ),
                    ],
                };
                if *sponsor {
                    let raw = sponsored(&self.node, &payer, &actor(&self.node, 9), calls);
                    self.node.submit(&raw).unwrap();
                } else {
                    run(&self.node, &payer, calls);
                }
            }
            Step::Settle { channel, amount } => {
                let Some(known) = self.channels.get(*channel).cloned() else {
                    return;
                };
                let (id, amount) = (known.id, u128::from(*amount));
                let settle = match known.descriptor {
                    Some(descriptor) => call(
                        RESERVE,
                        &reserve::settleCall {
                            descriptor,
                            cumulativeAmount: U96::from(amount),
                            signature: voucher_v2(&payer, id, amount),
                        },
                    ),
                    None => call(
                        ESCROW,
                        &stream::settleCall {
                            channelId: id,
                            cumulativeAmount: amount,
                            signature: voucher_v1(&payer, id, amount),
                        },
                    ),
                };
                run(&self.node, &payee, vec![settle]);
            }
            Step::Close {
                channel,
                cumulative,
                capture,
            } => {
                let Some(known) = self.channels.get(*channel).cloned() else {
                    return;
                };
                let (id, cumulative) = (known.id, u128::from(*cumulative));
                let close = match known.descriptor {
                    Some(descriptor) => call(
                        RESERVE,
                        &reserve::closeCall {
                            descriptor,
                            cumulativeAmount: U96::from(cumulative),
                            captureAmount: U96::from(*capture),
                            signature: voucher_v2(&payer, id, cumulative),
                        },
                    ),
                    None => call(
                        ESCROW,
                        &stream::closeCall {
                            channelId: id,
                            cumulativeAmount: cumulative,
                            signature: voucher_v1(&payer, id, cumulative),
                        },
                    ),
                };
                run(&self.node, &payee, vec![close]);
            }
            Step::RequestClose { channel } => {
                let Some(known) = self.channels.get(*channel).cloned() else {
                    return;
                };
                let request = match known.descriptor {
                    Some(descriptor) => call(RESERVE, &reserve::requestCloseCall { descriptor }),
                    None => call(
                        ESCROW,
                        &stream::requestCloseCall {
                            channelId: known.id,
                        },
                    ),
                };
                run(&self.node, &payer, vec![request]);
            }
            Step::Withdraw { channel } => {
                let Some(known) = self.channels.get(*channel).cloned() else {
                    return;
                };
                let withdraw = match known.descriptor {
                    Some(descriptor) => call(RESERVE, &reserve::withdrawCall { descriptor }),
                    None => call(
                        ESCROW,
                        &stream::withdrawCall {
                            channelId: known.id,
                        },
                    ),
                };
                run(&self.node, &payer, vec![withdraw]);
            }
            Step::Transfer { from, to, amount } => {
                let to = actor(&self.node, *to).address;
                let transfer = ITIP20::transferCall {
                    to,
                    amount: U256::from(*amount),
                };
                run(
                    &self.node,
                    &actor(&self.node, *from),
                    vec![call(TOKEN, &transfer)],
                );
            }
            Step::Wait { secs } => self.node.advance_time(Duration::from_secs((*secs).into())),
            Step::Reorg { depth, lost } => {
                let fate = if *lost {
                    Reorged::Lost
                } else {
                    Reorged::Remined
                };
                self.node.faults().reorg((*depth).into(), fate);
            }
        }
    }

    fn open(&mut self, v2: bool, deposit: u128) {
        let (payer, payee) = (actor(&self.node, 2), actor(&self.node, 1).address);
        let salt = B256::from(U256::from(self.channels.len()));
        if v2 {
            let open = reserve::openCall {
                payee,
                operator: Address::ZERO,
                token: TOKEN,
                deposit: U96::from(deposit),
                salt,
                authorizedSigner: Address::ZERO,
            };
            let receipt = run(&self.node, &payer, vec![call(RESERVE, &open)]);
            let event = receipt
                .logs
                .iter()
                .find_map(|log| reserve::ChannelOpened::decode_log(log).ok());
            self.channels.extend(event.map(|event| Known {
                id: event.channelId,
                descriptor: Some(ChannelDescriptor {
                    payer: payer.address,
                    payee,
                    operator: Address::ZERO,
                    token: TOKEN,
                    salt,
                    authorizedSigner: Address::ZERO,
                    expiringNonceHash: event.expiringNonceHash,
                }),
            }));
        } else {
            let open = stream::openCall {
                payee,
                token: TOKEN,
                deposit,
                salt,
                authorizedSigner: Address::ZERO,
            };
            let approve = ITIP20::approveCall {
                spender: ESCROW,
                amount: U256::from(deposit),
            };
            let receipt = run(
                &self.node,
                &payer,
                vec![call(TOKEN, &approve), call(ESCROW, &open)],
            );
            let event = receipt
                .logs
                .iter()
                .find_map(|log| stream::ChannelOpened::decode_log(log).ok());
            self.channels.extend(event.map(|event| Known {
                id: event.channelId,
                descriptor: None,
            }));
        }
    }

    /// What the channels of one escrow still hold, by their own books.
    fn locked(&self, v2: bool) -> Amount {
        let protocol = if v2 { V2 } else { V1 };
        let of_escrow = self
            .channels
            .iter()
            .filter(|known| known.descriptor.is_some() == v2);
        let open = of_escrow.filter_map(|known| self.node.channel(protocol, known.id));
        open.map(|channel| channel.deposit.checked_sub(channel.settled).unwrap())
            .fold(Amount::ZERO, |sum, held| sum.checked_add(held).unwrap())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn supply_is_constant_and_escrows_hold_exactly_what_channels_are_owed(steps in steps()) {
        let mut world = World { node: node(), channels: Vec::new() };
        let supply = world.node.total_supply(TOKEN);
        for step in &steps {
            world.apply(step);
            prop_assert_eq!(world.node.total_supply(TOKEN), supply);
            prop_assert_eq!(world.node.sum_of_balances(TOKEN), supply, "after {:?}", step);
            // Deposits = payouts + refunds + remaining: the escrow's balance is what is left of all deposits.
            prop_assert_eq!(world.node.balance(TOKEN, ESCROW), world.locked(false), "v1 after {:?}", step);
            prop_assert_eq!(world.node.balance(TOKEN, RESERVE), world.locked(true), "v2 after {:?}", step);
        }
    }
}
