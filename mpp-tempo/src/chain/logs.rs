//! Reading long ranges of logs from nodes that allow only short ones.

use alloc::vec::Vec;

use super::{ChainClient, ChainError, ChainLog, LogFilter};

/// Blocks that are asked for at once, at most.
const LONGEST: u64 = 1 << 20;

/// Reads logs, and remembers how many blocks the node allows.
#[derive(Debug)]
pub struct LogReader {
    span: u64,
}

/// The logs of the blocks up to one.
#[derive(Debug)]
pub struct LogBatch {
    /// The last block that was read.
    pub last: u64,
    /// Its logs and those before, in chain order.
    pub logs: Vec<ChainLog>,
}

impl Default for LogReader {
    fn default() -> Self {
        Self::new()
    }
}

impl LogReader {
    /// Asks for long ranges first.
    #[must_use]
    pub const fn new() -> Self {
        Self { span: LONGEST }
    }

    /// Reads from the first block of the filter towards `last`, as far as the
    /// node allows at once. `filter.to_block` is not looked at.
    ///
    /// # Errors
    /// When the node can not be reached, or refuses even a single block. After
    /// an unreachable node a shorter range is tried next: it may have been too
    /// much for it.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn read(
        &mut self,
        chain: &impl ChainClient,
        filter: &LogFilter,
        last: u64,
    ) -> Result<LogBatch, ChainError> {
        loop {
            let from = filter.from_block;
            let to = from.saturating_add(self.span.saturating_sub(1)).min(last);
            let blocks = to.saturating_sub(from).saturating_add(1);
            let asked = LogFilter {
                to_block: Some(to),
                ..filter.clone()
            };
            let error = match chain.logs(asked).await {
                Ok(logs) => {
                    self.span = self.span.saturating_mul(2).min(LONGEST);
                    return Ok(LogBatch { last: to, logs });
                }
                Err(error) => error,
            };
            self.span = blocks.checked_div(2).unwrap_or(1).max(1);
            if blocks == 1 || error.is_transient() {
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use core::sync::atomic::{AtomicU64, Ordering};

    use alloy_primitives::{Address, B256, Bytes};
    use mpp_core::Amount;

    use super::*;
    use crate::chain::{BlockInfo, ChannelRef, FeeQuote, Simulated, Simulation, TxReceipt};
    use crate::channel::{ChannelId, ChannelView, SessionProtocol};

    /// A node with one log per block that allows short ranges only.
    #[derive(Clone, Default)]
    struct Narrow {
        allowed: Arc<AtomicU64>,
        calls: Arc<AtomicU64>,
    }

    impl ChainClient for Narrow {
        fn chain_id(&self) -> u64 {
            1
        }

        async fn channel(
            &self,
            _: SessionProtocol,
            _: Address,
            _: ChannelId,
        ) -> Result<ChannelView, ChainError> {
            Err(ChainError::rejected("not here"))
        }

        async fn channels(&self, _: Vec<ChannelRef>) -> Result<Vec<ChannelView>, ChainError> {
            Err(ChainError::rejected("not here"))
        }

        async fn send_and_wait(&self, _: Bytes) -> Result<TxReceipt, ChainError> {
            Err(ChainError::rejected("not here"))
        }

        async fn receipt(&self, _: B256) -> Result<Option<TxReceipt>, ChainError> {
            Ok(None)
        }

        async fn logs(&self, filter: LogFilter) -> Result<Vec<ChainLog>, ChainError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let last = filter.to_block.unwrap();
            let blocks = last.saturating_sub(filter.from_block).saturating_add(1);
            match self.allowed.load(Ordering::SeqCst) {
                0 => Err(ChainError::unreachable("overloaded")),
                allowed if blocks > allowed => Err(ChainError::rejected("too many blocks")),
                _ => Ok((filter.from_block..=last).map(at).collect()),
            }
        }

        async fn block(&self) -> Result<BlockInfo, ChainError> {
            Err(ChainError::rejected("not here"))
        }

        async fn fees(&self) -> Result<FeeQuote, ChainError> {
            Err(ChainError::rejected("not here"))
        }

        async fn simulate(&self, _: Simulation) -> Result<Simulated, ChainError> {
            Err(ChainError::rejected("not here"))
        }

        async fn token_balance(&self, _: Address, _: Address) -> Result<Amount, ChainError> {
            Err(ChainError::rejected("not here"))
        }
    }

    fn at(block: u64) -> ChainLog {
        ChainLog {
            block_number: Some(block),
            ..ChainLog::default()
        }
    }

    async fn read_all(
        reader: &mut LogReader,
        node: &Narrow,
        last: u64,
    ) -> Result<Vec<u64>, ChainError> {
        let mut filter = LogFilter::default();
        let mut blocks = Vec::new();
        while filter.from_block <= last {
            let batch = reader.read(node, &filter, last).await?;
            blocks.extend(batch.logs.iter().filter_map(|log| log.block_number));
            filter.from_block = batch.last.saturating_add(1);
        }
        Ok(blocks)
    }

    #[tokio::test]
    async fn every_block_is_read_once_whatever_the_node_allows() {
        for allowed in [1, 2, 7, 100, 5_000] {
            let node = Narrow::default();
            node.allowed.store(allowed, Ordering::SeqCst);
            let mut reader = LogReader::new();
            let blocks = read_all(&mut reader, &node, 999).await.unwrap();
            assert_eq!(blocks, (0..=999).collect::<Vec<_>>(), "{allowed}");
        }
    }

    #[tokio::test]
    async fn a_node_that_can_not_be_reached_is_asked_once_and_then_for_less() {
        let node = Narrow::default();
        let mut reader = LogReader::new();
        read_all(&mut reader, &node, 99).await.unwrap_err();
        assert_eq!(node.calls.load(Ordering::SeqCst), 1);
        node.allowed.store(50, Ordering::SeqCst);
        let blocks = read_all(&mut reader, &node, 99).await.unwrap();
        assert_eq!(blocks.len(), 100);
        assert_eq!(node.calls.load(Ordering::SeqCst), 3);
    }
}
