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

/// The head that a node has told binds for so many looks after that. Whoever was answered it has
/// read on by then, and it may have been no head of this chain.
const BINDING: u32 = 32;

/// Several endpoints of one chain behind one [`ChainClient`].
///
/// Every [`block`](ChainClient::block) asks all nodes that are not resting for their heads. What is
/// read goes to the nodes in the order of their health, and never to one that is more than a few
/// blocks behind the best. A node that fails is asked later than the others until it answers
/// again.
///
/// What a node does not show counts only when its height is known: one that did not tell its head
/// when it was looked at may be far behind. It is asked for it before anything is read from it,
/// and the best head binds even when the node that told it is gone, for the next 32 looks: then the
/// best of those that are left is the best. Before the first look no head is known, and every node
/// is believed.
///
/// A transaction goes to a further node only when the one before was certainly not reached, so
/// that it never has two outcomes. Nodes of unknown height and, last of all, those that are behind
/// take transactions, too: nothing that they do not show is believed for that.
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
    /// Its newest block, when it told that last.
    head: Option<u64>,
    /// Looks since then.
    looks: u32,
    /// Whether it has told that at the last look.
    is_current: bool,
}

/// Whether what a node answers is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is up to date, as far as anything is known.
    Believed,
    /// It has to tell its head first.
    Unknown,
    /// It is too far behind the best.
    Behind,
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

    /// The nodes to ask, best first: those of known height before others, then those that failed
    /// least, of these the preferred. Nodes that are behind come last.
    fn ranked(&self) -> Vec<(usize, Standing)> {
        let health = self.health();
        let best = best_head(&health);
        let standings = health.iter().enumerate().map(|(index, health)| {
            let standing = self.standing(health, best);
            let is_behind = standing == Standing::Behind;
            let order = (is_behind, !health.is_current, health.failures, index);
            (order, standing)
        });
        let mut ranked: Vec<_> = standings.collect();
        ranked.sort_unstable_by_key(|(order, _)| *order);
        let ranked = ranked.into_iter();
        ranked
            .map(|((.., index), standing)| (index, standing))
            .collect()
    }

    /// Those of the [`ranked`](Self::ranked) nodes that something may be read from.
    fn readable(&self) -> impl Iterator<Item = (usize, Standing)> {
        let ranked = self.ranked().into_iter();
        ranked.filter(|(_, standing)| *standing != Standing::Behind)
    }

    fn standing(&self, health: &Health, best: Option<u64>) -> Standing {
        match (health.head, best) {
            // Nobody has told a head yet.
            (_, None) => Standing::Believed,
            (Some(head), Some(best)) if health.is_current => {
                match head.saturating_add(self.max_lag) >= best {
                    true => Standing::Believed,
                    false => Standing::Behind,
                }
            }
            (_, Some(_)) => Standing::Unknown,
        }
    }

    /// Notes the head that a node has told, and says what that makes of it.
    fn told(&self, index: usize, head: u64) -> Standing {
        self.answered(index);
        let mut health = self.health();
        if let Some(health) = health.get_mut(index) {
            (health.head, health.looks, health.is_current) = (Some(head), 0, true);
        }
        let best = best_head(&health);
        let health = health.get(index);
        health.map_or(Standing::Behind, |health| self.standing(health, best))
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

    /// A node that did not tell its head.
    fn silent(&self, index: usize) {
        self.failed(index);
        if let Some(health) = self.health().get_mut(index) {
            health.looks = health.looks.saturating_add(1);
            health.is_current = false;
        }
    }

    /// Reads from one node after the other until one that is up to date answers. That a node
    /// refuses is its answer.
    async fn read<'a, T, F>(&'a self, call: impl Fn(&'a C) -> F + Send) -> Result<T, ChainError>
    where
        F: Future<Output = Result<T, ChainError>> + Send,
    {
        let mut last = not_up_to_date();
        for (index, standing) in self.readable() {
            let Some(node) = self.nodes.get(index) else {
                continue;
            };
            if standing == Standing::Unknown {
                match node.block().await {
                    Ok(head) if self.told(index, head.number) == Standing::Believed => {}
                    Ok(_) => continue,
                    Err(error) => {
                        self.silent(index);
                        last = error;
                        continue;
                    }
                }
            }
            match call(node).await {
                answer @ (Ok(_) | Err(ChainError::Rejected { .. })) => {
                    self.answered(index);
                    return answer;
                }
                Err(error) => {
                    self.failed(index);
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// Sends to one node after the other until it has certainly reached one, or may have.
    async fn send(&self, raw: Bytes) -> Result<TxReceipt, ChainError> {
        let mut last = not_up_to_date();
        for (index, _) in self.ranked() {
            let Some(node) = self.nodes.get(index) else {
                continue;
            };
            match node.send_and_wait(raw.clone()).await {
                Err(error @ ChainError::Unreachable { .. }) => {
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
                    health.looks = health.looks.saturating_add(1);
                    health.is_current = false;
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

/// The highest head that a node has told lately; `None`: no node has ever told one. It binds while
/// its node is gone, too: it may just have been answered to somebody who reads on from it.
fn best_head(health: &[Health]) -> Option<u64> {
    let told = health.iter().filter_map(|health| {
        let head = health.head?;
        Some(if health.looks <= BINDING { head } else { 0 })
    });
    told.max()
}

fn not_up_to_date() -> ChainError {
    ChainError::unreachable("no node is up to date")
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
        self.read(|node| node.channel(protocol, escrow, id)).await
    }

    async fn channels(&self, asked: Vec<ChannelRef>) -> Result<Vec<ChannelView>, ChainError> {
        self.read(|node| node.channels(asked.clone())).await
    }

    async fn send_and_wait(&self, raw: Bytes) -> Result<TxReceipt, ChainError> {
        self.send(raw).await
    }

    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, ChainError> {
        self.read(|node| node.receipt(hash)).await
    }

    async fn logs(&self, filter: LogFilter) -> Result<Vec<ChainLog>, ChainError> {
        self.read(|node| node.logs(filter.clone())).await
    }

    /// The head of the node that is asked first from now on.
    ///
    /// Not the highest head: what that node is asked next is not older than it. Another one that
    /// has to stand in for it is at most as far behind as nodes that are believed may be.
    async fn block(&self) -> Result<BlockInfo, ChainError> {
        let heads = self.heads().await;
        for (index, head) in &heads {
            match head {
                Ok(head) => {
                    self.told(*index, head.number);
                }
                Err(_) => self.silent(*index),
            }
        }
        let mut error = not_up_to_date();
        let first = self.readable().next().map(|(index, _)| index);
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
        self.read(|node| node.fees()).await
    }

    async fn simulate(&self, simulation: Simulation) -> Result<Simulated, ChainError> {
        self.read(|node| node.simulate(simulation.clone())).await
    }

    async fn token_balance(&self, token: Address, owner: Address) -> Result<Amount, ChainError> {
        self.read(|node| node.token_balance(token, owner)).await
    }
}

#[cfg(test)]
mod tests;
