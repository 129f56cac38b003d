//! Fresh challenges: which of them goes on with a payment, and what is learned from them.

use std::collections::VecDeque;

use mpp_core::{Challenge, ChallengeId, Problem, ProblemKind};
use mpp_tempo::wire::NeedVoucher;

use super::*;
use crate::error::{ClientError, TransportError};
use crate::exchange::{Acquaintance, Exchange, ManageWire, SendError, Wire};
use crate::flow::{Answer, Probe, ReceiptField};
use crate::offer::Unpayable;
use crate::policy::PolicyViolation;
use crate::testing::{offer, offer_until};

/// A server that answers as it is told to, whatever it is sent, and then is not there any more.
#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    /// Time goes on while it is asked for a channel that the book has lost.
    slow: Option<Arc<ManualClock>>,
    sent: Vec<Option<CredentialField>>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        Self {
            answers: answers.into_iter().collect(),
            slow: None,
            sent: Vec::new(),
        }
    }

    fn answer(&mut self, field: Option<&CredentialField>) -> Result<Answer, SendError> {
        self.sent.push(field.cloned());
        let gone = || SendError::NotSent(TransportError::new("nobody is there"));
        self.answers.pop_front().ok_or_else(gone)
    }

    /// The challenges that were answered, in this order; `None` for what went without a credential.
    fn answered(&self) -> Vec<Option<String>> {
        let id = |field: &CredentialField| read(field).challenge.id.as_str().to_owned();
        let sent = self.sent.iter();
        sent.map(|field| field.as_ref().map(id)).collect()
    }
}

impl ManageWire for Script {
    async fn manage(
        &mut self,
        _: Probe,
        field: Option<&CredentialField>,
    ) -> Result<Answer, SendError> {
        self.answer(field)
    }
}

impl Wire for Script {
    type Content = ();

    async fn send(&mut self, field: Option<&CredentialField>) -> Result<(Answer, ()), SendError> {
        Ok((self.answer(field)?, ()))
    }

    async fn introduce(&mut self, _: Option<&CredentialField>) -> Result<Acquaintance, SendError> {
        let clock = self.slow.as_ref().expect("the book has lost nothing");
        clock.advance(Duration::from_secs(120));
        let answer = Answer {
            status: 404,
            ..Answer::default()
        };
        Ok(Acquaintance {
            answer,
            snapshot: Ok(None),
        })
    }

    async fn pause(&mut self, _: Duration) {}

    fn paid_by(&mut self, _: ChannelId) {}
}

fn named(id: &str, offer: &Offer) -> Offer {
    let mut challenge = offer.challenge().clone();
    challenge.id = ChallengeId::new(id).unwrap();
    Offer::read(challenge).unwrap()
}

/// A session in a token that the policy does not allow.
fn forbidden() -> Offer {
    named(
        "forbidden",
        &offer_with(|request| {
            request["currency"] = json!("0x20c0000000000000000000000000000000000009")
        }),
    )
}

/// A session that the policy allows, on other terms than those that pay.
fn dearer() -> Offer {
    named(
        "dearer",
        &offer_with(|request| request["amount"] = json!("2000")),
    )
}

/// A session whose challenge expires that many seconds from now.
fn lasting(id: &str, seconds: u64) -> Offer {
    let now = Timestamp::from_secs(i64::try_from(START).unwrap());
    let until = now.checked_add(Duration::from_secs(seconds));
    named(id, &offer_until(until.unwrap()))
}

fn asks(kind: ProblemKind, offers: &[&Offer]) -> Answer {
    let challenge = |offer: &&Offer| -> Challenge { offer.challenge().clone() };
    let problem = Problem::new(kind, "no");
    Answer {
        status: problem.status(),
        challenges: offers.iter().map(challenge).collect(),
        problem: Some(problem),
        ..Answer::default()
    }
}

fn serves(id: ChannelId, total: u128) -> Answer {
    Answer {
        status: 200,
        receipt: ReceiptField::Session(Box::new(receipt(id, total, total))),
        ..Answer::default()
    }
}

