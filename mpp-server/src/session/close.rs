//! The close action: capture what was spent, refund the rest.

use std::{sync::Arc, time::Duration};

use mpp_tempo::{channel::ChannelId, wire::SessionPayload};

use super::{
    SessionContext,
    command::Command,
    machine::screen_close,
    method::Request,
    prepare::refused,
    receipt::managed,
    record::{ChannelRecord, Phase},
    voucher::missing_voucher,
};
use crate::{
    error::{Failure, Fault, Rejection},
    gate::Redeemed,
    settle::{
        Reason,
        outbox::{
            Driven, Guard, Tracked,
            effect::{Effect, Item, State},
        },
    },
    store::ChannelStore,
};

/// Pause between two looks at a close that is under way.
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
        let is_begun = matches!(record.phase, Phase::Closing { .. } | Phase::Closed { .. });
        if !is_begun {
            screen_close(&record, &signed)?;
        }
        // Only the payer may end a channel, or be told how it ended.
        let voucher = context.verify(&record, &signed, self.visit.peer).await?;
        self.check_close_signature(payload, &record)?;
        if !is_begun {
            context
                .run(channel_id, Command::BeginClose(voucher))
                .await?;
        }
        let closed = match &record.phase {
            Phase::Closed { .. } => record,
            _ => {
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
    async fn follow_close(&self, id: ChannelId) -> Result<Arc<ChannelRecord>, Failure> {
        loop {
            let (record, _) = self.driver.load(id).await?;
            match &record.phase {
                Phase::Closed { .. } => return Ok(record),
                Phase::Closing { .. } => self.carry_out_close(&record).await?,
                _ => return Err(refused("the close was reverted; the channel stays open")),
            }
        }
    }

    /// Takes the close of a channel as far as it goes now.
    async fn carry_out_close(&self, record: &ChannelRecord) -> Result<(), Failure> {
        let Some(tracked) = self.close_effect(record).await? else {
            return Ok(());
        };
        // It stays recorded, and is carried out when the pause is over.
        if self.settlement.pauses(&tracked.effect, self.clock.now()) {
            return Err(Fault::OutcomeUnknown.into());
        }
        let Some(_claim) = self.settlement.claim(tracked.effect.id) else {
            // Another task of this server is at it.
            tokio::time::sleep(LOOK_AGAIN).await;
            return Ok(());
        };
        match self.drive(tracked, Guard::Anyone).await? {
            Driven::Done(_) => Ok(()),
            Driven::Failed(tracked, why) => {
                Ok(self.after_failure(tracked, why, Guard::Anyone).await?)
            }
            Driven::Waits(tracked) if matches!(tracked.effect.state, State::Mined(_)) => {
                tokio::time::sleep(LOOK_AGAIN).await;
                Ok(())
            }
            Driven::Waits(_) => Err(Fault::OutcomeUnknown.into()),
            Driven::Elsewhere => {
                tokio::time::sleep(LOOK_AGAIN).await;
                Ok(())
            }
        }
    }

    /// The effect that closes the channel: the one under way, or a new one.
    /// `None`: the channel has changed meanwhile.
    async fn close_effect(&self, record: &ChannelRecord) -> Result<Option<Tracked>, Failure> {
        let Phase::Closing {
            voucher,
            capture,
            sent,
            ..
        } = &record.phase
        else {
            return Ok(None);
        };
        let known = self.close_of(record.id).await?;
        if known.is_some() {
            return Ok(known);
        }
        let item = Item::close(record.id, voucher, *capture);
        if sent.is_none() && self.is_disputed(record, &item).await? {
            return Err(Fault::Inconsistent("the verifiers disagree about a voucher").into());
        }
        let now = self.clock.now();
        let effect = match sent {
            Some(sent) => Effect::adopted(Reason::Payer, item, *sent, now),
            None => {
                let attempt = self.sign(std::slice::from_ref(&item), 0).await?;
                Effect::prepared(Reason::Payer, vec![item], attempt, now)
            }
        };
        let begun = self
            .begin(None, vec![effect], Guard::Anyone, |_| {})
            .await?;
        Ok(begun.effects().and_then(|mut begun| begun.pop()))
    }
}
