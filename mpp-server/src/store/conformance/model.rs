//! Random sequences of calls, compared with a model that is obviously right.

use std::{collections::BTreeMap, sync::Arc};

use alloy_primitives::B256;
use mpp_core::ChallengeId;
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};

use super::{Backend, sample};
use crate::{
    session::record::{ChannelRecord, LedgerEntry, Phase},
    store::{
        ChannelStore, Claim, ClaimKey, Commit, OUTCOMES_PER_CHANNEL, OutcomeKey, Scan,
        StoredOutcome, Version, Which, Write,
    },
};

/// One call of a sequence. Channels and keys are few, so that they meet.
#[derive(Clone, Debug)]
enum Call {
    Commit {
        channel: u64,
        expect: Expect,
        entry: bool,
        /// Seconds from now to the end of an outcome.
        outcome: Option<i64>,
        closed: bool,
    },
    Claim {
        key: u8,
        value: u8,
        lasts: i64,
    },
    /// Time passes, in seconds.
    Wait(i64),
    Reopen,
}

/// The version that a commit names.
#[derive(Clone, Copy, Debug)]
enum Expect {
    None,
    Current,
    Stale,
    Future,
}

fn call() -> impl Strategy<Value = Call> {
    let expect = prop_oneof![
        1 => Just(Expect::None),
        8 => Just(Expect::Current),
        1 => Just(Expect::Stale),
        1 => Just(Expect::Future),
    ];
    let outcome = prop_oneof![2 => Just(None), 3 => (0..30_i64).prop_map(Some)];
    let commit = (
        0..4_u64,
        expect,
        any::<bool>(),
        outcome,
        prop::bool::weighted(0.1),
    );
    let commit = commit.prop_map(|(channel, expect, entry, outcome, closed)| Call::Commit {
        channel,
        expect,
        entry,
        outcome,
        closed,
    });
    let claim = (0..3_u8, any::<u8>(), 1..30_i64);
    let claim = claim.prop_map(|(key, value, lasts)| Call::Claim { key, value, lasts });
    prop_oneof![
        16 => commit,
        4 => claim,
        2 => (0..20_i64).prop_map(Call::Wait),
        1 => Just(Call::Reopen),
    ]
}

/// What a store must hold.
#[derive(Debug, Default)]
struct Model {
    now: i64,
    channels: BTreeMap<B256, (Version, Arc<ChannelRecord>)>,
    ledger: Vec<LedgerEntry>,
    outcomes: BTreeMap<OutcomeKey, StoredOutcome>,
    claims: BTreeMap<u8, (B256, i64)>,
}

impl Model {
    fn write(&self, call: &Call) -> Option<Write> {
        let Call::Commit {
            channel,
            expect,
            entry,
            outcome,
            closed,
        } = call
        else {
            return None;
        };
        let fresh = sample::record(*channel);
        let current = self.channels.get(&fresh.id);
        let (version, record) = match current {
            Some((version, record)) => (Some(*version), record),
            None => (None, &fresh),
        };
        let number = version.unwrap_or(Version(0)).0;
        let mut write = sample::charge(Version(number), record);
        write.expected = match expect {
            Expect::None => None,
            Expect::Current => version,
            Expect::Stale => Some(Version(number.saturating_sub(1))),
            Expect::Future => Some(Version(number.saturating_add(1))),
        };
        write.entry = write.entry.filter(|_| *entry);
        write.outcome = outcome.map(|lasts| {
            let next = Arc::make_mut(&mut write.next);
            next.newest_outcome = next.newest_outcome.saturating_add(1);
            let expires = sample::at(self.now.saturating_add(lasts));
            sample::outcome(next, next.newest_outcome, expires)
        });
        if *closed {
            Arc::make_mut(&mut write.next).phase = Phase::Closed { transaction: None };
        }
        Some(write)
    }

    fn commit(&mut self, write: Write) -> Commit {
        let id = write.next.id;
        let current = self.channels.get(&id).map(|(version, _)| *version);
        if current != write.expected {
            return Commit::Conflict;
        }
        let version = Version(current.map_or(1, |version| version.0.saturating_add(1)));
        self.channels.insert(id, (version, write.next));
        self.ledger.extend(write.entry);
        if let Some(outcome) = write.outcome {
            let newest = outcome.number;
            self.outcomes.insert(outcome.key, outcome);
            self.outcomes.retain(|_, kept| {
                kept.channel_id != id || kept.number.saturating_add(OUTCOMES_PER_CHANNEL) > newest
            });
        }
        Commit::Done(version)
    }

