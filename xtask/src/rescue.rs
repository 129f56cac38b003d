//! `cargo xtask rescue`: finds channels from the chain's logs alone.

use std::path::PathBuf;

use alloy_primitives::B256;
use anyhow::Context as _;
use clap::Subcommand;
use mpp_client::{DurableBook, Payer, Policy, session::exit::Leave};
use mpp_core::{Amount, Realm, SecretKey};
use mpp_server::{EmbeddedStore, PaymentServer, Rescue, SettlePolicy};
use mpp_tempo::{LocalSigner, SessionProtocol};

use crate::node::Node;

/// Name of the variable with the key of the account whose channels are sought.
const KEY: &str = "MPP_ACCOUNT_KEY";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Channels that pay this account: compare them with a server's store.
    Payee {
        /// The node to ask.
        #[arg(long, value_name = "URL")]
        node: String,
        /// The store's file; no server may have it open.
        #[arg(long)]
        store: PathBuf,
        /// Take channels into the store that it does not know.
        #[arg(long)]
        adopt: bool,
        /// Collect what can be collected.
        #[arg(long)]
        settle: bool,
    },
    /// Channels that this account has paid into: compare them with a book.
    Payer {
        /// The node to ask.
        #[arg(long, value_name = "URL")]
        node: String,
        /// The book's directory.
        #[arg(long)]
        book: PathBuf,
        /// Ask for the deposits back, and withdraw those whose time has come.
        #[arg(long)]
        leave: bool,
    },
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    let key = std::env::var(KEY).context(KEY)?;
    let signer = LocalSigner::from_hex(&key)?;
    match command {
        Command::Payee {
            node,
            store,
            adopt,
            settle,
        } => {
            let how = if adopt { Rescue::Adopt } else { Rescue::Look };
            let server = server(&Node::at(&node).await?, signer, EmbeddedStore::open(store)?)?;
            payee(&server, how).await?;
            if settle {
                println!("{:?}", server.settle().await?);
            }
            server.shutdown().await;
            Ok(())
        }
        Command::Payer { node, book, leave } => {
            let payer = Payer::builder()
                .signer(signer)
                .chain(Node::at(&node).await?.chain)
                .policy(Policy::new(Amount::ZERO))
                .book(std::sync::Arc::new(DurableBook::open(book)?))
                .build()?;
            self::payer(&payer).await?;
            if leave {
                leave_all(&payer).await?;
            }
            Ok(())
        }
    }
}

/// A server that sells nothing, for both escrows of its chain.
fn server(
    node: &Node,
    account: LocalSigner,
    store: EmbeddedStore,
) -> anyhow::Result<PaymentServer> {
    let server = PaymentServer::builder()
        .realm(Realm::new("rescue.localhost")?)
        .secret_key(SecretKey::from_bytes(B256::random().as_slice())?)
        .network(node.network()?)
        .chain(node.chain.clone())
        .account(account)
        .store(store)
        .settlement(SettlePolicy::on_demand())
        .build()?;
    for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
        // Making an offer is what has its channels followed.
        server.session().amount("1").protocol(protocol).build()?;
    }
    Ok(server)
}

async fn payee(server: &PaymentServer, how: Rescue) -> anyhow::Result<()> {
    server.ready().await?;
    let found = server.rescue(how).await?;
    for channel in &found {
        println!(
            "{} {} payer {} deposit {} settled {} close requested {:?}: {:?}",
            channel.channel_id,
            channel.terms.protocol,
            channel.terms.descriptor.payer,
            channel.view.deposit,
            channel.view.settled,
            channel.view.close_requested_at,
            channel.standing,
        );
    }
    println!("{} channels hold money", found.len());
    Ok(())
}

async fn payer(payer: &Payer) -> anyhow::Result<()> {
    let found = payer.rescue().await?;
    for channel in &found {
        println!(
            "{} {} payee {} deposit {} settled {} close requested {:?}: {:?}",
            channel.channel_id,
            channel.terms.protocol,
            channel.terms.descriptor.payee,
            channel.view.deposit,
            channel.view.settled,
            channel.view.close_requested_at,
            channel.standing,
        );
    }
    println!("{} channels hold money", found.len());
    Ok(())
}

/// Those that no request uses: found on chain, or on the way out already.
async fn leave_all(payer: &Payer) -> anyhow::Result<()> {
    for channel in payer.channels()? {
        let phase = &channel.phase;
        if phase.is_usable() || !phase.may_hold_money() {
            continue;
        }
        match payer.leave(&channel.channel_id).await? {
            Leave::Waiting { until } => println!("{} waits until {until}", channel.channel_id),
            Leave::Done { .. } => println!("{} is withdrawn", channel.channel_id),
        }
    }
    Ok(())
}
