//! The gate: an attempt goes in, a decision comes out.
//!
//! It knows no transport. HTTP, SSE, WebSocket and MCP translate their
//! requests into an [`Attempt`] and render the [`Decision`].

mod attempt;
mod bind;
mod body;
mod decision;
mod issuer;
mod known;
mod offer;
mod repeat;
pub(crate) mod terms;

pub use self::{
    attempt::{Attempt, Purpose},
    bind::BoundCredential,
    body::RequestBody,
    decision::{Access, Decision, Grant, Payer, Payment, Redeemed, Refusal, Replay},
    offer::{BoxFuture, Late, Offer, PaymentMethod, Reuse, Route, Visit},
    repeat::Repeatable,
};

pub(crate) use self::issuer::Issuer;

use self::bind::Asked;

use mpp_core::{
    IntentName, IssuedChallenge, MethodName, Timestamp,
    header::accept_payment::{self, AcceptPayment, Weight},
    problem::Problem,
};

use crate::{
    clock::SharedClock,
    error::{Failure, Fault, Rejection},
    event::{Events, ServerEvent},
    tasks::Service,
};

/// Issues challenges and redeems the credentials that answer them.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) issuer: Issuer,
    pub(crate) challenge_lifetime: core::time::Duration,
    pub(crate) clock: SharedClock,
    pub(crate) events: Events,
    pub(crate) service: Service,
}

impl Gate {
    /// Decides about one request to a paid route.
    ///
    /// # Cancel safety
    /// Dropped, a payment that was not yet durable has not happened; one that
    /// was is kept, and repeating the request finds it.
    pub(crate) async fn decide(&self, route: &Route, attempt: Attempt<'_>) -> Decision {
        let now = self.clock.now();
        // A malformed preference is no preference (PROTOCOL 1).
        let accept = attempt.accept_payment.map(accept_payment::parse);
        let accept = accept.and_then(Result::ok);
        let purpose = attempt.purpose;
        let visit = Visit {
            purpose,
            peer: attempt.peer,
            now,
            repeatable: attempt
                .repeatable
                .map(|repeatable| repeatable.on_route(route.scope())),
        };
        if purpose == Purpose::Content && self.service.is_closed() {
            let failure = Failure::Fault(Fault::ShuttingDown);
            return Decision::Refuse(self.refusal(route, &failure, Vec::new(), attempt.body));
        }
        let asked = Asked {
            purpose,
            body: attempt.body,
            now,
        };
        let redeemed = match bind::bind(self, route, attempt.presented, asked) {
            Ok((offer, mut credential)) => {
                let fresh = credential.take_fresh();
                let redeemed = offer.redeem(credential, visit).await;
                let paid = !matches!(redeemed, Err(_) | Ok(Redeemed::NeverServed(_)));
                if let Some(fresh) = fresh.filter(|_| paid) {
                    fresh.remember(self, route);
                }
                redeemed
            }
            Err(rejection) => Err(Failure::Rejected(rejection)),
        };
        match redeemed {
            Ok(Redeemed::Serve(grant)) => Decision::Grant(grant.counted_by(&self.service)),
            Ok(Redeemed::Served(outcome)) => Decision::Replay(outcome),
            Ok(Redeemed::Managed(receipt)) => Decision::Respond(receipt),
            Ok(Redeemed::Recognized(payer)) => Decision::Recognize(payer),
            Ok(Redeemed::NeverServed(rejection)) => {
                let choice = choice(route, accept.as_ref(), purpose);
                let mut refusal = self.refuse(route, &rejection, choice, asked.body);
                refusal.never_charged = true;
                Decision::Refuse(refusal)
            }
            Err(failure) => {
                let choice = choice(route, accept.as_ref(), purpose);
                Decision::Refuse(self.refusal(route, &failure, choice, asked.body))
            }
        }
    }

    /// The answer to a request that can not be served.
    pub(crate) fn refusal(
        &self,
        route: &Route,
        failure: &Failure,
        offers: Vec<&Offer>,
        body: RequestBody,
    ) -> Refusal {
        match failure {
            Failure::Rejected(rejection) => self.refuse(route, rejection, offers, body),
            Failure::Fault(fault) => {
                if !matches!(fault, Fault::ShuttingDown) {
                    tracing::error!(
                        error = fault as &dyn std::error::Error,
                        "a payment could not be processed"
                    );
                }
                Refusal {
                    problem: Problem::from(fault),
                    challenges: Vec::new(),
                    never_charged: false,
                }
            }
        }
    }

    fn refuse(
        &self,
        route: &Route,
        rejection: &Rejection,
        offers: Vec<&Offer>,
        body: RequestBody,
    ) -> Refusal {
        let mut problem = Problem::from(rejection);
        let challenges: Vec<_> = if rejection.kind().carries_challenge() {
            let now = self.clock.now();
            let issue = |offer: &Offer| self.issue(offer, route, body, now);
            offers.into_iter().map(issue).collect()
        } else {
            Vec::new()
        };
        if let Some(first) = challenges.first() {
            problem.challenge_id = Some(first.id());
        }
        for challenge in &challenges {
            self.events.send(ServerEvent::ChallengeIssued {
                challenge_id: challenge.id(),
                scope: route.scope().to_owned(),
            });
        }
        if *rejection != Rejection::PaymentRequired {
            self.events.send(ServerEvent::Rejected {
                channel_id: rejection.channel_id(),
                reason: rejection.kind(),
            });
        }
        Refusal {
            problem,
            challenges,
            never_charged: false,
        }
    }

    fn issue(
        &self,
        offer: &Offer,
        route: &Route,
        body: RequestBody,
        now: Timestamp,
    ) -> IssuedChallenge {
        let expires = now.checked_add(self.challenge_lifetime);
        let digest = route.body_binding().digest(body);
        self.issuer.issue(offer, route, digest, expires)
    }
}

/// What is offered, in the order the client prefers.
///
/// A client that takes charges and no sessions, on a request that buys nothing,
/// asks to be recognized (PROTOCOL 5.8).
fn choice<'r>(
    route: &'r Route,
    accept: Option<&AcceptPayment>,
    purpose: Purpose,
) -> Vec<&'r Offer> {
    let offers: Vec<&Offer> = route.offers().iter().collect();
    let Some(accept) = accept else {
        return offers;
    };
    let takes = |offer: &Offer| accept.weight(offer.method(), offer.intent()) > Weight::ZERO;
    let session = (MethodName::tempo(), IntentName::session());
    if purpose == Purpose::Management && accept.weight(&session.0, &session.1) == Weight::ZERO {
        let proofs: Vec<&Offer> = route.proofs().iter().filter(|proof| takes(proof)).collect();
        if !proofs.is_empty() {
            return proofs;
        }
    }
    accept.rank(offers, |offer| (offer.method(), offer.intent()))
}

#[cfg(test)]
mod tests;
