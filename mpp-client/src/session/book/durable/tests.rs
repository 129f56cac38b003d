//! What a directory of files has to stand: other processes, kills, torn writes, damage.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use mpp_core::Amount;

use super::*;
use crate::session::book::{conformance, update};
use crate::session::ledger::{Reservation, Totals};

/// A directory that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("mpp-book-{}", hex::encode(rand::random::<[u8; 8]>()));
        Self(std::env::temp_dir().join(name))
    }

    fn open(&self) -> DurableBook {
        DurableBook::open(&self.0).unwrap()
    }

    /// A book with one channel, whose log it returns.
    fn with_channel(&self) -> (DurableBook, ChannelId, PathBuf) {
        let (book, record) = (self.open(), conformance::record(1));
        let id = record.id;
        book.insert(record).unwrap();
        let log = book.log(&id);
        (book, id, log)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn the_book_on_disk_keeps_the_rules_of_books() {
    conformance::run(|| {
        let folder = Folder::new();
        move || Arc::new(folder.open()) as Arc<dyn ChannelBook>
    });
}

// ADR 5: a book is converted when it is opened, and older versions refuse it from then on.
#[test]
fn a_book_of_the_first_format_is_taken_over() {
    let folder = Folder::new();
    let (book, id, _) = folder.with_channel();
    let before = book.read(&id).unwrap();
    drop(book);
    let format = folder.0.join("FORMAT");
    fs::write(&format, "mpp channel book 1\n").unwrap();
    let book = folder.open();
    assert_eq!(book.read(&id).unwrap(), before);
    assert_eq!(fs::read_to_string(&format).unwrap(), "mpp channel book 2\n");
}

// Logs did not always say until when the deposit may grow.
#[test]
fn a_log_of_an_older_version_is_read() {
    let folder = Folder::new();
    let (book, id, log) = folder.with_channel();
    let before = book.read(&id).unwrap();
    let bytes = fs::read(&log).unwrap();
    let (lines, _) = line::whole(&bytes, &log).unwrap();
    let [birth, state] = lines[..] else {
        panic!("{} lines", lines.len());
    };
    let birth: serde_json::Value = line::read(birth, &log).unwrap();
    let mut state: serde_json::Value = line::read(state, &log).unwrap();
    let kept = state["kept"].as_object_mut().unwrap();
    kept.remove("grows_until").unwrap();
    let older = [line::seal(&birth).unwrap(), line::seal(&state).unwrap()];
    fs::write(&log, older.concat()).unwrap();
    drop(book);
    let expected = ChannelRecord {
        grows_until: 0,
        ..before
    };
    assert_eq!(folder.open().read(&id).unwrap(), expected);
}

#[test]
fn a_book_that_is_opened_again_is_as_it_was() {
    let folder = Folder::new();
    let (book, id, _) = folder.with_channel();
    let payees = [1, 2].map(Address::repeat_byte);
    book.pin_payees("https://a:443", &payees).unwrap();
    conformance::pay(&book, &id);
    let before = book.read(&id).unwrap();
    drop(book);
    let book = folder.open();
    assert_eq!(book.records().unwrap(), [before]);
    assert_eq!(book.payees_of("https://a:443").unwrap(), payees);
}

// SECURITY-CASES A20: the files hold vouchers and transactions, and are nobody else's business.
#[cfg(unix)]
#[test]
fn files_are_for_their_owner_only_and_hold_no_key() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = Folder::new();
    let (book, id, _) = folder.with_channel();
    conformance::pay(&book, &id);
    book.pin_payees("https://a:443", &[Address::ZERO]).unwrap();
    drop(book.gate(&conformance::record(1).key));
    let mut folders = vec![folder.0.clone()];
    let mut files = 0;
    while let Some(next) = folders.pop() {
        let mode = fs::metadata(&next).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", next.display());
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
            let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
            // The key of the suite's payer.
            assert!(!text.contains(&"07".repeat(16)));
        }
    }
    assert!(files >= 5, "{files}");
}

// A crash in the middle of a write: the state before it counts, and writing goes on.
#[test]
fn a_torn_line_is_left_out_wherever_it_was_torn() {
    let folder = Folder::new();
    let (book, id, log) = folder.with_channel();
    let before = book.read(&id).unwrap();
    let whole = fs::read(&log).unwrap();
    update(&book, &id, |record| record.phase = Phase::Open).unwrap();
    let longer = fs::read(&log).unwrap();
    for end in whole.len()..longer.len() {
        for zeros in [0, 1, 300] {
            let mut torn = longer[..end].to_vec();
            torn.resize(end + zeros, 0);
            fs::write(&log, &torn).unwrap();
            assert_eq!(book.read(&id).unwrap(), before, "{end} {zeros}");
        }
    }
    let mut hole = longer.clone();
    hole[whole.len()..longer.len() - 1].fill(0);
    fs::write(&log, &hole).unwrap();
    update(&book, &id, |record| record.phase = Phase::Closing).unwrap();
    let mut expected = before;
    expected.phase = Phase::Closing;
    assert_eq!(folder.open().read(&id).unwrap(), expected);
}

