//! Follows the chain's events, so that no voucher has to ask the chain.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy_primitives::{Address, B256};
use mpp_core::Amount;
use mpp_tempo::{
    SessionProtocol,
    chain::{ChainClient, ChainError, LogFilter},
    channel::ChannelId,
    escrow::EscrowEvent,
};

use super::reconcile;
use crate::{
    error::{Failure, Fault},
    event::ServerEvent,
    session::{SessionContext, command::Command},
    store::ChannelStore,
};

/// Which channels can concern us, and up to where their events were read.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    watched: Mutex<Watched>,
    /// The block to go on from; nobody reads events twice at a time.
    next_block: tokio::sync::Mutex<Option<u64>>,
}

#[derive(Clone, Debug, Default)]
struct Watched {
    payees: BTreeSet<Address>,
    escrows: BTreeMap<Address, SessionProtocol>,
}

impl Interest {
    /// Adds the channels of one more offer.
    pub(crate) fn add(&self, payee: Address, escrow: Address, protocol: SessionProtocol) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.payees.insert(payee);
        watched.escrows.insert(escrow, protocol);
    }

    fn snapshot(&self) -> Watched {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.clone()
    }
}

/// Polls for events of our channels and passes them on as facts, for ever.
///
/// Before that it compares all live channels with the chain once.
///
/// Two calls per poll when there are new blocks, one when there are none.
pub(crate) async fn follow<S: ChannelStore>(context: Arc<SessionContext<S>>, every: Duration) {
    let mut reconciled = false;
    loop {
        let noted = async {
            catch_up(&context).await?;
            // Events since the start are noted before, so none is missed.
            if !reconciled {
                reconcile::all(&context).await?;
                reconciled = true;
            }
            Ok(())
        };
        if let Err(fault) = noted.await {
            tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "the chain's events could not be noted; trying again"
            );
            if matches!(fault, Fault::Chain(_)) {
                context.events.send(ServerEvent::ChainUnreadable);
            }
        }
        tokio::time::sleep(every).await;
    }
}

/// Reads the events since the last time and takes note of them.
///
/// # Errors
/// When chain or store fail; the same events are read again next time.
///
/// # Cancel safety
/// Dropped, the same events are read again; noting them twice is harmless.
pub(crate) async fn catch_up<S: ChannelStore>(context: &SessionContext<S>) -> Result<(), Fault> {
    let mut next_block = context.interest.next_block.lock().await;
    let head = context.chain.block().await?.number;
    let from_block = next_block.unwrap_or(head);
    if from_block <= head {
        for event in events(context, from_block, head).await? {
            match note(context, event).await {
                // Not one of ours, or not served any more.
                Ok(()) | Err(Failure::Rejected(_)) => {}
                Err(Failure::Fault(fault)) => return Err(fault),
            }
        }
    }
    *next_block = Some(from_block.max(head.saturating_add(1)));
    Ok(())
}

/// Something that happened to a channel on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum News {
    /// It changed; its state tells how.
    Changed(ChannelId),
    /// It is over. The state of a v2 channel is deleted then, so the event is
    /// what proves it.
    Closed {
        channel_id: ChannelId,
        transaction: B256,
        settled: Amount,
    },
}

async fn note<S: ChannelStore>(context: &SessionContext<S>, news: News) -> Result<(), Failure> {
    match news {
        News::Changed(channel_id) => context.refresh_channel(channel_id).await,
        News::Closed {
            channel_id,
            transaction,
            settled,
        } => {
            let closed = Command::Closed {
                transaction,
                settled,
            };
            context.run(channel_id, closed).await.map(drop)
        }
    }
}

async fn events<S: ChannelStore>(
    context: &SessionContext<S>,
    from_block: u64,
    head: u64,
) -> Result<BTreeSet<News>, ChainError> {
    let watched = context.interest.snapshot();
    if watched.payees.is_empty() {
        return Ok(BTreeSet::new());
    }
    // Topic 3 of every escrow event is the payee.
    let payees = watched
        .payees
        .iter()
        .map(|payee| payee.into_word())
        .collect();
    let filter = LogFilter {
        addresses: watched.escrows.keys().copied().collect(),
        topics: vec![Vec::new(), Vec::new(), Vec::new(), payees],
        from_block,
        to_block: Some(head),
    };
    let logs = context.chain.logs(filter).await?;
    let news = logs.iter().filter_map(|log| {
        let protocol = *watched.escrows.get(&log.address)?;
        Some(match (EscrowEvent::decode(log, protocol)?, log.tx_hash) {
            (
                EscrowEvent::Closed {
                    channel_id,
                    settled_to_payee,
                    ..
                },
                Some(transaction),
            ) => News::Closed {
                channel_id,
                transaction,
                settled: settled_to_payee,
            },
            (event, _) => News::Changed(event.channel_id()),
        })
    });
    Ok(news.collect())
}
