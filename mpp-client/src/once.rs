//! Payments that answer one request with one credential: charges, proofs, methods of one's own.

use std::fmt;
use std::sync::Arc;

use alloy_primitives::B256;
use mpp_core::{Amount, Challenge, ChargeReceipt, Credential};
use mpp_tempo::wire::ChargeMode;

use crate::charge::{ChargeOffer, ChargeState, CredentialIs, Ticket, purchase};
use crate::credential::{self, CredentialField};
use crate::error::{ClientError, TransportError};
use crate::event::ClientEvent;
use crate::flow::{Risk, Sent};
use crate::method::ClientMethod;
use crate::origin::Site;
use crate::payer::Payer;
use crate::session::ledger::Discrepancy;

/// A request that is paid once.
///
/// Its credential is made once and sent as often as it takes: a server takes it once. Dropped, a
/// charge stays in the book, where [`Payer::resolve_charge`] finds out what became of it.
pub struct Once {
    payer: Payer,
    site: Site,
    credential: Credential,
    kind: Kind,
}

enum Kind {
    Charge(Ticket),
    Proof,
    Method(Arc<dyn ClientMethod>),
}

impl Payer {
    /// Pays a charge, or proves who is asking if it is one of zero.
    ///
    /// `key` is the idempotency key of the request. A challenge that was paid before is not paid
    /// again: its credential is presented once more.
    ///
    /// # Errors
    /// [`ClientError::Policy`] before anything is signed; [`ClientError::ChargeIndeterminate`] when
    /// a transaction was sent and its fate is not known; the errors of signer, wallet, chain and
    /// book.
    ///
    /// # Cancel safety
    /// Dropped, the charge is in the book or nothing was signed. By push it may have been paid.
    pub async fn charge(
        &self,
        site: &Site,
        offer: &ChargeOffer,
        key: Option<&str>,
    ) -> Result<Once, ClientError> {
        let (credential, kind) = if offer.transfers().is_none() {
            (self.prove(site, offer).await?, Kind::Proof)
        } else {
            let purchase = key.map(|key| purchase(site, key));
            let (credential, ticket) = self.pay_charge(site, offer, purchase).await?;
            (credential, Kind::Charge(ticket))
        };
        Ok(self.once(site, credential, kind))
    }

    /// Pays by a method of one's own.
    ///
    /// # Errors
    /// [`ClientError::Policy`] when credentials may not go there, [`ClientError::Method`].
    ///
    /// # Cancel safety
    /// As [`ClientMethod::pay`].
    pub async fn pay_by(
        &self,
        site: &Site,
        method: Arc<dyn ClientMethod>,
        challenge: Challenge,
    ) -> Result<Once, ClientError> {
        self.policy().check_transport(&site.origin)?;
        let payload = method.pay(&site.origin, &challenge).await?;
        let credential = Credential::new(challenge, payload);
        Ok(self.once(site, credential, Kind::Method(method)))
    }

    /// The charge that an earlier request under this idempotency key was paid with, to be
    /// presented again: the server knows what it was for.
    ///
    /// `None` also when the chain says that it was not paid.
    ///
    /// # Errors
    /// [`ClientError::Book`], and when its credential can not be read;
    /// [`ClientError::ChargeIndeterminate`] for a payment that was broken off, as long as nothing
    /// tells whether it was made.
    ///
    /// # Cancel safety
    /// Dropped, nothing has changed.
    pub async fn paid_before(&self, site: &Site, key: &str) -> Result<Option<Once>, ClientError> {
        let purchase = purchase(site, key);
        let records = self.book().charges()?;
        let found = records
            .iter()
            .filter(|record| record.purchase == Some(purchase) && record.state.counts())
            .filter(|record| record.payer == self.account())
            .max_by_key(|record| record.at);
        let Some(record) = found else {
            return Ok(None);
        };
        self.find_out(&record.id).await;
        self.policy().check_transport(&site.origin)?;
        let presented = self.present(&record.id)?;
        Ok(presented.map(|(credential, ticket)| self.once(site, credential, Kind::Charge(ticket))))
    }

    fn once(&self, site: &Site, credential: Credential, kind: Kind) -> Once {
        Once {
            payer: self.clone(),
            site: site.clone(),
            credential,
            kind,
        }
    }
}

impl Once {
    /// The credential as a header field, the same each time.
    ///
    /// # Errors
    /// [`ClientError::Payment`] when it is too large.
    pub fn field(&self) -> Result<CredentialField, ClientError> {
        credential::field(&self.credential)
    }

    /// The credential itself, for bindings without header fields. It is worth the payment.
    #[must_use]
    pub const fn credential(&self) -> &Credential {
        &self.credential
    }

    /// What goes out, for [`Flow::on_answer`](crate::flow::Flow::on_answer).
    #[must_use]
    pub const fn sent(&self) -> Sent {
        Sent::Once(match self.kind {
            Kind::Charge(_) | Kind::Method(_) => Risk::Money,
            Kind::Proof => Risk::Nothing,
        })
    }