// Anything else than a torn write is not guessed at.
#[test]
fn damage_is_named_and_stops_the_channel() {
    let folder = Folder::new();
    let (book, id, log) = folder.with_channel();
    update(&book, &id, |record| record.phase = Phase::Open).unwrap();
    let good = fs::read(&log).unwrap();
    drop(book);
    let key = conformance::record(1).key;
    let last = good[..good.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n');
    for at in [0, 40, last.unwrap() + 1, last.unwrap() + 80, good.len() - 2] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&log, &bad).unwrap();
        let book = folder.open();
        let is_named = |result: Result<(), BookError>| matches!(result, Err(BookError::Damaged { file }) if file == log);
        assert!(is_named(book.read(&id).map(drop)), "{at}");
        assert!(is_named(book.usable(&key).map(drop)), "{at}");
        assert!(is_named(book.update(&id, &mut |_| ())), "{at}");
        // What it locks can not be told, so that nothing is opened beside it. What is found on chain
        // is written down.
        let beside = book.add_channel(conformance::record(2), &mut |_| true);
        assert!(is_named(beside.map(drop)), "{at}");
    }
    folder.open().insert(conformance::record(2)).unwrap();
}

#[test]
fn a_log_that_grows_is_written_anew() {
    let folder = Folder::new();
    let (book, id, log) = folder.with_channel();
    for _ in 0..200 {
        conformance::pay(&book, &id);
    }
    assert!(fs::metadata(&log).unwrap().len() <= 64 * 1024);
    let ledger = folder.open().read(&id).unwrap().ledger;
    assert_eq!(ledger.spent(), Amount::new(200_000));
    assert!(!ledger.is_busy());
}

#[test]
fn a_directory_that_is_no_book_of_this_version_is_left_alone() {
    let folder = Folder::new();
    drop(folder.open());
    let format = folder.0.join("FORMAT");
    fs::write(&format, "mpp channel book 3\n").unwrap();
    let refused = DurableBook::open(&folder.0);
    assert!(
        matches!(&refused, Err(BookError::Format { found }) if found == "mpp channel book 3"),
        "{refused:?}"
    );
    fs::remove_file(&format).unwrap();
    fs::write(folder.0.join("channels/0x12.log"), "").unwrap();
    let refused = DurableBook::open(&folder.0);
    assert!(matches!(refused, Err(BookError::Format { .. })));
}

// When the store fails, nothing goes on from memory.
#[test]
fn a_book_whose_disk_failed_stays_closed_until_it_is_opened_again() {
    let folder = Folder::new();
    let (book, id, _) = folder.with_channel();
    assert!(book.note::<()>(Err(BookError::Unknown)).is_err());
    let refused = book.update(&id, &mut |record| record.phase = Phase::Open);
    assert!(matches!(refused, Err(BookError::Storage(_))));
    let refused = book.insert(conformance::record(2));
    assert!(matches!(refused, Err(BookError::Storage(_))));
    let book = folder.open();
    assert_eq!(book.read(&id).unwrap().phase, Phase::Opening);
    conformance::pay(&book, &id);
}

// A handle that vanished in the middle of a request: its request is in doubt, not for ever running.
#[test]
fn requests_of_a_handle_that_is_gone_count_as_lost() {
    let folder = Folder::new();
    let (book, id, _) = folder.with_channel();
    let other = folder.open();
    let cost = Amount::new(1_000);
    for book in [&book, &other] {
        update(book, &id, |record| record.ledger.reserve(cost))
            .unwrap()
            .unwrap();
    }
    // Both live: both run.
    update(&book, &id, |_| ()).unwrap();
    assert_eq!(book.read(&id).unwrap().ledger.running().flights, 2);
    drop(other);
    update(&book, &id, |_| ()).unwrap();
    let ledger = book.read(&id).unwrap().ledger;
    assert_eq!(ledger.running().flights, 1);
    assert_eq!(
        (ledger.in_doubt(), ledger.expected()),
        (cost, Amount::new(2_000))
    );
}

/// What a child process is to do with the book at `BOOK`: nothing unless it is set.
///
/// It pays for ever, and says after each payment what it has signed.
#[test]
fn child_that_pays() {
    let Some(path) = std::env::var_os("MPP_TEST_BOOK") else {
        return;
    };
    let book = DurableBook::open(path).unwrap();
    let id = conformance::record(1).id;
    let count: u32 = std::env::var("MPP_TEST_COUNT").unwrap().parse().unwrap();
    let mut out = std::io::stdout();
    for _ in 0..count {
        let signed = conformance::pay(&book, &id);
        writeln!(out, "\nsigned {}", signed.base_units()).unwrap();
        out.flush().unwrap();
    }
}

