//! What is to happen on chain only ever moves on (PROTOCOL, outbox).

use mpp_server::store::codec::decode_document;
use mpp_server::store::{Document, DocumentKind, DocumentWrite};
use serde::Deserialize;

use super::audit::Lost;

type Hash = [u8; 32];

/// The stored form of an effect, as far as it is looked at; what follows is
/// read with it, because the form has an end.
#[derive(Debug, Deserialize)]
struct Effect {
    id: Hash,
    _reason: u8,
    items: Vec<Item>,
    attempts: Vec<Attempt>,
    state: State,
    _created_at: i64,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Item {
    channel: Hash,
    is_close: bool,
    voucher: (u128, Vec<u8>),
    amount: u128,
    before: Option<Hash>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Attempt {
    hash: Hash,
    valid_before: u64,
    max_fee_per_gas: u128,
    raw: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
enum State {
    Prepared,
    Broadcast,
    Unknown,
    Mined {
        transaction: Hash,
        block: u64,
        reverted: bool,
    },
    Final(Hash),
    Reverted(Hash),
    Refused,
    Expired,
    Superseded,
}

impl State {
    fn is_over(self) -> bool {
        matches!(
            self,
            Self::Final(_) | Self::Reverted(_) | Self::Refused | Self::Expired | Self::Superseded
        )
    }

    /// The arrows of the diagram in `settle/outbox/effect.rs`.
    fn may_become(self, next: Self) -> bool {
        use State::{
            Broadcast, Expired, Final, Mined, Prepared, Refused, Reverted, Superseded, Unknown,
        };
        match (self, next) {
            (Prepared, Broadcast | Superseded | Expired)
            | (Broadcast, Unknown | Mined { .. } | Refused | Expired)
            | (Unknown, Mined { .. } | Expired)
            | (Mined { .. }, Mined { .. } | Unknown) => true,
            (
                Mined {
                    transaction,
                    reverted: false,
                    ..
                },
                Final(last),
            )
            | (
                Mined {
                    transaction,
                    reverted: true,
                    ..
                },
                Reverted(last),
            ) => transaction == last,
            // Only by a new transaction, which is checked apart.
            (Expired | Refused, Prepared) => true,
            (one, other) => one == other,
        }
    }
}

fn read(kind: DocumentKind, document: &[u8]) -> Result<Effect, String> {
    decode_document(kind, document).map_err(|error| format!("an effect can not be read: {error}"))
}

/// Checks one write of documents.
pub(crate) fn check(
    before: &[Option<Document>],
    writes: &[DocumentWrite],
    lost: &Lost,
) -> Result<(), String> {
    let kinds = [DocumentKind::Effect, DocumentKind::FinishedEffect];
    for (before, write) in before.iter().zip(writes) {
        if !kinds.contains(&write.key.kind) {
            continue;
        }
        let old = before
            .as_ref()
            .map(|old| read(write.key.kind, &old.value))
            .transpose()?;
        let new = write
            .value
            .as_ref()
            .map(|new| read(write.key.kind, new))
            .transpose()?;
        match (write.key.kind, old, new) {
            (DocumentKind::Effect, None, Some(new)) => begun(&new)?,
            (DocumentKind::Effect, Some(old), Some(new)) => moved(&old, &new, lost)?,
            (DocumentKind::Effect, Some(old), None) => ended(&old, writes)?,
            (DocumentKind::FinishedEffect, Some(old), Some(new)) if old.state != new.state => {
                return Err(format!("what is over has changed: {old:?} to {new:?}"));
            }
            (DocumentKind::FinishedEffect, None, Some(new)) if !new.state.is_over() => {
                return Err(format!("it is not over: {new:?}"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn begun(new: &Effect) -> Result<(), String> {
    if matches!(new.state, State::Prepared | State::Unknown) && !new.items.is_empty() {
        return Ok(());
    }
    Err(format!("an effect begins in the middle: {new:?}"))
}

/// Only the newest attempt is sent again: what came before it is remembered
/// without its bytes.
fn keeps(old: &[Attempt], new: &[Attempt]) -> bool {
    let same = |(old, new): (&Attempt, &Attempt)| {
        let terms = |one: &Attempt| (one.hash, one.valid_before, one.max_fee_per_gas);
        terms(old) == terms(new)
    };
    let bytes = |attempts: &[Attempt]| attempts.last().and_then(|newest| newest.raw.clone());
    let can_be_sent = match new.len() > old.len() {
        true => bytes(new).is_some(),
        false => bytes(new) == bytes(old),
    };
    old.len() <= new.len() && can_be_sent && old.iter().zip(new).all(same)
}

fn moved(old: &Effect, new: &Effect, lost: &Lost) -> Result<(), String> {
    let is_kept = keeps(&old.attempts, &new.attempts) && old.id == new.id;
    let is_new = new.attempts.len() > old.attempts.len();
    let begins_again = new.state == State::Prepared && old.state != State::Prepared;
    if !is_kept || !old.state.may_become(new.state) || is_new != begins_again {
        return Err(format!("an effect went from {old:?} to {new:?}"));
    }
    let is_given_up = matches!(new.state, State::Expired | State::Refused);
    if let Some(newest) = new
        .attempts
        .last()
        .filter(|_| is_given_up && old.state != new.state)
    {
        lost.check(newest.hash.into(), Some(newest.valid_before))?;
    }
    let same = old.items.iter().zip(&new.items).all(|(old, new)| {
        (old.channel, old.is_close, old.amount) == (new.channel, new.is_close, new.amount)
            && old.voucher == new.voucher
    });
    if !same || old.items.len() != new.items.len() {
        return Err(format!(
            "an effect collects something else: {old:?}, {new:?}"
        ));
    }
    Ok(())
}

/// Nothing is forgotten: what is removed is kept among what is over.
fn ended(old: &Effect, writes: &[DocumentWrite]) -> Result<(), String> {
    let is_kept = writes.iter().any(|write| {
        write.key.kind == DocumentKind::FinishedEffect
            && write.key.id.0 == old.id
            && write.value.is_some()
    });
    match is_kept && old.state.is_over() {
        true => Ok(()),
        false => Err(format!("an effect was forgotten: {old:?}")),
    }
}
