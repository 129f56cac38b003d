//! What may become of an effect, and that it has one outcome.

use std::collections::{BTreeMap, BTreeSet};

use mpp_tempo::SessionProtocol;
use proptest::prelude::*;

use super::*;
use crate::{
    store::DocumentKind,
    testing::{amount, now, payer, sign, terms},
};

fn attempt(byte: u8) -> Attempt {
    Attempt {
        hash: B256::repeat_byte(byte),
        valid_before: u64::from(byte),
        max_fee_per_gas: 1,
        raw: Some(Bytes::from(vec![byte])),
    }
}

fn prepared() -> Effect {
    let terms = terms(SessionProtocol::V2);
    let voucher = sign(&payer(), &terms, 5);
    let item = Item::close(terms.id(), &voucher, amount(5));
    Effect::prepared(Reason::Age, vec![item], attempt(1), now())
}

fn seen(byte: u8, result: TxResult) -> Fact {
    Fact::Seen(Inclusion {
        transaction: B256::repeat_byte(byte),
        block: 7,
        result,
    })
}

fn all(facts: &[Fact]) -> Result<Effect, Impossible> {
    facts
        .iter()
        .try_fold(prepared(), |effect, fact| effect.after(fact.clone()))
}

#[test]
fn a_transaction_that_is_mined_and_stays_is_final() {
    let done = all(&[Fact::Sending, seen(1, TxResult::Done), Fact::Settled]).unwrap();
    assert_eq!(done.state, State::Final(B256::repeat_byte(1)));
}

// SECURITY-CASES A33: mined is not yet done, and reverted is not done at all.
#[test]
fn a_reverted_transaction_has_failed_once_that_is_final() {
    let seen = [Fact::Sending, Fact::Lost, seen(1, TxResult::Reverted)];
    let mined = all(&seen).unwrap();
    assert!(matches!(mined.state, State::Mined(_)));
    let failed = mined.after(Fact::Settled).unwrap();
    let reverted = Why::Reverted(B256::repeat_byte(1));
    assert_eq!(failed.state, State::Failed(reverted));
    // It is not sent again: something about it has to change.
    assert_eq!(failed.after(Fact::Replaced(attempt(2))), Err(Impossible));
}

#[test]
fn a_reorganization_makes_a_mined_transaction_unknown() {
    let gone = all(&[Fact::Sending, seen(1, TxResult::Done), Fact::Gone]).unwrap();
    assert_eq!(gone.state, State::Unknown);
    let again = gone.after(seen(1, TxResult::Done)).unwrap();
    assert!(matches!(again.state, State::Mined(_)));
}

#[test]
fn only_what_can_not_be_mined_any_more_is_replaced() {
    let replaced = Fact::Replaced(attempt(2));
    for before in [
        vec![],
        vec![Fact::Sending],
        vec![Fact::Sending, Fact::Lost],
        vec![Fact::Sending, seen(1, TxResult::Done)],
    ] {
        assert_eq!(
            all(&before).unwrap().after(replaced.clone()),
            Err(Impossible)
        );
    }
    for end in [Fact::Expired, Fact::Refused] {
        let failed = all(&[Fact::Sending, end]).unwrap();
        let next = failed.after(replaced.clone()).unwrap();
        assert_eq!(next.state, State::Prepared);
        // Only the newest is sent again.
        let before = Attempt {
            raw: None,
            ..attempt(1)
        };
        assert_eq!(next.attempts, [before, attempt(2)]);
        assert_eq!(next.items[0].before, Some(attempt(1).hash));
        // The same transaction once more is no new one.
        assert_eq!(failed.after(Fact::Replaced(attempt(1))), Err(Impossible));
    }
}

// A chain may stand still for days, and a document has to stay readable.
#[test]
fn an_effect_stays_small_however_often_it_is_sent() {
    let mut effect = prepared();
    for number in 1..=2_000_u64 {
        for fact in [Fact::Sending, Fact::Expired] {
            effect = effect.after(fact).unwrap();
        }
        let next = Attempt {
            hash: B256::left_padding_from(&number.to_be_bytes()),
            raw: Some(Bytes::from(vec![7; 10_000])),
            ..attempt(1)
        };
        effect = effect.after(Fact::Replaced(next.clone())).unwrap();
        assert_eq!(effect.newest(), Some(&next));
    }
    let stored = crate::settle::outbox::stored::encode(DocumentKind::Effect, &effect);
    assert!(stored.unwrap().len() < 32 * 1_024);
    let (before, newest) = (
        &effect.attempts[effect.attempts.len() - 2],
        &effect.attempts[effect.attempts.len() - 1],
    );
    assert_eq!(effect.items[0].before, Some(before.hash));
    assert!(before.raw.is_none() && newest.raw.is_some());
}

// A node that has it already refuses it, too: that proves nothing.
#[test]
fn a_refusal_counts_only_for_the_first_sending() {
    let unknown = all(&[Fact::Sending, Fact::Lost]).unwrap();
    assert_eq!(unknown.after(Fact::Refused).unwrap().state, State::Unknown);
    assert_eq!(prepared().after(Fact::Refused), Err(Impossible));
}

#[test]
fn news_of_a_transaction_of_others_is_refused() {
    let sent = all(&[Fact::Sending]).unwrap();
    assert_eq!(sent.after(seen(9, TxResult::Done)), Err(Impossible));
}

#[test]
fn neither_signatures_nor_transactions_are_shown() {
    let effect = prepared();
    let shown = format!("{effect:?}");
    let signature = alloy_primitives::hex::encode(effect.items[0].voucher.signature.to_bytes());
    assert!(
        !shown.contains(&signature) && !shown.contains("raw"),
        "{shown}"
    );
}

