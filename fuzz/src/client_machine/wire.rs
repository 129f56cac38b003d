//! The way from the client to its server, and everything that goes over it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mpp_client::credential::CredentialField;
use mpp_client::exchange::{Acquaintance, ManageWire, SendError, Wire};
use mpp_client::flow::{Answer, Probe, Repetition};
use mpp_client::session::book::{ChannelBook, MemoryBook};
use mpp_client::{ChannelSummary, TransportError};
use mpp_core::header::idempotency_key::IdempotencyKey;
use mpp_core::{Challenge, MethodName, Problem, Receipt, SessionReceipt, Timestamp};
use mpp_server::error::Failure;
use mpp_server::gate::{Attempt, Decision, Grant, Purpose, Repeatable, RequestBody};
use mpp_server::{PaymentServer, Route};
use mpp_tempo::ChannelId;
use mpp_tempo::wire::SessionPayload;

use super::lies::Fate;
use super::world::{MAX_DEPOSIT, MAX_PRICE};
use crate::simulation::audit::Audit;
use crate::simulation::life::Life;
use crate::simulation::{START, lock};

/// What has gone over the wire.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// To the server, by channel.
    sent: HashMap<ChannelId, Signed>,
    /// The client was told something else than its server has said.
    pub(super) lied: bool,
}

#[derive(Debug, Default)]
struct Signed {
    /// The highest voucher, in base units.
    highest: u128,
    /// The calls that it may have paid for.
    calls: HashSet<u64>,
}

impl Seen {
    /// The highest voucher that has left for a channel, in base units.
    pub(super) fn highest(&self, id: ChannelId) -> u128 {
        self.sent.get(&id).map_or(0, |signed| signed.highest)
    }

    /// Whether a call has been sent with a credential of this channel.
    pub(super) fn has_paid(&self, id: ChannelId, call: u64) -> bool {
        let signed = self.sent.get(&id);
        signed.is_some_and(|signed| signed.calls.contains(&call))
    }
}

/// One call's way.
pub(super) struct Line {
    pub(super) server: PaymentServer,
    pub(super) route: Route,
    /// Of the server.
    pub(super) life: Life,
    pub(super) book: Arc<MemoryBook>,
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) audit: Arc<Mutex<Audit>>,
    /// Which call this is.
    pub(super) call: u64,
    pub(super) key: Option<String>,
    /// What becomes of the next messages; then all is well.
    pub(super) fates: VecDeque<Fate>,
}

impl Line {
    async fn carry(
        &mut self,
        purpose: Purpose,
        field: Option<&CredentialField>,
    ) -> Result<Answer, SendError> {
        if let Some(field) = field {
            self.leaves(field, purpose);
        }
        let fate = self.fates.pop_front().unwrap_or(Fate::Honest);
        let lost = || SendError::MayHaveArrived(TransportError::new("lost"));
        match fate {
            Fate::NotSent => {
                return Err(SendError::NotSent(TransportError::new("not sent")));
            }
            Fate::Lost => return Err(lost()),
            Fate::Invented => {
                if let Some(answer) = field.and_then(|field| self.invent(field)) {
                    return Ok(answer);
                }
                // The close is still to come.
                self.fates.push_front(fate);
            }
            Fate::Honest | Fate::AnswerLost | Fate::Lie(_) => {}
        }
        let life = self.life.clone();
        let asked = async {
            let mut answer = self.ask(purpose, field).await;
            if let Fate::Lie(lie) = fate {
                lock(&self.seen).lied = true;
                lie.tell(&mut answer, &self.fresh().await);
            }
            answer
        };
        let answer = tokio::select! {
            biased;
            () = life.over() => return Err(lost()),
            answer = asked => answer,
        };
        match fate {
            Fate::AnswerLost => Err(lost()),
            _ => Ok(answer),
        }
    }

    /// SECURITY-CASES A33: a receipt for a close of which the server knows nothing.
    fn invent(&self, field: &CredentialField) -> Option<Answer> {
        let credential = field.decode().unwrap();
        let payload = SessionPayload::from_value(&credential.payload).unwrap();
        if !matches!(payload, SessionPayload::Close { .. }) {
            return None;
        }
        lock(&self.seen).lied = true;
        let id = payload.channel_id();
        let ledger = self.book.read(&id).unwrap().ledger;
        let receipt = SessionReceipt::new(
            MethodName::tempo(),
            Timestamp::from_secs(START as i64),
            credential.challenge.id.clone(),
            id.to_string(),
            ledger.accepted(),
            ledger.spent(),
        );
        Some(Answer {
            status: 200,
            receipt: Receipt::Session(receipt).into(),
            ..Answer::default()
        })
    }

