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
use tempo_primitives::transaction::Call;

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

/// A channel and what its parties send to it.
#[derive(Clone)]
struct Known {
    id: B256,
    descriptor: Option<ChannelDescriptor>,
}

struct World {
    node: Devnet,
    channels: Vec<Known>,
}

impl Known {
    fn top_up(&self, amount: u128) -> Vec<Call> {
        if let Some(descriptor) = self.descriptor.clone() {
            let additional = U96::from(amount);
            let top_up = reserve::topUpCall {
                descriptor,
                additionalDeposit: additional,
            };
            return vec![call(RESERVE, &top_up)];
        }
        let approve = ITIP20::approveCall {
            spender: ESCROW,
            amount: U256::from(amount),
        };
        let top_up = stream::topUp_1Call {
            channelId: self.id,
            additionalDeposit: amount,
        };
        vec![call(TOKEN, &approve), call(ESCROW, &top_up)]
    }

    fn settle(&self, signer: &Actor, amount: u128) -> Call {
        match self.descriptor.clone() {
            Some(descriptor) => {
                let signature = voucher_v2(signer, self.id, amount);
                let amount = U96::from(amount);
                call(
                    RESERVE,
                    &reserve::settleCall {
                        descriptor,
                        cumulativeAmount: amount,
                        signature,
                    },
                )
            }
            None => {
                let signature = voucher_v1(signer, self.id, amount);
                call(
                    ESCROW,
                    &stream::settleCall {
                        channelId: self.id,
                        cumulativeAmount: amount,
                        signature,
                    },
                )
            }
        }
    }

    fn close(&self, signer: &Actor, amount: u128, capture: u128) -> Call {
        match self.descriptor.clone() {
            Some(descriptor) => {
                let signature = voucher_v2(signer, self.id, amount);
                let (amount, capture) = (U96::from(amount), U96::from(capture));
                let close = reserve::closeCall {
                    descriptor,
                    cumulativeAmount: amount,
                    captureAmount: capture,
                    signature,
                };
                call(RESERVE, &close)
            }
            None => {
                let signature = voucher_v1(signer, self.id, amount);
                call(
                    ESCROW,
                    &stream::closeCall {
                        channelId: self.id,
                        cumulativeAmount: amount,
                        signature,
                    },
                )
            }
        }
    }

    fn request_close(&self) -> Call {
        match self.descriptor.clone() {
            Some(descriptor) => call(RESERVE, &reserve::requestCloseCall { descriptor }),
            None => call(ESCROW, &stream::requestCloseCall { channelId: self.id }),
        }
    }

    fn withdraw(&self) -> Call {
        match self.descriptor.clone() {
            Some(descriptor) => call(RESERVE, &reserve::withdrawCall { descriptor }),
            None => call(ESCROW, &stream::withdrawCall { channelId: self.id }),
        }
    }
}

impl World {
    /// Applies a step; steps on channels that do not exist do nothing.
    fn apply(&mut self, step: &Step) {
        let (payer, payee) = (actor(&self.node, 2), actor(&self.node, 1));
        let known = |index: &usize| self.channels.get(*index).cloned();
        let (sender, calls) = match step {
            Step::Open { v2, deposit } => return self.open(*v2, u128::from(*deposit)),
            Step::TopUp {
                channel,
                amount,
                sponsored: true,
            } => {
                let Some(known) = known(channel) else { return };
                let calls = known.top_up((*amount).into());
                let raw = sponsored(&self.node, &payer, &actor(&self.node, 9), calls);
                self.node.submit(&raw).unwrap();
                return;
            }
            Step::TopUp {
                channel, amount, ..
            } => (
                payer,
                known(channel).map(|known| known.top_up((*amount).into())),
            ),
            Step::Settle { channel, amount } => (
                payee,
                known(channel).map(|known| vec![known.settle(&payer, (*amount).into())]),
            ),
            Step::Close {
                channel,
                cumulative,
                capture,
            } => {
                let close =
                    |known: Known| known.close(&payer, (*cumulative).into(), (*capture).into());
                (payee, known(channel).map(|known| vec![close(known)]))
            }
            Step::RequestClose { channel } => (
                payer,
                known(channel).map(|known| vec![known.request_close()]),
            ),
            Step::Withdraw { channel } => {
                (payer, known(channel).map(|known| vec![known.withdraw()]))
            }
            Step::Transfer { from, to, amount } => {
                let to = actor(&self.node, *to).address;
                let transfer = ITIP20::transferCall {
                    to,
                    amount: U256::from(*amount),
                };
                (actor(&self.node, *from), Some(vec![call(TOKEN, &transfer)]))
            }
            Step::Wait { secs } => {
                return self.node.advance_time(Duration::from_secs((*secs).into()));
            }
            Step::Reorg { depth, lost } => {
                let fate = if *lost {
                    Reorged::Lost
                } else {
                    Reorged::Remined
                };
                return self.node.faults().reorg((*depth).into(), fate);
            }
        };
        if let Some(calls) = calls {
            run(&self.node, &sender, calls);
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
