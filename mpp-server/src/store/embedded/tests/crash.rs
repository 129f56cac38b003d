//! What was acknowledged survives any crash; the rest is whole or absent.

use std::{collections::HashMap, sync::Mutex};

use tokio::task::JoinSet;

use super::{
    disk::{Dice, Disk},
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
        charge.next.newest_outcome += 1;
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

async fn survives_power_cuts(mode: SyncMode, seed: u64) {
    let disk = Disk::default();
    let store = options(mode).open_on(disk.clone()).unwrap();
    let acknowledged = Acknowledged::default();
    let mut buyers = JoinSet::new();
    for channel in 0..CHANNELS {
        buyers.spawn(buy(store.clone(), channel, Arc::clone(&acknowledged)));
    }
    let mut dice = Dice::new(seed);
    let mut cuts = 0;
    while !buyers.is_empty() && cuts < 60 {
        // Whatever is noted here was acknowledged before the power fails.
        let noted = acknowledged.lock().unwrap().clone();
        examine(disk.after_power_cut(&mut dice), &noted);
        cuts += 1;
        while buyers.try_join_next().is_some() {}
        tokio::task::yield_now().await;
    }
    assert!(cuts > 20, "the power failed only {cuts} times");
    buyers.abort_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn group_survives_power_cuts() {
    survives_power_cuts(SyncMode::Group, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn strict_survives_power_cuts() {
    survives_power_cuts(SyncMode::Strict, 2).await;
}

// Relaxed may lose acknowledged charges, but never tears one apart, and never
// loses more than its cap.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn relaxed_loses_no_more_than_its_caps() {
    const CAP: u128 = 7;
    const TOTAL: u128 = 12;
    let disk = Disk::default();
    let store = options(caps(CAP, TOTAL)).open_on(disk.clone()).unwrap();
    let acknowledged = Acknowledged::default();
    let mut buyers = JoinSet::new();
    for channel in 0..CHANNELS {
        buyers.spawn(buy(store.clone(), channel, Arc::clone(&acknowledged)));
    }
    let mut dice = Dice::new(3);
    let mut most = 0;
    for _ in 0..40 {
        // The disk is slow, and the charges go on.
        let held = disk.hold();
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
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
    }
    assert!(most > 0, "nothing was ever at risk");
    buyers.abort_all();
}
