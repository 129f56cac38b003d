//! The measuring program; `cargo xtask bench` builds and runs it.
#![expect(
    clippy::print_stdout,
    reason = "a command line tool talks to its terminal"
)]

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use mpp_bench::host::Host;
use mpp_bench::instructions::{self, Baseline, Workload};
use mpp_bench::report::{Report, Run};
use mpp_bench::suite::{self, Effort};
use mpp_bench::{exported, gates, plot, table};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure this repository against signature libraries.
    Measure {
        /// Fewer rounds and channels.
        #[arg(long)]
        quick: bool,
        /// Where the run goes.
        #[arg(long)]
        out: PathBuf,
    },
    /// Put runs next to each other, and judge them.
    Show {
        /// What the processes found.
        runs: Vec<PathBuf>,
        /// Where all of it goes as JSON.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Where the plot goes.
        #[arg(long)]
        svg: Option<PathBuf>,
    },
    /// Write vouchers of both versions for programs in other languages.
    Vouchers {
        /// Where they go.
        #[arg(long)]
        out: PathBuf,
    },
    /// Count instructions under valgrind.
    Instructions {
        /// The accepted counts.
        #[arg(long)]
        baseline: PathBuf,
        /// Accept the present counts.
        #[arg(long)]
        bless: bool,
    },
    /// Print what this process sees of the machine.
    Host,
    /// Run a workload and nothing else.
    Repeat { workload: Workload, times: u64 },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Measure { quick, out } => {
            let effort = if quick { Effort::QUICK } else { Effort::FULL };
            suite::libraries(effort).save(&out)
        }
        Command::Show { runs, json, svg } => show(&runs, json, svg),
        Command::Vouchers { out } => exported::save(&out),
        Command::Instructions { baseline, bless } => {
            let now = instructions::count_all()?;
            if bless {
                now.save(&baseline)
            } else {
                Baseline::load(&baseline)?.compare(&now)
            }
        }
        Command::Host => {
            println!("{}", serde_json::to_string(&Host::detect())?);
            Ok(())
        }
        Command::Repeat { workload, times } => {
            workload.repeat(times);
            Ok(())
        }
    }
}

fn show(runs: &[PathBuf], json: Option<PathBuf>, svg: Option<PathBuf>) -> anyhow::Result<()> {
    let mut all = Report {
        host: Host::detect(),
        runs: Vec::new(),
        gates: Vec::new(),
    };
    for path in runs {
        all.runs.push(Run::load(path)?);
    }
    all.gates = gates::judge(&all);
    print!("{}", table::render(&all));
    if let Some(path) = json {
        all.save(&path)?;
    }
    if let Some(path) = svg {
        std::fs::write(path, plot::draw(&all))?;
    }
    Ok(())
}
