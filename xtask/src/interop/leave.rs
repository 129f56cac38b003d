//! Forced closes: a payer that does not hear of its server goes to the chain.

use std::{collections::BTreeSet, path::Path, process::Stdio, time::Duration};

use alloy_primitives::{Address, U256};
use anyhow::{Context as _, ensure};
use mpp_core::Amount;
use mpp_http::client::Session;
use mpp_server::session::record::Phase;
use mpp_tempo::{
    SessionProtocol, Signer as _,
    chain::{ChainClient as _, HistoryFilter, LogFilter, Party, find_channels},
    channel::ChannelId,
    escrow::{ChannelNews, EscrowEvent},
    network::CLOSE_GRACE_SECS,
};
use serde_json::Value;
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

use super::{
    Stage,
    flows::Flow,
    ours::Ours,
    play::{Person, SELLER, purse},
    scripts::Server,
};
use crate::{account, e2e::cents, shop::Scratch};

/// What is bought before the payer leaves: less than what it has deposited.
const UNITS: u32 = 3;
/// How long our server may take to answer a close request.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Attodollars in a base unit of a dollar.
const ATTO_PER_UNIT: u64 = 1_000_000_000_000;

/// A channel of the peer's client with a server of ours that nobody else uses.
pub(super) struct Opened {
    ours: Ours,
    protocol: SessionProtocol,
    id: ChannelId,
    /// How the peer tells its channels apart.
    channel: Value,
    /// What the payee has.
    earned: Amount,
}

/// What a channel has moved, by its events, and what its transactions have cost.
struct Bill {
    deposit: Amount,
    settled: Amount,
    refunded: Amount,
    payee: Address,
    payer_fees: Amount,
    payee_fees: Amount,
}

impl Stage {
    /// The peer's client buys from our server and leaves its channel open.
    pub(super) async fn peer_opens(
        &self,
        flow: &Flow,
        payer: &Person,
        protocol: SessionProtocol,
    ) -> anyhow::Result<Opened> {
        let payee = format!("the seller to {}", payer.address());
        let ours = Ours::open(&self.node, &payee).await?;
        let url = format!("{}/{protocol}/requests", ours.shop.url);
        let name = format!("{protocol} channel");
        let channel = self.peer_does(flow, payer, (&name, &url), &[]).await?;
        let id = channel.get("channelId").and_then(Value::as_str);
        let id: ChannelId = id.context("the peer names no channel")?.parse()?;
        let record = ours.shop.server.channel(id).await?;
        ensure!(
            record.spent == cents(UNITS.into()),
            "{} spent",
            record.spent
        );
        let earned = self.node.balance(record.terms.descriptor.payee).await?;
        Ok(Opened {
            ours,
            protocol,
            id,
            channel,
            earned,
        })
    }

    /// The peer's client sends a transaction about its channel, by itself.
    async fn peer_sends(
        &self,
        flow: &Flow,
        payer: &Person,
        opened: &Opened,
        what: &str,
    ) -> anyhow::Result<()> {
        let name = format!("{} {what}", opened.protocol);
        let more = [
            ("CHANNEL", opened.channel.to_string()),
            ("AHEAD", self.node.ahead().to_string()),
        ];
        let url = &opened.ours.shop.url;
        self.peer_does(flow, payer, (&name, url), &more).await?;
        Ok(())
    }

    /// The peer asks the chain, and our server captures what was spent. Nobody
    /// moves the clock, so that the grace period has hardly begun.
    pub(super) async fn peer_is_answered(
        &self,
        flow: &Flow,
        payer: &Person,
        opened: Opened,
    ) -> anyhow::Result<()> {
        self.peer_sends(flow, payer, &opened, "request").await?;
        let server = &opened.ours.shop.server;
        let answered = async {
            loop {
                let record = server.channel(opened.id).await?;
                if matches!(record.phase, Phase::Closed { .. }) {
                    return anyhow::Ok(record.settled);
                }
                sleep(LOOK).await;
            }
        };
        let settled = timeout(PATIENCE, answered)
            .await
            .context("the close request is not answered")??;
        server.shutdown().await;
        ensure!(settled == cents(UNITS.into()), "{settled} settled");
        self.check_bill(payer, settled, opened.earned).await
    }

    /// Our server is gone, and the peer takes its whole deposit.
    pub(super) async fn peer_withdraws(
        &self,
        flow: &Flow,
        payer: &Person,
        opened: Opened,
    ) -> anyhow::Result<()> {
        opened.ours.shop.server.shutdown().await;
        self.peer_sends(flow, payer, &opened, "request").await?;
        let withdrawal = self.peer_sends(flow, payer, &opened, "withdraw");
        self.after_the_grace_period(withdrawal).await?;
        self.check_bill(payer, Amount::ZERO, opened.earned).await
    }

    /// Our client asks the chain, the peer's server collects, and our client
    /// takes the rest.
    pub(super) async fn we_are_answered(&self, payer: &Person, peer: Server) -> anyhow::Result<()> {
        let earned = self.earnings_of_peers().await?;
        let url = format!("{}/requests", peer.url);
        let session = self.client(payer)?.session(&url)?;
        buy(&session, &url).await?;
        session.request_close().await?;
        let id = session.state()?.context("no channel")?.channel_id;
        let settle = reqwest::Client::new().post(format!("{}/settle", peer.url));
        let collected = settle.body(id.to_string()).send().await?;
        let status = collected.status();
        ensure!(status.is_success(), "{status} {}", collected.text().await?);
        ensure!(
            session.withdraw().await.is_err(),
            "withdrawn before the grace period is over"
        );
        let withdrawal = async { Ok(session.withdraw().await?) };
        let hash = self.after_the_grace_period(withdrawal).await?;
        ensure!(hash.is_some(), "nothing was withdrawn");
        self.check_bill(payer, cents(UNITS.into()), earned).await
    }

