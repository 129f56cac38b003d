//! What a server may say instead of the truth.

use mpp_client::flow::{Answer, ReceiptField, Repetition};
use mpp_core::{Amount, Challenge, EncodedJson, Problem, ProblemKind, SessionReceipt};
use mpp_tempo::wire::SessionRequest;

use super::world::PRICE;

/// What becomes of one message and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Honest,
    /// It never left.
    NotSent,
    /// It did not arrive, and the client can not know.
    Lost,
    /// It arrived, and the answer was lost.
    AnswerLost,
    /// A close does not arrive, and is confirmed.
    Invented,
    Lie(Lie),
}

/// How an answer is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// More was spent, says the receipt.
    Spent(u8),
    /// Less was accepted.
    Accepted,
    /// The receipt is missing.
    NoReceipt,
    /// The receipt is about another channel.
    Other,
    /// A higher voucher is needed.
    Needs(u8),
    /// The unit costs so many times as much.
    Price(u8),
    /// Somebody else is to be paid.
    Payee,
    /// There is no such channel.
    NotFound,
    /// The channel is closed.
    Finalized,
    /// The server has failed.
    Failed,
    /// It was delivered before.
    Replayed,
    /// What was sent is no good; a fresh challenge comes with it.
    Renew,
}

impl Fate {
    pub(super) fn of(byte: u8) -> Self {
        let more = byte / 16;
        let lie = match byte % 16 {
            0 => return Self::NotSent,
            1 => return Self::Lost,
            2 => return Self::AnswerLost,
            3 => Lie::Spent(more),
            4 => Lie::Accepted,
            5 => Lie::NoReceipt,
            6 => Lie::Other,
            7 => Lie::Needs(more),
            8 => Lie::Price(more),
            9 => Lie::Payee,
            10 => Lie::NotFound,
            11 => Lie::Finalized,
            12 => Lie::Failed,
            13 => Lie::Replayed,
            14 => Lie::Renew,
            _ if more == 1 => return Self::Invented,
            _ => return Self::Honest,
        };
        Self::Lie(lie)
    }
}

impl Lie {
    /// Says this instead. `fresh` is a challenge as the server would issue it.
    pub(super) fn tell(self, answer: &mut Answer, fresh: &Challenge) {
        match self {
            Self::Spent(more) => change(answer, |receipt| {
                receipt.spent = plus(receipt.spent, more);
                receipt.accepted_cumulative = receipt.accepted_cumulative.max(receipt.spent);
            }),
            Self::Accepted => change(answer, |receipt| receipt.accepted_cumulative = Amount::ZERO),
            Self::NoReceipt => answer.receipt = ReceiptField::Absent,
            Self::Other => change(answer, |receipt| {
                receipt.channel_id = alloy_primitives::B256::ZERO.to_string();
            }),
            Self::Needs(more) => {
                let known = match &answer.receipt {
                    ReceiptField::Session(receipt) => receipt.accepted_cumulative,
                    _ => Amount::new(PRICE),
                };
                let mut problem = Problem::new(ProblemKind::InsufficientBalance, "more");
                problem.required_cumulative = Some(plus(known, more));
                problem.accepted_cumulative = Some(known);
                refuse(answer, problem, fresh);
            }
            Self::Price(times) => {
                offer(answer, fresh, |request| {
                    let times = u64::from(times).saturating_add(1);
                    request.amount = request.amount.checked_mul(times).unwrap();
                });
            }
            Self::Payee => offer(answer, fresh, |request| {
                request.recipient = alloy_primitives::Address::repeat_byte(7);
            }),
            Self::NotFound => {
                refuse(
                    answer,
                    Problem::new(ProblemKind::ChannelNotFound, "no"),
                    fresh,
                );
            }
            Self::Finalized => {
                refuse(
                    answer,
                    Problem::new(ProblemKind::ChannelFinalized, "no"),
                    fresh,
                );
            }
            Self::Failed => *answer = status(500),
            Self::Replayed => answer.repetition = Repetition::Replayed,
            Self::Renew => {
                refuse(
                    answer,
                    Problem::new(ProblemKind::InvalidChallenge, "no"),
                    fresh,
                );
            }
        }
    }
}

fn plus(amount: Amount, prices: u8) -> Amount {
    let more = PRICE / 2 * u128::from(prices);
    amount.checked_add(Amount::new(more)).unwrap()
}

fn status(status: u16) -> Answer {
    Answer {
        status,
        ..Answer::default()
    }
}

fn change(answer: &mut Answer, change: impl FnOnce(&mut SessionReceipt)) {
    if let ReceiptField::Session(receipt) = &mut answer.receipt {
        change(receipt);
    }
}

fn refuse(answer: &mut Answer, problem: Problem, fresh: &Challenge) {
    *answer = status(problem.status());
    answer.problem = Some(problem);
    answer.challenges = vec![fresh.clone()];
}

/// Refuses with another offer.
fn offer(answer: &mut Answer, fresh: &Challenge, change: impl FnOnce(&mut SessionRequest)) {
    let mut request: SessionRequest = fresh.request.decode().unwrap();
    change(&mut request);
    let mut challenge = fresh.clone();
    challenge.request = EncodedJson::from_value(&request).unwrap();
    let problem = Problem::new(ProblemKind::PaymentRequired, "pay");
    refuse(answer, problem, &challenge);
}
