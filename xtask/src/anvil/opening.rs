//! What a v2 `open` finds in storage where the real chain has a precompile.

use alloy_eips::Decodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall as _, SolValue as _};
use mpp_tempo::{escrow::ITIP20ChannelReserve::openCall, network::CHANNEL_RESERVE};
use tempo_primitives::TempoTxEnvelope;

/// Where `ChannelReserve.sol` looks for contexts.
const CONTEXTS: U256 = U256::ZERO;
/// Where TIP-20 tokens keep allowances.
const ALLOWANCES: U256 = U256::from_limbs([10, 0, 0, 0]);

/// A word of a contract's storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) contract: Address,
    pub(super) slot: B256,
    pub(super) value: B256,
}

/// A call of a transaction.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) to: Address,
    pub(super) input: Bytes,
}

/// A signed transaction, read without the help of what is tested here.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) sender: Address,
    pub(super) calls: Vec<Target>,
    context: B256,
}

impl Sent {
    /// Reads a transaction; `None` leaves it to the node to say what is wrong with it.
    pub(super) fn read(raw: &[u8]) -> Option<Self> {
        use alloy_consensus::transaction::SignerRecoverable as _;
        let envelope = TempoTxEnvelope::decode_2718_exact(raw).ok()?;
        let sender = envelope.recover_signer().ok()?;
        let calls = envelope.calls().filter_map(|(kind, input)| {
            let to = *kind.to()?;
            let input = input.clone();
            Some(Target { to, input })
        });
        Some(Self {
            sender,
            calls: calls.collect(),
            context: envelope.unique_tx_identifier(sender),
        })
    }

    /// What its opens need.
    pub(super) fn words(&self) -> Vec<Word> {
        words(self.sender, &self.calls, self.context)
    }
}

/// What the opens among these calls need, as if they were in the transaction with this hash.
pub(super) fn words(sender: Address, calls: &[Target], context: B256) -> Vec<Word> {
    let opens = calls.iter().filter(|call| call.to == CHANNEL_RESERVE);
    opens
        .filter_map(|call| {
            let open = openCall::abi_decode(&call.input).ok()?;
            let key = keccak256([sender.as_slice(), &call.input].concat());
            let context = Word {
                contract: CHANNEL_RESERVE,
                slot: entry(&key.abi_encode(), CONTEXTS),
                value: context,
            };
            let spender = (CHANNEL_RESERVE, entry(&sender.abi_encode(), ALLOWANCES));
            let allowance = Word {
                contract: open.token,
                slot: keccak256(spender.abi_encode()),
                // Tokens do not count this one down, so that it serves top-ups, too.
                value: B256::repeat_byte(0xff),
            };
            Some([context, allowance])
        })
        .flatten()
        .collect()
}

/// Where Solidity keeps the entry of a mapping.
fn entry(key: &[u8], mapping: U256) -> B256 {
    keccak256([key, &mapping.to_be_bytes::<32>()].concat())
}