fn child(folder: &Folder, count: u32) -> Child {
    let name = "session::book::durable::tests::child_that_pays";
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("MPP_TEST_BOOK", &folder.0)
        .env("MPP_TEST_COUNT", count.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn two_processes_pay_from_one_book_as_one() {
    const EACH: u32 = 40;
    let folder = Folder::new();
    let (book, id, _) = folder.with_channel();
    let children = [child(&folder, EACH), child(&folder, EACH)];
    for _ in 0..EACH {
        conformance::pay(&book, &id);
    }
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.matches("\nsigned ").count(), 40, "{text}");
    }
    let ledger = book.read(&id).unwrap().ledger;
    assert_eq!(ledger.spent(), Amount::new(120_000));
    assert_eq!(ledger.signed(), Amount::new(120_000));
    assert!(!ledger.is_busy());
}

// SIGKILL while paying: what was signed is known, nothing is locked, and paying goes on.
#[test]
fn a_process_that_is_killed_while_paying_leaves_a_good_book() {
    let folder = Folder::new();
    let (book, id, _) = folder.with_channel();
    for payments in [1_usize, 2, 5, 9, 14] {
        let mut child = child(&folder, u32::MAX);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let signed = lines
            .map(Result::unwrap)
            .filter_map(|line| line.strip_prefix("signed ").map(str::to_owned))
            .nth(payments)
            .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let signed = Amount::new(signed.parse().unwrap());
        // The first change finds out who is gone.
        update(&book, &id, |_| ()).unwrap();
        let ledger = book.read(&id).unwrap().ledger;
        assert!(ledger.signed() >= signed);
        assert!(!ledger.is_busy());
        assert!(ledger.in_doubt() <= Amount::new(1_000));
        let gate = book.gate(&conformance::record(1).key).enter();
        let entered = futures_util::FutureExt::now_or_never(gate);
        assert!(entered.unwrap().is_ok());
        conformance::pay(&book, &id);
        assert!(book.read(&id).unwrap().ledger.in_doubt().is_zero());
    }
}

/// What a power failure leaves of a log when nothing is written but what has to be.
fn cut_to_the_last_promise(log: &Path) {
    let bytes = fs::read(log).unwrap();
    let (lines, _) = line::whole(&bytes, log).unwrap();
    let states: Vec<State> = lines[1..]
        .iter()
        .map(|line| line::read(line, log).unwrap())
        .collect();
    let kept = states
        .windows(2)
        .rposition(|pair| pair[1].promises_more_than(&pair[0]))
        .map_or(0, |before| before.saturating_add(1));
    let end = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .take(kept.saturating_add(2))
        .map(<[u8]>::len)
        .sum();
    fs::write(log, &bytes[..end]).unwrap();
}

// Requests that pay out of what was signed before are remembered as well as those that sign.
#[test]
fn after_a_power_failure_the_accounts_explain_what_was_charged() {
    let folder = Folder::new();
    let (book, id, log) = folder.with_channel();
    let price = Amount::new(1_000);
    let totals = |spent| Totals {
        accepted: Amount::new(10_000),
        spent: Amount::new(spent),
    };
    let reserve = |book: &DurableBook| {
        let reserved = update(book, &id, |record| record.ledger.reserve(price));
        reserved.unwrap().unwrap()
    };
    let confirm = |book: &DurableBook, request: &Reservation, spent| {
        update(book, &id, |record| {
            let ledger = &mut record.ledger;
            ledger.confirm(request, totals(spent), Amount::ZERO)
        })
        .unwrap()
    };
    let mut request = reserve(&book);
    update(&book, &id, |record| record.ledger.sign(Amount::new(10_000)))
        .unwrap()
        .unwrap();
    for spent in 1..=5 {
        confirm(&book, &request, spent * 1_000).unwrap();
        request = reserve(&book);
    }
    // It was served and charged, and nobody heard of it.
    drop(book);
    cut_to_the_last_promise(&log);
    let book = folder.open();
    let mut stream = reserve(&book);
    let booked = update(&book, &id, |record| {
        let ledger = &mut record.ledger;
        let seen = ledger.observe(Some(&stream), totals(7_000), Amount::ZERO);
        ledger.begin_stream(&mut stream, Amount::new(3_000));
        seen
    });
    booked.unwrap().unwrap();
    // The same for a stream that takes what is there.
    drop(book);
    cut_to_the_last_promise(&log);
    let book = folder.open();
    let next = reserve(&book);
    confirm(&book, &next, 10_000).unwrap();
}

// Another process holds the gate for as long as a server takes, and callers do not wait so long.
#[cfg(target_os = "linux")]
#[test]
fn waits_that_are_broken_off_leave_no_threads_behind() {
    let waiting = || {
        let name = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("comm"));
        fs::read_dir("/proc/self/task")
            .unwrap()
            .filter_map(|entry| name(entry.unwrap()).ok())
            .filter(|name| name.starts_with("channel-book-lo"))
            .count()
    };
    let folder = Folder::new();
    let (book, other) = (folder.open(), folder.open());
    let key = conformance::record(1).key;
    let enter = |book: &DurableBook| book.gate(&key).enter();
    let held = futures_util::FutureExt::now_or_never(enter(&book));
    for _ in 0..100 {
        assert!(futures_util::FutureExt::now_or_never(enter(&other)).is_none());
    }
    for _ in 0..12_000 {
        if waiting() <= 1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(waiting() <= 1, "{} wait", waiting());
    drop(held);
}
