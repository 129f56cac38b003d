//! Blocks and their headers.

use crate::chain::candidate::Candidate;
use crate::chain::gas::BLOCK_LIMIT;
use crate::chain::receipt::DevReceipt;
use crate::chain::state::Mark;
use alloy_consensus::constants::{EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, EMPTY_WITHDRAWALS};
use alloy_consensus::{Header, Sealable};
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{B256, Bloom, Log, keccak256};
use tempo_primitives::TempoHeader;

/// A transaction with what it did.
#[derive(Debug, Clone)]
pub(crate) struct Mined {
    pub(crate) candidate: Candidate,
    pub(crate) receipt: DevReceipt,
}

/// A block and the state mark taken before it.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) header: TempoHeader,
    pub(crate) hash: B256,
    pub(crate) mined: Vec<Mined>,
    pub(crate) before: Mark,
}

impl Block {
    pub(crate) fn number(&self) -> u64 {
        self.header.inner.number
    }

    pub(crate) fn timestamp(&self) -> u64 {
        self.header.inner.timestamp
    }

    /// Seals a block and stamps its place into the receipts.
    pub(crate) fn seal(seed: &Seed, mut mined: Vec<Mined>, before: Mark) -> Self {
        let logs = mined.iter().flat_map(|tx| &tx.receipt.logs);
        let bloom: Bloom = logs.collect();
        let gas_used = mined
            .last()
            .map(|tx| tx.receipt.cumulative_gas_used)
            .unwrap_or_default();
        let hashes: Vec<u8> = mined.iter().flat_map(|tx| tx.candidate.hash.0).collect();
        let inner = Header {
            parent_hash: seed.parent,
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            // There are no tries: the roots are commitments that differ when the content differs.
            state_root: keccak256([seed.parent.as_slice(), &hashes].concat()),
            transactions_root: if mined.is_empty() {
                EMPTY_ROOT_HASH
            } else {
                keccak256(&hashes)
            },
            receipts_root: if mined.is_empty() {
                EMPTY_ROOT_HASH
            } else {
                keccak256(bloom)
            },
            logs_bloom: bloom,
            number: seed.number,
            gas_limit: BLOCK_LIMIT,
            gas_used,
            timestamp: seed.timestamp,
            extra_data: seed.fork.to_be_bytes().into(),
            base_fee_per_gas: Some(seed.base_fee),
            // Members of forks whose features Tempo does not have.
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: Some(EMPTY_REQUESTS_HASH),
            ..Header::default()
        };
        let header = TempoHeader {
            general_gas_limit: BLOCK_LIMIT,
            shared_gas_limit: 0,
            timestamp_millis_part: seed.millis,
            inner,
            consensus_context: None,
        };
        let hash = header.hash_slow();
        for tx in &mut mined {
            tx.receipt.block_hash = hash;
        }
        Self {
            header,
            hash,
            mined,
            before,
        }
    }

    /// Every log of the block.
    pub(crate) fn logs(&self) -> impl Iterator<Item = &Log> {
        self.mined.iter().flat_map(|tx| &tx.receipt.logs)
    }
}

/// What a block's header starts from.
#[derive(Debug, Clone)]
pub(crate) struct Seed {
    pub(crate) parent: B256,
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
    pub(crate) millis: u64,
    pub(crate) base_fee: u64,
    /// Raised by each reorganization, so that replaced blocks get other hashes.
    pub(crate) fork: u64,
}
