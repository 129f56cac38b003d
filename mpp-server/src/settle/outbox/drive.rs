//! Takes an effect as far as it goes now: send, look, wait, conclude.

use alloy_primitives::{B256, Bytes};
use mpp_core::Amount;
use mpp_tempo::{
    chain::{BlockInfo, ChainClient, ChainError, TxReceipt},
    escrow::EscrowEvent,
};

use super::{
    Guard, Tracked,
    effect::{Attempt, Fact, Inclusion, Item, State, TxResult, Why},
};
use crate::{
    broadcast::EXPIRY_MARGIN_SECS,
    error::{Failure, Fault},
    event::ServerEvent,
    session::{
        SessionContext,
        command::Command,
        record::{ChannelRecord, PendingTx, Phase},
    },
    settle::{
        fitness::{Shown, stands_still},
        schedule::Collect,
    },
    store::ChannelStore,
};

/// How far an effect went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Driven {
    /// It has happened, and all records say so.
    Done(B256),
    /// It waits for the chain.
    Waits(Tracked),
    /// It did not happen and can not; what now is to be decided.
    Failed(Tracked, Why),
    /// Somebody else moves it on.
    Elsewhere,
}

/// What one step came to.
enum Step {
    Again,
    Wait,
    Elsewhere,
}

impl Step {
    fn of(advanced: bool) -> Self {
        if advanced {
            Self::Again
        } else {
            Self::Elsewhere
        }
    }
}

impl<S: ChannelStore> SessionContext<S> {
    /// Takes an effect as far as it goes now.
    ///
    /// # Errors
    /// When chain or store fail; the effect is where it was.
    ///
    /// # Cancel safety
    /// Dropped at any point, the effect is taken on from what is stored.
    pub(crate) async fn drive(&self, mut tracked: Tracked, guard: Guard) -> Result<Driven, Fault> {
        loop {
            let step = match tracked.effect.state {
                State::Prepared => self.send_first(&mut tracked, guard).await?,
                State::Broadcast | State::Unknown => self.look(&mut tracked).await?,
                State::Mined(found) => self.confirm(&mut tracked, found).await?,
                State::Final(transaction) => {
                    self.conclude(&tracked, transaction).await?;
                    return Ok(Driven::Done(transaction));
                }
                State::Failed(why) => return Ok(Driven::Failed(tracked, why)),
            };
            match step {
                Step::Again => {}
                Step::Wait => return Ok(Driven::Waits(tracked)),
                Step::Elsewhere => return Ok(Driven::Elsewhere),
            }
        }
    }

    /// Marks the channels that are to be closed, notes that it is being sent,
    /// and sends it. Whoever makes that note is the only one to send first.
    async fn send_first(&self, tracked: &mut Tracked, guard: Guard) -> Result<Step, Fault> {
        let attempt = newest(tracked)?;
        let Some(raw) = attempt.raw.clone() else {
            return Err(Fault::Inconsistent("an effect has no transaction to send"));
        };
        // Sending it late is of no use.
        let now = u64::try_from(self.clock.now().as_secs()).unwrap_or_default();
        if now >= attempt.valid_before {
            return Ok(Step::of(self.advance(tracked, Fact::Expired, guard).await?));
        }
        let is_owed = self.is_owed(tracked).await?;
        if !is_owed || !self.mark_closes(tracked, &attempt).await? {
            let fact = Fact::Superseded;
            return Ok(Step::of(self.advance(tracked, fact, guard).await?));
        }
        if !self.advance(tracked, Fact::Sending, guard).await? {
            return Ok(Step::Elsewhere);
        }
        self.send(tracked, raw).await
    }

    /// Whether nothing was credited since the amounts were chosen: no more is
    /// settled than was spent. The effect is stored, so what is to be credited
    /// from here on finds it, also what was about to be.
    async fn is_owed(&self, tracked: &Tracked) -> Result<bool, Fault> {
        let items = tracked.effect.items.iter();
        for item in items.filter(|item| item.collect == Collect::Settle) {
            let is_spent = |record: &ChannelRecord| item.amount <= record.spent;
            match self.driver.fence(item.channel, is_spent).await {
                Ok(false) => return Ok(false),
                Ok(true) | Err(Failure::Rejected(_)) => {}
                Err(Failure::Fault(fault)) => return Err(fault),
            }
        }
        Ok(true)
    }

