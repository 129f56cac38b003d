//! Metered streams over a WebSocket (PROTOCOL 5.7).

use anyhow::{Context as _, ensure};
use mpp_client::{ClientEvent, Policy};
use mpp_core::Amount;

use super::{Case, dollars};

/// One word of the poem.
const WORD: u128 = 1_000;

/// The README's poem: paid word by word, topped up in between, and the channel
/// closed, all over one socket.
pub(super) async fn poem(case: &Case<'_>) -> anyhow::Result<()> {
    let client = case.client(case.payer().await?, Policy::new(dollars(1)))?;
    let mut events = client.events();
    let url = case.url("poetry/poem");
    let session = client.session(&url)?;
    let mut stream = session.ws(&url).await?;
    let mut poem = String::new();
    while let Some(text) = stream.next().await {
        poem.push_str(&text?);
    }
    ensure!(poem.ends_with("never stops - at all -\n"), "{poem}");
    let words = mpp_example_poem::word_count();
    let cost = Amount::new(WORD.saturating_mul(words.into()));
    let receipt = stream.receipt().context("no final receipt")?;
    ensure!(receipt.units == Some(words) && receipt.spent == cost);
    let topped_up = std::iter::from_fn(|| events.try_next())
        .filter(|event| matches!(event, ClientEvent::ToppedUp { .. }))
        .count();
    ensure!(topped_up >= 1, "{topped_up} top-ups");
    let closed = stream.close().await?;
    ensure!(closed.spent == cost && closed.tx_hash.is_some());
    Ok(())
}

/// A reader that has had enough pays for what it has read.
pub(super) async fn enough(case: &Case<'_>) -> anyhow::Result<()> {
    let client = case.client(case.payer().await?, Policy::new(dollars(1)))?;
    let url = case.url("endless");
    let mut stream = client.session(&url)?.ws(&url).await?;
    for _ in 0..5 {
        stream.next().await.context("the stream has ended")??;
    }
    stream.finish().await?;
    let mut read: u128 = 5;
    while let Some(text) = stream.next().await {
        text?;
        read = read.saturating_add(1);
    }
    let receipt = stream.receipt().context("no receipt")?;
    let paid = Amount::new(WORD.saturating_mul(read));
    ensure!(receipt.spent == paid, "{} for {read} words", receipt.spent);
    let record = case.shop().server.channel(stream.channel_id()).await?;
    ensure!(record.spent == paid, "{} spent", record.spent);
    Ok(())
}
