//! Channels from their events alone, for whoever has lost its records.
//!
//! The chain does not keep the descriptor of a v2 channel, so nobody can settle, close or withdraw
//! without it. Its `ChannelOpened` event holds it (PROTOCOL 5.3).

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256};

use super::{ChainClient, ChainError, ChannelRef, LogFilter, LogReader};
use crate::channel::{ChannelId, ChannelTerms, ChannelView, Existence, SessionProtocol};
use crate::escrow::{ChannelEnd, ChannelNews, EscrowEvent};

/// Channels whose state is read at once.
const AT_ONCE: usize = 128;

/// Whose channels to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// Channels that this account has paid into.
    Payer(Address),
    /// Channels that pay this account.
    Payee(Address),
}

/// Where to look for channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Whose.
    pub party: Party,
    /// In which escrows.
    pub escrows: Vec<(SessionProtocol, Address)>,
    /// From which block on: the channels must have been opened there or later.
    pub from_block: u64,
}

impl HistoryFilter {
    /// The whole history of both escrows of a chain, as far as they are known.
    #[must_use]
    pub fn all(party: Party, chain_id: u64) -> Self {
        let known =
            |protocol: SessionProtocol| Some((protocol, protocol.default_escrow(chain_id)?));
        let both = [SessionProtocol::V1, SessionProtocol::V2];
        Self {
            party,
            escrows: both.into_iter().filter_map(known).collect(),
            from_block: 0,
        }
    }

    fn logs(&self) -> LogFilter {
        let (position, account) = match self.party {
            Party::Payer(account) => (2, account),
            Party::Payee(account) => (3, account),
        };
        let mut topics = vec![Vec::new(); position];
        topics.push(vec![account.into_word()]);
        LogFilter {
            addresses: self.escrows.iter().map(|(_, escrow)| *escrow).collect(),
            topics,
            from_block: self.from_block,
            to_block: None,
        }
    }

    fn protocol(&self, escrow: Address) -> Option<SessionProtocol> {
        let mut escrows = self.escrows.iter();
        escrows.find_map(|(protocol, address)| (*address == escrow).then_some(*protocol))
    }
}

/// A channel as the chain has seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundChannel {
    /// Its terms, rebuilt from its open.
    pub terms: ChannelTerms,
    /// What the chain shows of it.
    pub view: ChannelView,
    /// How it ended; `None` while it may hold money.
    pub end: Option<ChannelEnd>,
}

/// Finds every channel of a party, the ended ones included, from the logs alone.
///
/// The state of those that live is read in batches afterwards.
///
/// # Errors
/// [`ChainError`]; nothing is returned by halves.
///
/// # Cancel safety
/// Reads only.
pub async fn find_channels(
    chain: &impl ChainClient,
    filter: &HistoryFilter,
) -> Result<Vec<FoundChannel>, ChainError> {
    let head = chain.block().await?.number;
    let (mut logs, mut reader) = (filter.logs(), LogReader::new());
    let mut found: BTreeMap<(Address, ChannelId), ChannelNews> = BTreeMap::new();
    while !logs.addresses.is_empty() && logs.from_block <= head {
        let batch = reader.read(chain, &logs, head).await?;
        for log in &batch.logs {
            let protocol = filter.protocol(log.address);
            let event = protocol.and_then(|protocol| EscrowEvent::decode(log, protocol));
            if let Some(event) = event {
                let news = found.entry((log.address, event.channel_id())).or_default();
                news.add(&event, log.tx_hash);
            }
        }
        logs.from_block = batch.last.saturating_add(1);
    }
    let rebuilt = |((escrow, id), news): ((Address, B256), ChannelNews)| {
        let terms = ChannelTerms {
            protocol: filter.protocol(escrow)?,
            chain_id: chain.chain_id(),
            escrow,
            descriptor: news.opened?,
        };
        // Another contract can not claim a channel: the id contains the escrow.
        (terms.id() == id).then_some((terms, news))
    };
    let channels = found.into_iter().filter_map(rebuilt).collect();
    read_states(chain, channels).await
}

async fn read_states(
    chain: &impl ChainClient,
    channels: Vec<(ChannelTerms, ChannelNews)>,
) -> Result<Vec<FoundChannel>, ChainError> {
    let mut found = Vec::with_capacity(channels.len());
    let mut living = Vec::new();
    for (terms, news) in channels {
        match news.end {
            Some(_) => found.push(FoundChannel {
                terms,
                view: ended(&news),
                end: news.end,
            }),
            None => living.push(terms),
        }
    }
    for terms in living.chunks(AT_ONCE) {
        let asked = terms.iter().map(|terms| ChannelRef {
            protocol: terms.protocol,
            escrow: terms.escrow,
            id: terms.id(),
        });
        let views = chain.channels(asked.collect()).await?;
        let of_page = terms.iter().zip(views).map(|(terms, view)| FoundChannel {
            terms: *terms,
            view,
            end: None,
        });
        found.extend(of_page);
    }
    Ok(found)
}

fn ended(news: &ChannelNews) -> ChannelView {
    ChannelView {
        settled: news.end.map(|end| end.settled).unwrap_or_default(),
        existence: Existence::Finalized,
        ..ChannelView::unknown()
    }
}