fn some(ids: &[&str]) -> Vec<Option<String>> {
    ids.iter().map(|id| Some((*id).to_owned())).collect()
}

// A route that takes several tokens, the first of them not allowed here.
#[tokio::test]
async fn a_renewed_challenge_is_the_one_that_goes_on_with_the_payment() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    bench.payer.learn(&bench.site, &offer());
    let fresh = named("fresh", &offer());
    let expired = asks(
        ProblemKind::PaymentExpired,
        &[&forbidden(), &dearer(), &fresh],
    );
    let mut server = Script::new([expired, serves(id, 2_000)]);
    let run = Exchange::new(&bench.payer, bench.site.clone(), &mut server).run();
    run.await.unwrap();
    assert_eq!(server.answered(), some(&["challenge-1", "fresh"]));
    assert_eq!(bench.payer.known_offer(&bench.site), Some(fresh));
}

#[tokio::test]
async fn a_channel_is_replaced_under_an_offer_that_is_allowed() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    bench.payer.learn(&bench.site, &offer());
    let gone = asks(ProblemKind::ChannelFinalized, &[&forbidden(), &dearer()]);
    let mut server = Script::new([gone]);
    let run = Exchange::new(&bench.payer, bench.site.clone(), &mut server).run();
    let stopped = run.await;
    assert!(
        matches!(stopped, Err(ClientError::Transport(_))),
        "{stopped:?}"
    );
    assert_eq!(server.answered(), some(&["challenge-1", "dearer"]));
    assert_eq!(bench.payer.known_offer(&bench.site), Some(dearer()));
    assert!(!bench.record(id).phase.is_usable());
}

#[tokio::test]
async fn a_voucher_beside_a_stream_goes_on_under_the_terms_of_the_stream() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut payment = bench.begin(&offer()).await;
    send(&mut payment).await;
    payment.begin_stream().unwrap();
    payment.observe(&receipt(id, 2_000, 2_000)).unwrap();
    let need = NeedVoucher {
        channel_id: id,
        required_cumulative: units(3_000),
        accepted_cumulative: units(2_000),
        deposit: units(10_000),
    };
    let fresh = named("fresh", &offer());
    let expired = asks(
        ProblemKind::PaymentExpired,
        &[&forbidden(), &dearer(), &fresh],
    );
    // Another request has learned of the dearer one.
    bench.payer.learn(&bench.site, &dearer());
    let mut accepted = serves(id, 2_000);
    accepted.receipt = ReceiptField::Session(Box::new(receipt(id, 3_000, 2_000)));
    let mut server = Script::new([expired, accepted]);
    let fed = bench
        .payer
        .feed_over(&bench.site, &mut server, &mut payment, &need);
    fed.await.unwrap();
    assert_eq!(server.answered(), some(&["challenge-1", "fresh"]));
    assert_eq!(bench.payer.known_offer(&bench.site), Some(fresh));
}

// Otherwise every later request would begin with what can not be paid.
#[tokio::test]
async fn what_is_not_allowed_is_not_learned() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let first = asks(ProblemKind::PaymentRequired, &[&forbidden()]);
    let second = asks(ProblemKind::PaymentRequired, &[&forbidden(), &offer()]);
    let mut server = Script::new([first, second, serves(id, 2_000)]);
    let run = Exchange::new(&bench.payer, bench.site.clone(), &mut server).run();
    let refused = run.await;
    assert!(
        matches!(
            refused,
            Err(ClientError::Policy(
                PolicyViolation::CurrencyNotAllowed { .. }
            ))
        ),
        "{refused:?}"
    );
    assert_eq!(bench.payer.known_offer(&bench.site), None);
    let run = Exchange::new(&bench.payer, bench.site.clone(), &mut server).run();
    run.await.unwrap();
    assert_eq!(bench.payer.known_offer(&bench.site), Some(offer()));
}

