//! The gate: an attempt goes in, a decision comes out.
//!
//! It knows no transport. HTTP, SSE, WebSocket and MCP translate their
//! requests into an [`Attempt`] and render the [`Decision`].

mod attempt;
mod bind;
mod decision;
mod issuer;
mod known;
mod offer;
mod repeat;

pub use self::{
    attempt::{Attempt, Purpose},
    bind::BoundCredential,
    decision::{Access, Decision, Grant, Redeemed, Refusal},
    offer::{BoxFuture, Offer, PaymentMethod, Route, Visit},
    repeat::Repeatable,
};

pub(crate) use self::issuer::Issuer;

use mpp_core::{
    ChallengeTemplate, IssuedChallenge, Timestamp, header::accept_payment, problem::Problem,
};

use crate::{
    clock::SharedClock,
    error::{Failure, Rejection},
    event::{Events, ServerEvent},
};

/// Issues challenges and redeems the credentials that answer them.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) issuer: Issuer,
    pub(crate) challenge_lifetime: core::time::Duration,
    pub(crate) clock: SharedClock,
    pub(crate) events: Events,
}

impl Gate {
    /// Decides about one request to a paid route.
    ///
    /// # Cancel safety
    /// Dropped, a payment that was not yet durable has not happened; one that
    /// was is kept, and repeating the request finds it.
    pub(crate) async fn decide(&self, route: &Route, attempt: Attempt<'_>) -> Decision {
        let now = self.clock.now();
        let accept = attempt.accept_payment;
        let visit = Visit {
            purpose: attempt.purpose,
            peer: attempt.peer,
            now,
            repeatable: attempt
                .repeatable
                .filter(|_| attempt.purpose == Purpose::Content)
                .map(|repeatable| repeatable.on_route(route.scope())),
        };
        let redeemed = match bind::bind(self, route, attempt.presented, now) {
            Ok((offer, credential)) => {
                let fresh = credential.fresh();
                let redeemed = offer.redeem(credential, visit).await;
                if let (Some(fresh), Ok(_)) = (fresh, &redeemed) {
                    self.issuer.known().remember(fresh);
                }
                redeemed
            }
            Err(rejection) => Err(Failure::Rejected(rejection)),
        };
        match redeemed {
            Ok(Redeemed::Serve(grant)) => Decision::Grant(grant),
            Ok(Redeemed::Served(outcome)) => Decision::Replay(outcome),
            Ok(Redeemed::Managed(receipt)) => Decision::Respond(receipt),
            Err(failure) => Decision::Refuse(self.refusal(route, &failure, accept, now)),
        }
    }

    /// The answer to a request that can not be served.
    pub(crate) fn refusal(
        &self,
        route: &Route,
        failure: &Failure,
        accept: Option<&str>,
        now: Timestamp,
    ) -> Refusal {
        match failure {
            Failure::Rejected(rejection) => self.refuse(route, rejection, accept, now),
            Failure::Fault(fault) => {
                tracing::error!(
                    error = fault as &dyn std::error::Error,
                    "a payment could not be processed"
                );
                Refusal {
                    problem: Problem::from(fault),
                    challenges: Vec::new(),
                }
            }
        }
    }

    fn refuse(
        &self,
        route: &Route,
        rejection: &Rejection,
        accept: Option<&str>,
        now: Timestamp,
    ) -> Refusal {
        let mut problem = Problem::from(rejection);
        let challenges = if rejection.kind().carries_challenge() {
            self.challenges(route, accept, now)
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
        }
    }

    /// One fresh challenge per offer, in the order the client prefers.
    fn challenges(
        &self,
        route: &Route,
        accept: Option<&str>,
        now: Timestamp,
    ) -> Vec<IssuedChallenge> {
        let templates = route.templates(&self.issuer);
        let templates: Vec<&ChallengeTemplate> = templates.iter().collect();
        // A malformed preference is no preference (PROTOCOL 1).
        let ranked = match accept.map(accept_payment::parse) {
            Some(Ok(accept)) => accept.rank(templates, |template| {
                (&template.draft().method, &template.draft().intent)
            }),
            Some(Err(_)) | None => templates,
        };
        let expires = now.checked_add(self.challenge_lifetime);
        let issue = |template: &ChallengeTemplate| template.issue(expires);
        ranked.into_iter().map(issue).collect()
    }
}

#[cfg(test)]
mod tests;