    /// One close in flight per channel: its record names the transaction
    /// before that is sent. `false`: it names another one.
    async fn mark_closes(&self, tracked: &Tracked, attempt: &Attempt) -> Result<bool, Fault> {
        let sent = PendingTx {
            hash: attempt.hash,
            valid_before: attempt.valid_before,
        };
        let items = tracked.effect.items.iter();
        for item in items.filter(|item| item.collect == Collect::Close) {
            let mark = Command::CloseSent {
                sent,
                instead_of: item.before,
            };
            match self.run(item.channel, mark).await {
                Ok(_) => {}
                Err(Failure::Rejected(_)) if self.was_closed(item).await? => {}
                Err(Failure::Rejected(_)) => return Ok(false),
                Err(Failure::Fault(fault)) => return Err(fault),
            }
        }
        Ok(true)
    }

    /// Whether the channel is over by its record. If it is not by the chain,
    /// since the block that ended it is no part of it any more, it is closed
    /// once more: otherwise the payer could withdraw all of it.
    async fn was_closed(&self, item: &Item) -> Result<bool, Fault> {
        match self.driver.load(item.channel).await {
            Ok((record, _)) => Ok(matches!(record.phase, Phase::Closed { .. })),
            Err(Failure::Rejected(_)) => Ok(false),
            Err(Failure::Fault(fault)) => Err(fault),
        }
    }

    async fn send(&self, tracked: &mut Tracked, raw: Bytes) -> Result<Step, Fault> {
        let (fact, shown) = match self.chain.send_and_wait(raw).await {
            Ok(receipt) => return self.judge(tracked, &receipt).await,
            Err(ChainError::Rejected { message }) => {
                tracing::warn!(effect = %tracked.effect.id, %message, "a node refused to collect");
                (Fact::Refused, Shown::Refuses)
            }
            Err(ChainError::Unknown { .. }) => (Fact::Lost, Shown::MayTake),
            // It never reached a node, or nobody can tell: look again later.
            Err(error) => return Err(error.into()),
        };
        let refused = fact == Fact::Refused && tracked.effect.state == State::Broadcast;
        // What is sent again may be refused because it is over or was taken before.
        if refused || fact == Fact::Lost {
            self.settlement.fitness().shows(shown);
        }
        let advanced = self.advance(tracked, fact, Guard::Anyone).await?;
        Ok(match (advanced, refused) {
            (false, _) => Step::Elsewhere,
            (true, true) => Step::Again,
            (true, false) => Step::Wait,
        })
    }

    /// What has become of it? Nobody believes anything but the chain.
    async fn look(&self, tracked: &mut Tracked) -> Result<Step, Fault> {
        // The block first: what is in none up to this one, and no longer valid
        // after it, is never mined.
        let seen = self.learn_seen().await?;
        let head = self.chain.block().await?;
        let attempts = tracked.effect.attempts.iter().rev().take(2);
        let hashes: Vec<_> = attempts.map(|attempt| attempt.hash).collect();
        for hash in hashes {
            if let Some(receipt) = self.chain.receipt(hash).await? {
                return self.judge(tracked, &receipt).await;
            }
        }
        let attempt = newest(tracked)?;
        if is_over(&attempt, head) {
            seen.require_caught_up(head)?;
            let fact = Fact::Expired;
            return Ok(Step::of(self.advance(tracked, fact, Guard::Anyone).await?));
        }
        if stands_still(over_at(&attempt), self.clock.now()) {
            self.settlement.fitness().shows(Shown::StandsStill);
        }
        match attempt.raw {
            // The same bytes again are harmless: they have one outcome.
            Some(raw) => {
                // From here on a refusal says nothing about the first sending.
                if !self.advance(tracked, Fact::Lost, Guard::Anyone).await? {
                    return Ok(Step::Elsewhere);
                }
                self.send(tracked, raw).await
            }
            None => Ok(Step::Wait),
        }
    }

