//! The server's process is killed around a close request, and started again.
//!
//! What it has earned is in the file of its store and on the chain, nowhere
//! else. Fees are paid in another token, so what the payee holds in the end is
//! what was bought, to the unit.

mod serve;

use std::time::Duration;

use alloy_primitives::B256;
use anyhow::{Context as _, ensure};
use mpp_core::{Amount, Challenge};
use mpp_tempo::{
    ChannelTerms, LocalSigner, Signer as _,
    chain::ChainClient as _,
    channel::{ChannelView, Existence},
    network::CLOSE_GRACE_SECS,
    tx::{build, gas},
};
use reqwest::Method;

pub(crate) use self::serve::{ServeOptions, serve};
use super::{Case, cents, dollars};
use crate::{
    account::{self, ALPHA_USD},
    log_scan,
    process::ServerProcess,
    raw::Raw,
    shop::Scratch,
};

/// How long a check waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at the chain.
const LOOK: Duration = Duration::from_millis(100);
/// What a server that watches is told.
const OFTEN: Duration = Duration::from_millis(100);
/// What a server is told that is to notice nothing.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);
/// What of the 900 seconds passes before the server is back.
const DEAD_SECS: u32 = 600;
/// After so many milliseconds a server is killed that collects: before it has
/// noticed, while it sends, and after.
const LIVES: [u64; 6] = [0, 60, 120, 180, 300, 500];
/// What each payer buys, in photos of a cent.
const PHOTOS: u64 = 3;

/// What outlives the server.
struct Stand<'a> {
    case: &'a Case<'a>,
    payee: LocalSigner,
    scratch: Scratch,
    secret: String,
    account: String,
}

/// A payer with its channel.
struct Sold {
    payer: LocalSigner,
    challenge: Challenge,
    terms: ChannelTerms,
}

impl<'a> Stand<'a> {
    async fn new(case: &'a Case<'a>) -> anyhow::Result<Self> {
        let account = B256::random();
        log_scan::secret("private key", account.as_slice());
        let payee = LocalSigner::from_bytes(&account.0)?;
        account::fund_token(case.node, ALPHA_USD, payee.address(), dollars(10)).await?;
        Ok(Self {
            case,
            payee,
            scratch: Scratch::new()?,
            secret: format!("{:#x}", B256::random()),
            account: format!("{account:#x}"),
        })
    }

    /// Starts the server over its file.
    async fn start(&self, watch: Duration) -> anyhow::Result<ServerProcess> {
        let file = self.scratch.path().join("killed.store");
        let protocol = self.case.protocol.to_string();
        let (watch, ahead) = (watch.as_millis().to_string(), self.case.node.ahead());
        let ahead = ahead.to_string();
        let arguments = [
            "serve-stall",
            "--node",
            &self.case.node.url,
            "--store",
            file.to_str().context("the path of the store")?,
            "--protocol",
            &protocol,
            "--watch-millis",
            &watch,
            "--ahead",
            &ahead,
        ];
        let environment = [
            (serve::SECRET, &*self.secret),
            (serve::ACCOUNT, &*self.account),
        ];
        ServerProcess::start(&arguments, &environment).await
    }

    /// Sells three photos to a new payer.
    async fn sell(&self, server: &ServerProcess) -> anyhow::Result<Sold> {
        let url = format!("{}/photo", server.url);
        let key = B256::random();
        log_scan::secret("private key", key.as_slice());
        let payer = LocalSigner::from_bytes(&key.0)?;
        account::fund(self.case.node, payer.address(), dollars(5)).await?;
        let raw = Raw::new(payer.clone());
        let (challenge, terms) = raw.open_channel(self.case.node, &url, dollars(1)).await?;
        let sold = Sold {
            payer,
            challenge,
            terms,
        };
        for number in 2..=PHOTOS {
            let signed = raw.sign(&sold.terms, cents(number)).await?;
            let (challenge, terms) = (&sold.challenge, &sold.terms);
            let response = raw.pay(Method::GET, &url, challenge, &signed, terms);
            ensure!(response.await?.status() == 200, "photo {number}");
        }
        Ok(sold)
    }

