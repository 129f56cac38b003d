//! Plain values that a node reports.

use alloc::string::String;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes, U256};

use crate::channel::{ChannelId, SessionProtocol};

/// Where a channel is found on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelRef {
    /// Version of the session protocol.
    pub protocol: SessionProtocol,
    /// The escrow that holds it.
    pub escrow: Address,
    /// Its id.
    pub id: ChannelId,
}

/// Receipt of a mined transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxReceipt {
    /// Hash of the transaction.
    pub hash: B256,
    /// False if it reverted; then it paid fees and did nothing else.
    pub success: bool,
    /// Block that holds it.
    pub block_number: u64,
    /// What its calls emitted.
    pub logs: Vec<ChainLog>,
    /// Gas that it used.
    pub gas_used: u64,
    /// The sender.
    pub from: Address,
    /// Who paid the fees, as far as the node says (anvil names the sender even when sponsored).
    pub fee_payer: Option<Address>,
    /// What a unit of gas cost, in attodollars, if the node says.
    pub gas_price: Option<u128>,
}

impl TxReceipt {
    /// The fee in attodollars, if the node says what gas cost.
    #[must_use]
    pub fn fee(&self) -> Option<U256> {
        U256::from(self.gas_used).checked_mul(U256::from(self.gas_price?))
    }
}

/// Calls that are only tried, one after the other, on top of the latest block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulation {
    /// The account that calls.
    pub from: Address,
    /// Contracts and calldata.
    pub calls: Vec<(Address, Bytes)>,
}

/// What became of calls that were tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Simulated {
    /// All went through.
    Succeeded {
        /// Gas that they have used, each as a transaction of its own, if the node says.
        gas_used: Option<u64>,
    },
    /// One reverted.
    Reverted {
        /// The node's reason.
        reason: String,
    },
}

/// One log entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainLog {
    /// Contract that emitted it.
    pub address: Address,
    /// Indexed parameters; the first is the event's hash.
    pub topics: Vec<B256>,
    /// Parameters that are not indexed, ABI encoded.
    pub data: Bytes,
    /// Block that holds it.
    pub block_number: Option<u64>,
    /// Transaction that emitted it.
    pub tx_hash: Option<B256>,
    /// Position in the block.
    pub log_index: Option<u64>,
}

/// Which logs to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFilter {
    /// Contracts whose logs count; any if empty.
    pub addresses: Vec<Address>,
    /// For each topic position the accepted values; any if empty. At most four positions.
    pub topics: Vec<Vec<B256>>,
    /// First block.
    pub from_block: u64,
    /// Last block; the latest if `None`.
    pub to_block: Option<u64>,
}

impl LogFilter {
    /// Whether a log passes the filter; a log without block number counts as in range.
    #[must_use]
    pub fn matches(&self, log: &ChainLog) -> bool {
        let in_range = log.block_number.is_none_or(|number| {
            number >= self.from_block && self.to_block.is_none_or(|last| number <= last)
        });
        let emitted = self.addresses.is_empty() || self.addresses.contains(&log.address);
        let topics = self.topics.iter().enumerate().all(|(position, accepted)| {
            accepted.is_empty()
                || log
                    .topics
                    .get(position)
                    .is_some_and(|topic| accepted.contains(topic))
        });
        in_range && emitted && topics
    }
}

/// The head of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Height.
    pub number: u64,
    /// Unix seconds of the chain's clock.
    pub timestamp: u64,
    /// Block hash, to notice reorganizations.
    pub hash: B256,
}

/// Fees that get a transaction mined soon, in attodollars per gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeQuote {
    /// What a unit of gas costs now, without a tip.
    pub base_fee_per_gas: u128,
    /// Upper limit for base fee plus tip.
    pub max_fee_per_gas: u128,
    /// The tip.
    pub max_priority_fee_per_gas: u128,
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_filter_looks_at_address_topics_and_range() {
        let topic = B256::repeat_byte;
        let log = ChainLog {
            address: Address::repeat_byte(1),
            topics: vec![topic(1), topic(2)],
            block_number: Some(10),
            ..ChainLog::default()
        };
        let check = |change: fn(&mut LogFilter), expected: bool| {
            let mut filter = LogFilter::default();
            change(&mut filter);
            assert_eq!(filter.matches(&log), expected, "{filter:?}");
        };
        check(|_| (), true);
        check(|f| f.addresses = vec![Address::repeat_byte(1)], true);
        check(|f| f.addresses = vec![Address::repeat_byte(2)], false);
        check(
            |f| f.topics = vec![vec![], vec![B256::repeat_byte(2)]],
            true,
        );
        check(|f| f.topics = vec![vec![B256::repeat_byte(2)]], false);
        check(
            |f| f.topics = vec![vec![], vec![], vec![B256::repeat_byte(3)]],
            false,
        );
        check(|f| f.from_block = 11, false);
        check(|f| f.to_block = Some(9), false);
        check(|f| f.to_block = Some(10), true);
    }
}
