//! Real servers for tests, or the reason why a test is skipped.

mod authority;
mod nodes;
mod proxy;

use std::sync::atomic::{AtomicU32, Ordering};

use alloy_primitives::B256;

pub(in crate::store) use self::{
    authority::{Authority, free_port, plain},
    nodes::{
        a_stream_resumes_on_another_node, any_node_can_have_all_settled,
        one_copy_of_a_charge_is_granted, two_nodes_sell_exactly_what_is_there,
    },
    proxy::Proxy,
};
use super::ConnectError;
use crate::store::{
    Commit, DocumentKey, DocumentKind, DocumentPage, DocumentWrite, Version, Written,
    conformance::sample,
};

/// The connection string in `variable`, or `default`.
pub(in crate::store) fn address(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| String::from(default))
}

/// A name that no other test uses, not even one of another process.
pub(in crate::store) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let random = rand::random::<u32>();
    format!("{prefix}_{}_{number}_{random:x}", std::process::id())
}

/// Says that a test is skipped because a server is absent; fails when the
/// environment requires it.
pub(in crate::store) fn skip(service: &str, why: &dyn std::error::Error) {
    let required = std::env::var("MPP_REQUIRE_SERVICES").is_ok_and(|value| value == "1");
    let source = why.source().map(ToString::to_string);
    assert!(!required, "{service} is required: {why} ({source:?})");
    eprintln!("skipped: {service} is not there: {why} ({source:?})");
}

/// Everything that an error shows of itself.
pub(in crate::store) fn shown(error: &ConnectError) -> String {
    let mut shown = format!("{error:?} {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        shown += &format!(" {cause}");
        source = cause.source();
    }
    shown
}

/// A commit at one node wakes who waits at another one.
pub(in crate::store) async fn a_commit_wakes_the_other_node(
    one: &impl crate::ChannelStore,
    other: &impl crate::ChannelStore,
) {
    let record = sample::record(1);
    one.commit(sample::first(record.clone())).await.unwrap();
    let waiting = other.changed(record.id, Version(1));
    let waiting = tokio::time::timeout(std::time::Duration::from_secs(60), waiting);
    let charge = sample::charge(Version(1), &record);
    let (woken, done) = tokio::join!(waiting, one.commit(charge));
    assert_eq!(done.unwrap(), Commit::Done(Version(2)));
    woken.expect("a wake-up").unwrap();
}

/// Buys so many units, one after the other, while others do so too. Says how
/// many were bought, and of how many it can not be told: too many others
/// bought since.
pub(in crate::store) async fn buy(
    store: &impl crate::ChannelStore,
    id: mpp_tempo::ChannelId,
    units: u64,
) -> (u64, u64) {
    let (mut bought, mut unknown) = (0, 0);
    while bought + unknown < units {
        let now = store.load(id).await.unwrap().unwrap();
        let charge = sample::charge(now.version, &now.record);
        match store.commit(charge).await {
            Ok(Commit::Done(_)) => bought += 1,
            Ok(Commit::Conflict) => {}
            Err(fault) if fault.is_transient() => unknown += 1,
            Err(fault) => panic!("{fault}"),
        }
    }
    (bought, unknown)
}

/// Commits over a way that loses answers: each commit happens once, and its
/// fate is found out.
pub(in crate::store) async fn lost_answers_are_found_out(
    store: &impl crate::ChannelStore,
    proxy: &Proxy,
) {
    const ROUNDS: u64 = 12;
    let mut record = sample::record(1);
    let first = store.commit(sample::first(record.clone())).await.unwrap();
    assert_eq!(first, Commit::Done(Version(1)));
    for round in 1..=ROUNDS {
        let mut charge = sample::charge(Version(round), &record);
        charge.outcome = Some(sample::outcome(&record, round, sample::at(60)));
        record = charge.next.clone();
        proxy.lose_the_next_answer();
        let commit = store.commit(charge).await.unwrap();
        assert_eq!(commit, Commit::Done(Version(round + 1)), "round {round}");
    }
    assert!(
        proxy.lost() >= ROUNDS / 2,
        "{} answers were lost",
        proxy.lost()
    );
    let found = store.load(record.id).await.unwrap().unwrap();
    assert_eq!((found.version, found.record), (Version(ROUNDS + 1), record));
    let ledger = store.ledger(sample::whole_ledger(None)).await.unwrap();
    assert_eq!(u64::try_from(ledger.len()), Ok(ROUNDS));
    lost_answers_about_documents_are_found_out(store, proxy).await;
}

/// The same for documents: one that stays and one that goes away each time.
async fn lost_answers_about_documents_are_found_out(
    store: &impl crate::ChannelStore,
    proxy: &Proxy,
) {
    const ROUNDS: u8 = 6;
    let before = proxy.lost();
    let write = |id, expected: Option<u64>, value: Option<u8>| DocumentWrite {
        key: DocumentKey {
            kind: DocumentKind::Effect,
            id: B256::repeat_byte(id),
        },
        expected: expected.map(Version),
        value: value.map(|value| vec![value].into()),
    };
    let first = vec![write(0, None, Some(0)), write(1, None, Some(1))];
    assert_eq!(store.write_documents(first).await.unwrap(), Written::Done);
    for round in 1..=ROUNDS {
        let writes = vec![
            write(0, Some(u64::from(round)), Some(round)),
            write(round, Some(1), None),
            write(round + 1, None, Some(round)),
        ];
        proxy.lose_the_next_answer();
        let written = store.write_documents(writes.clone()).await.unwrap();
        assert_eq!(written, Written::Done, "round {round}");
        let again = store.write_documents(writes).await.unwrap();
        assert_eq!(again, Written::Conflict, "it was written once");
    }
    assert!(proxy.lost() - before >= u64::from(ROUNDS) / 2);
    let page = DocumentPage {
        kind: DocumentKind::Effect,
        after: None,
        limit: 10,
    };
    let found = store.documents(page).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|(id, found)| (id.0[0], found.version.0, found.value[0]))
        .collect();
    let versions = u64::from(ROUNDS) + 1;
    assert_eq!(found, [(0, versions, ROUNDS), (ROUNDS + 1, 1, ROUNDS)]);
}
