//! Which of a server's offers is paid: by the owner's preference, within the policy.

use std::fmt;
use std::sync::Arc;

use mpp_core::Challenge;

use crate::charge::ChargeOffer;
use crate::error::ClientError;
use crate::event::ClientEvent;
use crate::method::ClientMethod;
use crate::offer::{self, Offer, Unpayable};
use crate::origin::Site;
use crate::payer::Payer;

/// The offer that is to be paid.
#[derive(Clone)]
pub enum Choice {
    /// From a channel.
    Session(Offer),
    /// At once, or with a proof of identity.
    Charge(ChargeOffer),
    /// By a method of one's own.
    Method(Arc<dyn ClientMethod>, Box<Challenge>),
}

impl Choice {
    /// The challenge as it came.
    #[must_use]
    pub fn challenge(&self) -> &Challenge {
        match self {
            Self::Session(offer) => offer.challenge(),
            Self::Charge(offer) => offer.challenge(),
            Self::Method(_, challenge) => challenge,
        }
    }
}

impl Choice {
    /// Checks that the challenge is not bound to another body (PROTOCOL 1.1).
    ///
    /// # Errors
    /// [`Unpayable::Digest`], or [`Unpayable::StreamedBody`] when the body is not known.
    pub fn check_body(&self, body: Option<&[u8]>) -> Result<(), Unpayable> {
        offer::check_body(self.challenge(), body)
    }
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let challenge = self.challenge();
        write!(f, "Choice({}/{})", challenge.method, challenge.intent)
    }
}

impl Payer {
    /// Chooses among the challenges of an answer.
    ///
    /// Methods of one's own come first, then sessions and charges in the order of the policy, then
    /// the server's order. What can not be read or is not allowed is passed over, unless there is
    /// nothing else: then beginning to pay says why.
    ///
    /// # Errors
    /// [`ClientError::Unpayable`], [`ClientError::Method`] or [`ClientError::Book`].
    pub fn choose(&self, site: &Site, challenges: &[Challenge]) -> Result<Choice, ClientError> {
        let mut reason = ClientError::from(Unpayable::NoChallenge);
        let mut choices = Vec::new();
        for challenge in challenges {
            match self.read(site, challenge) {
                Ok(ranked) => choices.push(ranked),
                // The first reason that says more than that nothing fits.
                Err(error) if is_vague(&reason) => reason = error,
                Err(_) => {}
            }
        }
        choices.sort_by_key(|(rank, _)| *rank);
        for (_, choice) in &choices {
            if self.allows(site, choice)? {
                return Ok(choice.clone());
            }
        }
        choices
            .into_iter()
            .next()
            .map(|(_, choice)| choice)
            .ok_or(reason)
    }

    /// Puts the session first that goes on with a payment under `running`, or else one that the
    /// policy allows: whoever takes the first session of a fresh answer takes the right one.
    ///
    /// The server's order counts among equals. Where nothing is allowed, beginning to pay says why.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub(crate) fn prefer(
        &self,
        site: &Site,
        running: &Offer,
        challenges: &mut [Challenge],
    ) -> Result<(), ClientError> {
        let mut judged = Ok(());
        challenges.sort_by_cached_key(|challenge| {
            let rank = self.rank(site, running, challenge);
            rank.unwrap_or_else(|error| {
                judged = Err(error);
                u8::MAX
            })
        });
        judged
    }

    /// How well a challenge goes on with a payment: less is better.
    fn rank(&self, site: &Site, running: &Offer, challenge: &Challenge) -> Result<u8, ClientError> {
        let Ok(offer) = Offer::read(challenge.clone()) else {
            return Ok(2);
        };
        let is_allowed =
            self.judge_offer(&site.origin, &offer)?.is_ok() && offer.check_time(self.now()).is_ok();
        Ok(match is_allowed {
            true if running.has_terms_of(&offer) => 0,
            true if self.policy().deposit(&offer).is_ok() => 1,
            true | false => 2,
        })
    }

    /// Takes note of the offer that was chosen: a session's is kept for later requests.
    pub fn learn_choice(&self, site: &Site, choice: &Choice) {
        match choice {
            Choice::Session(offer) => self.learn(site, offer),
            Choice::Charge(offer) => self.emit(&ClientEvent::ChallengeReceived {
                origin: site.origin.to_string(),
                price: offer.amount(),
            }),
            Choice::Method(..) => {}
        }
    }

    /// Reads a challenge, and tells how much it is liked: less is more.
    fn read(&self, site: &Site, challenge: &Challenge) -> Result<(u8, Choice), ClientError> {
        if let Some(method) = self.method_for(challenge) {
            method.check(&site.origin, challenge)?;
            return Ok((0, Choice::Method(method, Box::new(challenge.clone()))));
        }
        let ranks = self.intents();
        let session = match (ranks.session, Offer::read(challenge.clone())) {
            (None, _) => Err(Unpayable::NotOffered),
            (Some(rank), read) => read.map(|offer| (rank, Choice::Session(offer))),
        };
        let Some(rank) = ranks.charge else {
            return Ok(session?);
        };
        match (session, ChargeOffer::read(challenge.clone())) {
            (Err(Unpayable::NotOffered), charge) => Ok((rank, Choice::Charge(charge?))),
            (session, _) => Ok(session?),
        }
    }

    /// Whether policy and time let this be paid, as far as that is known before it is tried.
    fn allows(&self, site: &Site, choice: &Choice) -> Result<bool, ClientError> {
        let policy = self.policy();
        let origin = &site.origin;
        Ok(match choice {
            Choice::Session(offer) => {
                self.judge_offer(origin, offer)?.is_ok()
                    && policy.deposit(offer).is_ok()
                    && offer.check_time(self.now()).is_ok()
            }
            Choice::Charge(offer) => {
                self.judge_charge(origin, offer)?.is_ok()
                    && self.mode_for(offer).is_ok()
                    && offer::check_time(offer.expires(), self.now()).is_ok()
            }
            Choice::Method(..) => policy.check_transport(origin).is_ok(),
        })
    }
}

fn is_vague(reason: &ClientError) -> bool {
    matches!(
        reason,
        ClientError::Unpayable(Unpayable::NoChallenge | Unpayable::NotOffered)
    )
}
