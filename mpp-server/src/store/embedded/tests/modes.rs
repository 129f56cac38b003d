//! Who waits for the disk, and how often it is asked.

use futures_util::poll;
use tokio::task::JoinSet;

use super::{disk::Disk, *};
use crate::session::record::Phase;

/// Opens `count` channels at once and returns how often the disk was asked.
async fn syncs_of(mode: SyncMode, count: u64) -> u64 {
    let disk = Disk::default();
    let store = options(mode).open_on(disk.clone()).unwrap();
    let before = disk.syncs();
    let held = disk.hold();
    let mut commits = JoinSet::new();
    for salt in 0..count {
        let store = store.clone();
        commits.spawn(async move { store.commit(sample::first(sample::record(salt))).await });
    }
    for _ in 0..count {
        // Every commit gets its turn and waits for the disk.
        tokio::task::yield_now().await;
    }
    drop(held);
    for done in commits.join_all().await {
        assert_eq!(done.unwrap(), Commit::Done(Version(1)));
    }
    disk.syncs() - before
}

#[tokio::test]
async fn a_group_shares_the_wait_for_the_disk() {
    let together = syncs_of(SyncMode::Group, 64).await;
    // The first goes at once, all others together; and the file may grow.
    assert!(together <= 4, "{together} syncs for 64 commits");
}

#[tokio::test]
async fn strict_asks_the_disk_for_each_commit() {
    let each = syncs_of(SyncMode::Strict, 64).await;
    assert!(each >= 64, "{each} syncs for 64 commits");
}

#[tokio::test]
async fn relaxed_acknowledges_first_until_a_channel_owes_its_cap() {
    let disk = Disk::default();
    let store = options(caps(5, 100)).open_on(disk.clone()).unwrap();
    let mut record = sample::record(1);
    let mut version = conformance::done(&store, sample::first(record.clone())).await;
    let held = disk.hold();
    for _ in 0..5 {
        let charge = sample::charge(version, &record);
        record = charge.next.clone();
        // No sync succeeds now, and still it is acknowledged.
        version = conformance::done(&store, charge).await;
        assert_eq!(
            store.load(record.id).await.unwrap().unwrap().version,
            version
        );
    }
    let sixth = store.commit(sample::charge(version, &record));
    tokio::pin!(sixth);
    assert!(poll!(&mut sixth).is_pending());
    // Neither is it shown.
    let load = store.load(record.id);
    tokio::pin!(load);
    assert!(poll!(&mut load).is_pending());
    drop(held);
    assert_eq!(sixth.await.unwrap(), Commit::Done(Version(7)));
    assert_eq!(load.await.unwrap().unwrap().version, Version(7));
    // What is on the disk is no risk any more.
    Arc::make_mut(&mut record).spent = Amount::new(6);
    let held = disk.hold();
    conformance::done(&store, sample::charge(Version(7), &record)).await;
    drop(held);
}

#[tokio::test]
async fn relaxed_waits_when_all_channels_together_owe_the_total() {
    let disk = Disk::default();
    let store = options(caps(5, 7)).open_on(disk.clone()).unwrap();
    for salt in [1, 2] {
        conformance::done(&store, sample::first(sample::record(salt))).await;
    }
    let held = disk.hold();
    let mut records = [sample::record(1), sample::record(2)];
    for (which, version) in [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 1), (1, 2)] {
        let charge = sample::charge(Version(version), &records[which]);
        records[which] = charge.next.clone();
        conformance::done(&store, charge).await;
    }
    let over = store.commit(sample::charge(Version(3), &records[1]));
    tokio::pin!(over);
    assert!(poll!(&mut over).is_pending());
    drop(held);
    assert_eq!(over.await.unwrap(), Commit::Done(Version(4)));
}

// What the chain is told is recorded before it is told.
#[tokio::test]
async fn relaxed_waits_for_everything_that_concerns_the_chain() {
    let disk = Disk::default();
    let store = options(caps(1_000_000, 1_000_000))
        .open_on(disk.clone())
        .unwrap();
    let record = sample::record(1);
    conformance::done(&store, sample::first(record.clone())).await;
    let held = disk.hold();
    let mut closed = sample::charge(Version(1), &record);
    Arc::make_mut(&mut closed.next).phase = Phase::CloseRequested { at: 1 };
    let commit = store.commit(closed);
    tokio::pin!(commit);
    assert!(poll!(&mut commit).is_pending());
    let opening = store.commit(sample::first(sample::record(2)));
    tokio::pin!(opening);
    assert!(poll!(&mut opening).is_pending());
    let claim = ClaimKey::Cosign(sample::challenge_id());
    let claim = store.claim(claim, B256::ZERO, sample::at(60), sample::at(0));
    tokio::pin!(claim);
    assert!(poll!(&mut claim).is_pending());
    drop(held);
    assert_eq!(commit.await.unwrap(), Commit::Done(Version(2)));
    assert_eq!(opening.await.unwrap(), Commit::Done(Version(1)));
    assert_eq!(claim.await.unwrap(), Claim::New);
}

#[tokio::test]
async fn relaxed_gives_nothing_back_that_a_crash_would_take_again() {
    let disk = Disk::default();
    let store = options(caps(1_000_000, 1_000_000))
        .open_on(disk.clone())
        .unwrap();
    let mut record = sample::record(1);
    Arc::make_mut(&mut record).spent = Amount::new(500);
    conformance::done(&store, sample::first(record.clone())).await;
    let held = disk.hold();
    let mut credit = sample::charge(Version(1), &record);
    Arc::make_mut(&mut credit.next).spent = Amount::new(400);
    let credit = store.commit(credit);
    tokio::pin!(credit);
    assert!(poll!(&mut credit).is_pending());
    drop(held);
    assert_eq!(credit.await.unwrap(), Commit::Done(Version(2)));
}

#[test]
fn durability_says_what_is_at_risk() {
    let durability = |mode| options(mode).open_on(Disk::default()).unwrap().durability();
    assert_eq!(durability(SyncMode::Strict), Durability::Strict);
    assert_eq!(durability(SyncMode::Group), Durability::Group);
    let relaxed = durability(caps(5, 70));
    assert!(relaxed.is_bounded());
    assert_eq!(
        relaxed.to_string(),
        "a crash loses at most 5 base units of a channel and 70 in total"
    );
}
