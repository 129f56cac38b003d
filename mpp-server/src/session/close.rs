//! The close action: capture what was spent, refund the rest.

use std::{sync::Arc, time::Duration};

use mpp_core::Amount;
use mpp_tempo::{
    chain::{ChainClient, TxReceipt},
    channel::{ChannelId, Existence},
    escrow::EscrowEvent,
    tx::{FeeMode, SignedTx, TxContext, TxFees, build, gas},
    voucher::second_opinion,
    wire::SessionPayload,
};

use super::{
    SessionContext,
    broadcast::{Fate, refused},
    command::Command,
    machine::screen_close,
    method::Request,
    open::EXPIRY_MARGIN_SECS,
    receipt::managed,
    record::{ChannelRecord, PendingTx, Phase},
    voucher::missing_voucher,
};
use crate::{
    error::{Failure, Fault, Rejection},
    gate::Redeemed,
    settle::watch,
    store::ChannelStore,
};

/// How long a close transaction stays valid.
const CLOSE_VALIDITY: Duration = Duration::from_secs(25);

/// Pause between two looks for the receipt of a close that is under way.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

impl<S: ChannelStore> Request<'_, S> {
    /// Closes the channel with the payer's voucher and answers with the
    /// receipt that names the transaction.
    ///
    /// Repeating a close that went through gives the same answer.
    ///
    /// # Cancel safety
    /// Once the close is recorded, a task of the server follows it to its end.
    pub(super) async fn close(&self, payload: &SessionPayload) -> Result<Redeemed, Failure> {
        let channel_id = payload.channel_id();
        let context = &self.context;
        let signed = payload.voucher().ok_or_else(missing_voucher)?;
        let (record, _) = context.driver.load(channel_id).await?;
        self.check_channel(&record, payload.descriptor())?;
        let closed = match &record.phase {
            Phase::Closed { .. } => record,
            phase => {
                if !matches!(phase, Phase::Closing { .. }) {
                    screen_close(&record, &signed)?;
                    let voucher = context.verify(&record, &signed, self.visit.peer).await?;
                    self.check_close_signature(payload, &record)?;
                    context
                        .run(channel_id, Command::BeginClose(voucher))
                        .await?;
                }
                let follower = Arc::clone(context);
                context
                    .tasks
                    .run(async move { follower.follow_close(channel_id).await })
                    .await
                    .map_err(Fault::from)??
            }
        };
        let Phase::Closed {
            transaction: Some(transaction),
        } = closed.phase
        else {
            return Err(Rejection::ChannelFinalized {
                channel_id,
                why: "this channel is closed",
            }
            .into());
        };
        let challenge_id = &self.credential.challenge().id;
        let now = context.clock.now();
        let receipt = managed(&closed, challenge_id, Some(transaction), now);
        Ok(Redeemed::Managed(receipt))
    }

    /// Recent clients sign the close itself too; when they do, it must hold.
    fn check_close_signature(
        &self,
        payload: &SessionPayload,
        record: &ChannelRecord,
    ) -> Result<(), Rejection> {
        let SessionPayload::Close {
            cumulative_amount,
            close_signature: Some(signature),
            ..
        } = payload
        else {
            return Ok(());
        };
        self.context
            .verifier(record)
            .verify_close_authorization(*cumulative_amount, signature)
            .map_err(|error| Rejection::from_voucher(&error, record.id))
    }
}

impl<S: ChannelStore> SessionContext<S> {
    /// Drives a channel in [`Phase::Closing`] to its end, whoever began it.
    /// Returns the closed record.
    async fn follow_close(&self, id: ChannelId) -> Result<ChannelRecord, Failure> {
        loop {
            let (record, _) = self.driver.load(id).await?;
            match &record.phase {
                Phase::Closed { .. } => return Ok(record),
                Phase::Closing { sent: None, .. } => self.send_close(&record).await?,
                Phase::Closing {
                    sent: Some(sent), ..
                } => self.await_close(&record, *sent).await?,
                _ => return Err(refused("the close was reverted; the channel stays open")),
            }
        }
    }

