//! Nodes behind one address that do not agree, and one that is gone.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy_primitives::{Address, B256, Bytes, keccak256};
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
    /// It knows no block after this one, and takes transactions without a word.
    stands_at: Mutex<Option<BlockInfo>>,
    /// It is gone for who sends, and no one else.
    sends_gone: AtomicBool,
    /// No transaction is taken.
    refuses: AtomicBool,
    /// So long its head is on its way, in milliseconds.
    head_takes: AtomicU64,
    /// Receipts of so many of the newest blocks are not shown.
    receipts_behind: AtomicU64,
    /// Calls are not tried: all are said to succeed.
    is_credulous: AtomicBool,
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
            stands_at: Mutex::default(),
            sends_gone: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            head_takes: AtomicU64::new(0),
            receipts_behind: AtomicU64::new(0),
            is_credulous: AtomicBool::new(false),
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

    /// From now on it stands still.
    pub(crate) async fn stop(&self) {
        let head = ChainClient::block(&self.node).await.unwrap();
        *self.stands_at() = Some(head);
    }

    /// It follows the chain again.
    pub(crate) fn go_on(&self) {
        *self.stands_at() = None;
    }

    /// No transaction reaches it any more, or does again.
    pub(crate) fn set_sends_gone(&self, is_gone: bool) {
        self.flaws.sends_gone.store(is_gone, Ordering::SeqCst);
    }

    /// It takes no transaction any more, or does again.
    pub(crate) fn set_refusing(&self, refuses: bool) {
        self.flaws.refuses.store(refuses, Ordering::SeqCst);
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

    /// From here on whatever is to be tried succeeds, and nothing is known of its
    /// gas, as on a node that can not simulate.
    pub(crate) fn set_credulous(&self) {
        self.flaws.is_credulous.store(true, Ordering::SeqCst);
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

    fn stands_at(&self) -> std::sync::MutexGuard<'_, Option<BlockInfo>> {
        let at = self.flaws.stands_at.lock();
        at.unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest block that a node shows which is so far behind.
    fn newest(&self, node: &Devnet, behind: &AtomicU64) -> u64 {
        let behind = behind.load(Ordering::SeqCst);
        let stands_at = self.stands_at().map_or(u64::MAX, |head| head.number);
        node.block_number().saturating_sub(behind).min(stands_at)
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
        let node = self.node()?;
        if self.flaws.sends_gone.load(Ordering::SeqCst) {
            return Err(ChainError::unreachable("the node is gone"));
        }
        if self.flaws.refuses.load(Ordering::SeqCst) {
            return Err(ChainError::rejected("it takes nothing"));
        }
        if self.stands_at().is_some() {
            let hash = keccak256(&raw);
            return Err(ChainError::Unknown { hash });
        }
        ChainClient::send_and_wait(node, raw).await
    }

    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, ChainError> {
        let node = self.node()?;
        let newest = self.newest(node, &self.flaws.receipts_behind);
        let receipt = ChainClient::receipt(node, hash).await?;
        Ok(receipt.filter(|receipt| receipt.block_number <= newest))
    }

    async fn logs(&self, mut filter: LogFilter) -> Result<Vec<ChainLog>, ChainError> {
        let node = self.node()?;
        let newest = self.newest(node, &self.flaws.logs_behind);
        filter.to_block = Some(filter.to_block.unwrap_or(newest).min(newest));
        ChainClient::logs(node, filter).await
    }

    async fn block(&self) -> Result<BlockInfo, ChainError> {
        let node = self.node()?;
        let stands_at = *self.stands_at();
        let head = match stands_at {
            Some(head) => head,
            None => ChainClient::block(node).await?,
        };
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
        let node = self.node()?;
        if self.flaws.is_credulous.load(Ordering::SeqCst) {
            return Ok(Simulated::Succeeded { gas_used: None });
        }
        ChainClient::simulate(node, simulation).await
    }

    async fn token_balance(&self, token: Address, account: Address) -> Result<Amount, ChainError> {
        ChainClient::token_balance(self.node()?, token, account).await
    }
}
