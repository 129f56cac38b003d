//! The native contracts: each a deterministic state machine behind its Solidity ABI.

pub(crate) mod channel_reserve;
pub(crate) mod fee_manager;
pub(crate) mod multicall;
pub(crate) mod nonce;
pub(crate) mod policy;
pub(crate) mod revert;
pub(crate) mod stream_channel;
pub(crate) mod tip20;

use crate::chain::state::State;
use alloy_primitives::{Address, B256, Bytes, Log, U256, keccak256};
use alloy_sol_types::{SolEvent, SolInterface, SolValue};
use revert::{Outcome, Revert};
use std::collections::HashSet;
use tempo_contracts::precompiles::{
    NONCE_PRECOMPILE_ADDRESS, TIP_FEE_MANAGER_ADDRESS, TIP20_CHANNEL_RESERVE_ADDRESS,
    TIP403_REGISTRY_ADDRESS,
};
use tempo_primitives::TempoAddressExt;

/// Grace period between `requestClose` and `withdraw`, both escrow versions (seconds).
pub(crate) const CLOSE_GRACE_SECS: u64 = 900;

/// What a call sees of its transaction and block.
#[derive(Debug)]
pub(crate) struct Env<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) chain_id: u64,
    /// Block timestamp, unix seconds.
    pub(crate) now: u64,
    /// Address of the v1 escrow.
    pub(crate) stream_channel: Address,
    /// `keccak256(encode_for_signing || sender)` of the enclosing transaction.
    pub(crate) open_context: B256,
    /// v2 channels opened by this transaction, which may not be opened again in it.
    pub(crate) opened: HashSet<B256>,
    pub(crate) logs: Vec<Log>,
}

impl Env<'_> {
    pub(crate) fn emit(&mut self, address: Address, event: impl SolEvent) {
        self.logs.push(Log {
            address,
            data: event.encode_log_data(),
        });
    }

    /// Runs one call of a transaction.
    ///
    /// Addresses without a native contract behave like accounts without code: the call succeeds and returns nothing.
    pub(crate) fn call(&mut self, caller: Address, to: Address, input: &[u8]) -> Outcome {
        if self.state.tokens.get(&to).is_some() {
            tip20::call(self, to, caller, input)
        } else if to.is_tip20() {
            Err(Revert::error(
                tempo_contracts::precompiles::ITIP20::Uninitialized {},
            ))
        } else if to == self.stream_channel {
            stream_channel::call(self, caller, input)
        } else if to == TIP20_CHANNEL_RESERVE_ADDRESS {
            channel_reserve::call(self, caller, input)
        } else if to == NONCE_PRECOMPILE_ADDRESS {
            nonce::call(self, input)
        } else if to == TIP_FEE_MANAGER_ADDRESS {
            fee_manager::call(self, caller, input)
        } else if to == TIP403_REGISTRY_ADDRESS {
            policy::call(self, caller, input)
        } else if to == multicall::MULTICALL3 {
            multicall::call(self, input)
        } else {
            Ok(Bytes::new())
        }
    }
}

/// Whether `address` answers calls, for `eth_getCode`.
pub(crate) fn is_native(state: &State, stream_channel: Address, address: Address) -> bool {
    const FIXED: [Address; 5] = [
        TIP20_CHANNEL_RESERVE_ADDRESS,
        NONCE_PRECOMPILE_ADDRESS,
        TIP_FEE_MANAGER_ADDRESS,
        TIP403_REGISTRY_ADDRESS,
        multicall::MULTICALL3,
    ];
    address == stream_channel || FIXED.contains(&address) || state.tokens.get(&address).is_some()
}

/// Decodes calldata strictly: unknown selectors and malformed arguments revert as on chain.
fn decode<C: SolInterface>(input: &[u8]) -> Outcome<C> {
    let known = input
        .first_chunk::<4>()
        .is_some_and(|selector| C::valid_selector(*selector));
    if !known {
        return Err(Revert::unknown_selector(input));
    }
    C::abi_decode_validate(input).map_err(|_| Revert::empty())
}

/// The EIP-712 domain separator of an escrow, version "1".
fn eip712_domain(name: &str, chain_id: u64, contract: Address) -> B256 {
    let type_hash = keccak256(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)",
    );
    let fields = (
        type_hash,
        keccak256(name),
        keccak256("1"),
        U256::from(chain_id),
        contract,
    );
    keccak256(fields.abi_encode())
}

fn eip712_digest(domain: B256, message: B256) -> B256 {
    keccak256([&[0x19, 0x01], domain.as_slice(), message.as_slice()].concat())
}
