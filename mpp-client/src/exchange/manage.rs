//! Requests that only manage a channel: top-ups, closes, vouchers beside a
//! stream.

use std::future::{Future, ready};

use mpp_core::{Challenge, Problem, SessionReceipt};

use super::{ManageWire, SendError};
use crate::choice::Choice;
use crate::credential::CredentialField;
use crate::error::{ClientError, TransportError};
use crate::flow::{ManageAction, Management, Probe};
use crate::offer::{Offer, Unpayable};
use crate::origin::Site;
use crate::payer::Payer;
use crate::session::close::Close;
use crate::session::payment::{Next, Payment};
use crate::session::top_up::TopUp;

/// Top-ups that one request may need in a row.
const MAX_TOP_UPS: u32 = 4;

/// What a management request says.
pub trait Manage: Send {
    /// The credential under this offer.
    ///
    /// # Cancel safety
    /// Dropped, nothing was sent.
    fn credential(
        &mut self,
        offer: &Offer,
    ) -> impl Future<Output = Result<CredentialField, ClientError>> + Send;
}

impl Manage for TopUp {
    fn credential(
        &mut self,
        offer: &Offer,
    ) -> impl Future<Output = Result<CredentialField, ClientError>> + Send {
        ready(Self::credential(self, offer))
    }
}

impl Manage for Close {
    async fn credential(&mut self, offer: &Offer) -> Result<CredentialField, ClientError> {
        let field = Self::credential(self, offer).await?;
        self.mark_sent();
        Ok(field)
    }
}

impl Manage for Payment {
    async fn credential(&mut self, offer: &Offer) -> Result<CredentialField, ClientError> {
        self.voucher(offer).await
    }
}

/// How a management request ended.
#[derive(Debug)]
pub enum Managed {
    /// Accepted.
    Done(Box<SessionReceipt>),
    /// Refused.
    Refused {
        /// The HTTP status, or what corresponds to it.
        status: u16,
        /// The server's reason.
        problem: Option<Box<Problem>>,
    },
    /// The answer was lost, twice.
    Lost(TransportError),
}

/// The error that a refusal becomes.
#[must_use]
pub fn refusal(status: u16, problem: Option<Box<Problem>>) -> ClientError {
    problem.map_or(ClientError::Status { status }, ClientError::Problem)
}

/// Sends a top-up.
pub(super) async fn send_top_up<W: ManageWire>(
    payer: &Payer,
    site: &Site,
    wire: &mut W,
    (offer, mut top_up): (Offer, TopUp),
) -> Result<SessionReceipt, ClientError> {
    match payer.manage(site, wire, offer, &mut top_up).await? {
        Managed::Done(receipt) => {
            top_up.confirm(&receipt)?;
            Ok(*receipt)
        }
        Managed::Refused { status, problem } => Err(top_up.refuse(refusal(status, problem))),
        Managed::Lost(error) => Err(top_up.lose(error)),
    }
}

impl Payer {
    /// The credential of a payment, after the top-ups that it needs.
    ///
    /// # Errors
    /// As [`Payment::prepare`], and those of a top-up.
    ///
    /// # Cancel safety
    /// Dropped, a top-up may happen; the next one finds out.
    pub async fn credential_over<W: ManageWire>(
        &self,
        site: &Site,
        wire: &mut W,
        payment: &mut Payment,
    ) -> Result<CredentialField, ClientError> {
        for _ in 0..MAX_TOP_UPS {
            match payment.prepare().await? {
                Next::Send(field) => return Ok(field),
                Next::TopUp(top_up) => {
                    let offer = payment.offer().clone();
                    send_top_up(self, site, wire, (offer, *top_up)).await?;
                }
            }
        }
        Err(ClientError::Protocol("no top-up is enough for it"))
    }

