//! Comparing all live channels with the chain, as after a restart.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mpp_tempo::{
    chain::ChainClient,
    channel::{ChannelId, ChannelView, Existence},
};

use super::watch::{find_ends, place_of};
use crate::{
    error::{Failure, Fault},
    session::{
        OpenFate, SessionContext,
        command::Command,
        record::{ChannelRecord, Phase},
    },
    store::{ChannelStore, Scan, Which},
};

/// Channels that are read at once, from the store and from the chain.
const PAGE: usize = 256;
/// Channels that are changed at once.
const CONCURRENT: usize = 16;

/// What a comparison with the chain has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconciled {
    /// So many channels were compared.
    pub channels: u64,
    /// These are quarantined now, or were before.
    pub quarantined: Vec<ChannelId>,
    /// Of these the chain shows less than the store knows: a reorganization
    /// has taken something back, or the node lags behind. They are read again.
    pub contradicting: Vec<ChannelId>,
}

/// A comparison with what the follower needs of it.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub(crate) summary: Reconciled,
    /// Channels were found whose events were not followed until now.
    pub(crate) pairs_added: bool,
}

/// Shows every live channel the chain's view of it.
///
/// An old backup is found here: its vouchers do not explain what the chain
/// has paid out (SECURITY-CASES A28). Attempts to open that can not succeed any
/// more end here, for nobody else may ask what became of them (A34).
///
/// # Errors
/// When chain or store fail; what was compared until then is noted.
///
/// # Cancel safety
/// As an error.
pub(crate) async fn all<S: ChannelStore>(context: &SessionContext<S>) -> Result<Compared, Fault> {
    let mut compared = Compared::default();
    let (mut after, mut vanished) = (None, Vec::new());
    loop {
        let scan = Scan {
            which: Which::Live,
            after,
            limit: PAGE,
        };
        let page = context.driver.store().scan(scan).await?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.record.id);
        let records: Vec<_> = page.into_iter().map(|found| found.record).collect();
        for record in &records {
            compared.pairs_added |= context.interest.add_channel(&record.terms);
        }
        let asked = records.iter().map(|record| place_of(record)).collect();
        let views = context.chain.channels(asked).await?;
        context.reach_views(records.iter().zip(&views)).await?;
        let compare = |(record, view)| compare(context, record, view);
        let judged: Vec<_> = stream::iter(records.into_iter().zip(views))
            .map(compare)
            .buffer_unordered(CONCURRENT)
            .try_collect()
            .await?;
        let summary = &mut compared.summary;
        for (id, verdict) in judged {
            summary.channels = summary.channels.saturating_add(1);
            match verdict {
                Verdict::Agrees => {}
                Verdict::Quarantined => summary.quarantined.push(id),
                Verdict::Less => summary.contradicting.push(id),
                Verdict::Vanished => vanished.push(id),
            }
        }
    }
    for ids in vanished.chunks(PAGE) {
        let unexplained = end(context, ids).await?;
        compared.summary.contradicting.extend(unexplained);
    }
    Ok(compared)
}

/// How a record stands to what the chain shows.
enum Verdict {
    Agrees,
    Quarantined,
    /// The chain shows less.
    Less,
    /// The chain shows an empty slot, which a closed v2 channel leaves behind.
    Vanished,
}

async fn compare<S: ChannelStore>(
    context: &SessionContext<S>,
    record: Arc<ChannelRecord>,
    view: ChannelView,
) -> Result<(ChannelId, Verdict), Fault> {
    let id = record.id;
    let serving = matches!(
        record.phase,
        Phase::Open | Phase::CloseRequested { .. } | Phase::Closing { .. }
    );
    let request_is_gone = matches!(record.phase, Phase::CloseRequested { .. })
        && view.close_requested_at.is_none()
        && view.deposit == record.deposit;
    let verdict = match view.existence {
        Existence::Unknown if serving => Verdict::Vanished,
        Existence::Open
            if view.deposit < record.deposit
                || view.settled < record.settled
                || request_is_gone =>
        {
            Verdict::Less
        }
        Existence::Unknown if let Phase::Opening(open) = record.phase => {
            match context.give_up_open(&record, open).await {
                Ok(OpenFate::Opened) => Verdict::Vanished,
                Ok(_) | Err(Failure::Rejected(_)) => Verdict::Agrees,
                Err(Failure::Fault(fault)) => return Err(fault),
            }
        }
        Existence::Open | Existence::Finalized | Existence::Unknown => {
            match context.observe(id, view).await {
                Ok(observed) if is_quarantined(&observed.get().record) => Verdict::Quarantined,
                // It has gone meanwhile.
                Ok(_) | Err(Failure::Rejected(_)) => Verdict::Agrees,
                Err(Failure::Fault(fault)) => return Err(fault),
            }
        }
    };
    Ok((id, verdict))
}

fn is_quarantined(record: &ChannelRecord) -> bool {
    matches!(record.phase, Phase::Quarantined { .. })
}

/// Ends channels whose end the chain's history shows; returns the others.
async fn end<S: ChannelStore>(
    context: &SessionContext<S>,
    ids: &[ChannelId],
) -> Result<Vec<ChannelId>, Fault> {
    let watched = context.interest.snapshot();
    let mut ends = find_ends(&context.chain, &watched, ids).await?;
    if !ends.is_empty() {
        // None of them is newer than this.
        let head = context.chain.block().await.map_err(Fault::from)?;
        context.reach(head.number).await?;
    }
    let mut unexplained = Vec::new();
    for id in ids {
        let Some(command): Option<Command> = ends.remove(id) else {
            unexplained.push(*id);
            continue;
        };
        match context.run(*id, command).await {
            Ok(_) | Err(Failure::Rejected(_)) => {}
            Err(Failure::Fault(fault)) => return Err(fault),
        }
    }
    Ok(unexplained)
}