// Draft-httpauth-payment-00: clients must not answer an expired challenge.
#[tokio::test]
async fn an_expired_challenge_is_not_answered() {
    let bench = Bench::new();
    let expired = lasting("expired", 0);
    let refused = bench.payer.begin(&bench.site, expired.clone()).await;
    assert!(
        matches!(refused, Err(ClientError::Unpayable(Unpayable::Expired))),
        "{refused:?}"
    );
    let mut server = Script::new([asks(ProblemKind::PaymentRequired, &[&expired])]);
    let run = Exchange::new(&bench.payer, bench.site.clone(), &mut server).run();
    let refused = run.await;
    assert!(
        matches!(refused, Err(ClientError::Unpayable(Unpayable::Expired))),
        "{refused:?}"
    );
    assert_eq!(server.answered(), [None]);
    assert!(bench.book.records().unwrap().is_empty());
    // One beside it that is good yet is answered.
    let id = bench.open(&offer()).await;
    let mut server = Script::new([
        asks(
            ProblemKind::PaymentRequired,
            &[&expired, &lasting("good", 60)],
        ),
        asks(
            ProblemKind::PaymentExpired,
            &[&expired, &lasting("better", 90)],
        ),
        serves(id, 2_000),
    ]);
    let run = Exchange::new(&bench.payer, bench.site.clone(), &mut server).run();
    run.await.unwrap();
    let answered = ["good", "better"].map(|id| Some(id.to_owned()));
    assert_eq!(server.answered()[1..], answered);
}

// It was known, and expired while something else was asked.
#[tokio::test]
async fn a_known_challenge_that_has_expired_is_asked_for_again() {
    let bench = Bench::new();
    bench.payer.learn(&bench.site, &lasting("known", 60));
    let mut server = Script::new([asks(
        ProblemKind::PaymentRequired,
        &[&lasting("fresh", 300)],
    )]);
    server.slow = Some(bench.clock.clone());
    let run = Exchange::new(&bench.payer, bench.site.clone(), &mut server).run();
    let gone = run.await;
    assert!(matches!(gone, Err(ClientError::Transport(_))), "{gone:?}");
    assert_eq!(server.answered(), [None, Some("fresh".to_owned())]);
}

#[tokio::test]
async fn a_stream_that_outlives_its_challenge_goes_on_under_another() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut payment = bench.begin(&lasting("first", 60)).await;
    send(&mut payment).await;
    payment.begin_stream().unwrap();
    payment.observe(&receipt(id, 2_000, 2_000)).unwrap();
    bench.pass(61);
    let need = NeedVoucher {
        channel_id: id,
        required_cumulative: units(3_000),
        accepted_cumulative: units(2_000),
        deposit: units(10_000),
    };
    let fresh = lasting("fresh", 300);
    let mut accepted = serves(id, 2_000);
    accepted.receipt = ReceiptField::Session(Box::new(receipt(id, 3_000, 2_000)));
    let asked = asks(ProblemKind::PaymentRequired, &[&dearer(), &fresh]);
    let mut server = Script::new([asked, accepted]);
    let fed = bench
        .payer
        .feed_over(&bench.site, &mut server, &mut payment, &need);
    fed.await.unwrap();
    assert_eq!(server.answered(), [None, Some("fresh".to_owned())]);
}

/// A server that takes what it is sent, and lets time pass without an answer.
struct Silent(Arc<ManualClock>);

impl ManageWire for Silent {
    async fn manage(&mut self, _: Probe, _: Option<&CredentialField>) -> Result<Answer, SendError> {
        self.0.advance(Duration::from_secs(120));
        Err(SendError::MayHaveArrived(TransportError::new("silence")))
    }
}

// That its challenge has expired meanwhile does not unmake what may have arrived.
#[tokio::test]
async fn what_is_lost_while_its_challenge_expires_is_in_doubt() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    bench.payer.learn(&bench.site, &lasting("first", 60));
    let mut silent = Silent(bench.clock.clone());
    let top_up = bench
        .payer
        .top_up_over(&bench.site, &mut silent, id, units(5_000));
    let lost = top_up.await.unwrap_err();
    assert!(matches!(lost, ClientError::Indeterminate { .. }), "{lost}");
}
