//! Closing a channel together with the server: it settles what was spent and the rest comes back.

use alloy_primitives::B256;
use mpp_core::{Amount, Problem, ProblemKind, SessionReceipt};
use mpp_tempo::voucher::{sign_close_authorization, sign_voucher};
use mpp_tempo::{ChannelId, ChannelTerms, SessionProtocol};

use super::book::{self, GateGuard, Phase, StaleReason};
use super::wire;
use crate::credential::CredentialField;
use crate::error::{ClientError, TransportError};
use crate::event::ClientEvent;
use crate::offer::Offer;
use crate::payer::Payer;

/// A close that is to be sent to the server.
///
/// While it exists, and after a lost answer, the channel takes no new requests.
#[derive(Debug)]
pub struct Close {
    payer: Payer,
    channel: ChannelId,
    terms: ChannelTerms,
    cumulative: Amount,
    before: Phase,
    outcome: Outcome,
    /// Nobody refills a channel that is being closed.
    _gate: GateGuard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Not sent: the channel goes back to where it was.
    Unsent,
    /// Sent; it may be closed.
    Unknown,
    /// Booked.
    Known,
}

impl Payer {
    /// Prepares to close a channel.
    ///
    /// Requests that still run on the channel may be refused from here on. A payer that is on its
    /// way out of the channel stays that, whatever the server says.
    ///
    /// # Errors
    /// [`ClientError::Misuse`] for a channel that can not be closed anymore, [`ClientError::Book`].
    ///
    /// # Cancel safety
    /// Dropped, nothing has changed.
    pub async fn close(&self, id: ChannelId) -> Result<Close, ClientError> {
        let gate = self.book().gate(&self.book().read(&id)?.key);
        let guard = gate.enter().await?;
        let (terms, before, cumulative) = book::update(self.book(), &id, |record| {
            if !record.phase.may_hold_money() {
                return Err(ClientError::Misuse("the channel is closed already"));
            }
            let before = record.phase.clone();
            if !before.is_leaving() {
                record.phase = Phase::Closing;
            }
            let ledger = &record.ledger;
            // v1 pays a voucher in full, so it must be for what was spent. v2 captures what was
            // spent out of a voucher that covers it; all that is accepted is authorized anyway.
            let cumulative = match record.terms.protocol {
                SessionProtocol::V1 => ledger.spent(),
                SessionProtocol::V2 => ledger.accepted().max(ledger.expected()),
            };
            Ok((record.terms, before, cumulative.min(ledger.signed())))
        })??;
        Ok(Close {
            payer: self.clone(),
            channel: id,
            terms,
            cumulative,
            before,
            outcome: Outcome::Unsent,
            _gate: guard,
        })
    }
}

impl Close {
    /// The channel.
    #[must_use]
    pub const fn channel_id(&self) -> ChannelId {
        self.channel
    }

    /// Signs the close under an offer of the same server.
    ///
    /// # Errors
    /// [`ClientError::Signer`], or [`ClientError::Payment`] when it can not be written.
    ///
    /// # Cancel safety
    /// Dropped, nothing was sent.
    pub async fn credential(&self, offer: &Offer) -> Result<CredentialField, ClientError> {
        let signer = self.payer.signer();
        let voucher = sign_voucher(signer, &self.terms, self.cumulative).await?;
        // The authorization has 96 bits in both versions; a larger v1 amount goes without.
        let authorization = if self.cumulative <= SessionProtocol::V2.max_amount() {
            Some(sign_close_authorization(signer, &self.terms, self.cumulative).await?)
        } else {
            None
        };
        wire::close(offer, &self.terms, &voucher, authorization)
    }

    /// The close leaves now.
    pub const fn mark_sent(&mut self) {
        self.outcome = Outcome::Unknown;
    }

    /// Follows a refusal that names another amount, as far as that much was signed before.
    ///
    /// A server that wants more and names no amount gets what it has accepted: with that voucher
    /// it can close alone anyway. Returns whether the close is worth sending again.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn adjust(&mut self, problem: &Problem) -> Result<bool, ClientError> {
        self.outcome = Outcome::Unsent;
        let (accepted, signed) = book::update(self.payer.book(), &self.channel, |record| {
            (record.ledger.accepted(), record.ledger.signed())
        })?;
        let required = match problem.required_cumulative {
            Some(required) => required,
            // The crate mpp calls it a failed verification.
            None => match problem.kind {
                ProblemKind::InsufficientBalance | ProblemKind::VerificationFailed => {
                    accepted.max(self.cumulative)
                }
                _ => return Ok(false),
            },
        };
        if required == self.cumulative || required > signed {
            return Ok(false);
        }
        self.cumulative = required;
        Ok(true)
    }

    /// The server says that it has closed the channel. That is for the chain to show
    /// ([`Payer::resolve`], SECURITY-CASES A33): until then the channel counts as one that may hold
    /// money, and as such bounds what else can be locked at this server.
    ///
    /// # Errors
    /// [`ClientError::Discrepancy`] for a receipt that contradicts the accounts; the channel then
    /// counts as closing until the chain is asked.
    pub fn confirm(mut self, receipt: &SessionReceipt) -> Result<(), ClientError> {
        let totals = self.payer.totals(self.channel, receipt)?;
        let limit = self.payer.policy().unaccounted_limit();
        let tx_hash = receipt
            .tx_hash
            .as_deref()
            .and_then(|hash| hash.parse::<B256>().ok());
        let seen = book::update(self.payer.book(), &self.channel, |record| {
            record.ledger.observe(None, totals, limit)?;
            // The chain may have shown the end already. Who is on the way out without the server goes
            // on until it has.
            if record.phase.may_hold_money() && !record.phase.is_leaving() {
                record.phase = Phase::CloseConfirmed { tx_hash };
            }
            Ok(())
        })?;
        seen.map_err(|discrepancy| self.payer.report(self.channel, discrepancy))?;
        self.outcome = Outcome::Known;
        self.payer.emit(&ClientEvent::Closed {
            channel_id: self.channel,
            tx_hash,
        });
        Ok(())
    }

    /// The server refused: the channel stays what it was.
    #[must_use]
    pub fn refuse(mut self, error: ClientError) -> ClientError {
        self.outcome = Outcome::Unsent;
        self.payer.emit(&ClientEvent::Rejected {
            channel_id: Some(self.channel),
            reason: error.to_string(),
        });
        error
    }

    /// The server does not know the channel, or has closed it before: the chain knows more.
    #[must_use]
    pub fn gone(mut self, reason: StaleReason, error: ClientError) -> ClientError {
        self.before = Phase::Stale { reason };
        self.outcome = Outcome::Unsent;
        error
    }

    /// The answer was lost: the channel may be closed. Closing again finds out.
    #[must_use]
    pub fn lose(mut self, source: TransportError) -> ClientError {
        self.outcome = Outcome::Unknown;
        ClientError::Indeterminate {
            channel_id: self.channel,
            tx_hash: None,
            cumulative: self.cumulative,
            cost: Amount::ZERO,
            source,
        }
    }
}

impl Drop for Close {
    fn drop(&mut self) {
        if self.outcome == Outcome::Unsent {
            // The payer may be on its way out meanwhile, or the chain may have shown the end.
            let restored = book::update(self.payer.book(), &self.channel, |record| {
                if record.phase == Phase::Closing {
                    record.phase = self.before.clone();
                }
            });
            if restored.is_err() {
                tracing::error!("a close could not be taken back: the channel book failed");
            }
        }
    }
}
