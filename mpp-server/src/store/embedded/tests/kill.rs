//! SIGKILL in the middle of writing.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use super::{disk::Dice, *};

/// Tells the test below that it is the child, and where its store is.
const CHILD: &str = "MPP_STORE_TO_KILL";
const CHANNELS: u64 = 8;
const KILLS: u64 = 12;

/// Buys on all channels at once, and says on its output what is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_is_killed() {
    let Ok(path) = std::env::var(CHILD) else {
        return;
    };
    // Few enough that some kills hit a journal that goes into the tables.
    let store = options(SyncMode::Group).folds(16).open(path).unwrap();
    let mut buyers = tokio::task::JoinSet::new();
    for salt in 0..CHANNELS {
        let store = store.clone();
        buyers.spawn(async move {
            let mut found = match store.load(sample::record(salt).id).await.unwrap() {
                Some(found) => found,
                None => Versioned {
                    version: conformance::done(&store, sample::first(sample::record(salt))).await,
                    record: sample::record(salt),
                },
            };
            loop {
                println!("ack {salt} {}", found.version.0);
                if found.record.spent == found.record.accepted() {
                    return;
                }
                let charge = sample::charge(found.version, &found.record);
                found.record = charge.next.clone();
                found.version = conformance::done(&store, charge).await;
            }
        });
    }
    buyers.join_all().await;
}

#[test]
fn nothing_acknowledged_is_lost_to_sigkill() {
    let folder = Folder::new();
    let path = folder.file("a.store");
    let mut dice = Dice::new(11);
    let mut acknowledged = HashMap::new();
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::embedded::tests::kill::child_that_is_killed",
            ])
            .arg("--nocapture")
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Dies after so many lines; what it had said before counts too.
        let mut left = 20 + dice.roll(300);
        for line in lines.map_while(Result::ok) {
            // The test runner's own output may stand before the first line.
            let Some((_, words)) = line.split_once("ack ") else {
                continue;
            };
            let Some((salt, version)) = words.split_once(' ') else {
                continue;
            };
            let (Ok(salt), Ok(version)) = (salt.parse::<u64>(), version.parse::<u64>()) else {
                continue;
            };
            let newest = acknowledged.entry(salt).or_insert(0);
            *newest = version.max(*newest);
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(!acknowledged.is_empty(), "killed too early");
        let reader = StoreReader::open(&path).unwrap();
        let report = reader.check().unwrap();
        assert!(
            report.findings.is_empty(),
            "kill {kill}: {:?}",
            report.findings
        );
        drop(reader);
        let file = StoreFile::open(&path).unwrap();
        let found = file.decoded_records().unwrap();
        for (salt, version) in &acknowledged {
            let id = sample::record(*salt).id;
            let found = found.iter().find(|found| found.record.id == id);
            let found = found.expect("an acknowledged channel is lost");
            assert!(found.version.0 >= *version, "kill {kill} lost a commit");
        }
        for found in found {
            // Every version after the first has spent one more.
            let spent = u128::from(found.version.0) - 1;
            assert_eq!(found.record.spent, Amount::new(spent));
        }
    }
}
