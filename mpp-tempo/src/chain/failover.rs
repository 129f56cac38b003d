//! Several nodes as one: the healthiest is asked first, laggards are not believed.

use core::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Bytes};
use mpp_core::Amount;

use super::{
    BlockInfo, ChainClient, ChainError, ChainLog, ChannelRef, FeeQuote, LogFilter, Simulated,
    Simulation, TxReceipt,
};
use crate::channel::{ChannelId, ChannelView, SessionProtocol};

/// Blocks by which a node may be behind the best one and still be believed.
const MAX_LAG: u64 = 8;

/// A node that keeps failing is left out of at most so many looks at the head.
const MAX_REST: u32 = 31;

/// Several endpoints of one chain behind one [`ChainClient`].
///
/// Every [`block`](ChainClient::block) asks all nodes that are not resting for their heads; other
/// calls go to the nodes in the order of their health, and never to one that is more than a few
/// blocks behind the best. A node that fails is asked later than the others until it answers
/// again.
///
/// A transaction goes to a further node only when the one before was certainly not reached, so
/// that it never has two outcomes.
///
/// # Examples
///
/// ```
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # #[cfg(feature = "rpc")] {
/// use mpp_tempo::chain::{FailoverChain, rpc::RpcChain};
///
/// let first = RpcChain::connect("https://rpc.moderato.tempo.xyz").await?;
/// let second = RpcChain::connect("https://rpc.example.com").await?;
/// let chain = FailoverChain::new([first, second])?;
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FailoverChain<C> {
    nodes: Vec<C>,
    chain_id: u64,
    max_lag: u64,
    health: Mutex<Vec<Health>>,
}

/// Nodes that can not stand for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailoverError {
    /// There is no node.
    #[error("no node is given")]
    Empty,
    /// They are on different chains.
    #[error("the nodes are on different chains")]
    Chains,
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Health {
    /// Failures since the last answer.
    failures: u32,
    /// Looks at the head that it is left out of.
    rest: u32,
    /// Its newest block, when it was asked last.
    head: Option<u64>,
}

impl<C: ChainClient> FailoverChain<C> {
    /// Puts nodes together; the first is preferred.
    ///
    /// # Errors
    /// [`FailoverError`] for no node, or nodes of different chains.
    pub fn new(nodes: impl IntoIterator<Item = C>) -> Result<Self, FailoverError> {
        let nodes: Vec<C> = nodes.into_iter().collect();
        let chain_id = nodes.first().ok_or(FailoverError::Empty)?.chain_id();
        if nodes.iter().any(|node| node.chain_id() != chain_id) {
            return Err(FailoverError::Chains);
        }
        let health = Mutex::new(alloc::vec![Health::default(); nodes.len()]);
        Ok(Self {
            nodes,
            chain_id,
            max_lag: MAX_LAG,
            health,
        })
    }

    /// Believes nodes that are at most so many blocks behind the best. Default: 8.
    #[must_use]
    pub fn max_lag(mut self, blocks: u64) -> Self {
        self.max_lag = blocks;
        self
    }