    /// The peer's server is gone, and so is our client's book: the chain
    /// tells `cargo xtask rescue` of the channel.
    pub(super) async fn we_withdraw(&self, payer: &Person, peer: Server) -> anyhow::Result<()> {
        let earned = self.earnings_of_peers().await?;
        let url = format!("{}/requests", peer.url);
        let session = self.client(payer)?.session(&url)?;
        buy(&session, &url).await?;
        peer.kill().await?;
        ensure!(
            session.get(&url).send().await.is_err(),
            "a server that is gone answers"
        );
        let book = Scratch::new()?;
        let said = self.rescue(payer, book.path()).await?;
        ensure!(said.contains("waits until"), "{said}");
        let again = self.rescue(payer, book.path());
        let said = self.after_the_grace_period(again).await?;
        ensure!(said.contains("is withdrawn"), "{said}");
        self.check_bill(payer, Amount::ZERO, earned).await
    }

    /// `cargo xtask rescue payer --leave`.
    async fn rescue(&self, payer: &Person, book: &Path) -> anyhow::Result<String> {
        let output = Command::new(std::env::current_exe()?)
            .args(["rescue", "payer", "--leave", "--node", &self.node.url])
            .arg("--book")
            .arg(book)
            .env("MPP_ACCOUNT_KEY", &payer.key)
            .stdin(Stdio::null())
            .output()
            .await?;
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the rescue has failed: {why}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Does something when the payer may withdraw, and goes back to the present.
    async fn after_the_grace_period<T>(
        &self,
        action: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        self.node.advance(u32::try_from(CLOSE_GRACE_SECS)?).await?;
        let done = action.await;
        self.node.return_to_present().await?;
        done
    }

    async fn earnings_of_peers(&self) -> anyhow::Result<Amount> {
        let seller = account::signer_for(SELLER)?;
        self.node.balance(seller.address()).await
    }

    /// The channel is over, and to the last unit everybody has what is due.
    async fn check_bill(
        &self,
        payer: &Person,
        settled: Amount,
        earned: Amount,
    ) -> anyhow::Result<()> {
        let bill = self.bill(payer).await?;
        let sum = bill.settled.checked_add(bill.refunded);
        ensure!(bill.settled == settled, "{} settled", bill.settled);
        ensure!(!bill.refunded.is_zero(), "nothing came back");
        ensure!(sum == Some(bill.deposit), "{} refunded", bill.refunded);

        let left = self.node.balance(payer.address()).await?;
        let spent = settled.checked_add(bill.payer_fees);
        let due = purse().checked_sub(spent.context("overflow")?);
        ensure!(due == Some(left), "the payer has {left} and not {due:?}");

        let has = self.node.balance(bill.payee).await?;
        let gross = earned.checked_add(settled).context("overflow")?;
        let due = gross.checked_sub(bill.payee_fees);
        ensure!(due == Some(has), "the payee has {has} and not {due:?}");
        Ok(())
    }

    /// Reads the events of the payer's only channel and the receipts of their transactions.
    async fn bill(&self, payer: &Person) -> anyhow::Result<Bill> {
        let chain = &self.node.chain;
        let filter = HistoryFilter::all(Party::Payer(payer.address()), chain.chain_id());
        let found = find_channels(chain, &filter).await?;
        let [channel] = found.as_slice() else {
            anyhow::bail!("{} channels", found.len());
        };
        let (terms, end) = (channel.terms, channel.end.context("it is still open")?);
        let events = LogFilter {
            addresses: vec![terms.escrow],
            topics: vec![Vec::new(), vec![terms.id()]],
            ..LogFilter::default()
        };
        let (mut news, mut transactions) = (ChannelNews::default(), BTreeSet::new());
        for log in chain.logs(events).await? {
            transactions.extend(log.tx_hash);
            if let Some(event) = EscrowEvent::decode(&log, terms.protocol) {
                news.add(&event, log.tx_hash);
            }
        }
        let mut bill = Bill {
            deposit: news.deposit.context("it was never opened")?,
            settled: end.settled,
            refunded: end.refunded,
            payee: terms.descriptor.payee,
            payer_fees: Amount::ZERO,
            payee_fees: Amount::ZERO,
        };
        for hash in transactions {
            let receipt = chain.receipt(hash).await?.context("no receipt")?;
            let fee = receipt.fee().context("no price of gas")?;
            let fee = fee.div_ceil(U256::from(ATTO_PER_UNIT));
            let fee = Amount::new(u128::try_from(fee)?);
            let fees = match receipt.from {
                from if from == payer.address() => &mut bill.payer_fees,
                from if from == bill.payee => &mut bill.payee_fees,
                from => anyhow::bail!("{from} has sent {hash}"),
            };
            *fees = fees.checked_add(fee).context("overflow")?;
        }
        Ok(bill)
    }
}

async fn buy(session: &Session, url: &str) -> anyhow::Result<()> {
    for _ in 0..UNITS {
        let response = session.get(url).send().await?;
        let status = response.status();
        ensure!(status == 200, "{status} {}", response.text().await?);
    }
    Ok(())
}
