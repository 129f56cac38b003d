//! Channels that were closed lately: a reorganization may have taken that back.
//!
//! Whoever reads live channels does not see them. So each close is noted beside
//! the records before it is believed, and for a while the chain is asked whether
//! it still shows the channel closed: when a server starts, and when it meets a
//! reorganization that goes deeper than what counts as final.

use std::collections::BTreeSet;

use alloy_primitives::B256;
use mpp_core::Timestamp;
use mpp_tempo::{
    chain::ChainClient,
    channel::{ChannelId, ChannelView, Existence},
};
use serde::{Deserialize, Serialize};

use super::place::place_of;
use crate::{
    charge::desk::write,
    error::{Failure, Fault},
    random::random,
    session::{
        SessionContext,
        command::Command,
        record::{ChannelRecord, Phase},
    },
    store::{
        ChannelStore, DocumentKey, DocumentKind, DocumentPage, StoreFault, codec::decode_document,
    },
};

/// Notes that are looked at together.
const PAGE: usize = 256;

/// A channel that was closed, or was about to be. The order of members is the
/// stored form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ended {
    channel: [u8; 32],
    /// Milliseconds since 1970.
    at: i64,
}

/// How far a comparison of closed channels has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    after: Option<B256>,
}

/// What one page of a round has shown.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Closed for the store, and open on chain.
    pub(super) reverted: Vec<ChannelId>,
    /// Where the round goes on; `None`: it is over.
    pub(super) next: Option<Round>,
}

impl Round {
    /// Compares the next channels with the chain.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(super) async fn page<S: ChannelStore>(
        self,
        context: &SessionContext<S>,
    ) -> Result<Page, Fault> {
        let store = context.driver.store();
        let page = DocumentPage {
            kind: DocumentKind::Ended,
            after: self.after,
            limit: PAGE,
        };
        let found = store.documents(page).await?;
        let last = found.last().map(|(id, _)| *id);
        let next = last.filter(|_| found.len() == PAGE);
        let since = context.sight.closed_since(context.clock.now());
        let mut channels = BTreeSet::new();
        for (_, document) in &found {
            let ended = decode(&document.value)?;
            if since.is_some_and(|since| ended.at >= since.as_millis()) {
                channels.insert(ChannelId::from(ended.channel));
            }
        }
        let mut closed = Vec::with_capacity(channels.len());
        for id in channels {
            let found = store.load(id).await?.map(|found| found.record);
            closed.extend(found.filter(|record| is_closed(record)));
        }
        let reverted = if closed.is_empty() {
            Vec::new()
        } else {
            let views = context
                .chain
                .channels(closed.iter().map(|record| place_of(record)).collect());
            let shown = closed.iter().zip(views.await?);
            let open = shown.filter(|(_, view)| view.existence == Existence::Open);
            // From here on its events count again.
            open.inspect(|(record, _)| {
                context.interest.add_channel(&record.terms);
            })
            .map(|(record, _)| record.id)
            .collect()
        };
        Ok(Page {
            reverted,
            next: next.map(|after| Self { after: Some(after) }),
        })
    }
}

impl<S: ChannelStore> SessionContext<S> {
    /// Notes that a channel is about to be closed by this command, if it is.
    ///
    /// # Cancel safety
    /// Dropped, it is noted or not, and the channel is not closed yet. A note too
    /// many does no harm.
    pub(crate) async fn note_end(&self, id: ChannelId, command: &Command) -> Result<(), Failure> {
        if !may_end(command) {
            return Ok(());
        }
        let (record, _) = self.driver.load(id).await?;
        if is_closed(&record) {
            return Ok(());
        }
        let ended = Ended {
            channel: id.0,
            at: self.clock.now().as_millis(),
        };
        // Random: ids of documents are not used again.
        let key = DocumentKey {
            kind: DocumentKind::Ended,
            id: B256::from(random::<[u8; 32]>()),
        };
        let writes = vec![write(key, None, &ended)?];
        self.driver.store().write_documents(writes).await?;
        Ok(())
    }
}

fn may_end(command: &Command) -> bool {
    let is_end = |view: &ChannelView| view.existence == Existence::Finalized;
    match command {
        Command::Closed { .. } => true,
        Command::Observe(view) | Command::Reorged(view) => is_end(view),
        _ => false,
    }
}

/// Whether nothing on chain counts for the channel any more.
pub(super) fn is_closed(record: &ChannelRecord) -> bool {
    matches!(record.phase, Phase::Closed { .. })
}

/// Whether the note of a closed channel was made before a moment.
pub(crate) fn has_ended(bytes: &[u8], before: Timestamp) -> bool {
    // What can not be read is not thrown away.
    decode(bytes).is_ok_and(|ended| ended.at < before.as_millis())
}

fn decode(bytes: &[u8]) -> Result<Ended, StoreFault> {
    Ok(decode_document(DocumentKind::Ended, bytes)?)
}