    /// SECURITY-CASES A27: what a client signs is in its book before it leaves,
    /// and within what its owner has ordered and allowed.
    fn leaves(&self, field: &CredentialField, purpose: Purpose) {
        let credential = field.decode().unwrap();
        let payload = SessionPayload::from_value(&credential.payload).unwrap();
        let id = payload.channel_id();
        let record = self.book.read(&id);
        let record =
            record.unwrap_or_else(|_| panic!("a channel that the book does not know: {id}"));
        let mut seen = lock(&self.seen);
        let is_new = !seen.sent.contains_key(&id);
        let signed = seen.sent.entry(id).or_default();
        if purpose == Purpose::Content {
            signed.calls.insert(self.call);
        }
        let booked = ChannelSummary::from(&record);
        assert!(
            booked.deposit.base_units() <= MAX_DEPOSIT,
            "more is deposited than allowed: {record:?}"
        );
        if is_new {
            self.is_the_only_one(&payload, id);
        }
        let Some(voucher) = payload.voucher() else {
            return;
        };
        let cumulative = voucher.voucher.cumulative;
        assert!(
            record.best.voucher.cumulative >= cumulative && booked.signed >= cumulative,
            "the book does not know of a voucher for {cumulative}: {record:?}"
        );
        signed.highest = signed.highest.max(cumulative.base_units());
        let most = MAX_PRICE * signed.calls.len() as u128;
        assert!(
            signed.highest <= most,
            "{} is signed, and {most} was ordered: {record:?}",
            signed.highest
        );
    }

    /// A channel is opened only when there is none that can be used.
    fn is_the_only_one(&self, payload: &SessionPayload, id: ChannelId) {
        if !matches!(payload, SessionPayload::Open { .. }) {
            return;
        }
        let records = self.book.records().unwrap();
        let other = records
            .iter()
            .find(|record| record.id != id && record.phase.is_usable());
        assert!(other.is_none(), "a second channel beside {other:?}");
    }

    /// A challenge as the server issues it now.
    async fn fresh(&self) -> Challenge {
        let attempt = Attempt::from_credential(None, Purpose::Content);
        match self.server.decide(&self.route, attempt).await {
            Decision::Refuse(refusal) => refusal.challenges[0].to_challenge(),
            other => panic!("something for nothing: {other:?}"),
        }
    }

    async fn serve(&self, grant: Grant) -> Result<Receipt, Failure> {
        if let Some(tab) = grant.tab() {
            lock(&self.audit).account(tab.channel_id()).asked += 1;
        }
        grant.capture(None).await
    }

    async fn ask(&self, purpose: Purpose, field: Option<&CredentialField>) -> Answer {
        let repeatable = self.key.as_deref().map(|key| {
            let key = IdempotencyKey::parse(key).unwrap();
            Repeatable::new(&key, &[b"unit"])
        });
        let value = field.map(|field| field.value.as_str());
        let attempt = Attempt::from_headers(value, [], purpose).repeatable(repeatable);
        let repetition = match repeatable {
            Some(_) => Repetition::New,
            None => Repetition::Unknown,
        };
        let ok = |receipt: Receipt| Answer {
            status: 200,
            receipt: receipt.into(),
            repetition,
            ..Answer::default()
        };
        match self.server.decide(&self.route, attempt).await {
            Decision::Refuse(refusal) => Answer {
                status: refusal.problem.status(),
                challenges: refusal
                    .challenges
                    .iter()
                    .map(|issued| issued.to_challenge())
                    .collect(),
                problem: Some(refusal.problem),
                ..Answer::default()
            },
            Decision::Grant(grant) => match self.serve(grant).await {
                Ok(receipt) => ok(receipt),
                Err(failure) => {
                    let body = RequestBody::default();
                    failed(self.server.refusal(&self.route, &failure, body).problem)
                }
            },
            Decision::Respond(receipt) => ok(receipt),
            Decision::Replay(replay) => Answer {
                status: 204,
                receipt: replay.receipt.into(),
                repetition: Repetition::Replayed,
                ..Answer::default()
            },
            other => panic!("nobody asked for that: {other:?}"),
        }
    }
}

fn failed(problem: Problem) -> Answer {
    Answer {
        status: problem.status(),
        problem: Some(problem),
        ..Answer::default()
    }
}

impl ManageWire for Line {
    async fn manage(
        &mut self,
        _: Probe,
        field: Option<&CredentialField>,
    ) -> Result<Answer, SendError> {
        self.carry(Purpose::Management, field).await
    }
}

impl Wire for Line {
    type Content = ();

    async fn send(&mut self, field: Option<&CredentialField>) -> Result<(Answer, ()), SendError> {
        Ok((self.carry(Purpose::Content, field).await?, ()))
    }

    /// The server has no directory of its payers.
    async fn introduce(&mut self, _: Option<&CredentialField>) -> Result<Acquaintance, SendError> {
        Ok(Acquaintance {
            answer: Answer {
                status: 404,
                ..Answer::default()
            },
            snapshot: Ok(None),
        })
    }

    async fn pause(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn paid_by(&mut self, _: ChannelId) {}
}
