//! Nodes behind one address that do not agree, and one that is gone.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_primitives::{Address, B256, Bytes};
use mpp_core::Amount;
use mpp_devnet::Devnet;
use mpp_tempo::{
    ChannelId, ChannelView, SessionProtocol,
    chain::{
        BlockInfo, ChainClient, ChainError, ChainLog, ChannelRef, FeeQuote, LogFilter, Simulated,
        Simulation, TxReceipt,
    },
};
use tokio::sync::Semaphore;

/// The node behind it, unless one of its flaws shows. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Flawed {
    node: Devnet,
    flaws: Arc<Flaws>,
}

#[derive(Debug)]
struct Flaws {
    is_gone: AtomicBool,
    /// So long its head is on its way, in milliseconds.
    head_takes: AtomicU64,
    /// Receipts of so many of the newest blocks are not shown.
    receipts_behind: AtomicU64,
    /// Logs of so many of the newest blocks are not shown.
    logs_behind: AtomicU64,
    /// Views as they were once, for these channels.
    kept: Mutex<BTreeMap<ChannelId, ChannelView>>,
    /// Whoever asks for fees waits here.
    fees: Semaphore,
}

impl Flawed {
    pub(crate) fn new(node: Devnet) -> Self {
        let flaws = Flaws {
            is_gone: AtomicBool::new(false),
            head_takes: AtomicU64::new(0),
            receipts_behind: AtomicU64::new(0),
            logs_behind: AtomicU64::new(0),
            kept: Mutex::default(),
            fees: Semaphore::new(Semaphore::MAX_PERMITS),
        };
        Self {
            node,
            flaws: Arc::new(flaws),
        }
    }

    /// No call is answered any more, or they are again.
    pub(crate) fn set_gone(&self, is_gone: bool) {
        self.flaws.is_gone.store(is_gone, Ordering::SeqCst);
    }

    /// From now on the answer to each question for its head takes so long.
    pub(crate) fn set_head_takes(&self, pause: Duration) {
        let pause = u64::try_from(pause.as_millis()).unwrap();
        self.flaws.head_takes.store(pause, Ordering::SeqCst);
    }

    /// Receipts come from a node that has so many blocks less.
    pub(crate) fn set_receipts_behind(&self, blocks: u64) {
        self.flaws.receipts_behind.store(blocks, Ordering::SeqCst);
    }

    /// Logs come from a node that has so many blocks less.
    pub(crate) fn set_logs_behind(&self, blocks: u64) {
        self.flaws.logs_behind.store(blocks, Ordering::SeqCst);
    }

    /// Shows this view of a channel, whatever happens to it.
    pub(crate) fn keep_view(&self, id: ChannelId, view: ChannelView) {
        self.kept().insert(id, view);
    }

    /// Shows channels as they are.
    pub(crate) fn forget_views(&self) {
        self.kept().clear();
    }

    /// So many calls for fees are answered, and those that follow wait.
    pub(crate) fn allow_fees(&self, calls: usize) {
        let fees = &self.flaws.fees;
        fees.forget_permits(Semaphore::MAX_PERMITS);
        fees.add_permits(calls);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<ChannelId, ChannelView>> {
        let kept = self.flaws.kept.lock();
        kept.unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self) -> Result<&Devnet, ChainError> {
        if self.flaws.is_gone.load(Ordering::SeqCst) {
            return Err(ChainError::unreachable("the node is gone"));
        }
        Ok(&self.node)
    }

    fn shown(&self, id: ChannelId, view: ChannelView) -> ChannelView {
        self.kept().get(&id).copied().unwrap_or(view)
    }
}

impl ChainClient for Flawed {
    fn chain_id(&self) -> u64 {
        ChainClient::chain_id(&self.node)
    }

    async fn channel(
        &self,
        protocol: SessionProtocol,
        escrow: Address,
        id: ChannelId,
    ) -> Result<ChannelView, ChainError> {
        let view = ChainClient::channel(self.node()?, protocol, escrow, id).await?;
        Ok(self.shown(id, view))
    }

    async fn channels(&self, asked: Vec<ChannelRef>) -> Result<Vec<ChannelView>, ChainError> {
        let views = ChainClient::channels(self.node()?, asked.clone()).await?;
        let shown = asked.iter().zip(views);
        Ok(shown
            .map(|(asked, view)| self.shown(asked.id, view))
            .collect())
    }

    async fn send_and_wait(&self, raw: Bytes) -> Result<TxReceipt, ChainError> {
        ChainClient::send_and_wait(self.node()?, raw).await
    }

    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, ChainError> {
        let node = self.node()?;
        let behind = self.flaws.receipts_behind.load(Ordering::SeqCst);
        let newest = node.block_number().saturating_sub(behind);
        let receipt = ChainClient::receipt(node, hash).await?;
        Ok(receipt.filter(|receipt| receipt.block_number <= newest))
    }

    async fn logs(&self, mut filter: LogFilter) -> Result<Vec<ChainLog>, ChainError> {
        let node = self.node()?;
        let behind = self.flaws.logs_behind.load(Ordering::SeqCst);
        let newest = node.block_number().saturating_sub(behind);
        filter.to_block = Some(filter.to_block.unwrap_or(newest).min(newest));
        ChainClient::logs(node, filter).await
    }

    async fn block(&self) -> Result<BlockInfo, ChainError> {
        let head = ChainClient::block(self.node()?).await?;
        match self.flaws.head_takes.load(Ordering::SeqCst) {
            0 => {}
            pause => tokio::time::sleep(Duration::from_millis(pause)).await,
        }
        Ok(head)
    }

    async fn fees(&self) -> Result<FeeQuote, ChainError> {
        let node = self.node()?;
        if let Ok(permit) = self.flaws.fees.acquire().await {
            permit.forget();
        }
        ChainClient::fees(node).await
    }

    async fn simulate(&self, simulation: Simulation) -> Result<Simulated, ChainError> {
        ChainClient::simulate(self.node()?, simulation).await
    }

    async fn token_balance(&self, token: Address, account: Address) -> Result<Amount, ChainError> {
        ChainClient::token_balance(self.node()?, token, account).await
    }
}