    /// Signs and records the close transaction, then sends it.
    async fn send_close(&self, record: &ChannelRecord) -> Result<(), Failure> {
        let Phase::Closing {
            voucher, capture, ..
        } = &record.phase
        else {
            return Ok(());
        };
        // Money moves on this voucher: other code than took it has to agree.
        if let Err(error) = second_opinion(&record.terms, voucher) {
            tracing::error!(channel_id = %record.id, %error, "a voucher to be settled is disputed");
            self.run(record.id, Command::Dispute).await?;
            return Err(Fault::Inconsistent("the verifiers disagree about a voucher").into());
        }
        let fees = self.chain.fees().await.map_err(Fault::from)?;
        let context = TxContext {
            chain_id: record.terms.chain_id,
            now: self.clock.now(),
            valid_for: CLOSE_VALIDITY,
            valid_after: None,
            fees: TxFees {
                max_fee_per_gas: fees.max_fee_per_gas,
                max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
                gas_limit: gas::CLOSE,
            },
            fee_mode: FeeMode::SelfPaid {
                fee_token: record.terms.descriptor.token,
            },
        };
        let unsigned = build::close(&context, &record.terms, voucher, *capture)
            .map_err(|_| Fault::Inconsistent("a close transaction can not be built"))?;
        let transaction = unsigned.sign(&self.account).await.map_err(Fault::from)?;
        let sent = PendingTx {
            hash: transaction.hash(),
            valid_before: transaction.valid_before().unwrap_or(u64::MAX),
        };
        match self.run(record.id, Command::CloseSent(sent)).await {
            Ok(_) => {}
            // Another request sent its own first: follow that one.
            Err(Failure::Rejected(_)) => return Ok(()),
            Err(fault) => return Err(fault),
        }
        self.broadcast_close(record, &transaction, sent).await
    }

    async fn broadcast_close(
        &self,
        record: &ChannelRecord,
        transaction: &SignedTx,
        sent: PendingTx,
    ) -> Result<(), Failure> {
        match self.broadcast(transaction.encode()).await? {
            Fate::Succeeded(receipt) => self.confirm_close(record, &receipt).await,
            Fate::Refused(why) => {
                tracing::warn!(channel_id = %record.id, why, "a close was refused");
                self.close_failed(record, sent).await
            }
        }
    }

    /// Looks for the receipt of a close that was sent before.
    async fn await_close(&self, record: &ChannelRecord, sent: PendingTx) -> Result<(), Failure> {
        match self.chain.receipt(sent.hash).await.map_err(Fault::from)? {
            Some(receipt) if receipt.success => self.confirm_close(record, &receipt).await,
            Some(_) => self.close_failed(record, sent).await,
            None => {
                let now = u64::try_from(self.clock.now().as_secs()).unwrap_or_default();
                if now > sent.valid_before.saturating_add(EXPIRY_MARGIN_SECS) {
                    return self.close_failed(record, sent).await;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
                Ok(())
            }
        }
    }

    /// Closed only on a successful receipt with its event (SECURITY-CASES A33).
    async fn confirm_close(
        &self,
        record: &ChannelRecord,
        receipt: &TxReceipt,
    ) -> Result<(), Failure> {
        let logs = receipt
            .logs
            .iter()
            .filter(|log| log.address == record.terms.escrow);
        let settled = logs
            .filter_map(|log| EscrowEvent::decode(log, record.terms.protocol))
            .find_map(|event| match event {
                EscrowEvent::Closed {
                    channel_id,
                    settled_to_payee,
                    ..
                } if channel_id == record.id => Some(settled_to_payee),
                _ => None,
            });
        let settled: Amount = settled.ok_or(Fault::Inconsistent(
            "a close transaction succeeded without its ChannelClosed event",
        ))?;
        self.note_receipt(&record.terms, receipt);
        let closed = Command::Closed {
            transaction: receipt.hash,
            settled,
        };
        self.run(record.id, closed).await?;
        Ok(())
    }

    /// The close did not happen; the chain says where the channel stands.
    ///
    /// That is noted first: a channel that is over must not go back into
    /// service in between.
    async fn close_failed(&self, record: &ChannelRecord, sent: PendingTx) -> Result<(), Failure> {
        let view = self.view(record).await.map_err(Fault::from)?;
        if view.existence != Existence::Open {
            // How it ended, and for v2 that it ended: the event tells.
            watch::catch_up(self).await?;
        }
        let noted = self.observe(record.id, view).await?;
        let closing = matches!(noted.get().record.phase, Phase::Closing { .. });
        if closing && view.existence == Existence::Unknown {
            return Err(Fault::OutcomeUnknown.into());
        }
        let failed = Command::CloseFailed {
            transaction: sent.hash,
        };
        self.run(record.id, failed).await?;
        Ok(())
    }
}