    /// The payer asks the chain to close; returns when it did.
    async fn request_close(&self, sold: &Sold) -> anyhow::Result<u64> {
        let context = account::context(self.case.node, gas::REQUEST_CLOSE).await?;
        let request = build::request_close(&context, &sold.terms)?;
        account::send(self.case.node, request, &sold.payer).await?;
        let view = self.view(sold).await?;
        view.close_requested_at.context("no close request")
    }

    async fn view(&self, sold: &Sold) -> anyhow::Result<ChannelView> {
        let terms = &sold.terms;
        let chain = &self.case.node.chain;
        Ok(chain
            .channel(terms.protocol, terms.escrow, terms.id())
            .await?)
    }

    async fn earned(&self) -> anyhow::Result<Amount> {
        self.case.node.balance(self.payee.address()).await
    }

    /// Waits until the channel is closed on chain, and looks at the chain's
    /// clock.
    async fn until_closed(&self, sold: &Sold, requested_at: u64) -> anyhow::Result<()> {
        let waiting = async {
            while self.view(sold).await?.existence == Existence::Open {
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(())
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.context("the channel is still open")??;
        let now = self.case.node.chain.block().await?.timestamp;
        let deadline = requested_at.saturating_add(CLOSE_GRACE_SECS);
        ensure!(now < deadline, "closed at {now}, due at {deadline}");
        Ok(())
    }

    /// The payer has the rest of its deposit again: of $5 all but three cents
    /// and the fees of its two transactions.
    async fn check_refund(&self, sold: &Sold) -> anyhow::Result<()> {
        let has = self.case.node.balance(sold.payer.address()).await?;
        let most = dollars(5).checked_sub(cents(PHOTOS)).context("refund")?;
        let fees = most.checked_sub(has).context("the payer has too much")?;
        ensure!(fees <= cents(2), "{fees} in fees");
        Ok(())
    }
}

/// It is killed before it hears of the request, and two thirds of the grace
/// period pass before it is back.
pub(super) async fn before_it_knows(case: &Case<'_>) -> anyhow::Result<()> {
    let stand = Stand::new(case).await?;
    let server = stand.start(NEVER).await?;
    let sold = stand.sell(&server).await?;
    let requested_at = stand.request_close(&sold).await?;
    server.kill().await?;
    case.node.advance(DEAD_SECS).await?;
    ensure!(stand.view(&sold).await?.settled.is_zero());
    ensure!(stand.earned().await?.is_zero());

    let server = stand.start(OFTEN).await?;
    stand.until_closed(&sold, requested_at).await?;
    ensure!(stand.earned().await? == cents(PHOTOS));
    stand.check_refund(&sold).await?;
    server.kill().await?;
    case.node.return_to_present().await
}

/// It is killed at many moments of its work, and nothing is lost or paid twice.
pub(super) async fn at_any_moment(case: &Case<'_>) -> anyhow::Result<()> {
    let stand = Stand::new(case).await?;
    let mut closing = Vec::new();
    for life in LIVES {
        let server = stand.start(OFTEN).await?;
        let sold = stand.sell(&server).await?;
        let requested_at = stand.request_close(&sold).await?;
        tokio::time::sleep(Duration::from_millis(life)).await;
        server.kill().await?;
        closing.push((sold, requested_at));
    }
    let server = stand.start(OFTEN).await?;
    for (sold, requested_at) in &closing {
        stand.until_closed(sold, *requested_at).await?;
    }
    let due = PHOTOS.saturating_mul(LIVES.len().try_into()?);
    let earned = stand.earned().await?;
    ensure!(earned == cents(due), "earned {earned}");
    for (sold, _) in &closing {
        stand.check_refund(sold).await?;
    }
    server.kill().await
}
