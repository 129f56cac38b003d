//! Developer commands, run as `cargo xtask <command>`.

#![expect(
    clippy::print_stdout,
    reason = "a command line tool talks to its terminal"
)]

mod account;
mod anvil;
mod api;
mod bench;
mod contracts;
mod counted;
mod crash;
mod demo;
mod devnet;
mod e2e;
mod fuzz;
mod interop;
mod ledger;
mod log_scan;
mod lossy;
mod nginx;
mod node;
mod nodes;
mod npm;
mod process;
mod raw;
mod rescue;
mod rpc;
mod shop;
mod store;
mod tools;
mod vectors;
mod wallet;
mod wallet_daemon;
mod watch_sim;

use std::net::SocketAddr;

use clap::{Parser, Subcommand};

/// Developer commands of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare the public interfaces of the libraries with `docs/api`.
    Api {
        /// Write them down instead.
        #[arg(long)]
        bless: bool,
    },
    /// Measure the voucher verifier and the request path against others.
    Bench(bench::Options),
    /// Compile the escrows for nodes that do not have them. Needs Node and npm.
    Contracts(contracts::Options),
    /// Kill a real server again and again while it is paid, and look for losses.
    Crash(crash::Options),
    /// Sell a poem word by word on a local chain, and watch it being paid.
    Demo {
        /// Milliseconds between two words, so that the eye can follow.
        #[arg(long, default_value_t = 120)]
        pace: u64,
    },
    /// Run a local Tempo node until Ctrl-C.
    Devnet {
        /// Where to listen for JSON-RPC.
        #[arg(long, default_value = "127.0.0.1:8545")]
        listen: SocketAddr,
    },
    /// Check every flow end to end over real sockets.
    E2e(e2e::Options),
    /// Run the fuzz targets, each for some seconds.
    Fuzz(fuzz::Options),
    /// Play every flow with deployed peers, both ways. Needs Node and npm.
    Interop(interop::Options),
    /// Buy through a proxy that cuts connections, and count the cents.
    Lossy(lossy::Options),
    /// Buy streams through nginx, which buffers. Needs nginx.
    Nginx {
        /// Fail instead of saying that nothing was checked without nginx.
        #[arg(long)]
        required: bool,
    },
    /// Buy at two server processes over one PostgreSQL, and count the cents.
    Nodes(nodes::Options),
    /// One of the servers of `nodes`.
    #[command(hide = true)]
    ServeNode(nodes::ServeOptions),
    /// The server of the checks of `e2e` that kill it.
    #[command(hide = true)]
    ServeStall(e2e::ServeOptions),
    /// Find channels from the chain's logs alone, and get what is in them.
    Rescue {
        #[command(subcommand)]
        command: rescue::Command,
    },
    /// The server of the MCP checks over stdio.
    #[command(hide = true)]
    ServeTools(tools::Options),
    /// Look at the file of a server's store.
    Store {
        #[command(subcommand)]
        command: store::Command,
    },
    /// Compute the test data that is computed, or compare it.
    Vectors(vectors::Options),
    /// Simulate close requests while everything fails, and look at the clock.
    WatchSim(watch_sim::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Api { bless } => api::run(bless),
        Command::Bench(options) => bench::run(&options),
        Command::Contracts(options) => contracts::run(&options).await,
        Command::Crash(options) => crash::run(&options).await,
        Command::Demo { pace } => demo::run(std::time::Duration::from_millis(pace)).await,
        Command::Devnet { listen } => devnet::run(listen).await,
        Command::Fuzz(options) => fuzz::run(&options),
        Command::E2e(options) => e2e::run(&options).await,
        Command::Interop(options) => interop::run(&options).await,
        Command::Lossy(options) => lossy::run(&options).await,
        Command::Nginx { required } => nginx::run(required).await,
        Command::Nodes(options) => nodes::run(&options).await,
        Command::ServeNode(options) => nodes::serve(&options).await,
        Command::ServeStall(options) => e2e::serve(&options).await,
        Command::Rescue { command } => rescue::run(command).await,
        Command::ServeTools(options) => tools::serve(&options).await,
        Command::Store { command } => store::run(command),
        Command::Vectors(options) => vectors::run(&options).await,
        Command::WatchSim(options) => watch_sim::run(&options).await,
    }
}
