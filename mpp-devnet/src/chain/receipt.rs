//! What is known of a mined transaction.

use alloy_primitives::{Address, B256, Bytes, Log, U256};

/// A mined transaction's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevReceipt {
    /// Transaction hash.
    pub hash: B256,
    /// Block number.
    pub block_number: u64,
    /// Block hash.
    pub block_hash: B256,
    /// Block timestamp, unix seconds.
    pub timestamp: u64,
    /// Position in the block.
    pub index: u64,
    /// Whether every call succeeded.
    pub success: bool,
    /// Recovered sender.
    pub from: Address,
    /// First call's target.
    pub to: Option<Address>,
    /// Who paid the fee.
    pub fee_payer: Address,
    /// The token the fee was paid in.
    pub fee_token: Address,
    /// The fee (base units of the fee token).
    pub fee: U256,
    /// Gas used.
    pub gas_used: u64,
    /// Gas used by this and all earlier transactions of the block.
    pub cumulative_gas_used: u64,
    /// Price per gas (attodollars).
    pub gas_price: u128,
    /// EIP-2718 type, 0x76 for Tempo transactions.
    pub tx_type: u8,
    /// Events in order; the last is the fee transfer.
    pub logs: Vec<Log>,
    /// Index of the first log in the block.
    pub first_log: u64,
    /// ABI-encoded error of the call that reverted.
    pub revert: Option<Bytes>,
}

/// An event with its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevLog {
    /// Address, topics and data.
    pub log: Log,
    /// Block number.
    pub block_number: u64,
    /// Block hash.
    pub block_hash: B256,
    /// Block timestamp, unix seconds.
    pub timestamp: u64,
    /// Transaction hash.
    pub tx_hash: B256,
    /// Transaction's position in the block.
    pub tx_index: u64,
    /// Log's position in the block.
    pub log_index: u64,
}

impl DevReceipt {
    /// The events with their places.
    #[must_use]
    pub fn placed_logs(&self) -> Vec<DevLog> {
        let places = self.first_log..;
        self.logs
            .iter()
            .zip(places)
            .map(|(log, log_index)| DevLog {
                log: log.clone(),
                block_number: self.block_number,
                block_hash: self.block_hash,
                timestamp: self.timestamp,
                tx_hash: self.hash,
                tx_index: self.index,
                log_index,
            })
            .collect()
    }
}
