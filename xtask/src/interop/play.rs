//! How it is played.

use alloy_primitives::Address;
use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use mpp_client::Policy;
use mpp_core::{Amount, Receipt, SessionReceipt};
use mpp_http::client::Client;
use mpp_server::session::record::Phase;
use mpp_tempo::{LocalSigner, Signer as _, channel::ChannelId};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Stage,
    flows::{Flow, PYMPP, Play, Silence},
    ours::WORDS,
    scripts::{Environment, Server},
};
use crate::{
    account,
    e2e::{cents, dollars},
};

/// The account that peers are paid on.
pub(super) const SELLER: &str = "the peer that sells";

/// What a payer has at first.
pub(super) fn purse() -> Amount {
    dollars(2)
}

impl Flow {
    pub(super) async fn play(&self, stage: &Stage) -> anyhow::Result<()> {
        let purpose = format!("{} {} {:?}", self.peer, self.name, self.direction());
        let payer = stage.person(&purpose, purse()).await?;
        match self.play {
            Play::Session { flow, path, units } => {
                let said = stage.peer_buys(self, &payer, (flow, path)).await?;
                ensure!(said.served == units, "served {}", said.served);
                stage.check_closed(&payer, said.receipt, units).await
            }
            Play::Charge { flow, path } => {
                let before = stage.node.balance(payer.address()).await?;
                let said = stage.peer_buys(self, &payer, (flow, path)).await?;
                said.check_success()?;
                let after = stage.node.balance(payer.address()).await?;
                check_charged(path, before, after)
            }
            Play::Tools { flow, calls, cost } => {
                let before = stage.node.balance(payer.address()).await?;
                let said = stage.peer_buys(self, &payer, (flow, "/mcp")).await?;
                ensure!(said.served == calls, "served {}", said.served);
                said.check_success()?;
                let after = stage.node.balance(payer.address()).await?;
                let paid = before.saturating_sub(after);
                let fees = paid.saturating_sub(cents(cost));
                ensure!(paid >= cents(cost) && fees < cents(5), "{paid} paid");
                Ok(())
            }
            Play::OurRequests { protocol } => {
                let server = stage.peer_server(self, protocol).await?;
                let client = stage.client(&payer)?;
                requests(&client, &format!("{}/requests", server.url)).await
            }
            Play::OurStream { protocol } => {
                let server = stage.peer_server(self, protocol).await?;
                let client = stage.client(&payer)?;
                stream(&client, &format!("{}/stream", server.url)).await
            }
            Play::OurCharge { path } => {
                let server = stage.peer_server(self, "v2").await?;
                let client = stage.client(&payer)?;
                let before = stage.node.balance(payer.address()).await?;
                let response = client.get(format!("{}{path}", server.url)).send().await?;
                if response.status() != 200 {
                    let status = response.status();
                    anyhow::bail!("{status} {}", response.text().await?);
                }
                let Some(Receipt::Charge(_)) = response.receipt() else {
                    anyhow::bail!("no receipt of a charge");
                };
                let after = stage.node.balance(payer.address()).await?;
                check_charged(path, before, after)
            }
            Play::Leave { protocol, server } => {
                let opened = stage.peer_opens(self, &payer, protocol).await?;
                match server {
                    Silence::Collects => stage.peer_is_answered(self, &payer, opened).await,
                    Silence::Gone => stage.peer_withdraws(self, &payer, opened).await,
                }
            }
            Play::OurLeave { protocol, server } => {
                let peer = stage.peer_server(self, protocol.as_str()).await?;
                match server {
                    Silence::Collects => stage.we_are_answered(&payer, peer).await,
                    Silence::Gone => stage.we_withdraw(&payer, peer).await,
                }
            }
        }
    }
}

/// A cent, and fees unless somebody else pays them; nothing for a proof.
fn check_charged(path: &str, before: Amount, after: Amount) -> anyhow::Result<()> {
    let paid = before.checked_sub(after).context("the payer has gained")?;
    match path {
        "/charge/proof" => ensure!(paid.is_zero(), "a proof cost {paid}"),
        "/charge/sponsored" => ensure!(paid == cents(1), "the payer paid {paid}"),
        _ => ensure!(paid >= cents(1) && paid < cents(5), "the payer paid {paid}"),
    }
    Ok(())
}

/// What a buying script says.
#[derive(Debug, Deserialize)]
struct Said {
    served: u32,
    receipt: Value,
}

impl Said {
    fn check_success(&self) -> anyhow::Result<()> {
        let status = self.receipt.get("status").and_then(Value::as_str);
        ensure!(status == Some("success"), "{}", self.receipt);
        Ok(())
    }
}

