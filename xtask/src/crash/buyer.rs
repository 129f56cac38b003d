//! Buys photos one after another, and never gives up on one.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use mpp_core::{
    Amount, Challenge, Problem, ProblemKind, SessionReceipt, header as headers, header::names,
};
use mpp_tempo::{
    ChannelTerms, LocalSigner, chain::ChainClient as _, channel::Existence, wire::SessionPayload,
};
use tokio::{sync::watch, time::sleep};

use super::{audit::Known, front::Front};
use crate::{
    node::Node,
    raw::{self, Raw},
};

/// Price of a photo in base units.
pub(super) const PRICE: Amount = Amount::new(10_000);
/// After so many photos a channel is used up and the next one is opened.
const PHOTOS_PER_CHANNEL: u64 = 50;
/// Between two attempts at the same purchase.
const PAUSE: Duration = Duration::from_millis(10);
/// An answer takes no longer, or something hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const PHOTOS: [&str; 3] = ["dusk", "sea", "dunes"];

pub(super) struct Buyer {
    raw: Raw,
    http: reqwest::Client,
    node: Arc<Node>,
    front: watch::Receiver<Front>,
    known: Arc<Known>,
}

/// One request, the same at every attempt.
struct Purchase {
    channel: String,
    number: u64,
    path: String,
    authorization: String,
    key: String,
}

/// What became of a purchase.
enum Sale {
    Done,
    /// Its open transaction reached no block within its validity.
    Lapsed,
}

/// An answer that arrived whole.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Buyer {
    pub(super) fn new(
        signer: LocalSigner,
        node: &Arc<Node>,
        front: watch::Receiver<Front>,
        known: &Arc<Known>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            raw: Raw::new(signer),
            http: reqwest::Client::builder().timeout(PATIENCE).build()?,
            node: Arc::clone(node),
            front,
            known: Arc::clone(known),
        })
    }

    /// Buys until nobody is to begin another purchase.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        while !self.front.borrow().last {
            self.use_up_a_channel().await?;
        }
        Ok(())
    }

    async fn use_up_a_channel(&mut self) -> anyhow::Result<()> {
        let Some(challenge) = self.challenge().await? else {
            return Ok(());
        };
        let deposit = PRICE.checked_mul(PHOTOS_PER_CHANNEL).context("deposit")?;
        let prepared = self.raw.prepare(&self.node, &challenge, deposit).await?;
        let channel = prepared.terms.id().to_string();
        for number in 1..=PHOTOS_PER_CHANNEL {
            if self.front.borrow().last {
                break;
            }
            let cumulative = PRICE.checked_mul(number).context("cumulative")?;
            let signed = self.raw.sign(&prepared.terms, cumulative).await?;
            let payload = match number {
                1 => self.raw.open(&prepared, &signed),
                _ => raw::voucher(&prepared.terms, &signed),
            };
            let purchase = self.purchase(&channel, number, &challenge, &payload)?;
            let what = || format!("purchase {number} on channel {channel}");
            if let Sale::Lapsed = self.buy(&purchase).await.with_context(what)? {
                return self.give_up(&prepared.terms).await.with_context(what);
            }
        }
        Ok(())
    }

    /// Forgets a channel whose open came too late, once the chain confirms that there is none.
    async fn give_up(&self, terms: &ChannelTerms) -> anyhow::Result<()> {
        let chain = &self.node.chain;
        let view = chain
            .channel(terms.protocol, terms.escrow, terms.id())
            .await?;
        ensure!(
            view.existence == Existence::Unknown,
            "refused as never mined, but the chain has it"
        );
        self.known.give_up(&terms.id().to_string())
    }

    /// Asks until there is a challenge; `None`: it is too late to begin.
    async fn challenge(&mut self) -> anyhow::Result<Option<Challenge>> {
        loop {
            let front = self.open_front().await?;
            if front.last {
                return Ok(None);
            }
            let url = format!("{}/photos/sea", front.url.unwrap_or_default());
            if let Ok(response) = self.http.get(&url).send().await {
                let challenges = raw::challenges(&response)?;
                return Ok(Some(challenges.into_iter().next().context("no challenge")?));
            }
            sleep(PAUSE).await;
        }
    }

    fn purchase(
        &self,
        channel: &str,
        number: u64,
        challenge: &Challenge,
        payload: &SessionPayload,
    ) -> anyhow::Result<Purchase> {
        let credential = self.raw.credential(challenge, payload)?;
        let mut photos = PHOTOS.iter().cycle().skip(usize::try_from(number)?);
        Ok(Purchase {
            channel: channel.to_owned(),
            number,
            path: format!("/photos/{}", photos.next().context("no photo")?),
            authorization: headers::credential::encode(&credential)?,
            key: format!("\"{channel} {number}\""),
        })
    }

    /// Sends the same request until it is answered.
    async fn buy(&mut self, purchase: &Purchase) -> anyhow::Result<Sale> {
        self.known.begin(&purchase.channel);
        let number = purchase.number;
        loop {
            let front = self.open_front().await?;
            let base = front.url.unwrap_or_default();
            // A lost answer is what this is about: the request goes out again.
            if let Ok(answer) = self.attempt(&base, purchase).await {
                if number == 1 && answer.says_lapsed() {
                    return Ok(Sale::Lapsed);
                }
                if let Some((receipt, replayed)) = answer.receipt()? {
                    self.known
                        .acknowledge(front.cycle, number, &receipt, replayed)?;
                    return Ok(Sale::Done);
                }
            }
            self.known.note_retry();
            sleep(PAUSE).await;
        }
    }

    async fn attempt(&self, base: &str, purchase: &Purchase) -> reqwest::Result<Answer> {
        let request = self
            .http
            .get(format!("{base}{}", purchase.path))
            .header(header::AUTHORIZATION, &purchase.authorization)
            .header(names::IDEMPOTENCY_KEY, &purchase.key);
        let response = request.send().await?;
        Ok(Answer {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.bytes().await?,
        })
    }

    /// Waits until the server listens.
    async fn open_front(&mut self) -> anyhow::Result<Front> {
        let front = self.front.wait_for(|front| front.url.is_some()).await;
        Ok(front.context("the run was given up")?.clone())
    }
}

impl Answer {
    /// Whether the open was refused for its transaction: on a busy machine, or when the server is
    /// killed too often, its 25 seconds pass before it is sent.
    fn says_lapsed(&self) -> bool {
        Problem::from_json(&self.body)
            .is_ok_and(|problem| problem.kind == ProblemKind::VerificationFailed)
    }

    /// The receipt, and whether the answer was a stored one; `None`: the
    /// server asks to come again.
    fn receipt(&self) -> anyhow::Result<Option<(SessionReceipt, bool)>> {
        let replayed = self.headers.get(names::IDEMPOTENT_REPLAYED);
        let replayed = replayed.is_some_and(|value| value == "true");
        match self.status {
            StatusCode::OK => ensure!(is_whole_png(&self.body), "half a photo"),
            StatusCode::NO_CONTENT if replayed => {}
            StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE => return Ok(None),
            other => anyhow::bail!("{other}: {}", String::from_utf8_lossy(&self.body)),
        }
        let receipt = self.headers.get(names::PAYMENT_RECEIPT);
        let receipt = receipt.context("a photo without a receipt")?.to_str()?;
        let receipt = headers::receipt::parse(receipt)?;
        Ok(Some((raw::session_receipt(&receipt)?.clone(), replayed)))
    }
}

fn is_whole_png(body: &[u8]) -> bool {
    body.starts_with(b"\x89PNG") && body.ends_with(b"IEND\xaeB`\x82")
}
