//! What is in the journal counts as if it were in the tables.

use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::{disk::Disk, files::filled, *};
use crate::store::embedded::tables::{JOURNAL, LEDGER, META};

/// The number and the bytes of each row of the journal in a file that is not
/// open.
fn rows(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_read().unwrap();
    let journal = transaction.open_table(JOURNAL).unwrap();
    let rows = journal.iter().unwrap().map(|row| {
        let (number, row) = row.unwrap();
        (number.value(), row.value().to_vec())
    });
    rows.collect()
}

/// A copy of a file that a crash has left: never closed.
async fn left_by_a_crash(folder: &Folder) -> PathBuf {
    let store = filled(&folder.file("a.store")).await;
    let copy = folder.file("copy.store");
    std::fs::copy(store.path(), &copy).unwrap();
    copy
}

#[tokio::test]
async fn a_crash_leaves_commits_in_the_journal_and_a_close_does_not() {
    let folder = Folder::new();
    let crashed = left_by_a_crash(&folder).await;
    assert_eq!(rows(&crashed).len(), 15, "a row for each lone commit");
    assert_eq!(rows(&folder.file("a.store")), []);
    drop(options(SyncMode::Group).open(&crashed).unwrap());
    assert_eq!(rows(&crashed), []);
}

// Commits of which nothing else is left must not be passed over in silence.
#[tokio::test]
async fn a_damaged_journal_is_named_and_not_opened() {
    let folder = Folder::new();
    let path = left_by_a_crash(&folder).await;
    let mut damaged = rows(&path);
    let (number, row) = damaged.get_mut(14).unwrap();
    row[100] ^= 1;
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut journal = transaction.open_table(JOURNAL).unwrap();
        journal.insert(*number, row.as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let refused = options(SyncMode::Group).open(&path).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a value in the channel store is damaged"
    );
    assert_eq!(rows(&path), damaged, "nothing was thrown away");
    let report = StoreReader::open(&path).unwrap().check().unwrap();
    let expected = Finding {
        place: Place::Journal(15),
        defect: Defect::Damaged(codec::CodecError::Checksum),
    };
    assert_eq!(report.findings, [expected]);
    assert_eq!(
        report.findings[0].to_string(),
        "journal row 15: the checksum of the stored value is wrong"
    );
    // The rest can be read: all but the last of twelve charges.
    assert_eq!((report.channels, report.entries), (3, 11));
    assert_eq!(rows(&path), damaged);
}

// A key may end and be used again before either is in its table.
#[tokio::test]
async fn an_outcome_that_ended_makes_room_for_a_new_one_under_its_key() {
    let disk = Disk::default();
    let store = options(SyncMode::Group).open_on(disk.clone()).unwrap();
    let record = sample::record(1);
    conformance::done(&store, sample::first(record.clone())).await;
    let buy = async |version, before: &ChannelRecord, number, expires| {
        let mut charge = sample::charge(version, before);
        Arc::make_mut(&mut charge.next).newest_outcome = number;
        let mut outcome = sample::outcome(&charge.next, 1, sample::at(expires));
        outcome.number = number;
        charge.outcome = Some(outcome.clone());
        let next = charge.next.clone();
        let version = conformance::done(&store, charge).await;
        (version, next, outcome)
    };
    let (version, record, first) = buy(Version(1), &record, 1, 60).await;
    let ends = store.sweep(sample::at(60), 10);
    let again = buy(version, &record, 2, 120);
    let held = disk.hold();
    tokio::pin!(ends);
    tokio::pin!(again);
    assert!(futures_util::poll!(&mut ends).is_pending());
    assert!(futures_util::poll!(&mut again).is_pending());
    drop(held);
    assert_eq!(ends.await.unwrap(), 1);
    let (_, _, second) = again.await;
    assert_eq!(first.key, second.key);
    let found = store.outcome(first.key, sample::at(61)).await.unwrap();
    assert_eq!(found.as_ref(), Some(&second));
    // The ledger is read from its table, so everything goes into the tables.
    let ledger = store.ledger(sample::whole_ledger(None)).await.unwrap();
    assert_eq!(ledger.len(), 2);
    let found = store.outcome(first.key, sample::at(61)).await.unwrap();
    assert_eq!(found, Some(second));
}

// A response is in memory only as long as it is not in its table.
#[tokio::test]
async fn long_responses_go_into_the_tables_early() {
    let folder = Folder::new();
    let store = options(SyncMode::Group).open(folder.file("a")).unwrap();
    let mut record = sample::record(1);
    conformance::done(&store, sample::first(record.clone())).await;
    for version in 1..=12 {
        let mut charge = sample::charge(Version(version), &record);
        Arc::make_mut(&mut charge.next).newest_outcome = version;
        let mut outcome = sample::outcome(&charge.next, version, sample::at(60));
        outcome.response.as_mut().unwrap().body = vec![7; 1_000_000].into();
        charge.outcome = Some(outcome);
        record = charge.next.clone();
        conformance::done(&store, charge).await;
    }
    let copy = folder.file("copy");
    std::fs::copy(store.path(), &copy).unwrap();
    let kept: usize = rows(&copy).iter().map(|(_, row)| row.len()).sum();
    assert!(kept < 5_000_000, "{kept} bytes wait");
    for number in 1..=12 {
        let key = sample::outcome_key(&record, number);
        let found = store.outcome(key, sample::at(0)).await.unwrap().unwrap();
        assert_eq!(found.number, number);
    }
}

