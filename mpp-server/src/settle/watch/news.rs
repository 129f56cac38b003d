//! Events of the escrows, and what several of them say together.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Keccak256};
use mpp_core::Amount;
use mpp_tempo::{
    SessionProtocol,
    chain::ChainLog,
    channel::{ChannelId, ChannelView, Existence},
    escrow::EscrowEvent,
    network::CLOSE_GRACE_SECS,
};

use crate::session::command::{CloseNews, Command, Facts};

/// Who is paid through what: events are followed by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pair {
    pub(crate) payee: Address,
    pub(crate) escrow: Address,
}

/// One event of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// The block that holds it.
    pub(crate) block: u64,
    /// The same for the same event of the same transaction, whatever block
    /// holds it.
    pub(crate) key: B256,
    pub(crate) pair: Pair,
    pub(crate) transaction: Option<B256>,
    pub(crate) event: EscrowEvent,
}

impl News {
    /// Reads a log of a followed escrow; `None` for other events.
    ///
    /// `block` is where it is when the log does not say.
    pub(crate) fn read(log: &ChainLog, protocol: SessionProtocol, block: u64) -> Option<Self> {
        let event = EscrowEvent::decode(log, protocol)?;
        // Topic 3 of every escrow event is the payee.
        let payee = Address::from_word(*log.topics.get(3)?);
        let mut key = Keccak256::new();
        key.update(log.tx_hash.unwrap_or_default());
        key.update(log.address);
        log.topics.iter().for_each(|topic| key.update(topic));
        key.update(&log.data);
        Some(Self {
            block: log.block_number.unwrap_or(block),
            key: key.finalize(),
            pair: Pair {
                payee,
                escrow: log.address,
            },
            transaction: log.tx_hash,
            event,
        })
    }

    /// The deposit before the event, in base units, when it made it grow.
    pub(crate) fn deposit_before(&self) -> Option<Amount> {
        match self.event {
            EscrowEvent::Opened { .. } => Some(Amount::ZERO),
            EscrowEvent::TopUp {
                additional,
                new_deposit,
                ..
            } => Some(new_deposit.saturating_sub(additional)),
            _ => None,
        }
    }
}

/// What events in chain order say, one command for each channel.
pub(crate) fn fold<'a>(
    news: impl IntoIterator<Item = &'a News>,
) -> BTreeMap<ChannelId, Command> {
    let mut changes: BTreeMap<ChannelId, Change> = BTreeMap::new();
    for news in news {
        let change = changes.entry(news.event.channel_id()).or_default();
        change.add(news);
    }
    let command = |(id, change): (_, Change)| (id, change.command());
    changes.into_iter().map(command).collect()
}

#[derive(Clone, Copy, Debug, Default)]
struct Change {
    facts: Facts,
    end: Option<End>,
}

/// The chain has finalized the channel.
#[derive(Clone, Copy, Debug)]
struct End {
    transaction: Option<B256>,
    settled: Amount,
}

impl Change {
    fn add(&mut self, news: &News) {
        let facts = &mut self.facts;
        match news.event {
            EscrowEvent::Opened { deposit, .. } => facts.deposit = Some(deposit),
            EscrowEvent::TopUp { new_deposit, .. } => {
                facts.deposit = Some(new_deposit);
                // PROTOCOL 5.3: a top-up cancels a close request.
                facts.close = Some(CloseNews::Cancelled);
            }
            EscrowEvent::Settled { new_settled, .. } => facts.settled = Some(new_settled),
            EscrowEvent::CloseRequested { grace_end, .. } => {
                let at = grace_end.saturating_sub(CLOSE_GRACE_SECS);
                facts.close = Some(CloseNews::Requested { at });
            }
            EscrowEvent::CloseRequestCancelled { .. } => facts.close = Some(CloseNews::Cancelled),
            EscrowEvent::Closed {
                settled_to_payee, ..
            } => {
                self.end = Some(End {
                    transaction: news.transaction,
                    settled: settled_to_payee,
                });
            }
            // Not an event that says anything about a channel.
            _ => {}
        }
    }

    fn command(self) -> Command {
        match self.end {
            None => Command::Follow(self.facts),
            Some(End {
                transaction: Some(transaction),
                settled,
            }) => Command::Closed {
                transaction,
                settled,
            },
            Some(End {
                transaction: None,
                settled,
            }) => Command::Observe(ChannelView {
                settled,
                existence: Existence::Finalized,
                ..ChannelView::unknown()
            }),
        }
    }
}