    /// Sends a management request, again under a fresh challenge when the
    /// first one is no good. One that has expired is not answered at all:
    /// another one is asked for first.
    ///
    /// # Errors
    /// Those of the credential, [`ClientError::Protocol`] for an answer that
    /// makes no sense, and [`Unpayable::Expired`] when nothing but expired
    /// challenges is to be had.
    ///
    /// # Cancel safety
    /// Dropped, the request may have been carried out.
    pub async fn manage<W: ManageWire>(
        &self,
        site: &Site,
        wire: &mut W,
        offer: Offer,
        manage: &mut impl Manage,
    ) -> Result<Managed, ClientError> {
        let (mut offer, mut management) = (offer, Management::new());
        let mut lost = None;
        loop {
            offer = match self.lasting(site, wire, offer).await {
                Ok(offer) => offer,
                // What was sent may have arrived all the same.
                Err(error) => return lost.map_or(Err(error), |lost| Ok(Managed::Lost(lost))),
            };
            let field = manage.credential(&offer).await?;
            let mut answer = match wire.manage(management.probe(), Some(&field)).await {
                Ok(answer) => answer,
                // Repeating it is harmless: vouchers are idempotent, transactions are the same.
                Err(SendError::NotSent(error) | SendError::MayHaveArrived(error)) => match lost {
                    None => {
                        lost = Some(error);
                        continue;
                    }
                    Some(_) => return Ok(Managed::Lost(error)),
                },
                Err(SendError::Unsendable(error)) => return Err(error),
            };
            self.prefer(site, &offer, &mut answer.challenges)?;
            match management.on_answer(&answer) {
                ManageAction::Done(receipt) => return Ok(Managed::Done(receipt)),
                ManageAction::Send(_, None) => {}
                ManageAction::Send(_, Some(fresh)) => {
                    self.learn(site, &fresh);
                    offer = fresh;
                }
                ManageAction::Refused { status, problem } => {
                    return Ok(Managed::Refused { status, problem });
                }
                ManageAction::Fail(error) => return Err(error),
            }
        }
    }

    /// The offer to use for managing: one that is known, or one that is asked
    /// for.
    ///
    /// # Errors
    /// [`ClientError::Unpayable`] for an offer that can not be answered,
    /// [`ClientError::Protocol`] where nothing is asked for.
    ///
    /// # Cancel safety
    /// Buys nothing.
    pub async fn any_offer<W: ManageWire>(
        &self,
        site: &Site,
        wire: &mut W,
    ) -> Result<Offer, ClientError> {
        if let Some(offer) = self.known_offer(site) {
            return Ok(offer);
        }
        match self.ask(site, wire).await? {
            Some(Choice::Session(offer)) => Ok(offer),
            Some(Choice::Charge(_) | Choice::Method(..)) => {
                Err(ClientError::Unpayable(Unpayable::NotOffered))
            }
            None => Err(ClientError::Protocol("it does not ask for payment")),
        }
    }

    /// Asks for challenges without buying anything, and chooses one; `None`
    /// where nothing is asked for.
    ///
    /// # Errors
    /// [`ClientError::Transport`], and as [`Payer::choose`].
    ///
    /// # Cancel safety
    /// Buys nothing.
    pub async fn ask<W: ManageWire>(
        &self,
        site: &Site,
        wire: &mut W,
    ) -> Result<Option<Choice>, ClientError> {
        let Some(challenges) = challenges(wire).await? else {
            return Ok(None);
        };
        let choice = self.choose(site, &challenges)?;
        self.learn_choice(site, &choice);
        Ok(Some(choice))
    }

    /// The offer, or a fresh one that goes on with it if it has expired.
    async fn lasting<W: ManageWire>(
        &self,
        site: &Site,
        wire: &mut W,
        offer: Offer,
    ) -> Result<Offer, ClientError> {
        if offer.check_time(self.now()).is_ok() {
            return Ok(offer);
        }
        let asked = match challenges(wire).await {
            // It buys nothing, and a stream may depend on it.
            Err(ClientError::Transport(_)) => challenges(wire).await,
            asked => asked,
        };
        let mut challenges = asked?.ok_or(Unpayable::Expired)?;
        self.prefer(site, &offer, &mut challenges)?;
        let fresh = Offer::choose(challenges)?;
        fresh.check_time(self.now())?;
        self.learn(site, &fresh);
        Ok(fresh)
    }
}

/// The challenges of a server that is asked for nothing; `None` where nothing
/// is asked for.
async fn challenges<W: ManageWire>(wire: &mut W) -> Result<Option<Vec<Challenge>>, ClientError> {
    let mut probe = Probe::Head;
    loop {
        let answer = wire.manage(probe, None).await?;
        if answer.status == 402 {
            return Ok(Some(answer.challenges));
        }
        match probe.instead(answer.status) {
            Some(other) => probe = other,
            None => return Ok(None),
        }
    }
}