/// What the chain and the network may do to a sent transaction.
#[derive(Clone, Copy, Debug)]
enum Event {
    Send,
    Lose,
    Refuse,
    Mine { reverts: bool },
    Look,
    Reorganize,
    Expire,
    Confirm,
    Replace,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Send),
        Just(Event::Lose),
        Just(Event::Refuse),
        any::<bool>().prop_map(|reverts| Event::Mine { reverts }),
        Just(Event::Look),
        Just(Event::Reorganize),
        Just(Event::Expire),
        Just(Event::Confirm),
        Just(Event::Replace),
    ]
}

/// A chain that mines whatever was sent to it, as long as it is valid.
#[derive(Default)]
struct Chain {
    sent: BTreeSet<B256>,
    expired: BTreeSet<B256>,
    mined: BTreeMap<B256, TxResult>,
    /// It stays.
    fixed: BTreeSet<B256>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    // Whatever happens in whatever order, at most one transaction of an effect
    // does what it is for, and the effect says the truth about it.
    #[test]
    fn an_effect_has_one_outcome(events in prop::collection::vec(event(), 0..60)) {
        let mut effect = prepared();
        let mut chain = Chain::default();
        let mut next = 2_u8;
        for event in events {
            let newest = effect.newest().unwrap().hash;
            let fact = match event {
                Event::Send => {
                    let fact = Fact::Sending;
                    if effect.after(fact.clone()).is_ok() {
                        chain.sent.insert(newest);
                    }
                    fact
                }
                Event::Lose => Fact::Lost,
                // The first node says no: the chain has not got it.
                Event::Refuse => {
                    if effect.state == State::Broadcast && chain.mined.is_empty() {
                        chain.sent.remove(&newest);
                    } else if effect.state == State::Broadcast {
                        continue;
                    }
                    Fact::Refused
                }
                Event::Mine { reverts } => {
                    let ready = chain.sent.difference(&chain.expired).copied();
                    for hash in ready.collect::<Vec<_>>() {
                        let result = if reverts { TxResult::Reverted } else { TxResult::Done };
                        chain.mined.entry(hash).or_insert(result);
                    }
                    continue;
                }
                Event::Look => match chain.mined.get(&newest) {
                    Some(result) => Fact::Seen(Inclusion { transaction: newest, block: 7, result: *result }),
                    None => continue,
                },
                Event::Reorganize => {
                    let fixed = &chain.fixed;
                    chain.mined.retain(|hash, _| fixed.contains(hash));
                    match effect.state {
                        State::Mined(found) if !chain.mined.contains_key(&found.transaction) => Fact::Gone,
                        _ => continue,
                    }
                }
                Event::Expire => {
                    chain.expired.insert(newest);
                    // Nobody concludes that of a transaction that is in a block.
                    if chain.mined.contains_key(&newest) {
                        continue;
                    }
                    Fact::Expired
                }
                Event::Confirm => match effect.state {
                    State::Mined(found) if chain.mined.contains_key(&found.transaction) => {
                        chain.fixed.insert(found.transaction);
                        Fact::Settled
                    }
                    _ => continue,
                },
                Event::Replace => Fact::Replaced(attempt(next)),
            };
            let replaces = matches!(fact, Fact::Replaced(_));
            if let Ok(after) = effect.after(fact) {
                effect = after;
                next = if replaces { next.saturating_add(1) } else { next };
            }
            // What is not the newest any more can not be mined any more.
            for old in effect.attempts.iter().rev().skip(1) {
                let over = chain.expired.contains(&old.hash) || !chain.sent.contains(&old.hash);
                prop_assert!(over && !chain.mined.contains_key(&old.hash));
            }
            let done = chain.mined.values().filter(|result| **result == TxResult::Done).count();
            prop_assert!(done <= 1);
            match effect.state {
                State::Final(hash) => prop_assert_eq!(chain.mined.get(&hash), Some(&TxResult::Done)),
                State::Failed(_) => prop_assert_eq!(done, 0),
                State::Prepared => prop_assert!(!chain.sent.contains(&effect.newest().unwrap().hash)),
                State::Broadcast | State::Unknown | State::Mined(_) => {}
            }
        }
    }
}

mod stored {
    use super::*;
    use crate::{
        settle::outbox::stored::{decode, encode},
        store::DocumentKind,
    };

    #[test]
    fn effects_are_read_as_they_were_written() {
        let states = [
            State::Prepared,
            State::Broadcast,
            State::Unknown,
            State::Mined(Inclusion {
                transaction: B256::repeat_byte(1),
                block: 3,
                result: TxResult::Done,
            }),
            State::Mined(Inclusion {
                transaction: B256::repeat_byte(1),
                block: 3,
                result: TxResult::Reverted,
            }),
            State::Final(B256::repeat_byte(1)),
            State::Failed(Why::Reverted(B256::repeat_byte(1))),
            State::Failed(Why::Refused),
            State::Failed(Why::Expired),
            State::Failed(Why::Superseded),
        ];
        for state in states {
            let mut effect = prepared();
            effect.state = state;
            effect.items[0].before = Some(B256::repeat_byte(4));
            let kind = DocumentKind::Effect;
            let stored = encode(kind, &effect).unwrap();
            assert_eq!(decode(kind, &stored).unwrap(), effect);
            // An effect under way is not taken for one that is over.
            assert!(decode(DocumentKind::FinishedEffect, &stored).is_err());
        }
    }
}
