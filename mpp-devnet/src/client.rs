//! The node as a [`ChainClient`], without sockets.
//!
//! Faults reach this client as they reach one over HTTP: an outage is unreachable, reads lag, answers get lost.

use crate::chain::candidate::{Candidate, Target};
use crate::chain::filter::LogQuery;
use crate::chain::receipt::{DevLog, DevReceipt};
use crate::chain::refusal::Refusal;
use crate::chain::simulate::DryRun;
use crate::devnet::{Devnet, channel_of, collect_logs};
use crate::faults::Outage;
use crate::lock;
use alloy_primitives::{Address, B256, Bytes, keccak256};
use core::time::Duration;
use mpp_core::Amount;
use mpp_tempo::chain::{
    BlockInfo, ChainClient, ChainError, ChainLog, ChannelRef, FeeQuote, LogFilter, Simulated,
    Simulation, TxReceipt,
};
use mpp_tempo::network::CHANNEL_RESERVE;
use mpp_tempo::{ChannelId, ChannelView, Existence, SessionProtocol};

/// How often a hanging call looks whether the outage is over.
const OUTAGE_TICK: Duration = Duration::from_millis(10);

impl Devnet {
    /// Counts a call and lets an outage strike.
    async fn enter(&self) -> Result<(), ChainError> {
        self.shared.counters.count_client();
        let recovered = async {
            while self.faults().outage() == Outage::Hanging {
                tokio::time::sleep(OUTAGE_TICK).await;
            }
        };
        let waited = tokio::time::timeout(self.config().sync_timeout, recovered).await;
        match (waited, self.faults().outage()) {
            (Ok(()), Outage::None | Outage::Hanging) => Ok(()),
            (Ok(()), Outage::Refusing) => Err(ChainError::unreachable("the node is out of order")),
            (Err(_), _) => Err(ChainError::unreachable("the node does not answer")),
        }
    }

    /// The state readers see, which lags behind while that fault is armed.
    fn visible_channel(&self, protocol: SessionProtocol, id: ChannelId) -> ChannelView {
        let channel = self.read(|node| match node.faults.lag {
            0 => channel_of(&node.state, protocol, id),
            _ => channel_of(&node.state_at(node.visible_height()), protocol, id),
        });
        channel.map_or(ChannelView::unknown(), |channel| ChannelView {
            deposit: channel.deposit,
            settled: channel.settled,
            close_requested_at: channel.close_requested_at,
            existence: if channel.finalized {
                Existence::Finalized
            } else {
                Existence::Open
            },
        })
    }

    fn look(&self, channel: ChannelRef) -> Result<ChannelView, ChainError> {
        let expected = match channel.protocol {
            SessionProtocol::V1 => self.config().stream_channel,
            SessionProtocol::V2 => CHANNEL_RESERVE,
        };
        match channel.escrow == expected {
            true => Ok(self.visible_channel(channel.protocol, channel.id)),
            false => Err(ChainError::malformed(
                "no escrow of this version at this address",
            )),
        }
    }

    fn take(&self, raw: &Bytes) -> Result<Taken, ChainError> {
        let mut node = lock(&self.shared.node);
        match node.submit(raw) {
            Ok(hash) if node.faults.loses_response() => Err(ChainError::Unknown { hash }),
            Ok(hash) => Ok(Taken::Waiting(hash)),
            Err(Refusal::AlreadyKnown) => Ok(Taken::Waiting(keccak256(raw))),
            Err(refusal) => {
                // Sending a mined transaction again is refused for its nonce, and answered with its receipt.
                let hash = Candidate::decode(raw, node.rules.chain_id).map(|tx| tx.hash);
                let mined = hash.ok().and_then(|hash| node.mined(hash));
                mined
                    .map(|tx| Taken::Mined(Box::new(tx.receipt.clone())))
                    .ok_or_else(|| ChainError::rejected(refusal.to_string()))
            }
        }
    }
}

/// A transaction the node has.
enum Taken {
    Waiting(B256),
    Mined(Box<DevReceipt>),
}

impl ChainClient for Devnet {
    fn chain_id(&self) -> u64 {
        self.config().chain_id
    }

    async fn channel(
        &self,
        protocol: SessionProtocol,
        escrow: Address,
        id: ChannelId,
    ) -> Result<ChannelView, ChainError> {
        self.enter().await?;
        self.look(ChannelRef {
            protocol,
            escrow,
            id,
        })
    }