    fn claim(&mut self, key: u8, value: B256, lasts: i64) -> Claim {
        let expires = self.now.saturating_add(lasts);
        match self.claims.get(&key) {
            Some((existing, end)) if *end > self.now => Claim::Existing(*existing),
            _ => {
                self.claims.insert(key, (value, expires));
                Claim::New
            }
        }
    }
}

/// Whatever is called in whatever order, the store does what the model does.
///
/// # Panics
/// When it does not, with the shortest sequence that shows it.
///
/// # Cancel safety
/// Dropped, the check ends.
pub async fn behaves_like_the_model(backend: &impl Backend) {
    for calls in sequences(backend.model_cases()) {
        if let Err(why) = play(backend, &calls).await {
            let (calls, why) = shortest(backend, calls, why).await;
            panic!("{why}, after {calls:#?}");
        }
    }
}

fn sequences(count: u32) -> Vec<Vec<Call>> {
    let mut runner = TestRunner::deterministic();
    let calls = vec(call(), 1..60);
    let sequences = (0..count).filter_map(|_| calls.new_tree(&mut runner).ok());
    sequences.map(|tree| tree.current()).collect()
}

/// Leaves out every call that the failure does not need.
async fn shortest<B: Backend>(
    backend: &B,
    mut calls: Vec<Call>,
    mut why: String,
) -> (Vec<Call>, String) {
    let mut at = 0;
    while at < calls.len() {
        let mut fewer = calls.clone();
        fewer.remove(at);
        match play(backend, &fewer).await {
            Err(found) => (calls, why) = (fewer, found),
            Ok(()) => at = at.saturating_add(1),
        }
    }
    (calls, why)
}

async fn play<B: Backend>(backend: &B, calls: &[Call]) -> Result<(), String> {
    let mut store = backend.create().await;
    let mut model = Model::default();
    for call in calls {
        match call {
            Call::Commit { .. } => {
                let Some(write) = model.write(call) else {
                    continue;
                };
                let commit = store.commit(write.clone()).await;
                same("commit", fault(commit)?, model.commit(write))?;
            }
            &Call::Claim { key, value, lasts } => {
                let value = B256::repeat_byte(value);
                let name = format!("challenge {key}");
                let id = ChallengeId::new(name).map_err(|error| error.to_string())?;
                let (now, end) = (model.now, model.now.saturating_add(lasts));
                let (now, end) = (sample::at(now), sample::at(end));
                let claim = store.claim(ClaimKey::Cosign(id), value, end, now).await;
                same("claim", fault(claim)?, model.claim(key, value, lasts))?;
            }
            Call::Wait(secs) => model.now = model.now.saturating_add(*secs),
            Call::Reopen => match backend.reopen(store).await {
                Some(opened) => store = opened,
                None => return Ok(()),
            },
        }
        compare(&store, &model).await?;
    }
    Ok(())
}

async fn compare(store: &impl ChannelStore, model: &Model) -> Result<(), String> {
    for which in [Which::All, Which::Live] {
        let scan = Scan {
            which,
            after: None,
            limit: 100,
        };
        let scanned = fault(store.scan(scan).await)?;
        let scanned = scanned
            .into_iter()
            .map(|found| (found.version, found.record));
        let wanted = |record: &ChannelRecord| which == Which::All || record.is_live();
        let expected = model.channels.values().filter(|(_, record)| wanted(record));
        same(
            "scan",
            scanned.collect(),
            expected.cloned().collect::<Vec<_>>(),
        )?;
    }
    for (id, (version, record)) in &model.channels {
        let loaded = fault(store.load(*id).await)?;
        let loaded = loaded.map(|found| (found.version, found.record));
        same("load", loaded, Some((*version, record.clone())))?;
        for number in 1..=record.newest_outcome {
            let key = sample::outcome_key(record, number);
            let found = fault(store.outcome(key, sample::at(model.now)).await)?;
            let kept = model.outcomes.get(&key);
            let alive = kept.filter(|outcome| outcome.expires > sample::at(model.now));
            same("outcome", found, alive.cloned())?;
        }
    }
    let ledger = fault(store.ledger(sample::whole_ledger(None)).await)?;
    let ledger = ledger.into_iter().map(|line| line.entry).collect();
    same("ledger", ledger, model.ledger.clone())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: T, should: T) -> Result<(), String> {
    if is == should {
        Ok(())
    } else {
        Err(format!("{what} gave {is:?} where {should:?} is right"))
    }
}

fn fault<T>(result: Result<T, crate::store::StoreFault>) -> Result<T, String> {
    result.map_err(|fault| format!("the store failed: {fault}"))
}