    /// Books the receipt of the request.
    ///
    /// # Errors
    /// [`ClientError::Discrepancy`] or [`ClientError::Method`] for one that confirms something
    /// else; a charge stays open then.
    pub fn confirm(self, receipt: &ChargeReceipt) -> Result<(), ClientError> {
        let checked = self.check(receipt);
        let (checked, amount) = match (checked, &self.kind) {
            (Err(error), _) => (Err(error), None),
            (Ok(()), Kind::Charge(ticket)) => {
                let booked = transaction(receipt).map_or(Ok(ChargeState::Open), |tx_hash| {
                    let served = ChargeState::Served { tx_hash };
                    self.payer.learn_charge(&ticket.id, served)
                });
                (booked.map(drop), Some(ticket.offer.amount()))
            }
            (Ok(()), Kind::Proof) => (Ok(()), Some(Amount::ZERO)),
            (Ok(()), Kind::Method(_)) => (Ok(()), None),
        };
        self.payer.emit(&match &checked {
            Ok(()) => ClientEvent::Paid {
                origin: self.site.origin.to_string(),
                amount,
                receipt: receipt.clone(),
            },
            Err(error) => ClientEvent::Rejected {
                channel_id: None,
                reason: error.to_string(),
            },
        });
        checked
    }

    /// SECURITY-CASES A27: receipts are verified.
    fn check(&self, receipt: &ChargeReceipt) -> Result<(), ClientError> {
        let challenge = &self.credential.challenge;
        if receipt.method != challenge.method {
            return Err(Discrepancy::OtherIntent.into());
        }
        if receipt
            .challenge_id
            .as_ref()
            .is_some_and(|id| *id != challenge.id)
        {
            return Err(Discrepancy::OtherChallenge.into());
        }
        match &self.kind {
            Kind::Charge(ticket) => check_charge(ticket, receipt),
            // PROTOCOL 1.2: the reference of a proof is the challenge id.
            Kind::Proof if receipt.reference != challenge.id.as_str() => {
                Err(Discrepancy::OtherChallenge.into())
            }
            Kind::Proof => Ok(()),
            Kind::Method(method) => Ok(method.confirm(challenge, receipt)?),
        }
    }

    /// The request was not sent, and will not be.
    ///
    /// A charge that the server was to send is void then, unless it was shown the credential before
    /// or may be by another request; one that was pushed is not.
    #[must_use]
    pub fn release(self, error: ClientError) -> ClientError {
        match &self.kind {
            Kind::Charge(ticket)
                if ticket.mode == ChargeMode::Pull && ticket.credential_is == CredentialIs::New =>
            {
                self.payer.give_up(&ticket.id, error)
            }
            Kind::Charge(ticket) => self.payer.unconfirmed(&ticket.id, error),
            Kind::Proof | Kind::Method(_) => error,
        }
    }

    /// The server refused the payment.
    ///
    /// It has a transaction that it may still send, so a charge stays open until the chain says
    /// that it was not paid. One that is known to be paid is reported as such.
    #[must_use]
    pub fn refuse(self, error: ClientError) -> ClientError {
        self.payer.emit(&ClientEvent::Rejected {
            channel_id: None,
            reason: error.to_string(),
        });
        let Kind::Charge(ticket) = &self.kind else {
            return error;
        };
        match self.payer.book().charge(&ticket.id) {
            Ok(Some(record)) if record.state.tx_hash().is_none() => error,
            _ => self.payer.unconfirmed(&ticket.id, error),
        }
    }

    /// The answer was lost, or does not tell whether the payment was taken.
    #[must_use]
    pub fn doubt(self, error: ClientError) -> ClientError {
        match &self.kind {
            Kind::Charge(ticket) => self.payer.unconfirmed(&ticket.id, error),
            Kind::Proof | Kind::Method(_) => error,
        }
    }

    /// As [`Once::doubt`], for an answer that did not come.
    #[must_use]
    pub fn lose(self, source: TransportError) -> ClientError {
        self.doubt(ClientError::Transport(source))
    }
}

fn check_charge(ticket: &Ticket, receipt: &ChargeReceipt) -> Result<(), ClientError> {
    let hash = transaction(receipt).ok_or(Discrepancy::OtherTransaction)?;
    if ticket.tx_hash.is_some_and(|signed| signed != hash) {
        return Err(Discrepancy::OtherTransaction.into());
    }
    match (&receipt.external_id, ticket.offer.external_id()) {
        (Some(told), asked) if Some(told.as_str()) != asked => Err(Discrepancy::OtherOrder.into()),
        _ => Ok(()),
    }
}

/// The transaction that a receipt refers to.
fn transaction(receipt: &ChargeReceipt) -> Option<B256> {
    receipt.reference.parse().ok()
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let challenge = &self.credential.challenge;
        write!(f, "Once({}/{})", challenge.method, challenge.intent)
    }
}
