//! Buys with a client, and asks again under the same key until it has it.

use std::{fmt, time::Duration};

use mpp_client::ClientError;
use mpp_core::{Amount, header::names};
use mpp_http::client::{Client, PaidResponse};
use tokio::time::sleep;

/// Price of a photo in base units.
pub(super) const PRICE: Amount = Amount::new(10_000);
/// Between two attempts at the same purchase.
const PAUSE: Duration = Duration::from_millis(10);
/// An answer takes no longer, or something hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const PHOTOS: [&str; 3] = ["dusk", "sea", "dunes"];

/// A program that buys photos.
pub(super) struct Buyer {
    client: Client,
    url: String,
    bought: Bought,
}

/// What was bought, and what it took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bought {
    /// Answers that arrived whole.
    whole: u64,
    /// Answers that are known to be lost: there is the receipt.
    receipts: u64,
    /// Answers that the server had kept.
    replayed: u64,
    /// Bodies that broke off.
    half: u64,
    /// Requests that the client gave up, not knowing what became of them.
    indeterminate: u64,
    /// Requests that the client gave up before anything was paid.
    unsent: u64,
}

/// How an attempt ended.
enum Attempt {
    Served,
    Again,
}

impl Buyer {
    pub(super) fn new(client: Client, url: &str) -> Self {
        Self {
            client,
            url: url.to_owned(),
            bought: Bought::default(),
        }
    }

    /// Buys `count` photos.
    pub(super) async fn run(mut self, count: u32) -> anyhow::Result<Bought> {
        for (number, photo) in (0..count).zip(PHOTOS.iter().cycle()) {
            let url = format!("{}/photos/{photo}", self.url);
            let key = format!("photo {number}");
            while let Attempt::Again = self.attempt(&url, &key).await? {
                sleep(PAUSE).await;
            }
        }
        Ok(self.bought)
    }

    async fn attempt(&mut self, url: &str, key: &str) -> anyhow::Result<Attempt> {
        let request = self.client.get(url).idempotency_key(key);
        let bought = &mut self.bought;
        let count = match request.timeout(PATIENCE).send().await {
            Ok(response) => return self.take(response).await,
            Err(ClientError::AlreadyDelivered { .. }) => {
                bought.receipts = bought.receipts.saturating_add(1);
                return Ok(Attempt::Served);
            }
            Err(ClientError::Indeterminate { .. } | ClientError::OpenUndecided { .. }) => {
                &mut bought.indeterminate
            }
            Err(ClientError::Transport(_)) => &mut bought.unsent,
            Err(other) => return Err(other.into()),
        };
        *count = count.saturating_add(1);
        Ok(Attempt::Again)
    }

    /// Reads the answer to its end.
    async fn take(&mut self, response: PaidResponse) -> anyhow::Result<Attempt> {
        let status = response.status();
        if status == 409 || status == 503 {
            return Ok(Attempt::Again);
        }
        anyhow::ensure!(status == 200, "{status}: {}", response.text().await?);
        anyhow::ensure!(response.receipt().is_some(), "a photo without a receipt");
        let replayed = response.headers().get(names::IDEMPOTENT_REPLAYED);
        let replayed = replayed.is_some_and(|value| value == "true");
        let bought = &mut self.bought;
        bought.replayed = bought.replayed.saturating_add(u64::from(replayed));
        if response.bytes().await.is_err() {
            bought.half = bought.half.saturating_add(1);
            return Ok(Attempt::Again);
        }
        bought.whole = bought.whole.saturating_add(1);
        Ok(Attempt::Served)
    }
}

impl Bought {
    /// Purchases that were delivered, or whose receipt says so.
    pub(super) fn served(&self) -> u64 {
        self.whole.saturating_add(self.receipts)
    }

    pub(super) fn add(&mut self, other: Self) {
        let sums = [
            (&mut self.whole, other.whole),
            (&mut self.receipts, other.receipts),
            (&mut self.replayed, other.replayed),
            (&mut self.half, other.half),
            (&mut self.indeterminate, other.indeterminate),
            (&mut self.unsent, other.unsent),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}

impl fmt::Display for Bought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} photos whole, {} known by their receipt, {} stored answers, {} bodies cut, \
             {} requests in doubt, {} not paid for",
            self.whole, self.receipts, self.replayed, self.half, self.indeterminate, self.unsent
        )
    }
}
