//! Metered streams over SSE (PROTOCOL 5.7).

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use mpp_client::{ClientEvent, Policy, Subscription};
use mpp_core::{Amount, Receipt};
use reqwest::Method;

use super::{
    Case, dollars,
    raw::{Raw, voucher},
};

/// One word of the market's streams.
const WORD: u128 = 1_000;

/// Twenty words from one open stream; the voucher of the request pays one.
pub(super) async fn poem(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("words");
    let policy = Policy::new(Amount::new(WORD.saturating_mul(20)));
    let client = case.client(case.payer().await?, policy)?;
    let mut events = client.events();
    let session = client.session(&url)?;
    let mut stream = session.sse(&url).await?;
    let mut words = Vec::new();
    while let Some(word) = stream.next().await {
        words.push(word?);
    }
    ensure!(words.len() == 21, "{} events", words.len());
    ensure!(words.first().is_some_and(|word| word == "title"));
    ensure!(words.last().is_some_and(|word| word == "word20"));
    let receipt = stream.receipt().context("no final receipt")?;
    ensure!(receipt.spent == Amount::new(WORD.saturating_mul(20)));
    ensure!(receipt.units == Some(20), "units {:?}", receipt.units);
    let asked = needs(&mut events);
    ensure!(asked >= 19, "asked for {asked} vouchers");
    Ok(())
}

/// The examples of the README, bought as their readers would.
pub(super) async fn examples(case: &Case<'_>) -> anyhow::Result<()> {
    let client = case.client(case.payer().await?, Policy::new(dollars(1)))?;
    let list = client.get(case.url("gallery/photos")).send().await?;
    ensure!(list.receipt().is_none(), "the list is free");
    for name in list.text().await?.lines() {
        let url = case.url(&format!("gallery/photos/{name}"));
        let photo = client.get(url).send().await?;
        ensure!(photo.status() == 200 && photo.receipt().is_some(), "{name}");
        ensure!(
            photo.bytes().await?.starts_with(b"\x89PNG"),
            "{name} is no photo"
        );
    }
    let url = case.url("poetry/poem");
    let session = client.session(&url)?;
    let mut stream = session.sse(&url).await?;
    let mut poem = String::new();
    while let Some(text) = stream.next().await {
        poem.push_str(&text?);
    }
    ensure!(poem.ends_with("never stops - at all -\n"), "{poem}");
    let receipt = stream.receipt().context("no final receipt")?;
    ensure!(receipt.units == Some(mpp_example_poem::word_count()));
    Ok(())
}

/// Deposit for ten words, twenty are read: topped up in between.
pub(super) async fn top_up(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("words");
    let client = case.client(case.payer().await?, Policy::new(dollars(1)))?;
    let mut events = client.events();
    let session = client.session(&url)?;
    let mut stream = session.sse(&url).await?;
    let mut words = 0_u32;
    while let Some(word) = stream.next().await {
        word?;
        words = words.saturating_add(1);
    }
    ensure!(words == 21, "{words} events");
    let topped_up = drain(&mut events)
        .filter(|event| matches!(event, ClientEvent::ToppedUp { .. }))
        .count();
    ensure!(topped_up == 1, "{topped_up} top-ups");
    let state = session.state()?.context("no channel")?;
    ensure!(state.deposit == Amount::new(WORD.saturating_mul(20)));
    Ok(())
}

/// Nobody answers the request for a voucher: the stream ends with a receipt.
pub(super) async fn silent(case: &Case<'_>) -> anyhow::Result<()> {
    let text = read_unanswered(case, "impatient").await?;
    let asked = text.matches("event: payment-need-voucher").count();
    ensure!(asked == 1, "asked {asked} times: {text}");
    let (_, last) = text.rsplit_once("event: ").context("no event")?;
    let receipt = last
        .strip_prefix("payment-receipt\ndata: ")
        .context("the last event is no receipt")?;
    let Receipt::Session(receipt) = Receipt::from_json(receipt.trim().as_bytes())? else {
        anyhow::bail!("not a session receipt");
    };
    ensure!(receipt.spent == Amount::new(WORD));
    Ok(())
}

/// Everything a stream says to a client that never sends a voucher.
async fn read_unanswered(case: &Case<'_>, path: &str) -> anyhow::Result<String> {
    let url = case.url(path);
    let payer = Raw::new(case.payer().await?);
    let challenge = payer.challenge(&url).await?;
    let prepared = payer.prepare(case.node, &challenge, dollars(1)).await?;
    let first = payer.sign(&prepared.terms, Amount::new(WORD)).await?;
    let open = payer.open(&prepared, &first);
    let response = payer.send(Method::GET, &url, &challenge, &open).await?;
    ensure!(response.headers()["content-type"] == "text/event-stream; charset=utf-8");
    ensure!(response.headers()["cache-control"] == "no-store, no-transform");
    ensure!(response.headers()["x-accel-buffering"] == "no");
    ensure!(response.headers().contains_key("payment-receipt"));
    Ok(response.text().await?)
}

/// A reader that hangs up is not charged any further.
pub(super) async fn disconnect(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("endless");
    let payer = Raw::new(case.payer().await?);
    let challenge = payer.challenge(&url).await?;
    let prepared = payer.prepare(case.node, &challenge, dollars(5)).await?;
    // Everything is authorized at once, so only the server can stop itself.
    let first = payer.sign(&prepared.terms, dollars(5)).await?;
    let open = payer.open(&prepared, &first);
    let mut response = payer.send(Method::GET, &url, &challenge, &open).await?;
    for _ in 0..10 {
        response.chunk().await?.context("the stream ended")?;
    }
    drop(response);
    let channel = prepared.terms.id();
    let spent = async || anyhow::Ok(case.shop().server.channel(channel).await?.spent);
    // Wait until charging has stopped; then it must not begin again.
    let mut before = spent().await?;
    for _ in 0..20 {
        // A hundred words would come in this time.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = spent().await?;
        if now == before {
            tokio::time::sleep(Duration::from_millis(300)).await;
            ensure!(spent().await? == now, "charged after the disconnect");
            ensure!(now < dollars(1), "charged {now} for ten words");
            return Ok(());
        }
        before = now;
    }
    anyhow::bail!("still charging {before} after 20 s")
}

/// PROTOCOL 5.7: the newest stream of a channel is the one that charges.
pub(super) async fn superseded(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("endless");
    let payer = Raw::new(case.payer().await?);
    let challenge = payer.challenge(&url).await?;
    let prepared = payer.prepare(case.node, &challenge, dollars(5)).await?;
    let first = payer.sign(&prepared.terms, dollars(4)).await?;
    let open = payer.open(&prepared, &first);
    let old = payer.send(Method::GET, &url, &challenge, &open).await?;
    let payload = voucher(&prepared.terms, &first);
    let mut new = payer.send(Method::GET, &url, &challenge, &payload).await?;
    new.chunk().await?.context("the new stream is silent")?;
    // The old one ends by itself, in good order.
    let text = tokio::time::timeout(Duration::from_secs(30), old.text()).await??;
    let (_, last) = text.rsplit_once("event: ").context("no event")?;
    ensure!(last.starts_with("payment-receipt"), "ended with {last}");
    new.chunk().await?.context("the new stream ended too")?;
    Ok(())
}

fn needs(events: &mut Subscription) -> usize {
    drain(events)
        .filter(|event| matches!(event, ClientEvent::NeedVoucher { .. }))
        .count()
}

fn drain(events: &mut Subscription) -> impl Iterator<Item = ClientEvent> {
    std::iter::from_fn(|| events.try_next())
}