    /// Done is what the receipt proves by status and events (SECURITY-CASES
    /// A25, A33).
    async fn judge(&self, tracked: &mut Tracked, receipt: &TxReceipt) -> Result<Step, Fault> {
        self.settlement.fitness().shows(Shown::Works);
        let result = if receipt.success {
            for item in &tracked.effect.items {
                self.check_event(item, receipt).await?;
            }
            TxResult::Done
        } else {
            TxResult::Reverted
        };
        let found = Inclusion {
            transaction: receipt.hash,
            block: receipt.block_number,
            result,
        };
        let fact = Fact::Seen(found);
        Ok(Step::of(self.advance(tracked, fact, Guard::Anyone).await?))
    }

    async fn check_event(&self, item: &Item, receipt: &TxReceipt) -> Result<(), Fault> {
        let record = match self.driver.load(item.channel).await {
            Ok((record, _)) => record,
            Err(Failure::Fault(fault)) => return Err(fault),
            Err(Failure::Rejected(_)) => return Ok(()),
        };
        if proves(item, &record, receipt) {
            return self.note_receipt(&record.terms, receipt).await;
        }
        Err(Fault::Inconsistent(
            "a collecting transaction succeeded without its events",
        ))
    }

    /// Final is what so many blocks follow as the policy says.
    async fn confirm(&self, tracked: &mut Tracked, found: Inclusion) -> Result<Step, Fault> {
        let finality = self.settlement.policy.finality;
        let fact = if finality == 0 {
            Fact::Settled
        } else {
            let head = self.chain.block().await?;
            match self.chain.receipt(found.transaction).await? {
                None => Fact::Gone,
                Some(receipt) if receipt.block_number != found.block => {
                    return self.judge(tracked, &receipt).await;
                }
                Some(_) if head.number < found.block.saturating_add(finality) => {
                    return Ok(Step::Wait);
                }
                Some(_) => Fact::Settled,
            }
        };
        Ok(Step::of(self.advance(tracked, fact, Guard::Anyone).await?))
    }

    /// Tells the channels what has happened, then puts the effect away.
    async fn conclude(&self, tracked: &Tracked, transaction: B256) -> Result<(), Fault> {
        for item in &tracked.effect.items {
            let command = match item.collect {
                Collect::Settle => Command::Settled(item.amount),
                Collect::Close => Command::Closed {
                    transaction,
                    settled: item.amount,
                },
            };
            match self.run(item.channel, command).await {
                Ok(_) | Err(Failure::Rejected(_)) => {}
                Err(Failure::Fault(fault)) => return Err(fault),
            }
        }
        self.finish(tracked).await?;
        let now = self.clock.now();
        for item in &tracked.effect.items {
            let watched = self.settlement.unwatch(item.channel);
            self.events.send(ServerEvent::Collected {
                channel_id: item.channel,
                settled: item.amount,
                transaction,
                left: watched.map(|watch| watch.left(now)),
            });
        }
        Ok(())
    }
}

/// Whether a transaction can not be mined any more, by the chain's clock: ours
/// says nothing of a node that stands still. The margin is for the node that was
/// asked for the receipt, should it be another one.
fn is_over(attempt: &Attempt, head: BlockInfo) -> bool {
    head.timestamp >= over_at(attempt)
}

fn over_at(attempt: &Attempt) -> u64 {
    attempt.valid_before.saturating_add(EXPIRY_MARGIN_SECS)
}

fn newest(tracked: &Tracked) -> Result<Attempt, Fault> {
    let newest = tracked.effect.newest().cloned();
    newest.ok_or(Fault::Inconsistent("an effect has no transaction"))
}

/// Whether the receipt holds the event of this very collection.
fn proves(item: &Item, record: &ChannelRecord, receipt: &TxReceipt) -> bool {
    let mut logs = receipt
        .logs
        .iter()
        .filter(|log| log.address == record.terms.escrow);
    let paid = |total: Amount| total == item.amount;
    logs.any(|log| {
        match (
            EscrowEvent::decode(log, record.terms.protocol),
            item.collect,
        ) {
            (
                Some(EscrowEvent::Settled {
                    channel_id,
                    new_settled,
                    ..
                }),
                Collect::Settle,
            ) => channel_id == item.channel && paid(new_settled),
            (
                Some(EscrowEvent::Closed {
                    channel_id,
                    settled_to_payee,
                    ..
                }),
                Collect::Close,
            ) => channel_id == item.channel && paid(settled_to_payee),
            _ => false,
        }
    })
}
