//! Bringing a refund to its end, whoever began it.

use std::{sync::Arc, time::Duration};

use mpp_core::Timestamp;
use mpp_tempo::{
    chain::{ChainClient, TxReceipt},
    tx::{FeeMode, SignedTx, TxContext, TxFees, build, build::Transfer, gas},
};

use super::{RefundDocument, RefundError, RefundState};
use crate::{
    broadcast::{Fate, Sending, Sighting, broadcast, look_up},
    charge::{
        ChargeContext,
        desk::{self, Found},
        machine::undo_refund,
        record::{ChargeDocument, SentTx},
    },
    error::Fault,
    event::ServerEvent,
    random::random,
    store::{ChannelStore, DocumentKind, DocumentPage, Version, Written, codec::decode_document},
};

/// How long the transaction of a refund stays valid.
const VALIDITY: Duration = Duration::from_secs(25);
/// Refunds that are read from the store at once.
const PAGE: usize = 256;

/// Finishes the refunds that a crash has interrupted, once their leases have
/// lapsed.
pub(crate) async fn finish_refunds<S: ChannelStore>(context: Arc<ChargeContext<S>>) {
    tokio::time::sleep(context.lease_time()).await;
    if let Err(error) = context.finish_all().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "interrupted refunds could not be finished; the next call for them will"
        );
    }
}

