//! Events of the escrows, and what several of them say together.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Keccak256};
use mpp_core::Amount;
use mpp_tempo::{
    SessionProtocol,
    chain::ChainLog,
    channel::{ChannelId, ChannelView, Existence},
    escrow::{ChannelNews, EscrowEvent},
};

use crate::session::command::{Command, Facts};

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
pub(crate) fn fold<'a>(news: impl IntoIterator<Item = &'a News>) -> BTreeMap<ChannelId, Command> {
    let mut changes: BTreeMap<ChannelId, ChannelNews> = BTreeMap::new();
    for news in news {
        let change = changes.entry(news.event.channel_id()).or_default();
        change.add(&news.event, news.transaction);
    }
    let told = |(id, change): (_, ChannelNews)| (id, command(&change));
    changes.into_iter().map(told).collect()
}

fn command(news: &ChannelNews) -> Command {
    let Some(end) = news.end else {
        return Command::Follow(Facts {
            deposit: news.deposit,
            settled: news.settled,
            close: news.close,
        });
    };
    let settled = end.settled;
    match end.transaction {
        Some(transaction) => Command::Closed {
            transaction,
            settled,
        },
        None => Command::Observe(ChannelView {
            settled,
            existence: Existence::Finalized,
            ..ChannelView::unknown()
        }),
    }
}
