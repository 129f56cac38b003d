//! `cargo xtask crash`: kills a server while it is paid, and looks for losses.
//!
//! The server is the photo example as a process of its own, so that SIGKILL
//! leaves it no time for anything. The chain lives in this process and goes
//! on. What a killed process has written stays in the system's cache: this
//! shows what a crash of the server does, not what a power cut does.

mod audit;
mod buyer;
mod front;
mod process;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::ValueEnum;
use mpp_core::Amount;
use mpp_tempo::Signer as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use self::{
    audit::{Audit, Known},
    buyer::Buyer,
    front::Gate,
    process::{Binary, ServerProcess},
};
use crate::{account, e2e::dollars, node::Node, shop::Scratch};

/// What a relaxed server may lose of a channel: three photos.
const CHANNEL_CAP: Amount = Amount::new(30_000);
/// What it may lose in total: ten photos.
const TOTAL_CAP: Amount = Amount::new(100_000);
/// How long the server lives after it listens.
const LIFE: std::ops::RangeInclusive<u64> = 30..=400;
/// The buyers' last purchases take no longer than this, or something hangs.
const LAST_PURCHASES: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How often the server is killed.
    #[arg(long, default_value_t = 200)]
    cycles: u32,
    /// When the server acknowledges a payment.
    #[arg(long, value_enum, default_value_t = Mode::Group)]
    durability: Mode,
    /// How many buyers buy at once.
    #[arg(long, default_value_t = 8)]
    buyers: u32,
    /// Chooses the moments of the kills, as an earlier run has printed it.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// On the disk, each payment with a wait of its own.
    Strict,
    /// On the disk, with a shared wait.
    Group,
    /// At once: reports what was lost, which must stay within the caps.
    Relaxed,
}

/// Runs all cycles, lets the buyers finish, and settles the accounts.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(rand::random);
    println!(
        "{} cycles, {} buyers, durability {:?}, seed {seed}",
        options.cycles, options.buyers, options.durability
    );
    let binary = Binary::build()?;
    let node = Arc::new(Node::embedded().await?);
    let scratch = Scratch::new()?;
    let mut run = Run::new(options, node, binary, scratch.path().join("photo.store")).await?;
    let mut random = StdRng::seed_from_u64(seed);
    for cycle in 1..=options.cycles {
        let life = Duration::from_millis(random.random_range(LIFE));
        run.cycle(cycle, life)
            .await
            .with_context(|| format!("cycle {cycle}, seed {seed}"))?;
        if cycle % 50 == 0 {
            println!("{cycle:>6} cycles, {}", run.audit.progress());
        }
    }
    run.finish()
        .await
        .with_context(|| format!("at the end, seed {seed}"))
}

/// A server that is killed again and again, and its buyers.
struct Run {
    binary: Binary,
    store: PathBuf,
    gate: Gate,
    buyers: JoinSet<anyhow::Result<()>>,
    audit: Audit,
    cycles: u32,
}

impl Run {
    async fn new(
        options: &Options,
        node: Arc<Node>,
        binary: Binary,
        store: PathBuf,
    ) -> anyhow::Result<Self> {
        let durability = match options.durability {
            Mode::Strict => "strict".to_owned(),
            Mode::Group => "group".to_owned(),
            Mode::Relaxed => format!("relaxed:{CHANNEL_CAP}:{TOTAL_CAP}"),
        };
        let binary = binary
            .with("MPP_RPC_URL", &node.url)
            .with(
                "MPP_STORE",
                store.to_str().context("the path of the store")?,
            )
            .with("MPP_DURABILITY", &durability);
        let known = Arc::new(Known::default());
        let gate = Gate::closed();
        let mut buyers = JoinSet::new();
        for number in 0..options.buyers {
            let signer = account::signer_for(&format!("crash buyer {number}"))?;
            account::fund(&node, signer.address(), dollars(10_000)).await?;
            let buyer = Buyer::new(signer, &node, gate.front(), &known)?;
            buyers.spawn(buyer.run());
        }
        let caps = (options.durability == Mode::Relaxed).then_some((CHANNEL_CAP, TOTAL_CAP));
        Ok(Self {
            binary,
            store,
            gate,
            buyers,
            audit: Audit::new(known, caps),
            cycles: options.cycles,
        })
    }

    /// Starts the server, kills it after `life`, and checks what it left.
    async fn cycle(&mut self, cycle: u32, life: Duration) -> anyhow::Result<()> {
        let server = ServerProcess::start(&self.binary).await?;
        self.gate.open(&server.url, cycle);
        tokio::select! {
            () = sleep(life) => {}
            Some(ended) = self.buyers.join_next() => {
                ended?.context("a buyer")?;
                anyhow::bail!("a buyer has left early");
            }
        }
        server.kill().await?;
        self.gate.close();
        self.audit.check(&self.store, cycle)
    }

    /// Lets every buyer get its last answer; then every cent must be right.
    async fn finish(mut self) -> anyhow::Result<()> {
        let server = ServerProcess::start(&self.binary).await?;
        self.gate
            .open_for_the_last(&server.url, self.cycles.saturating_add(1));
        let all = async {
            while let Some(ended) = self.buyers.join_next().await {
                ended?.context("a buyer")?;
            }
            anyhow::Ok(())
        };
        timeout(LAST_PURCHASES, all)
            .await
            .context("the buyers do not get their last answers")??;
        server.kill().await?;
        self.audit
            .check(&self.store, self.cycles.saturating_add(1))?;
        let totals = self.audit.settle(&self.store)?;
        println!("{} cycles, {totals}", self.cycles);
        Ok(())
    }
}