impl<S: ChannelStore> ChargeContext<S> {
    /// Finishes all refunds that nobody works on.
    ///
    /// # Cancel safety
    /// Each is finished or not; the next look finds the rest.
    pub(crate) async fn finish_all(&self) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let page = DocumentPage {
                kind: DocumentKind::Refund,
                after,
                limit: PAGE,
            };
            let page = self.desk.store().documents(page).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(*last);
            for (_, document) in page {
                let found = Found {
                    version: document.version,
                    value: decode_document::<RefundDocument>(DocumentKind::Refund, &document.value)
                        .map_err(crate::store::StoreFault::from)?,
                };
                if found.value.state.is_over() {
                    continue;
                }
                match self.finish_refund(found).await {
                    Ok(_) | Err(RefundError::InProgress | RefundError::Failed(_)) => {}
                    Err(RefundError::Fault(fault)) => return Err(fault),
                    Err(error) => tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a refund can not be finished"
                    ),
                }
            }
        }
    }

    /// Goes on with a refund where it stands; returns it once the chain shows it.
    pub(super) async fn finish_refund(
        &self,
        found: Found<RefundDocument>,
    ) -> Result<RefundDocument, RefundError> {
        let now = self.clock.now();
        let leased = found.value.state.leased_until();
        if leased.is_some_and(|until| now < until) {
            return Err(RefundError::InProgress);
        }
        match found.value.state.clone() {
            RefundState::Begun { .. } => self.send_refund(found).await,
            RefundState::Sent { sent, .. } => self.resolve_refund(found, sent).await,
            RefundState::Paid { .. } => Ok(found.value),
            RefundState::Failed => Err(RefundError::Failed(String::from("it was never mined"))),
        }
    }

    /// Signs the transaction, records it, and sends it.
    async fn send_refund(
        &self,
        found: Found<RefundDocument>,
    ) -> Result<RefundDocument, RefundError> {
        let sent = SentTx::of(&self.sign_refund(&found.value).await?);
        let sending = self.refund_sent(found, sent.clone()).await?;
        self.follow_refund(sending, sent, Sending::First).await
    }

    async fn sign_refund(&self, refund: &RefundDocument) -> Result<SignedTx, RefundError> {
        let fees = self.chain.fees().await.map_err(Fault::from)?;
        let now = self.clock.now();
        let context = TxContext {
            chain_id: self.chain.chain_id(),
            now,
            valid_for: VALIDITY,
            fees: TxFees {
                max_fee_per_gas: fees.max_fee_per_gas,
                max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
                gas_limit: gas::TRANSFER,
            },
            fee_mode: FeeMode::SelfPaid {
                fee_token: refund.currency,
            },
            // Two equal refunds of one moment must not be one transaction.
            valid_after: Some(past(now)),
        };
        let transfer = Transfer {
            token: refund.currency,
            to: refund.payer,
            amount: refund.amount,
            memo: Some(refund.memo),
        };
        let unsigned = build::transfer(&context, &[transfer])
            .map_err(|_| Fault::Inconsistent("a refund can not be built"))?;
        Ok(unsigned.sign(&self.account).await.map_err(Fault::from)?)
    }

    /// Finds out what became of a transaction that was left alone, and sends
    /// it again while it can still be mined.
    async fn resolve_refund(
        &self,
        found: Found<RefundDocument>,
        sent: SentTx,
    ) -> Result<RefundDocument, RefundError> {
        let now = self.clock.now();
        match look_up(&self.chain, sent.hash, sent.valid_before, now).await? {
            Sighting::Mined(receipt) => self.end_refund(found, &receipt).await,
            Sighting::Never => self.fail_refund(found, "it was never mined").await,
            Sighting::NotYet => {
                let sending = self.refund_sent(found, sent.clone()).await?;
                self.follow_refund(sending, sent, Sending::Again).await
            }
        }
    }

    /// Takes the lease of a transaction that is about to be sent.
    async fn refund_sent(
        &self,
        found: Found<RefundDocument>,
        sent: SentTx,
    ) -> Result<Found<RefundDocument>, RefundError> {
        let until = self.lease(self.clock.now());
        let state = RefundState::Sent { sent, until };
        self.put_refund(found, state).await
    }

    async fn follow_refund(
        &self,
        found: Found<RefundDocument>,
        sent: SentTx,
        sending: Sending,
    ) -> Result<RefundDocument, RefundError> {
        let receipt = match broadcast(&self.chain, sent.raw.clone()).await {
            Ok(Fate::Succeeded(receipt) | Fate::Reverted(receipt)) => Ok(Some(receipt)),
            Ok(Fate::Refused(_)) => self.chain.receipt(sent.hash).await.map_err(Fault::from),
            Err(fault) => Err(fault),
        };
        match (receipt, sending) {
            (Ok(Some(receipt)), _) => self.end_refund(found, &receipt).await,
            (Ok(None), Sending::First) => self.fail_refund(found, "the node refused it").await,
            // It may be refused because it was mined: only its expiry tells.
            (Ok(None), Sending::Again) => {
                self.leave_refund(found, sent).await?;
                Err(Fault::OutcomeUnknown.into())
            }
            (Err(fault), _) => {
                self.leave_refund(found, sent).await?;
                Err(fault.into())
            }
        }
    }

    /// Gives the lease back: whoever looks next may go on.
    async fn leave_refund(
        &self,
        found: Found<RefundDocument>,
        sent: SentTx,
    ) -> Result<(), RefundError> {
        let until = self.clock.now();
        let state = RefundState::Sent { sent, until };
        self.put_refund(found, state).await.map(drop)
    }

    async fn end_refund(
        &self,
        found: Found<RefundDocument>,
        receipt: &TxReceipt,
    ) -> Result<RefundDocument, RefundError> {
        if !receipt.success {
            return self
                .fail_refund(found, "the transaction was reverted")
                .await;
        }
        let (hash, at) = (receipt.hash, self.clock.now());
        let ended = self
            .put_refund(found, RefundState::Paid { hash, at })
            .await?;
        let refund = ended.value;
        self.events.send(ServerEvent::Refunded {
            challenge_id: refund.challenge_id.clone(),
            amount: refund.amount,
            transaction: hash,
        });
        Ok(refund)
    }

    /// Ends a refund that is certain not to have happened: its amount may be
    /// sent back another time.
    async fn fail_refund(
        &self,
        found: Found<RefundDocument>,
        why: &str,
    ) -> Result<RefundDocument, RefundError> {
        let mut refund = found.value;
        refund.state = RefundState::Failed;
        loop {
            let charge = self.load_charge(refund.charge()).await?;
            let next = undo_refund(&charge.value, refund.amount);
            let key = next.id().key();
            let charge_write = desk::write(
                key,
                Some(charge.version),
                &ChargeDocument::Record(Box::new(next)),
            )?;
            let writes = vec![
                desk::write(refund.key(), Some(found.version), &refund)?,
                charge_write,
            ];
            if self.desk.store().write_documents(writes).await? == Written::Done {
                return Err(RefundError::Failed(String::from(why)));
            }
            // Either the charge has changed, or somebody else ended the refund.
            let current: Option<Found<RefundDocument>> =
                desk::find(self.desk.store(), refund.key()).await?;
            if current.is_none_or(|current| current.version != found.version) {
                return Err(RefundError::InProgress);
            }
        }
    }

    /// Makes the next state durable; another writer has the word if there is
    /// one.
    async fn put_refund(
        &self,
        found: Found<RefundDocument>,
        state: RefundState,
    ) -> Result<Found<RefundDocument>, RefundError> {
        let mut next = found.value;
        next.state = state;
        let write = desk::write(next.key(), Some(found.version), &next)?;
        match self.desk.store().write_documents(vec![write]).await? {
            Written::Conflict => Err(RefundError::InProgress),
            Written::Done => Ok(Found {
                version: Version(found.version.0.saturating_add(1)),
                value: next,
            }),
        }
    }
}

/// A random moment in the past, in Unix seconds.
fn past(now: Timestamp) -> u64 {
    let now = u64::try_from(now.as_secs()).unwrap_or_default();
    random::<u64>().checked_rem(now).unwrap_or_default().max(1)
}
