//! Every rule and error of the v1 escrow.

mod close;
mod open;
mod settle;

use super::support::*;
use crate::precompile::stream_channel::abi::IStreamEscrow as abi;
use crate::{DevChannel, Devnet, STREAM_CHANNEL as ESCROW};
use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_sol_types::SolValue;
use mpp_tempo::SessionProtocol::V1;
use tempo_contracts::precompiles::ITIP20;

pub(super) const DEPOSIT: u128 = 10_000;

pub(super) struct Fixture {
    pub(super) node: Devnet,
    pub(super) payer: Actor,
    pub(super) payee: Actor,
    pub(super) id: B256,
}

pub(super) fn open_call(payee: Address, deposit: u128, signer: Address) -> abi::openCall {
    let salt = B256::repeat_byte(7);
    abi::openCall {
        payee,
        token: TOKEN,
        deposit,
        salt,
        authorizedSigner: signer,
    }
}

pub(super) fn approve(amount: u128) -> ITIP20::approveCall {
    ITIP20::approveCall {
        spender: ESCROW,
        amount: U256::from(amount),
    }
}

pub(super) fn id_of(payer: Address, payee: Address, signer: Address) -> B256 {
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
pub(super) fn fixture() -> Fixture {
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
    pub(super) fn signer(&self) -> Actor {
        actor(&self.node, 3)
    }

    pub(super) fn settle(&self, amount: u128) -> abi::settleCall {
        let signature = voucher_v1(&self.signer(), self.id, amount);
        abi::settleCall {
            channelId: self.id,
            cumulativeAmount: amount,
            signature,
        }
    }

    pub(super) fn close(&self, amount: u128) -> abi::closeCall {
        let signature = voucher_v1(&self.signer(), self.id, amount);
        abi::closeCall {
            channelId: self.id,
            cumulativeAmount: amount,
            signature,
        }
    }

    pub(super) fn top_up(&self, amount: u128) -> abi::topUp_0Call {
        abi::topUp_0Call {
            channelId: self.id,
            additionalDeposit: U256::from(amount),
        }
    }

    pub(super) fn channel(&self) -> DevChannel {
        self.node.channel(V1, self.id).unwrap()
    }
}
