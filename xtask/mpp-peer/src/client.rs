//! Buys what the flow says.

use alloy_signer_local::PrivateKeySigner;
use anyhow::{Context as _, ensure};
use mpp::client::{Fetch as _, PaymentProvider, TempoProvider, TempoSessionProvider};
use reqwest::{Client, Response, Url, header::HeaderMap};
use serde_json::{Value, json};

use crate::{
    leave::{self, Wish},
    variable,
};

/// The realm of the server, which is not called by its host name here.
const REALM: &str = "shop.example";
/// What a session may deposit: a dollar.
const MAX_DEPOSIT: u128 = 1_000_000;
/// Requests of a flow.
const REQUESTS: u32 = 5;
/// Requests before a payer leaves.
const FEW: u32 = 3;

pub(crate) async fn run() -> anyhow::Result<()> {
    let flow = variable("FLOW")?;
    let buyer = Buyer {
        http: Client::new(),
        signer: variable("PAYER_KEY")?.parse()?,
        rpc: variable("RPC_URL")?,
        url: variable("URL")?,
    };
    let said = match flow.split_once(' ').context("a flow has two words")? {
        (_, "channel") => buyer.channel().await?,
        (_, "request") => leave::send(&buyer.signer, &buyer.rpc, Wish::Close).await?,
        (_, "withdraw") => leave::send(&buyer.signer, &buyer.rpc, Wish::Withdrawal).await?,
        (_, kind) => buyer.buy_and_end(kind).await?,
    };
    println!("{said}");
    Ok(())
}
struct Buyer {
    http: Client,
    signer: PrivateKeySigner,
    rpc: String,
    url: String,
}

impl Buyer {
    fn origin(&self) -> anyhow::Result<Url> {
        let mut url: Url = self.url.parse()?;
        url.set_path("/");
        Ok(url)
    }

    fn session(&self) -> anyhow::Result<TempoSessionProvider> {
        Ok(TempoSessionProvider::new(self.signer.clone(), &self.rpc)?
            .with_max_deposit(MAX_DEPOSIT)
            .with_trusted_tempo_proof_realm(self.origin()?, REALM))
    }

    async fn fetch(&self, intent: &str, payer: &impl PaymentProvider) -> anyhow::Result<Response> {
        let request = self.http.get(&self.url).header("accept-payment", intent);
        let response = request.send_with_payment(payer).await?;
        if !response.status().is_success() {
            let status = response.status();
            anyhow::bail!("Error: {status} {}", response.text().await?);
        }
        Ok(response)
    }

    /// Everything that ends with a receipt.
    async fn buy_and_end(&self, kind: &str) -> anyhow::Result<Value> {
        let (served, receipt) = match kind {
            "charge" => self.charge().await?,
            "requests" => self.requests().await?,
            "stream" => self.stream().await?,
            "resume" => self.resume().await?,
            _ => anyhow::bail!("there is no flow {kind}"),
        };
        Ok(json!({"served": served, "receipt": receipt}))
    }

    /// The channel stays open.
    async fn channel(&self) -> anyhow::Result<Value> {
        let payer = self.session()?;
        self.buy(&payer, FEW).await?;
        leave::channel(&payer)
    }

    async fn charge(&self) -> anyhow::Result<(u32, Value)> {
        let payer = TempoProvider::new(self.signer.clone(), &self.rpc)?
            .with_trusted_tempo_proof_realm(self.origin()?, REALM);
        let response = self.fetch("tempo/charge", &payer).await?;
        Ok((1, receipt(response.headers())?))
    }

    async fn requests(&self) -> anyhow::Result<(u32, Value)> {
        let payer = self.session()?;
        self.buy(&payer, REQUESTS).await?;
        Ok((REQUESTS, self.close(&payer).await?))
    }

    /// The second payer has no memory: the server tells it of the channel.
    async fn resume(&self) -> anyhow::Result<(u32, Value)> {
        self.buy(&self.session()?, 2).await?;
        let payer = self.session()?;
        let found = payer.bootstrap(&self.http, &self.url).await?;
        ensure!(found.is_some(), "Error: no channel was found again");
        self.buy(&payer, 3).await?;
        Ok((5, self.close(&payer).await?))
    }

    async fn buy(&self, payer: &TempoSessionProvider, count: u32) -> anyhow::Result<()> {
        for _ in 0..count {
            let response = self.fetch("tempo/session", payer).await?;
            receipt(response.headers())?;
            response.text().await?;
        }
        Ok(())
    }

    async fn stream(&self) -> anyhow::Result<(u32, Value)> {
        let payer = self.session()?;
        let mut response = self.fetch("tempo/session", &payer).await?;
        let (mut text, mut served) = (String::new(), 0);
        while let Some(chunk) = response.chunk().await? {
            text.push_str(std::str::from_utf8(&chunk)?);
            while let Some((event, rest)) = text.split_once("\n\n") {
                let event = Event::parse(event);
                text = rest.to_owned();
                let answer = payer.stream_event(&self.http, &self.url, &event.name, &event.data);
                match answer {
                    Some(answer) => answer.await?,
                    None if event.data.starts_with("word") => served += 1,
                    None => {}
                }
            }
        }
        Ok((served, self.close(&payer).await?))
    }

    async fn close(&self, payer: &TempoSessionProvider) -> anyhow::Result<Value> {
        let receipt = payer.close(&self.http, &self.url).await?;
        Ok(serde_json::to_value(
            receipt.context("Error: no receipt of the close")?,
        )?)
    }
}

/// An event of a stream.
struct Event {
    name: String,
    data: String,
}

impl Event {
    fn parse(text: &str) -> Self {
        let field = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        Self {
            name: field("event").unwrap_or("message").to_owned(),
            data: field("data").unwrap_or_default().to_owned(),
        }
    }
}

fn receipt(headers: &HeaderMap) -> anyhow::Result<Value> {
    let header = headers
        .get("payment-receipt")
        .context("Error: no receipt")?;
    Ok(serde_json::to_value(mpp::parse_receipt(header.to_str()?)?)?)
}
