//! What was acknowledged survives any crash; the rest is whole or absent.

use std::{collections::HashMap, sync::Mutex};

use tokio::task::JoinSet;

use super::{
    disk::{Dice, Disk, Trouble},
    *,
};
use crate::store::embedded::fsck;

const CHANNELS: u64 = 6;

/// The newest acknowledged version of each channel.
type Acknowledged = Arc<Mutex<HashMap<ChannelId, Version>>>;

/// Buys and buys, and notes what was acknowledged.
async fn buy(store: EmbeddedStore, channel: u64, acknowledged: Acknowledged) {
    let mut record = sample::record(channel);
    let mut version = conformance::done(&store, sample::first(record.clone())).await;
    loop {
        acknowledged.lock().unwrap().insert(record.id, version);
        if record.spent == record.accepted() {
            return;
        }
        let mut charge = sample::charge(version, &record);
        Arc::make_mut(&mut charge.next).newest_outcome += 1;
        let number = charge.next.newest_outcome;
        charge.outcome = Some(sample::outcome(&charge.next, number, sample::at(60)));
        record = charge.next.clone();
        version = conformance::done(&store, charge).await;
    }
}

/// Opens what a crash has left and looks at everything.
fn examine(
    disk: Disk,
    acknowledged: &HashMap<ChannelId, Version>,
) -> HashMap<ChannelId, Versioned> {
    let file = StoreFile::on(disk).unwrap();
    let report = fsck::check(&file).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let found = file.decoded_records().unwrap();
    let found: HashMap<_, _> = found
        .into_iter()
        .map(|found| (found.record.id, found))
        .collect();
    for (id, version) in acknowledged {
        let found = found.get(id).expect("an acknowledged channel is lost");
        assert!(
            found.version >= *version,
            "{:?} < {version:?}",
            found.version
        );
    }
    for found in found.values() {
        // Every version after the first has spent one more.
        let spent = u128::from(found.version.0) - 1;
        assert_eq!(found.record.spent, Amount::new(spent));
        let newest = found.record.newest_outcome;
        assert_eq!(u128::from(newest), spent);
        if newest > 0 {
            let key = sample::outcome_key(&found.record, newest);
            assert!(file.outcome(key).unwrap().is_some(), "an outcome is lost");
        }
    }
    found
}

/// Starts a buyer on each channel. Buyers get on only while the test waits, so
/// that it does not depend on speed.
fn start(store: &EmbeddedStore, acknowledged: &Acknowledged) -> JoinSet<()> {
    let buyers = (0..CHANNELS).map(|salt| buy(store.clone(), salt, Arc::clone(acknowledged)));
    buyers.collect()
}

/// Lets the buyers run into the disk.
async fn run_on() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Waits until what is under way is on the disk.
async fn catch_up(store: &EmbeddedStore) {
    for salt in 0..CHANNELS {
        store.load(sample::record(salt).id).await.unwrap();
    }
}

async fn survives_power_cuts(options: StoreOptions, seed: u64) {
    let disk = Disk::default();
    let store = options.open_on(disk.clone()).unwrap();
    let acknowledged = Acknowledged::default();
    let mut buyers = start(&store, &acknowledged);
    let mut dice = Dice::new(seed);
    for cut in 0..60 {
        // Every other time the power fails before a sync, not between two.
        let held = (cut % 2 == 0).then(|| disk.hold());
        run_on().await;
        // Whatever is noted here was acknowledged before the power fails.
        let noted = acknowledged.lock().unwrap().clone();
        examine(disk.after_power_cut(&mut dice), &noted);
        drop(held);
        catch_up(&store).await;
    }
    assert!(!acknowledged.lock().unwrap().is_empty());
    buyers.abort_all();
}

#[tokio::test]
async fn group_survives_power_cuts() {
    survives_power_cuts(options(SyncMode::Group), 1).await;
}

#[tokio::test]
async fn strict_survives_power_cuts() {
    survives_power_cuts(options(SyncMode::Strict), 2).await;
}

// The power also fails while commits go from the journal into the tables.
#[tokio::test]
async fn commits_on_their_way_into_the_tables_survive_power_cuts() {
    for (folds, seed) in [(1, 4), (5, 5), (40, 6)] {
        survives_power_cuts(options(SyncMode::Group).folds(folds), seed).await;
        survives_power_cuts(options(SyncMode::Strict).folds(folds), seed).await;
    }
}

// Whoever opens a file after a crash puts into the tables what the journal
// holds. The power may fail again meanwhile.
#[tokio::test]
async fn a_second_power_cut_while_the_first_is_repaired_loses_nothing() {
    let disk = Disk::default();
    let store = options(SyncMode::Group).open_on(disk.clone()).unwrap();
    let acknowledged = Acknowledged::default();
    let mut buyers = start(&store, &acknowledged);
    let mut dice = Dice::new(7);
    for _ in 0..20 {
        run_on().await;
        catch_up(&store).await;
        let noted = acknowledged.lock().unwrap().clone();
        let mut left = disk.after_power_cut(&mut dice);
        for trouble in [Trouble::Sync, Trouble::ShortWrites] {
            left.fail(trouble);
            StoreFile::on(left.clone()).unwrap_err();
            left = left.after_power_cut(&mut dice);
        }
        examine(left, &noted);
    }
    buyers.abort_all();
}

// Relaxed may lose acknowledged charges, but never tears one apart, and never
// loses more than its cap.
#[tokio::test]
async fn relaxed_loses_no_more_than_its_caps() {
    const CAP: u128 = 7;
    const TOTAL: u128 = 12;
    let disk = Disk::default();
    let store = options(caps(CAP, TOTAL)).open_on(disk.clone()).unwrap();
    let acknowledged = Acknowledged::default();
    let mut buyers = start(&store, &acknowledged);
    let mut dice = Dice::new(3);
    let mut most = 0;
    for _ in 0..40 {
        // The disk is slow, and the charges go on.
        let held = disk.hold();
        run_on().await;
        let noted = acknowledged.lock().unwrap().clone();
        let found = examine(disk.after_power_cut(&mut dice), &HashMap::new());
        drop(held);
        let lost = noted.iter().map(|(id, version)| {
            let kept = found.get(id).expect("opening a channel waits for the disk");
            u128::from(version.0.saturating_sub(kept.version.0))
        });
        let lost: Vec<_> = lost.collect();
        assert!(lost.iter().all(|lost| *lost <= CAP), "{lost:?}");
        let total = lost.iter().sum::<u128>();
        assert!(total <= TOTAL, "{lost:?}");
        most = most.max(total);
        catch_up(&store).await;
    }
    assert!(most > 0, "nothing was ever at risk");
    buyers.abort_all();
}
