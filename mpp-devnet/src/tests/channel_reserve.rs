//! Every rule and error of the v2 reserve.

mod close;
mod open;
mod settle;

use super::support::*;
use crate::{DevReceipt, Devnet};
use alloy_primitives::B256;
use alloy_primitives::aliases::U96;
use alloy_sol_types::SolEvent;
use tempo_contracts::precompiles::ITIP20ChannelReserve::{self as abi, ChannelDescriptor};
use tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE;

pub(super) const DEPOSIT: u128 = 10_000;

pub(super) struct Fixture {
    pub(super) node: Devnet,
    pub(super) payer: Actor,
    pub(super) payee: Actor,
    pub(super) operator: Actor,
    pub(super) descriptor: ChannelDescriptor,
    pub(super) id: B256,
}

pub(super) fn open_call(node: &Devnet, deposit: u128) -> abi::openCall {
    abi::openCall {
        payee: actor(node, 1).address,
        operator: actor(node, 4).address,
        token: TOKEN,
        deposit: U96::from(deposit),
        salt: B256::repeat_byte(9),
        authorizedSigner: actor(node, 3).address,
    }
}

pub(super) fn opened(receipt: &DevReceipt) -> Vec<abi::ChannelOpened> {
    receipt
        .logs
        .iter()
        .filter_map(|log| abi::ChannelOpened::decode_log(log).ok())
        .map(|log| log.data)
        .collect()
}

pub(super) fn descriptor(event: &abi::ChannelOpened) -> ChannelDescriptor {
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
pub(super) fn fixture() -> Fixture {
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
    pub(super) fn signer(&self) -> Actor {
        actor(&self.node, 3)
    }

    pub(super) fn settle(&self, amount: u128) -> abi::settleCall {
        abi::settleCall {
            descriptor: self.descriptor.clone(),
            cumulativeAmount: U96::from(amount),
            signature: voucher_v2(&self.signer(), self.id, amount),
        }
    }

    pub(super) fn close(&self, cumulative: u128, capture: u128) -> abi::closeCall {
        abi::closeCall {
            descriptor: self.descriptor.clone(),
            cumulativeAmount: U96::from(cumulative),
            captureAmount: U96::from(capture),
            signature: voucher_v2(&self.signer(), self.id, cumulative),
        }
    }

    pub(super) fn top_up(&self, amount: u128) -> abi::topUpCall {
        abi::topUpCall {
            descriptor: self.descriptor.clone(),
            additionalDeposit: U96::from(amount),
        }
    }

    pub(super) fn request_close(&self) -> abi::requestCloseCall {
        abi::requestCloseCall {
            descriptor: self.descriptor.clone(),
        }
    }

    pub(super) fn withdraw(&self) -> abi::withdrawCall {
        abi::withdrawCall {
            descriptor: self.descriptor.clone(),
        }
    }
}

pub(super) fn closed(receipt: &DevReceipt) -> (u128, u128) {
    let event = receipt
        .logs
        .iter()
        .find_map(|log| abi::ChannelClosed::decode_log(log).ok())
        .unwrap();
    (event.settledToPayee.to(), event.refundedToPayer.to())
}
