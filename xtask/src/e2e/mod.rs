//! `cargo xtask e2e`: every flow over real sockets, sessions for both protocols.

mod alike;
mod charge;
mod charge_client;
mod close;
mod defects;
mod follow;
mod hold;
mod killed;
mod market;
mod mcp;
mod money;
mod open;
mod rescue;
mod resume;
mod settle;
mod stream;
mod table;
mod volume;
mod voucher;
mod ws;

use std::{convert::Infallible, future::Future, pin::Pin, str::FromStr};

use alloy_primitives::Address;
use anyhow::ensure;
use mpp_core::Amount;
use mpp_http::client::Client;
use mpp_tempo::{LocalSigner, SessionProtocol, Signer as _};

pub(crate) use self::killed::{ServeOptions, serve};
use self::{market::Market, table::Table};
use crate::{
    account,
    anvil::{self, Mining},
    log_scan::{LogScan, Watched},
    node::{Node, control::Control},
    raw,
    shop::Shop,
};

/// Which checks to run, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Use the node at this URL instead of the embedded one, or start `anvil`,
    /// which needs npm.
    #[arg(long, value_name = "URL|anvil")]
    node: Option<Choice>,
    /// Let anvil mine a block every so many seconds, instead of one for each
    /// transaction.
    #[arg(long, value_name = "SECONDS")]
    block_time: Option<u32>,
    /// Run only checks whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Fail instead of saying that nothing was checked when anvil can not be
    /// had.
    #[arg(long)]
    required: bool,
}

impl Options {
    fn mining(&self) -> Mining {
        self.block_time.map_or(Mining::Automatic, Mining::Every)
    }
}

/// A node other than the embedded one.
#[derive(Clone, Debug)]
enum Choice {
    Anvil,
    At(String),
}

impl FromStr for Choice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "anvil" => Self::Anvil,
            url => Self::At(url.to_owned()),
        })
    }
}

/// One check on one protocol.
type Check = for<'a> fn(&'a Case<'a>) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// Turns an async function into a [`Check`].
macro_rules! check {
    ($name:literal, $run:path) => {
        ($name, (|case| Box::pin($run(case))) as Check)
    };
}

const CHECKS: &[(&str, Check)] = &[
    check!("402 has challenge, problem, no-store", open::unpaid_is_402),
    check!(
        "bad credentials are named, never served",
        open::bad_credentials
    ),
    check!(
        "a credential for another route is refused",
        open::other_route
    ),
    check!(
        "open: one transaction, first voucher taken",
        open::opens_once
    ),
    check!("a bad open is not broadcast", open::bad_open_is_not_sent),
    check!("sponsored open and top-up: sponsor pays", open::sponsored),
    check!("vouchers: order, equal, lower, forged", voucher::rules),
    check!("minimum delta is enforced", voucher::minimum_delta),
    check!("a key is served and charged once", hold::idempotent),
    check!("a failing handler captures nothing", hold::failing),
    check!("reserve three cents, capture the use", hold::reserving),
    check!("100 requests from $1, the 101st refused", volume::hundred),
    check!("64 concurrent requests of two clients", volume::concurrent),
    check!("1,000 vouchers without a single RPC", volume::no_rpc),
    check!("the examples sell photos and a poem", stream::examples),
    check!("stream: need-voucher, pause, resume", stream::poem),
    check!("stream: top-up without a break", stream::top_up),
    check!("a silent client ends the pause", stream::silent),
    check!("disconnect stops charging", stream::disconnect),
    check!("a new stream ends the old one", stream::superseded),
    check!("WebSocket: poem, top-up and close in band", ws::poem),
    check!("WebSocket: a reader stops, and pays no more", ws::enough),
    check!("MCP over Streamable HTTP: 12 calls, one channel", mcp::http),
    check!("MCP over stdio: 12 calls, one channel", mcp::stdio),
    check!("MCP: a charge per call, on both transports", mcp::charge),
    check!("MCP: 32 calls side by side", mcp::parallel),
    check!("MCP: a failing tool captures nothing", mcp::failing),
    check!(
        "MCP: replayed, malformed, another tool",
        mcp::bad_credentials
    ),
    check!("MCP: a client without payments stays", mcp::plain),
    check!("HTTP, SSE, WebSocket, MCP: one channel", mcp::together),
    check!("exact money: 25 units, no rounding", money::exact),
    check!("client restarts: same channel", resume::restarts),
    check!(
        "book lost: the server's snapshot recovers v2",
        resume::book_lost
    ),
    check!("close captures what was spent", close::cooperative),
    check!("forced close: service stops, refund", close::forced),
    check!(
        "reorganized: request, top-up, open go back",
        follow::reorganized
    ),
    check!("after downtime the chain is known first", follow::downtime),
    check!("an outage of the chain risks a capped sum", follow::outage),
    check!(
        "store lost: channels are found on chain",
        rescue::empty_store
    ),
    check!("book lost: found on chain, and left", rescue::empty_book),
    check!(
        "settles by amount, units and age by itself",
        settle::by_itself
    ),
    check!("an idle channel is closed by itself", settle::idle),
    check!(
        "forced close: answered, all spent is paid",
        settle::answered
    ),
    check!(
        "killed (SIGKILL), 600 of 900 s dead: answered",
        killed::before_it_knows
    ),
    check!(
        "killed (SIGKILL) while it collects: all is paid",
        killed::at_any_moment
    ),
    check!(
        "dropped and reverted settlements are repeated",
        settle::repeated
    ),
    check!("a frozen payer holds up nobody else", settle::frozen),
    check!("shutdown settles what is left", settle::shutdown),
    check!("client charge: pull", charge_client::pull),
    check!("client charge: push", charge_client::push),
    check!("client charge: by a wallet", charge_client::by_wallet),
    check!("client charge: sponsored", charge_client::sponsored),
    check!("client charge: splits", charge_client::splits),
    check!("client charge: other token", charge_client::other_token),
    check!("client charge: who is asking", charge_client::identity),
    check!("client charge: bound to a body", charge_client::body),
    check!(
        "client charge: beside a session, as preferred",
        charge_client::compose
    ),
    check!("client charge: lost, resolved, served", charge_client::lost),
];

