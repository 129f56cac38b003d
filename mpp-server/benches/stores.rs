//! What a paid request costs, for each store.
//!
//! `cargo bench -p mpp-server --bench stores [-- FOLDER]`; the folder says
//! which disk is measured. Every row runs the real driver: a voucher is accepted
//! and its price held, then the price is captured. That is two durable commits
//! for each request.
//! The vouchers are verified before the clock starts, so no curve operation is
//! part of a figure. A channel sends its next voucher when the last one is
//! durable, as clients do.
//!
//! With `--features postgres,redis`, servers that run on this machine get rows
//! too; `MPP_TEST_POSTGRES` and `MPP_TEST_REDIS` say where.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "it measures real time and prints what it finds"
)]

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use alloy_primitives::{Address, B256};
use mpp_core::{Amount, ChallengeId, Timestamp};
use mpp_server::{
    ChannelStore, EmbeddedStore, MemoryStore, SyncMode,
    clock::{Clock as _, SharedClock, SystemClock},
    session::{
        command::{Capture, Command, NewHold},
        driver::Driver,
        record::{ChannelRecord, PendingTx, Phase},
    },
    store::LossCaps,
};
use mpp_tempo::{
    ChannelDescriptor, ChannelId, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher,
    Signer, VerifiedVoucher, Voucher, VoucherVerifier,
    network::{CHANNEL_RESERVE, PATH_USD},
};
use tokio::task::JoinSet;

#[cfg(all(feature = "postgres", feature = "redis"))]
#[path = "stores/servers.rs"]
mod servers;

/// Concurrent channels of the columns.
const CHANNELS: [usize; 4] = [1, 16, 64, 256];
/// No hold lapses while this runs, in Unix seconds.
const NEVER: i64 = 4_000_000_000;
/// Vouchers that each channel sends.
const VOUCHERS: usize = 150;
/// Vouchers of all channels together in the mode that waits for each alone.
const STRICT_VOUCHERS: usize = 600;