    async fn channels(&self, asked: Vec<ChannelRef>) -> Result<Vec<ChannelView>, ChainError> {
        self.enter().await?;
        asked
            .into_iter()
            .map(|channel| self.look(channel))
            .collect()
    }

    async fn send_and_wait(&self, raw: Bytes) -> Result<TxReceipt, ChainError> {
        self.enter().await?;
        match self.take(&raw)? {
            Taken::Mined(receipt) => Ok(tx_receipt(&receipt)),
            Taken::Waiting(hash) => {
                let mined = self.wait_mined(hash, self.config().sync_timeout).await;
                mined
                    .map(|receipt| tx_receipt(&receipt))
                    .ok_or(ChainError::Unknown { hash })
            }
        }
    }

    async fn receipt(&self, hash: B256) -> Result<Option<TxReceipt>, ChainError> {
        self.enter().await?;
        let head = self.read(|node| node.visible_height());
        let receipt = Self::receipt(self, hash).filter(|receipt| receipt.block_number <= head);
        Ok(receipt.map(|receipt| tx_receipt(&receipt)))
    }

    async fn logs(&self, filter: LogFilter) -> Result<Vec<ChainLog>, ChainError> {
        self.enter().await?;
        let query = LogQuery {
            from_block: Some(filter.from_block),
            to_block: filter.to_block,
            block_hash: None,
            addresses: filter.addresses,
            topics: filter.topics,
        };
        let found = self.read(|node| collect_logs(node, &query, node.visible_height()));
        Ok(found.iter().map(chain_log).collect())
    }

    async fn block(&self) -> Result<BlockInfo, ChainError> {
        self.enter().await?;
        let head = self.read(|node| {
            node.block(node.visible_height()).map(|block| BlockInfo {
                number: block.number(),
                timestamp: block.timestamp(),
                hash: block.hash,
            })
        });
        head.ok_or_else(|| ChainError::malformed("the chain has no head"))
    }

    async fn fees(&self) -> Result<FeeQuote, ChainError> {
        self.enter().await?;
        let max_fee_per_gas = u128::from(self.config().base_fee);
        Ok(FeeQuote {
            base_fee_per_gas: max_fee_per_gas,
            max_fee_per_gas,
            max_priority_fee_per_gas: 0,
        })
    }

    async fn simulate(&self, simulation: Simulation) -> Result<Simulated, ChainError> {
        self.enter().await?;
        let from = simulation.from;
        let run = |(to, input)| DryRun {
            from,
            calls: vec![Target { to, input }],
            nonce_key: None,
            signature_gas: 0,
            sponsored: false,
        };
        let runs: Vec<_> = simulation.calls.into_iter().map(run).collect();
        let mut node = lock(&self.shared.node);
        let height = node.height();
        let mut gas_used = 0_u64;
        for tried in node.simulate(from, &runs, height) {
            gas_used = gas_used.saturating_add(tried.gas_used);
            if let Err(revert) = tried.outcome {
                let reason = format!("execution reverted: {}", revert.0);
                return Ok(Simulated::Reverted { reason });
            }
        }
        let gas_used = Some(gas_used);
        Ok(Simulated::Succeeded { gas_used })
    }

    async fn token_balance(&self, token: Address, owner: Address) -> Result<Amount, ChainError> {
        self.enter().await?;
        let balance = self.read(|node| match node.faults.lag {
            0 => node.state.balance(token, owner),
            _ => node.state_at(node.visible_height()).balance(token, owner),
        });
        Ok(Amount::new(balance.saturating_to()))
    }
}

fn tx_receipt(receipt: &DevReceipt) -> TxReceipt {
    TxReceipt {
        hash: receipt.hash,
        success: receipt.success,
        block_number: receipt.block_number,
        logs: receipt.placed_logs().iter().map(chain_log).collect(),
        gas_used: receipt.gas_used,
        from: receipt.from,
        fee_payer: Some(receipt.fee_payer),
        gas_price: Some(receipt.gas_price),
    }
}

fn chain_log(placed: &DevLog) -> ChainLog {
    ChainLog {
        address: placed.log.address,
        topics: placed.log.topics().to_vec(),
        data: placed.log.data.data.clone(),
        block_number: Some(placed.block_number),
        tx_hash: Some(placed.tx_hash),
        log_index: Some(placed.log_index),
    }
}
