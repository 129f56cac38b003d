//! Comparing all live channels with the chain, as after a restart.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mpp_tempo::channel::ChannelId;

use crate::{
    error::{Failure, Fault},
    session::{
        SessionContext,
        record::{ChannelRecord, Phase},
    },
    store::{ChannelStore, Scan, Versioned, Which},
};

/// Channels that are read from the store at once.
const PAGE: usize = 256;
/// Channels that are read from the chain at once.
const CONCURRENT: usize = 16;

/// What a comparison with the chain has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// So many channels were compared.
    pub channels: u64,
    /// These are quarantined now, or were before.
    pub quarantined: Vec<ChannelId>,
}

/// Shows every live channel the chain's view of it.
///
/// An old backup is found here: its vouchers do not explain what the chain
/// has paid out (SECURITY-CASES A28).
///
/// # Errors
/// When chain or store fail; what was compared until then is noted.
///
/// # Cancel safety
/// As an error.
pub(crate) async fn all<S: ChannelStore>(context: &SessionContext<S>) -> Result<Reconciled, Fault> {
    let mut found = Reconciled::default();
    let mut after = None;
    loop {
        let scan = Scan {
            which: Which::Live,
            after,
            limit: PAGE,
        };
        let page = context.driver.store().scan(scan).await?;
        let Some(last) = page.last() else {
            return Ok(found);
        };
        after = Some(last.record.id);
        let compared = stream::iter(page)
            .map(|channel| compare(context, channel))
            .buffer_unordered(CONCURRENT)
            .try_collect::<Vec<_>>()
            .await?;
        for record in compared.into_iter().flatten() {
            found.channels = found.channels.saturating_add(1);
            if matches!(record.phase, Phase::Quarantined { .. }) {
                found.quarantined.push(record.id);
            }
        }
    }
}

async fn compare<S: ChannelStore>(
    context: &SessionContext<S>,
    channel: Versioned,
) -> Result<Option<ChannelRecord>, Fault> {
    let record = channel.record;
    let view = context.view(&record).await?;
    match context.observe(record.id, view).await {
        Ok(observed) => Ok(Some(observed.into_inner().record)),
        // It has gone meanwhile.
        Err(Failure::Rejected(_)) => Ok(None),
        Err(Failure::Fault(fault)) => Err(fault),
    }
}