// A change that could not be read again is not written.
#[tokio::test]
async fn a_change_that_is_too_long_is_refused_and_nothing_is_lost() {
    let store = options(SyncMode::Group).open_on(Disk::default()).unwrap();
    let record = sample::record(1);
    conformance::done(&store, sample::first(record.clone())).await;
    let mut charge = sample::charge(Version(1), &record);
    Arc::make_mut(&mut charge.next).newest_outcome = 1;
    let mut outcome = sample::outcome(&charge.next, 1, sample::at(60));
    outcome.response.as_mut().unwrap().body = vec![7; 17 * 1024 * 1024].into();
    charge.outcome = Some(outcome);
    store.commit(charge).await.unwrap_err();
    let found = store.load(record.id).await.unwrap().unwrap();
    assert_eq!((found.version, &found.record), (Version(1), &record));
    conformance::done(&store, sample::charge(Version(1), &record)).await;
}

/// Turns a file into what the first layout was: no journal, and each ledger
/// entry under its own number.
fn as_layout_1(path: &Path) {
    const SINGLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("ledger");
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let runs = transaction.open_table(LEDGER).unwrap();
        let mut single = transaction.open_table(SINGLE).unwrap();
        for run in runs.iter().unwrap() {
            let run = run.unwrap().1;
            for (number, entry) in codec::run::read_run(run.value()).unwrap() {
                single.insert(number, entry).unwrap();
            }
        }
        let mut meta = transaction.open_table(META).unwrap();
        meta.insert("layout", 1).unwrap();
    }
    transaction.delete_table(LEDGER).unwrap();
    transaction.delete_table(JOURNAL).unwrap();
    transaction.commit().unwrap();
}

#[tokio::test]
async fn a_file_of_the_first_layout_is_taken_over() {
    let folder = Folder::new();
    let path = folder.file("a.store");
    let store = filled(&path).await;
    let ledger = store.ledger(sample::whole_ledger(None)).await.unwrap();
    drop(store);
    as_layout_1(&path);
    // Whoever only reads takes it over in memory.
    let before = std::fs::read(&path).unwrap();
    let report = StoreReader::open(&path).unwrap().check().unwrap();
    assert_eq!((report.entries, report.findings), (12, Vec::new()));
    assert!(std::fs::read(&path).unwrap() == before);
    let store = options(SyncMode::Group).open(&path).unwrap();
    let found = store.load(sample::record(1).id).await.unwrap().unwrap();
    assert_eq!(found.version, Version(5));
    conformance::done(&store, sample::charge(Version(5), &found.record)).await;
    let longer = store.ledger(sample::whole_ledger(None)).await.unwrap();
    assert_eq!(longer[..12], ledger);
    assert_eq!((longer.len(), longer[12].number), (13, 13));
    let key = sample::outcome_key(&found.record, 4);
    let outcome = store.outcome(key, sample::at(0)).await.unwrap();
    assert_eq!(outcome.unwrap().number, 4);
}

#[tokio::test]
async fn a_file_of_a_later_layout_is_refused_and_left_alone() {
    let folder = Folder::new();
    let path = folder.file("a.store");
    drop(filled(&path).await);
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(META)
        .unwrap()
        .insert("layout", 3)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let refused = options(SyncMode::Group).open(&path).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the channel store has the unknown layout 3"
    );
}

// However the entries are kept together, a page is exactly what was asked for.
#[tokio::test]
async fn pages_of_the_ledger_begin_and_end_anywhere() {
    let folder = Folder::new();
    let store = options(SyncMode::Group)
        .folds(200)
        .open(folder.file("a"))
        .unwrap();
    let mut record = sample::record(1);
    conformance::done(&store, sample::first(record.clone())).await;
    for version in 1..=700 {
        let charge = sample::charge(Version(version), &record);
        record = charge.next.clone();
        conformance::done(&store, charge).await;
    }
    for after in [
        0, 1, 100, 130, 131, 132, 133, 199, 200, 201, 698, 699, 700, 701,
    ] {
        for limit in [0, 1, 2, 150, 1_000] {
            let page = LedgerPage {
                channel: None,
                after,
                limit,
            };
            let found = store.ledger(page).await.unwrap();
            let numbers: Vec<_> = found.iter().map(|line| line.number).collect();
            let expected: Vec<_> = (after + 1..=700).take(limit).collect();
            assert_eq!(numbers, expected, "{limit} after {after}");
            for line in found {
                assert_eq!(u128::from(line.number), line.entry.spent.base_units());
            }
        }
    }
}
