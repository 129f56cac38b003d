//! Forgets what nobody may ask for any more: responses, and charges that were
//! never paid (`unpaid.rs`).
//!
//! Nothing else of a charge that was paid is removed. Its record is the line of
//! the books that there is of it, refunds are counted in it, and the notes that
//! point to it say that a transaction has paid.

use std::{sync::Arc, time::Duration};

use alloy_primitives::B256;

use super::{
    ChargeContext,
    desk::Found,
    machine::{ChargeCommand, is_over},
    record::{ChargeDocument, ChargeRecord, ChargeState},
};
use crate::{
    error::{Failure, Fault},
    store::{ChannelStore, DocumentKind, DocumentPage, codec::decode_document},
    sweep::CLOCKS_DIFFER,
};

/// Documents that are looked at together.
const PAGE: usize = 256;
/// Between two pages.
const EVERY: Duration = Duration::from_secs(10);
/// Between the end and the next beginning.
const AGAIN: Duration = Duration::from_secs(10 * 60);

/// Goes through all charges, page by page, for as long as the server runs.
/// Harmless when several servers of a store do so.
pub(crate) async fn forget_ended<S: ChannelStore>(context: Arc<ChargeContext<S>>) {
    let mut after = None;
    loop {
        let pause = if after.is_some() { EVERY } else { AGAIN };
        tokio::time::sleep(pause).await;
        match context.forget_page(after).await {
            Ok(page) => {
                after = page.last;
                // The chain may be out of reach, and the next round asks again.
                if let Err(fault) = context.remove_unpaid(page.unpaid).await {
                    tracing::warn!(
                        error = &fault as &dyn std::error::Error,
                        "charges that were never paid could not be removed; trying again"
                    );
                }
            }
            Err(fault) => tracing::warn!(
                error = &fault as &dyn std::error::Error,
                "responses that have ended could not be forgotten; trying again"
            ),
        }
    }
}

/// What was seen on a page of charges.
struct Page {
    /// The last id, unless it was the end.
    last: Option<B256>,
    /// Those that were not paid, and can not be any more.
    unpaid: Vec<Found<ChargeRecord>>,
}

impl<S: ChannelStore> ChargeContext<S> {
    /// Looks at the charges after an id, and forgets responses.
    ///
    /// # Cancel safety
    /// Each response is forgotten or not.
    async fn forget_page(&self, after: Option<B256>) -> Result<Page, Fault> {
        let now = self.clock.now();
        let ended = now.checked_sub(CLOCKS_DIFFER).unwrap_or(now);
        let (kind, limit) = (DocumentKind::Charge, PAGE);
        let page = DocumentPage { kind, after, limit };
        let found = self.desk.store().documents(page).await?;
        let mut unpaid = Vec::new();
        for (_, document) in &found {
            // What can not be read is reported to whoever needs it.
            let Ok(ChargeDocument::Record(record)) = decode_document(kind, &document.value) else {
                continue;
            };
            if has_response(&record) {
                let forgotten = self.desk.run(record.id(), ChargeCommand::Forget, ended);
                match forgotten.await {
                    Ok(_) | Err(Failure::Rejected(_)) => {}
                    Err(Failure::Fault(fault)) => return Err(fault),
                }
            } else if is_over(&record, ended) {
                unpaid.push(Found {
                    version: document.version,
                    value: *record,
                });
            }
        }
        let last = found.last().map(|(id, _)| *id);
        let last = last.filter(|_| found.len() == PAGE);
        Ok(Page { last, unpaid })
    }
}

fn has_response(record: &ChargeRecord) -> bool {
    let response = match &record.state {
        ChargeState::Served { response, .. } => response,
        _ => return false,
    };
    response.is_some()
}