/// An account whose key a script gets.
pub(super) struct Person {
    pub(super) signer: LocalSigner,
    pub(super) key: String,
}

impl Person {
    pub(super) fn address(&self) -> Address {
        self.signer.address()
    }
}

impl Stage {
    /// Somebody with money whom no other flow knows.
    pub(super) async fn person(&self, purpose: &str, money: Amount) -> anyhow::Result<Person> {
        let signer = account::signer_for(purpose)?;
        account::fund(&self.node, signer.address(), money).await?;
        Ok(Person {
            signer,
            key: account::key_for(purpose).to_string(),
        })
    }

    pub(super) fn client(&self, payer: &Person) -> anyhow::Result<Client> {
        Ok(Client::builder()
            .signer(payer.signer.clone())
            .chain(self.node.chain.clone())
            .policy(Policy::new(dollars(1)))
            .build()?)
    }

    async fn peer_buys(
        &self,
        flow: &Flow,
        payer: &Person,
        (name, path): (&str, &str),
    ) -> anyhow::Result<Said> {
        let ours = match &self.hasty {
            Some(hasty) if flow.peer == PYMPP => hasty,
            _ => &self.ours,
        };
        let url = format!("{}{path}", ours.shop.url);
        let said = self.peer_does(flow, payer, (name, &url), &[]).await?;
        Ok(serde_json::from_value(said)?)
    }

    /// Runs the peer's client; returns what it says.
    pub(super) async fn peer_does(
        &self,
        flow: &Flow,
        payer: &Person,
        (name, url): (&str, &str),
        more: Environment<'_>,
    ) -> anyhow::Result<Value> {
        let mut environment = vec![
            ("FLOW", name.to_owned()),
            ("PAYER_KEY", payer.key.clone()),
            ("RPC_URL", self.node.url.clone()),
            ("URL", url.to_owned()),
        ];
        environment.extend_from_slice(more);
        environment.extend(self.batch_gas.map(|gas| ("BATCH_GAS", gas.to_string())));
        self.scripts.run(&flow.script("client"), &environment).await
    }

    async fn peer_server(&self, flow: &Flow, protocol: &str) -> anyhow::Result<Server> {
        let seller = self.person(SELLER, dollars(2)).await?;
        let sponsor = self.person("the peer that sponsors", dollars(2)).await?;
        let environment = [
            ("PROTOCOL", protocol.to_owned()),
            ("PAYEE_KEY", seller.key),
            ("SPONSOR_KEY", sponsor.key),
            ("RPC_URL", self.node.url.clone()),
        ];
        self.scripts
            .serve(flow.script("server").as_str(), &environment)
            .await
    }

    /// The channel is closed with what was served, on both sides and on chain.
    async fn check_closed(&self, payer: &Person, receipt: Value, units: u32) -> anyhow::Result<()> {
        let receipt: SessionReceipt = serde_json::from_value(receipt)?;
        let spent = cents(units.into());
        ensure!(receipt.spent == spent, "{} spent", receipt.spent);
        let id: ChannelId = receipt.channel_id.parse()?;
        let record = self.ours.shop.server.channel(id).await?;
        ensure!(
            matches!(record.phase, Phase::Closed { .. }),
            "{}",
            record.phase.name()
        );
        ensure!(record.settled == spent, "{} settled", record.settled);
        let left = self.node.balance(payer.address()).await?;
        let paid = purse().checked_sub(left).context("the payer has gained")?;
        ensure!(
            paid >= spent && paid.saturating_sub(spent) < cents(5),
            "{paid} paid"
        );
        Ok(())
    }
}

async fn requests(client: &Client, url: &str) -> anyhow::Result<()> {
    let session = client.session(url)?;
    for _ in 0..5 {
        let response = session.get(url).send().await?;
        let (status, paid) = (response.status(), response.receipt().is_some());
        ensure!(status == 200, "{status} {}", response.text().await?);
        ensure!(paid, "no receipt");
    }
    let closed = session.close().await?;
    ensure!(closed.spent == cents(5), "{} spent", closed.spent);
    Ok(())
}

async fn stream(client: &Client, url: &str) -> anyhow::Result<()> {
    let session = client.session(url)?;
    let mut stream = session.sse(url).await?;
    let mut words = 0_u32;
    while let Some(word) = stream.next().await {
        ensure!(word?.starts_with("word"));
        words = words.saturating_add(1);
    }
    ensure!(words == WORDS, "{words} words");
    drop(stream);
    let closed = session.close().await?;
    ensure!(
        closed.spent == cents(WORDS.into()),
        "{} spent",
        closed.spent
    );
    Ok(())
}
