//! Leaving a channel without the server: `requestClose`, the grace period, `withdraw`.

use alloy_primitives::B256;
use mpp_tempo::chain::ChainClient;
use mpp_tempo::network::CLOSE_GRACE_SECS;
use mpp_tempo::tx::{build, gas};
use mpp_tempo::{ChannelId, Existence};

use super::book::{self, ChannelRecord, Phase};
use super::recover::Fate;
use crate::error::ClientError;
use crate::event::ClientEvent;
use crate::payer::Payer;

/// How far the way out of a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The payee still has time to settle. Go on from this Unix second of the chain.
    Waiting {
        /// When [`Payer::leave`] withdraws.
        until: u64,
    },
    /// Nothing is left in the channel.
    Done {
        /// The transaction that ended it, if known.
        tx_hash: Option<B256>,
    },
}

impl Payer {
    /// Goes as far as possible on the way out of a channel without its server: asks the chain to
    /// close it, and withdraws when the grace period is over.
    ///
    /// The wish is in the book before anything is sent, so that a client that was restarted goes
    /// on: it calls this for every channel of [`Payer::leaving`]. Calling it again is harmless, and
    /// it waits for no request, whatever its server does not answer. A top-up that was sent before
    /// may take the request to close back (PROTOCOL 5.3): the next call asks again.
    ///
    /// # Errors
    /// As [`Payer::request_close`], but for a channel that is closed. Once it has begun to leave, the
    /// channel stays on its way out; it begins with a look at the chain.
    ///
    /// # Cancel safety
    /// Dropped, the next call goes on from what book and chain say.
    pub async fn leave(&self, id: &ChannelId) -> Result<Leave, ClientError> {
        let until = match self.set_out(id).await? {
            Phase::Closed { tx_hash } => return Ok(Leave::Done { tx_hash }),
            Phase::NeverOpened => return Ok(Leave::Done { tx_hash: None }),
            Phase::CloseRequested { at } => at.saturating_add(CLOSE_GRACE_SECS),
            _ => self.request_close(id).await?,
        };
        let chain_now = self.chain()?.block().await?.timestamp;
        if chain_now < until {
            return Ok(Leave::Waiting { until });
        }
        let tx_hash = self.withdraw(id).await?;
        Ok(Leave::Done { tx_hash })
    }

    /// Looks where a channel is, and writes down that the payer leaves it if it may hold money: from
    /// here on nobody signs a top-up. Returns the phase that it is in then.
    async fn set_out(&self, id: &ChannelId) -> Result<Phase, ClientError> {
        let record = self.book().read(id)?;
        if record.phase.may_hold_money() {
            let decided = self.judge(&record).await?;
            if let ((Fate::Undecided, Phase::Opening), Some(open)) = (decided, record.open) {
                return Err(ClientError::OpenUndecided {
                    channel_id: *id,
                    tx_hash: open.tx_hash,
                });
            }
        }
        let phase = book::update(self.book(), id, |record| {
            if record.phase.may_hold_money() && !record.phase.is_leaving() {
                record.phase = Phase::Leaving;
            }
            record.phase.clone()
        })?;
        Ok(phase)
    }

    /// The channels that the payer is on its way out of, on the chain that is connected.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn leaving(&self) -> Result<Vec<ChannelId>, ClientError> {
        let payer = self.address();
        let ours = |record: &ChannelRecord| {
            record.key.payer == payer
                && self.is_connected(record.terms.chain_id)
                && record.phase.is_leaving()
        };
        let records = self.book().records()?;
        let leaving = records.iter().filter(|record| ours(record));
        Ok(leaving.map(|record| record.id).collect())
    }

    /// Asks the chain for the rest of the deposit; the payee has 900 seconds to settle.
    ///
    /// Once the chain has been looked at, the channel takes no new requests, also when this fails: the
    /// payer is on its way out before anything is sent. Asked again while the request is pending, nothing is sent.
    /// Returns the Unix second of the chain from which [`Payer::withdraw`] works.
    ///
    /// # Errors
    /// [`ClientError::OpenUndecided`] while the open may still be mined; [`ClientError::Misuse`] for
    /// a channel that is closed, or on another chain than the one that is connected;
    /// [`ClientError::Chain`] when the chain refuses or can not be reached. After
    /// [`ChainError::Unknown`](mpp_tempo::chain::ChainError) the request may have been mined: call it
    /// again.
    ///
    /// # Cancel safety
    /// Dropped, the transaction may have been sent; calling it again finds out.
    pub async fn request_close(&self, id: &ChannelId) -> Result<u64, ClientError> {
        // Not the gate of the key: a server that does not answer holds it for as long as it likes.
        let _guard = self.book().exit_gate(id).enter().await?;
        match self.set_out(id).await? {
            Phase::CloseRequested { at } => return Ok(at.saturating_add(CLOSE_GRACE_SECS)),
            Phase::Closed { .. } | Phase::NeverOpened => {
                return Err(ClientError::Misuse("the channel is closed already"));
            }
            _ => {}
        }
        let record = self.book().read(id)?;
        let token = record.terms.descriptor.token;
        self.transact(gas::REQUEST_CLOSE, token, |context| {
            build::request_close(context, &record.terms)
        })
        .await?;
        match self.resolve(id).await? {
            Phase::CloseRequested { at } => Ok(at.saturating_add(CLOSE_GRACE_SECS)),
            _ => {
                // The node that answers lags behind the one that mined: its clock is close enough.
                let at = self.chain()?.block().await?.timestamp;
                book::update(self.book(), id, |record| {
                    if record.phase.may_hold_money() {
                        record.phase = Phase::CloseRequested { at };
                    }
                })?;
                Ok(at.saturating_add(CLOSE_GRACE_SECS))
            }
        }
    }

    /// Takes the rest of the deposit back after the grace period.
    ///
    /// Returns the transaction, or `None` when the payee has closed the channel meanwhile and the
    /// rest has come back with that.
    ///
    /// # Errors
    /// [`ClientError::Misuse`] before [`Payer::request_close`] and during the grace period;
    /// [`ClientError::Chain`] as there.
    ///
    /// # Cancel safety
    /// As [`Payer::request_close`].
    pub async fn withdraw(&self, id: &ChannelId) -> Result<Option<B256>, ClientError> {
        let _guard = self.book().exit_gate(id).enter().await?;
        let record = self.book().read(id)?;
        let (chain_now, view) = self.look(&record).await?;
        if view.existence != Existence::Open {
            let phase = self.resolve(id).await?;
            return match phase {
                Phase::Closed { tx_hash } => Ok(tx_hash),
                _ => Err(ClientError::Misuse("the channel holds nothing")),
            };
        }
        let requested = view.close_requested_at.ok_or(ClientError::Misuse(
            "a close must be requested before the deposit can be withdrawn",
        ))?;
        if chain_now < requested.saturating_add(CLOSE_GRACE_SECS) {
            return Err(ClientError::Misuse("the grace period is not over"));
        }
        let token = record.terms.descriptor.token;
        let receipt = self
            .transact(gas::WITHDRAW, token, |context| {
                build::withdraw(context, &record.terms)
            })
            .await?;
        let tx_hash = Some(receipt.hash);
        book::update(self.book(), id, |record| {
            record.phase = Phase::Closed { tx_hash };
        })?;
        self.emit(&ClientEvent::Closed {
            channel_id: *id,
            tx_hash,
        });
        Ok(tx_hash)
    }
}
