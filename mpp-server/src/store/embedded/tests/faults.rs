//! A disk that fails stops the store.

use futures_util::poll;

use super::{
    disk::{Dice, Disk, Trouble},
    *,
};

async fn opened(mode: SyncMode) -> (Disk, EmbeddedStore, Arc<ChannelRecord>) {
    let disk = Disk::default();
    let store = options(mode).open_on(disk.clone()).unwrap();
    let record = sample::record(1);
    let first = store.commit(sample::first(record.clone())).await.unwrap();
    assert_eq!(first, Commit::Done(Version(1)));
    (disk, store, record)
}

fn lasting<T: std::fmt::Debug>(result: Result<T, StoreFault>) {
    let fault = result.unwrap_err();
    assert!(!fault.is_transient(), "{fault}");
}

async fn stops_selling(trouble: impl Fn(&Disk) -> Trouble) {
    let (disk, store, record) = opened(SyncMode::Group).await;
    let charge = sample::charge(Version(1), &record);
    assert_eq!(
        store.commit(charge.clone()).await.unwrap(),
        Commit::Done(Version(2))
    );
    let follower = store.clone();
    let waits = follower.changed(record.id, Version(2));
    tokio::pin!(waits);
    assert!(poll!(&mut waits).is_pending());
    disk.fail(trouble(&disk));
    // A response that does not fit into what the file has left.
    let mut large = sample::charge(Version(2), &charge.next);
    Arc::make_mut(&mut large.next).newest_outcome = 1;
    let mut outcome = sample::outcome(&large.next, 1, sample::at(60));
    outcome.response.as_mut().unwrap().body = vec![7; 4_000_000].into();
    large.outcome = Some(outcome);
    let key = sample::outcome_key(&large.next, 1);
    lasting(store.commit(large.clone()).await);
    // Nothing is served from memory, and whoever waits learns of it.
    lasting(waits.await);
    lasting(store.load(record.id).await);
    lasting(store.commit(large).await);
    lasting(store.commit(sample::first(sample::record(2))).await);
    lasting(store.outcome(key, sample::at(0)).await);
    lasting(store.changed(record.id, Version(0)).await);
    lasting(store.ledger(sample::whole_ledger(None)).await);
    let claim = ClaimKey::Cosign(sample::challenge_id());
    lasting(
        store
            .claim(claim, B256::ZERO, sample::at(60), sample::at(0))
            .await,
    );
    let scan = Scan {
        which: crate::store::Which::All,
        after: None,
        limit: 9,
    };
    lasting(store.scan(scan).await);
    // Opening again finds what was acknowledged.
    let left = disk.after_power_cut(&mut Dice::new(5));
    drop(store);
    let store = options(SyncMode::Group).open_on(left).unwrap();
    let found = store.load(record.id).await.unwrap().unwrap();
    assert!(found.version >= Version(2));
    let next = sample::charge(found.version, &found.record);
    assert!(matches!(store.commit(next).await.unwrap(), Commit::Done(_)));
}

#[tokio::test]
async fn a_failed_sync_stops_selling() {
    stops_selling(|_| Trouble::Sync).await;
}

#[tokio::test]
async fn a_full_disk_stops_selling() {
    stops_selling(|disk| Trouble::Full(disk.size())).await;
}

#[tokio::test]
async fn a_short_write_stops_selling() {
    stops_selling(|_| Trouble::ShortWrites).await;
}

// A load must not show what a crash may take back.
#[tokio::test]
async fn a_load_waits_for_the_commit_under_way() {
    for mode in [SyncMode::Strict, SyncMode::Group] {
        let (disk, store, record) = opened(mode).await;
        let held = disk.hold();
        let charge = store.commit(sample::charge(Version(1), &record));
        tokio::pin!(charge);
        assert!(poll!(&mut charge).is_pending());
        let load = store.load(record.id);
        tokio::pin!(load);
        assert!(poll!(&mut load).is_pending());
        // The version check does not wait: the order of commits is known.
        let stale = store.commit(sample::charge(Version(1), &record)).await;
        assert_eq!(stale.unwrap(), Commit::Conflict);
        drop(held);
        assert_eq!(load.await.unwrap().unwrap().version, Version(2));
        assert_eq!(charge.await.unwrap(), Commit::Done(Version(2)));
    }
}

// Dropped, a commit happens whole or not at all.
#[tokio::test]
async fn a_dropped_commit_happens_whole() {
    let (disk, store, record) = opened(SyncMode::Group).await;
    let held = disk.hold();
    {
        let charge = store.commit(sample::charge(Version(1), &record));
        tokio::pin!(charge);
        assert!(poll!(&mut charge).is_pending());
    }
    drop(held);
    let found = store.load(record.id).await.unwrap().unwrap();
    assert_eq!(found.version, Version(2));
    let ledger = store.ledger(sample::whole_ledger(None)).await.unwrap();
    assert_eq!(ledger.len(), 1);
}
