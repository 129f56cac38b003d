//! Follows the chain's events, so that no voucher has to ask the chain.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy_primitives::Address;
use mpp_tempo::{
    SessionProtocol,
    chain::{ChainClient, ChainError, LogFilter},
    channel::ChannelId,
    escrow::EscrowEvent,
};

use crate::{
    error::{Failure, Fault},
    event::ServerEvent,
    session::SessionContext,
    store::ChannelStore,
};

/// Which channels can concern us: whom they pay and where they live.
#[derive(Debug, Default)]
pub(crate) struct Interest(Mutex<Watched>);

#[derive(Clone, Debug, Default)]
struct Watched {
    payees: BTreeSet<Address>,
    escrows: BTreeMap<Address, SessionProtocol>,
}

impl Interest {
    /// Adds the channels of one more offer.
    pub(crate) fn add(&self, payee: Address, escrow: Address, protocol: SessionProtocol) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.payees.insert(payee);
        watched.escrows.insert(escrow, protocol);
    }

    fn snapshot(&self) -> Watched {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.clone()
    }
}

/// Polls for events of our channels and passes them on as facts, for ever.
///
/// Two calls per poll when there are new blocks, one when there are none.
pub(crate) async fn follow<S: ChannelStore>(context: Arc<SessionContext<S>>, every: Duration) {
    let mut next_block = None;
    loop {
        match poll(&context, next_block).await {
            Ok(next) => next_block = Some(next),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the chain could not be read; trying again"
                );
                context.events.send(ServerEvent::ChainUnreadable);
            }
        }
        tokio::time::sleep(every).await;
    }
}

/// Reads events from `next_block` on and returns the block to go on from.
async fn poll<S: ChannelStore>(
    context: &SessionContext<S>,
    next_block: Option<u64>,
) -> Result<u64, Fault> {
    let head = context.chain.block().await?.number;
    let from_block = next_block.unwrap_or(head);
    let after_head = head.saturating_add(1);
    if from_block > head {
        return Ok(after_head.max(from_block));
    }
    let watched = context.interest.snapshot();
    if watched.payees.is_empty() {
        return Ok(after_head);
    }
    for channel in changed_channels(context, &watched, from_block, head).await? {
        match context.refresh_channel(channel).await {
            Ok(()) | Err(Failure::Rejected(_)) => {}
            Err(Failure::Fault(fault)) => return Err(fault),
        }
    }
    Ok(after_head)
}

async fn changed_channels<S: ChannelStore>(
    context: &SessionContext<S>,
    watched: &Watched,
    from_block: u64,
    head: u64,
) -> Result<BTreeSet<ChannelId>, ChainError> {
    // topic 3 of every escrow event is the payee.
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
    let events = logs.iter().filter_map(|log| {
        let protocol = *watched.escrows.get(&log.address)?;
        EscrowEvent::decode(log, protocol)
    });
    Ok(events.map(|event| event.channel_id()).collect())
}
