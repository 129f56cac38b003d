//! The topUp action: more deposit, credited only when the chain shows it.

use std::sync::Arc;

use alloy_primitives::{B256, Bytes};
use mpp_core::Amount;
use mpp_tempo::{
    channel::{ChannelTerms, ChannelView, Existence},
    escrow::EscrowEvent,
    tx::check,
    wire::SessionPayload,
};

use super::{
    SessionContext,
    method::Request,
    open::read_transaction,
    prepare::{Prepared, reason, refused},
    receipt::managed,
    record::{Phase, Quarantine},
};
use crate::{
    broadcast::Fate,
    error::{Failure, Fault, Rejection},
    gate::Redeemed,
    store::ChannelStore,
    trial::Trial,
};

impl<S: ChannelStore> Request<'_, S> {
    /// Adds to the deposit with the payer's signed transaction.
    ///
    /// Repeating a top-up is harmless: the deposit is set to what the event
    /// of the one transaction says, not added to.
    ///
    /// # Cancel safety
    /// Once sent, a task of the server follows the transaction to its end.
    pub(super) async fn top_up(&self, payload: &SessionPayload) -> Result<Redeemed, Failure> {
        let channel_id = payload.channel_id();
        let context = &self.context;
        let (record, _) = context.driver.load(channel_id).await?;
        self.check_channel(&record, payload.descriptor())?;
        // A top-up cancels a close request (PROTOCOL 5.3), so it is welcome then.
        match record.phase {
            Phase::Open | Phase::CloseRequested { .. } => {}
            // It makes good what a reorganization has taken back.
            Phase::Quarantined {
                reason: Quarantine::DepositReverted,
                ..
            } => {}
            Phase::Opening(_) | Phase::Failed => {
                return Err(Rejection::ChannelNotFound { channel_id }.into());
            }
            Phase::Quarantined { .. } => {
                return Err(Rejection::Quarantined { channel_id }.into());
            }
            Phase::Closing { .. } | Phase::Closed { .. } => {
                return Err(Rejection::ChannelFinalized {
                    channel_id,
                    why: "this channel is closed or being closed",
                }
                .into());
            }
        }
        let transaction = read_transaction(payload)?;
        let call = check::top_up(&transaction, &record.terms)
            .map_err(|error| refused(&error.to_string()))?;
        let SessionPayload::TopUp {
            additional_deposit, ..
        } = payload
        else {
            return Err(refused("the payload is not a top-up"));
        };
        if call.additional != *additional_deposit {
            return Err(refused("`additionalDeposit` is not the transaction's"));
        }
        if call.additional.is_zero() {
            return Err(Rejection::InvalidPayload(String::from("the top-up adds nothing")).into());
        }
        // Its bytes are public once it was mined: whoever shows those again, when they are valid
        // no more, takes nothing from who has signed them.
        if transaction.needs_fee_payer() {
            self.sponsor_of(&transaction)?;
        }
        let trial = self.admit(&transaction, call.additional).await?;
        let prepared = self.prepare(transaction, call.additional).await;
        let Prepared {
            transaction,
            sponsored,
        } = trial.counted(prepared)?;
        let follower = Arc::clone(context);
        let (terms, raw) = (record.terms, transaction.encode());
        // Counted there, since a client that has gone counts, too.
        let work = async move { follower.follow_top_up(terms, raw, sponsored, trial).await };
        context.tasks.run(work).await.map_err(Fault::from)??;
        let (record, _) = context.driver.load(channel_id).await?;
        let challenge_id = &self.credential.challenge().id;
        let receipt = managed(&record, challenge_id, None, context.clock.now());
        Ok(Redeemed::Managed(receipt))
    }
}

impl<S: ChannelStore> SessionContext<S> {
    async fn follow_top_up(
        &self,
        terms: ChannelTerms,
        raw: Bytes,
        sponsored: Option<B256>,
        trial: Trial,
    ) -> Result<(), Failure> {
        let id = terms.id();
        let sent = self.broadcast(raw, sponsored).await;
        let receipt = match trial.counted(sent.map_err(Failure::from))? {
            Fate::Succeeded(receipt) => receipt,
            // It has had its price, and anybody can show it again.
            fate @ Fate::Reverted(_) => return Err(refused(&reason(fate))),
            fate @ Fate::Refused(_) => return trial.counted(Err(refused(&reason(fate)))),
        };
        self.note_receipt(&terms, &receipt).await?;
        let logs = receipt
            .logs
            .iter()
            .filter(|log| log.address == terms.escrow);
        let deposit = logs
            .filter_map(|log| EscrowEvent::decode(log, terms.protocol))
            .find_map(|event| match event {
                EscrowEvent::TopUp {
                    channel_id,
                    new_deposit,
                    ..
                } if channel_id == id => Some(new_deposit),
                _ => None,
            });
        let view = ChannelView {
            deposit: deposit.ok_or(Fault::Inconsistent(
                "a top-up transaction succeeded without its TopUp event",
            ))?,
            settled: Amount::ZERO,
            close_requested_at: None,
            existence: Existence::Open,
        };
        let noted = self.observe(id, view).await;
        self.believed(id, noted).map(drop)
    }
}
