//! `cargo xtask watch-sim`: payers ask the chain to close, and go silent.
//!
//! Time is simulated: the embedded node and the server stand on one clock that
//! moves in steps, and everything the server does by timers is called by hand.
//! Meanwhile the node is out of order for up to ten minutes at a time, the
//! server dies in the middle of its work and is started again over the same
//! store, blocks are reorganized, transactions are dropped and answers lost.
//! What counts is the chain's word at the end: everything that was spent on a
//! channel was paid out before its payer could withdraw.

mod books;
mod chaos;
mod faulty;
mod round;

use std::time::Duration;

use anyhow::ensure;
use rand::{SeedableRng as _, rngs::StdRng};

use self::round::Round;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many close requests are made, at least.
    #[arg(long, default_value_t = 100_000)]
    closes: usize,
    /// Chooses what goes wrong and when, as an earlier run has printed it.
    #[arg(long)]
    seed: Option<u64>,
}

/// What happened in all rounds.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Seconds that were left when everything was paid out, one for each close
    /// request.
    left: Vec<u64>,
    missed: usize,
    outages: u64,
    out_secs: u64,
    crashes: u64,
    reorgs: u64,
    transactions: u64,
    simulated_secs: u64,
}

/// Simulates rounds until there were enough close requests.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(rand::random);
    println!("{} close requests, seed {seed}", options.closes);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut tally = Tally::default();
    let mut number = 0;
    while tally.left.len().saturating_add(tally.missed) < options.closes {
        let round = Round::open(number, StdRng::from_rng(&mut rng)).await?;
        round.run(&mut tally).await?;
        number = number.saturating_add(1);
    }
    report(&mut tally, number);
    ensure!(
        tally.missed == 0,
        "{} deadlines were missed, seed {seed}",
        tally.missed
    );
    Ok(())
}

fn report(tally: &mut Tally, rounds: u32) {
    tally.left.sort_unstable();
    let hours = tally.simulated_secs.checked_div(3_600).unwrap_or_default();
    println!("simulated     {hours} h in {rounds} rounds");
    println!(
        "outages       {} (the node was out for {} s)",
        tally.outages, tally.out_secs
    );
    println!("crashes       {}", tally.crashes);
    println!("reorgs        {}", tally.reorgs);
    println!("transactions  {} of the server", tally.transactions);
    println!(
        "requests      {}",
        tally.left.len().saturating_add(tally.missed)
    );
    println!("missed        {}", tally.missed);
    let share = |hundredths: usize| {
        let last = tally.left.len().saturating_sub(1);
        let at = last.saturating_mul(hundredths).checked_div(100);
        let left = at.and_then(|at| tally.left.get(at)).copied();
        Duration::from_secs(left.unwrap_or_default())
    };
    println!(
        "time left     min {:?}, p1 {:?}, p10 {:?}, p50 {:?}, max {:?}",
        share(0),
        share(1),
        share(10),
        share(50),
        share(100)
    );
}