/// A check's surroundings.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) node: &'a Node,
    pub(crate) market: &'a Market,
    pub(crate) protocol: SessionProtocol,
    pub(crate) name: &'static str,
}

impl Case<'_> {
    /// Where a path of this check's protocol is sold.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{}/{path}", self.shop().url, self.protocol)
    }

    pub(crate) fn shop(&self) -> &Shop {
        &self.market.shop
    }

    pub(crate) fn payee(&self) -> Address {
        self.market.payee.address()
    }

    /// A payer with $20 that no other check uses.
    pub(crate) async fn payer(&self) -> anyhow::Result<LocalSigner> {
        let purpose = format!("{} {} {}", self.name, self.protocol, self.shop().url);
        let signer = account::signer_for(&purpose)?;
        account::fund(self.node, signer.address(), dollars(20)).await?;
        Ok(signer)
    }

    /// A client that may lock up `max_deposit` base units.
    pub(crate) fn client(
        &self,
        signer: LocalSigner,
        policy: mpp_client::Policy,
    ) -> anyhow::Result<Client> {
        Ok(Client::builder()
            .signer(Watched(signer))
            .chain(self.node.chain.clone())
            .policy(policy)
            .build()?)
    }
}

/// Whole dollars in base units.
pub(crate) fn dollars(count: u64) -> Amount {
    cents(count.saturating_mul(100))
}

/// Cents in base units.
pub(crate) fn cents(count: u64) -> Amount {
    Amount::new(u128::from(count).saturating_mul(10_000))
}

/// Runs all checks, or those that are asked for.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let by_clock = options.block_time.is_some();
    ensure!(
        !by_clock || matches!(options.node, Some(Choice::Anvil)),
        "--block-time is for --node anvil"
    );
    let scan = LogScan::start()?;
    let node = match &options.node {
        None => Node::embedded().await?,
        Some(Choice::At(url)) => Node::at(url).await?,
        Some(Choice::Anvil) => {
            match anvil::install().await {
                Err(error) if !options.required => {
                    println!("NOT CHECKED on anvil: {error:#}");
                    return Ok(());
                }
                installed => installed?,
            };
            Node::anvil(options.mining()).await?
        }
    };
    let only = options.only.as_deref();
    let market = Market::open(&node).await?;
    println!("node {} chain {}", node.url, node.network()?.chain_id);
    let mut table = Table::default();
    for &(name, check) in CHECKS {
        if only.is_some_and(|text| !name.contains(text)) {
            continue;
        }
        for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
            let case = Case {
                node: &node,
                market: &market,
                protocol,
                name,
            };
            table.add(name, protocol, check(&case).await);
        }
    }
    market.shop.server.shutdown().await;
    charge::run(&node, only, &mut table).await?;
    let scanned = scan.finish()?;
    table.add_once("the log scan finds what is planted", scanned.control);
    let name = format!("no secret in {} log lines", scanned.lines);
    table.add_once(&name, scanned.leaks);
    if let Ok(Control::Anvil(_)) = node.control() {
        defects::run(&node, only, &mut table).await?;
        alike::run(only, &mut table).await?;
    }
    table.finish()
}
