//! Finding the server's channels again when the store has lost them.

use std::collections::BTreeSet;

use mpp_core::Amount;
use mpp_tempo::{
    ChannelTerms,
    chain::{ChainClient, FoundChannel, HistoryFilter, Party, find_channels},
    channel::{ChannelId, ChannelView, Existence},
};

use crate::{
    error::{Failure, Fault},
    session::{
        SessionContext,
        command::Command,
        driver::Created,
        record::{ChannelRecord, Phase},
    },
    store::ChannelStore,
};

/// What to do with channels that the chain shows and the store does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescue {
    /// Only tell of them.
    Look,
    /// Take them into the store, out of service until a voucher shows what was
    /// used of them ([`Adoption`]) or an operator reinstates them.
    Adopt,
}

/// What brings a channel into service that was found on chain and not in the
/// store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adoption {
    /// An operator, with [`PaymentServer::reinstate`](crate::PaymentServer::reinstate).
    #[default]
    Operator,
    /// Its payer, with a voucher for at least what was paid out. Everything it
    /// has authorized before the request counts as spent: that is how clients
    /// account that authorize what they order.
    Voucher,
}

/// A channel of this server as the chain and the store know it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rescued {
    /// The channel.
    pub channel_id: ChannelId,
    /// Its terms, rebuilt from its open.
    pub terms: ChannelTerms,
    /// What the chain shows.
    pub view: ChannelView,
    /// What the store knows.
    pub standing: Standing,
}

/// What the store knows of a channel that is on chain.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It is in the store.
    Known {
        /// In this phase.
        phase: Box<Phase>,
        /// What can still be settled, in base units.
        unsettled: Amount,
    },
    /// It was missing and is in the store now.
    Adopted,
    /// It is missing.
    Missing,
}

/// Goes through all channels that pay this server and may hold money.
///
/// # Errors
/// When chain or store fail; what was adopted until then is kept.
///
/// # Cancel safety
/// As an error; repeating is harmless.
pub(crate) async fn rescue<S: ChannelStore>(
    context: &SessionContext<S>,
    how: Rescue,
) -> Result<Vec<Rescued>, Fault> {
    let chain_id = context.chain.chain_id();
    let watched = context.interest.snapshot();
    let payees: BTreeSet<_> = watched.pairs().map(|pair| pair.payee).collect();
    let escrows: BTreeSet<_> = watched
        .pairs()
        .filter_map(|pair| Some((watched.protocol(pair.escrow)?, pair.escrow)))
        .collect();
    let mut rescued = Vec::new();
    for payee in payees {
        let filter = HistoryFilter {
            escrows: escrows.iter().copied().collect(),
            ..HistoryFilter::all(Party::Payee(payee), chain_id)
        };
        let all = find_channels(&context.chain, &filter).await?;
        // No view of them is newer than this.
        let head = context.chain.block().await.map_err(Fault::from)?;
        context.reach(head.number).await?;
        for found in all {
            rescued.extend(compare(context, &found, how).await?);
        }
    }
    Ok(rescued)
}

async fn compare<S: ChannelStore>(
    context: &SessionContext<S>,
    found: &FoundChannel,
    how: Rescue,
) -> Result<Option<Rescued>, Fault> {
    let (id, view) = (found.terms.id(), found.view);
    let known = context.driver.store().load(id).await?;
    let standing = match known.map(|known| known.record) {
        Some(record) => {
            if record.is_live() {
                note(context, found).await?;
            } else if view.existence == Existence::Open {
                // A close may have been taken back: the follower looks into it.
                context.interest.doubt(id);
            }
            known_as(&record)
        }
        None if view.existence != Existence::Open => return Ok(None),
        None if how == Rescue::Look => Standing::Missing,
        None => {
            let record = ChannelRecord::adopted(found.terms, &view, context.clock.now());
            match context.driver.create(record.clone()).await?.into_inner() {
                Created::Now => {
                    context.resolver.opened(&record);
                    tracing::info!(channel_id = %id, "a channel was found on chain and adopted");
                    Standing::Adopted
                }
                Created::Before(record) => known_as(&record),
            }
        }
    };
    let rescued = Rescued {
        channel_id: id,
        terms: found.terms,
        view,
        standing,
    };
    Ok((view.existence == Existence::Open).then_some(rescued))
}

fn known_as(record: &ChannelRecord) -> Standing {
    Standing::Known {
        phase: Box::new(record.phase.clone()),
        unsettled: record.spent.saturating_sub(record.settled),
    }
}

async fn note<S: ChannelStore>(
    context: &SessionContext<S>,
    found: &FoundChannel,
) -> Result<(), Fault> {
    let closed = found.end.and_then(|end| {
        Some(Command::Closed {
            transaction: end.transaction?,
            settled: end.settled,
        })
    });
    let command = closed.unwrap_or(Command::Observe(found.view));
    match context.run(found.terms.id(), command).await {
        Ok(_) | Err(Failure::Rejected(_)) => Ok(()),
        Err(Failure::Fault(fault)) => Err(fault),
    }
}

#[cfg(test)]
mod tests;