fn main() {
    let folder = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let folder = folder.map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let folder = folder.join(format!("stores-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(measure_all(&folder));
    drop(runtime);
    std::fs::remove_dir_all(&folder).unwrap();
}

async fn measure_all(folder: &Path) {
    let payers: Vec<_> = (0..CHANNELS[CHANNELS.len() - 1]).map(Payer::new).collect();
    let syncs = sync_rate(&folder.join("raw"));
    println!("disk: {syncs} syncs of 4 KiB a second");
    println!();
    println!("store      channels   accept+charge/s   p50 us    p99 us   cpu ns each");
    let mut rates = Vec::new();
    for channels in CHANNELS {
        let payers = &payers[..channels];
        rates.push(row("memory", MemoryStore::new(), payers, VOUCHERS).await);
        let caps = LossCaps {
            per_channel: Amount::new(1_000),
            total: Amount::new(100_000),
        };
        let modes = [
            ("strict", SyncMode::Strict),
            ("group", SyncMode::Group),
            ("relaxed", SyncMode::Relaxed(caps)),
        ];
        for (name, mode) in modes {
            let path = folder.join(format!("{name}-{channels}"));
            let store = EmbeddedStore::options().mode(mode).open(path).unwrap();
            let each = match mode {
                SyncMode::Strict => (STRICT_VOUCHERS / channels).min(VOUCHERS),
                SyncMode::Group | SyncMode::Relaxed(_) => VOUCHERS,
            };
            rates.push(row(name, store, payers, each).await);
        }
        #[cfg(all(feature = "postgres", feature = "redis"))]
        {
            let each = (4 * STRICT_VOUCHERS / channels).min(VOUCHERS);
            if let Some((server, store)) = servers::Postgres::open(channels).await {
                rates.push(row("postgres", store, payers, each).await);
                server.clean().await;
            }
            if let Some((server, store)) = servers::Redis::open(channels).await {
                rates.push(row("redis", store, payers, each).await);
                server.clean().await;
            }
        }
    }
    let rate = |name, channels| {
        let row = rates
            .iter()
            .find(|row| row.name == name && row.channels == channels);
        row.unwrap().per_second
    };
    let times = rate("group", 256) / rate("strict", 1).max(1);
    println!();
    println!("group at 256 channels is {times} times strict at 1 channel");
    println!(
        "disk after the rows: {} syncs a second",
        sync_rate(&folder.join("raw"))
    );
}

/// How often a second the disk takes 4 KiB and says that it is safe.
fn sync_rate(path: &Path) -> u128 {
    const SYNCS: u128 = 200;
    let mut file = File::create(path).unwrap();
    file.write_all(&[0; 4096]).unwrap();
    file.sync_all().unwrap();
    let start = Instant::now();
    for _ in 0..SYNCS {
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&[1; 4096]).unwrap();
        file.sync_data().unwrap();
    }
    per_second(SYNCS, start.elapsed())
}

/// A channel and the vouchers it is about to send.
struct Payer {
    terms: ChannelTerms,
    first: SignedVoucher,
    vouchers: Vec<VerifiedVoucher>,
}

impl Payer {
    fn new(number: usize) -> Self {
        let signer = LocalSigner::from_bytes(&[7; 32]).unwrap();
        let terms = ChannelTerms {
            protocol: SessionProtocol::V2,
            chain_id: 42431,
            escrow: CHANNEL_RESERVE,
            descriptor: ChannelDescriptor {
                payer: signer.address(),
                payee: Address::repeat_byte(9),
                token: PATH_USD,
                salt: B256::left_padding_from(&number.to_be_bytes()),
                ..ChannelDescriptor::default()
            },
        };
        let verifier = VoucherVerifier::new(&terms);
        let sign = |units: usize| {
            let cumulative = Amount::new(units.try_into().unwrap());
            SignedVoucher {
                voucher: Voucher {
                    channel_id: verifier.channel_id(),
                    cumulative,
                },
                signature: signer.sign_digest_sync(&verifier.digest(cumulative)).into(),
            }
        };
        let vouchers = (2..2 + VOUCHERS).map(|units| verifier.verify(&sign(units)).unwrap());
        Self {
            terms,
            first: sign(1),
            vouchers: vouchers.collect(),
        }
    }

    async fn open<S: ChannelStore>(&self, driver: &Driver<S>) -> ChannelId {
        let open = PendingTx {
            hash: B256::ZERO,
            valid_before: u64::MAX,
        };
        let now = SystemClock.now();
        let mut record = ChannelRecord::opening(self.terms, open, self.first.clone(), now);
        record.phase = Phase::Open;
        record.deposit = Amount::new(1_000_000);
        let id = record.id;
        driver.create(record).await.unwrap();
        id
    }
}

struct Row {
    name: &'static str,
    channels: usize,
    per_second: u128,
}

async fn row<S: ChannelStore>(name: &'static str, store: S, payers: &[Payer], each: usize) -> Row {
    let driver = Driver::new(Arc::new(store), SharedClock::new(SystemClock));
    let mut channels = JoinSet::new();
    let mut work = Vec::new();
    for payer in payers {
        work.push((payer.open(&driver).await, payer.vouchers[..each].to_vec()));
    }
    let (start, cpu) = (Instant::now(), cpu_time());
    for (id, vouchers) in work {
        channels.spawn(pay(driver.clone(), id, vouchers));
    }
    let mut waits: Vec<_> = channels.join_all().await.into_iter().flatten().collect();
    let (elapsed, cpu) = (start.elapsed(), cpu_time().zip(cpu));
    waits.sort();
    let count = waits.len() as u128;
    let part = |hundredths: usize| waits[(waits.len() - 1) * hundredths / 100].as_micros();
    let per_second = per_second(count, elapsed);
    let cpu = cpu.map_or_else(
        || "?".to_owned(),
        |(after, before)| ((after - before).as_nanos() / count).to_string(),
    );
    println!(
        "{name:<10} {:>8} {per_second:>17} {:>8} {:>9} {cpu:>13}",
        payers.len(),
        part(50),
        part(99),
    );
    Row {
        name,
        channels: payers.len(),
        per_second,
    }
}

/// Sends one voucher after the other, and says how long each took.
async fn pay<S: ChannelStore>(
    driver: Driver<S>,
    id: ChannelId,
    vouchers: Vec<VerifiedVoucher>,
) -> Vec<Duration> {
    let challenge_id = ChallengeId::new("x4yV8QkAqJv1sF0QmQm8nL2bCwq7d0e5RzT3uPjK9aE").unwrap();
    let mut waits = Vec::with_capacity(vouchers.len());
    for voucher in vouchers {
        let accept = Command::Accept {
            voucher,
            min_delta: Amount::ZERO,
            hold: Some(NewHold {
                amount: Amount::new(1),
                challenge_id: challenge_id.clone(),
                idempotency: None,
                until: Timestamp::from_secs(NEVER),
            }),
        };
        let start = Instant::now();
        let held = driver.run(id, accept).await.unwrap();
        let capture = Command::Capture(Capture {
            hold: held.get().outcome.hold.unwrap(),
            cost: Amount::new(1),
            units: 1,
            response: None,
            keep_until: Timestamp::from_secs(NEVER),
        });
        let applied = driver.run(id, capture).await.unwrap();
        waits.push(start.elapsed());
        assert_eq!(applied.get().outcome.charged, Amount::new(1));
    }
    waits
}

fn per_second(count: u128, elapsed: Duration) -> u128 {
    count * 1_000_000 / elapsed.as_micros().max(1)
}

/// Processor time of this process, where the system tells it.
fn cpu_time() -> Option<Duration> {
    let status = std::fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = status.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    // Linux counts in hundredths of a second here.
    Some(Duration::from_millis((ticks()? + ticks()?) * 10))
}