    fn health(&self) -> MutexGuard<'_, Vec<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes to ask, best first: those that failed least, of these the preferred.
    fn ranked(&self) -> Vec<usize> {
        let health = self.health();
        let best = health.iter().filter_map(|health| health.head).max();
        let is_believed = |health: &Health| match (health.head, best) {
            (Some(head), Some(best)) => head.saturating_add(self.max_lag) >= best,
            // Its head is not known: it failed when it was asked, or nobody was asked yet.
            (None, _) | (_, None) => true,
        };
        let believed = health.iter().enumerate();
        let mut ranked: Vec<_> = believed
            .filter(|(_, health)| is_believed(health))
            .map(|(index, health)| (health.head.is_none(), health.failures, index))
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, _, index)| index).collect()
    }

    fn answered(&self, index: usize) {
        if let Some(health) = self.health().get_mut(index) {
            (health.failures, health.rest) = (0, 0);
        }
    }

    fn failed(&self, index: usize) {
        if let Some(health) = self.health().get_mut(index) {
            health.failures = health.failures.saturating_add(1);
            let rest = 1_u32.checked_shl(health.failures.saturating_sub(1));
            health.rest = rest.unwrap_or(MAX_REST).min(MAX_REST).saturating_sub(1);
        }
    }

    /// Asks one node after the other until one answers, or `passes_on` says that its failure is
    /// the answer.
    async fn ask<'a, T, F>(
        &'a self,
        passes_on: fn(&ChainError) -> bool,
        call: impl Fn(&'a C) -> F + Send,
    ) -> Result<T, ChainError>
    where
        F: Future<Output = Result<T, ChainError>> + Send,
    {
        let mut last = ChainError::unreachable("no node is up to date");
        for index in self.ranked() {
            let Some(node) = self.nodes.get(index) else {
                continue;
            };
            match call(node).await {
                Err(error) if passes_on(&error) => {
                    self.failed(index);
                    last = error;
                }
                answer => {
                    self.answered(index);
                    return answer;
                }
            }
        }
        Err(last)
    }

    /// Asks for the heads of all nodes that are not resting.
    async fn heads(&self) -> Vec<(usize, Result<BlockInfo, ChainError>)> {
        let awake: Vec<usize> = {
            let mut health = self.health();
            let is_alone = health.iter().all(|health| health.rest > 0);
            let mut awake = Vec::new();
            for (index, health) in health.iter_mut().enumerate() {
                if is_alone || health.rest == 0 {
                    awake.push(index);
                } else {
                    health.rest = health.rest.saturating_sub(1);
                }
            }
            awake
        };
        let asked = awake.into_iter().filter_map(|index| {
            let node = self.nodes.get(index)?;
            Some(async move { (index, node.block().await) })
        });
        futures_util::future::join_all(asked).await
    }
}

/// A read that another node may answer.
fn read_failed(error: &ChainError) -> bool {
    !matches!(error, ChainError::Rejected { .. })
}

/// A transaction that certainly reached no node.
fn was_not_sent(error: &ChainError) -> bool {
    matches!(error, ChainError::Unreachable { .. })
}

impl<C: ChainClient> ChainClient for FailoverChain<C> {
    fn chain_id(&self) -> u64 {
        self.chain_id
    }

    async fn channel(
        &self,
        protocol: SessionProtocol,
        escrow: Address,
        id: ChannelId,
    ) -> Result<ChannelView, ChainError> {
        self.ask(read_failed, |node| node.channel(protocol, escrow, id))
            .await
    }

    async fn channels(&self, asked: Vec<ChannelRef>) -> Result<Vec<ChannelView>, ChainError> {
        self.ask(read_failed, |node| node.channels(asked.clone()))
            .await
    }

    async fn send_and_wait(&self, raw: Bytes) -> Result<TxReceipt, ChainError> {
        self.ask(was_not_sent, |node| node.send_and_wait(raw.clone()))
            .await
    }

    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, ChainError> {
        self.ask(read_failed, |node| node.receipt(hash)).await
    }

    async fn logs(&self, filter: LogFilter) -> Result<Vec<ChainLog>, ChainError> {
        self.ask(read_failed, |node| node.logs(filter.clone()))
            .await
    }

    /// The head of the node that is asked first from now on.
    ///
    /// Not the highest head: what is read next must not be older than it.
    async fn block(&self) -> Result<BlockInfo, ChainError> {
        let heads = self.heads().await;
        for (index, head) in &heads {
            match head {
                Ok(_) => self.answered(*index),
                Err(_) => self.failed(*index),
            }
            if let Some(health) = self.health().get_mut(*index) {
                health.head = head.as_ref().ok().map(|head| head.number);
            }
        }
        let mut error = ChainError::unreachable("no node answers");
        let first = self.ranked().into_iter().next();
        for (index, head) in heads {
            match head {
                Ok(head) if Some(index) == first => return Ok(head),
                Ok(_) => {}
                Err(failure) => error = failure,
            }
        }
        Err(error)
    }

    async fn fees(&self) -> Result<FeeQuote, ChainError> {
        self.ask(read_failed, |node| node.fees()).await
    }

    async fn simulate(&self, simulation: Simulation) -> Result<Simulated, ChainError> {
        self.ask(read_failed, |node| node.simulate(simulation.clone()))
            .await
    }

    async fn token_balance(&self, token: Address, owner: Address) -> Result<Amount, ChainError> {
        self.ask(read_failed, |node| node.token_balance(token, owner))
            .await
    }
}

#[cfg(test)]
mod tests;
