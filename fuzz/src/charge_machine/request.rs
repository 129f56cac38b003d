//! Requests to the servers, and what their answers must be.

use mpp_core::header::credential;
use mpp_core::header::idempotency_key::IdempotencyKey;
use mpp_core::{Challenge, ChallengeId, Credential, Receipt};
use mpp_server::error::Failure;
use mpp_server::gate::{Attempt, Decision, Purpose, Repeatable};
use mpp_server::{PaymentServer, Route};
use mpp_tempo::tx::SignedTx;
use mpp_tempo::wire::ChargePayload;

use super::world::{Serving, World};
use crate::simulation::lock;

/// A request, so that it can be sent again and its answer be judged.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) shop: usize,
    pub(super) route: usize,
    pub(super) challenge: Challenge,
    /// The value of `Authorization`.
    pub(super) value: String,
    pub(super) key: Option<u8>,
    /// What was signed, when it was made for this challenge.
    pub(super) transaction: Option<SignedTx>,
    /// It must be refused.
    pub(super) is_hostile: bool,
}

/// What became of something that a server was asked for.
pub(super) enum Done {
    Decided(Box<Decision>, Asked),
    Captured(Result<Receipt, Failure>, Asked),
    /// Something that only the books judge.
    Worked,
}

impl World {
    /// A fresh challenge.
    pub(super) async fn challenge(&self, shop: usize, route: usize) -> Challenge {
        let shop = &self.shops[shop];
        let attempt = Attempt::from_credential(None, Purpose::Content);
        let decision = shop
            .process
            .server
            .decide(&shop.routes[route], attempt)
            .await;
        let Decision::Refuse(refusal) = decision else {
            panic!("something for nothing: {decision:?}");
        };
        refusal.challenges[0].to_challenge()
    }

    /// Sends a request, and lets it run for so many polls, or to its end.
    pub(super) async fn send(&mut self, asked: Asked, polls: Option<u8>) {
        let shop = &self.shops[asked.shop];
        let (server, route) = (
            shop.process.server.clone(),
            shop.routes[asked.route].clone(),
        );
        self.run(asked.shop, decide(server, route, asked), polls)
            .await;
    }

    /// Judges an answer.
    pub(super) fn told(&mut self, done: Done) {
        match done {
            Done::Worked | Done::Captured(Err(_), _) => {}
            Done::Captured(Ok(Receipt::Charge(receipt)), asked) => {
                let challenge = receipt.challenge_id.as_ref().expect("a charge's receipt");
                assert!(self.may_pay(challenge, &asked), "{receipt:?}, {asked:?}");
                let mut audit = lock(&self.site.audit);
                let once = audit.cash.served(challenge, &receipt.reference);
                audit.note(once);
                drop(audit);
                self.receipts.push(receipt);
            }
            Done::Captured(Ok(Receipt::Session(receipt)), _) => panic!("{receipt:?}"),
            Done::Decided(decision, asked) => self.decided(*decision, asked),
        }
    }

    /// A charge answers its own request, and others under the same key: of those
    /// nothing more is taken.
    fn may_pay(&self, challenge: &ChallengeId, asked: &Asked) -> bool {
        let mut before = self.asked.iter();
        *challenge == asked.challenge.id
            || asked.key.is_some()
                && before.any(|other| other.challenge.id == *challenge && other.key == asked.key)
    }

    fn decided(&mut self, decision: Decision, asked: Asked) {
        match decision {
            Decision::Refuse(_) => {}
            other if asked.is_hostile => panic!("taken: {asked:?}, {other:?}"),
            Decision::Grant(grant) => {
                let was_served = lock(&self.site.audit).cash.was_served(&asked.challenge.id);
                assert!(!was_served, "granted again (A1): {asked:?}");
                self.serving.push_back(Serving { grant, asked });
                if self.serving.len() > 8 {
                    self.serving.pop_front();
                }
            }
            Decision::Replay(replay) => {
                assert!(asked.key.is_some(), "replayed without a key: {asked:?}");
                assert!(matches!(replay.receipt, Receipt::Charge(_)));
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn decide(server: PaymentServer, route: Route, asked: Asked) -> Done {
    let repeatable = asked.key.map(|key| {
        let name = IdempotencyKey::from_text(&format!("key-{key}")).unwrap();
        Repeatable::new(&name, &[b"photo"])
    });
    let values = [asked.value.as_str()];
    let attempt = Attempt::from_headers(values, [], Purpose::Content).repeatable(repeatable);
    let decision = server.decide(&route, attempt).await;
    Done::Decided(Box::new(decision), asked)
}

/// The value of `Authorization` that answers a challenge.
pub(super) fn value(challenge: &Challenge, payload: &ChargePayload) -> String {
    let payload = serde_json::to_value(payload).unwrap();
    credential::encode(&Credential::new(challenge.clone(), payload)).unwrap()
}
