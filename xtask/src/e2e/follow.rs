//! What the chain takes back, what it shows late, and what it does not show.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use axum::{Router, routing::get};
use mpp_core::{Amount, ProblemKind};
use mpp_http::server::{Paid, PaymentLayer};
use mpp_server::{
    FollowPolicy, MemoryStore, PaymentServer, Route,
    session::record::{Phase, Quarantine},
};
use mpp_tempo::{
    ChannelId, ChannelTerms, LocalSigner, SessionProtocol, Signer as _,
    tx::{UnsignedTx, build, gas},
};
use reqwest::{Method, StatusCode};

use super::{
    Case, cents, dollars,
    raw::{Raw, refused},
};
use crate::{
    account,
    node::control::Control,
    shop::{self, Scratch, Shop},
};

/// Pause between two looks of a server that looks by itself.
const LOOK: Duration = Duration::from_millis(50);
/// How long a check waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// A server that looks at the chain when it is asked to.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// A payer with a channel at the market, and the chain that takes things back.
struct Reversal<'a> {
    case: &'a Case<'a>,
    chain: Control<'a>,
    url: String,
    signer: LocalSigner,
    payer: Raw,
}

impl<'a> Reversal<'a> {
    async fn begin(case: &'a Case<'a>, chain: Control<'a>) -> anyhow::Result<Self> {
        let signer = case.payer().await?;
        Ok(Self {
            case,
            chain,
            url: case.url("photo"),
            payer: Raw::new(signer.clone()),
            signer,
        })
    }

    async fn send(
        &self,
        gas_limit: u64,
        build: impl FnOnce(&mpp_tempo::tx::TxContext) -> Result<UnsignedTx, mpp_tempo::tx::BuildError>,
    ) -> anyhow::Result<()> {
        let context = account::context(self.case.node, gas_limit).await?;
        account::send(self.case.node, build(&context)?, &self.signer).await?;
        self.look(1).await
    }

    /// The newest block is replaced by an empty one, and the server notices.
    async fn take_back(&self) -> anyhow::Result<()> {
        self.chain.reorganize().await?;
        self.look(2).await
    }

    async fn look(&self, times: u32) -> anyhow::Result<()> {
        for _ in 0..times {
            self.case.shop().server.catch_up().await?;
        }
        Ok(())
    }

    async fn pay(&self, terms: &ChannelTerms, total: Amount) -> anyhow::Result<reqwest::Response> {
        let challenge = self.payer.challenge(&self.url).await?;
        let signed = self.payer.sign(terms, total).await?;
        let paid = self
            .payer
            .pay(Method::GET, &self.url, &challenge, &signed, terms);
        paid.await
    }

    async fn phase(&self, id: ChannelId) -> anyhow::Result<Phase> {
        Ok(self.case.shop().server.channel(id).await?.phase)
    }
}

fn is_frozen(phase: &Phase, expected: Quarantine) -> bool {
    matches!(phase, Phase::Quarantined { reason, .. } if *reason == expected)
}

/// A reorganization removes a close request, a top-up and an open.
pub(super) async fn reorganized(case: &Case<'_>) -> anyhow::Result<()> {
    let chain = case.node.control()?;
    let it = Reversal::begin(case, chain).await?;
    let (_, terms) = it
        .payer
        .open_channel(case.node, &it.url, dollars(1))
        .await?;
    let id = terms.id();
    it.look(1).await?;

    it.send(gas::REQUEST_CLOSE, |context| {
        build::request_close(context, &terms)
    })
    .await?;
    ensure!(matches!(it.phase(id).await?, Phase::CloseRequested { .. }));
    it.take_back().await?;
    ensure!(
        it.phase(id).await? == Phase::Open,
        "the request is still there"
    );
    ensure!(it.pay(&terms, cents(2)).await?.status() == 200);

    let top_up = |context: &_| build::top_up(context, &terms, dollars(1));
    it.send(gas::TOP_UP, top_up).await?;
    ensure!(it.pay(&terms, cents(150)).await?.status() == 200);
    it.take_back().await?;
    let record = case.shop().server.channel(id).await?;
    ensure!(record.deposit == dollars(1) && record.accepted() == cents(150));
    ensure!(is_frozen(&record.phase, Quarantine::DepositReverted));
    let response = it.pay(&terms, cents(150)).await?;
    refused(response, ProblemKind::ServiceUnavailable).await?;
    it.send(gas::TOP_UP, top_up).await?;
    ensure!(it.pay(&terms, cents(151)).await?.status() == 200);

    let challenge = it.payer.challenge(&it.url).await?;
    let prepared = it.payer.prepare(case.node, &challenge, dollars(1)).await?;
    let first = it.payer.sign(&prepared.terms, cents(1)).await?;
    let open = it.payer.open(&prepared, &first);
    let opened = it
        .payer
        .send(Method::GET, &it.url, &challenge, &open)
        .await?;
    ensure!(opened.status() == 200);
    it.take_back().await?;
    let other = prepared.terms;
    ensure!(is_frozen(
        &it.phase(other.id()).await?,
        Quarantine::OpenReverted
    ));
    let response = it.pay(&other, cents(2)).await?;
    ensure!(
        !response.status().is_success(),
        "sold on a channel that is not there"
    );
    // Its payer sends the open again, and goes on where it was.
    let challenge = it.payer.challenge(&it.url).await?;
    let second = it.payer.sign(&other, cents(2)).await?;
    let open = it.payer.open(&prepared, &second);
    let opened = it
        .payer
        .send(Method::GET, &it.url, &challenge, &open)
        .await?;
    ensure!(opened.status() == 200, "{}", opened.status());
    let record = case.shop().server.channel(other.id()).await?;
    ensure!(record.spent == cents(2) && record.phase == Phase::Open);
    Ok(())
}

/// A shop with a payee of its own, over a store that outlives it.
pub(super) struct Stall {
    pub(super) shop: Shop,
    pub(super) payee: LocalSigner,
}

impl Stall {
    /// Opens, once it knows what has happened on chain.
    pub(super) async fn open(
        case: &Case<'_>,
        payee: LocalSigner,
        store: MemoryStore,
        configure: impl FnOnce(mpp_server::Builder<MemoryStore>) -> mpp_server::Builder<MemoryStore>,
    ) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let builder = shop::configure(case.node, payee.clone(), &scratch)?
            .store(store)
            .watch_every(NEVER)
            .settlement(mpp_server::SettlePolicy::on_demand());
        let server = configure(builder).build()?;
        let protocol = case.protocol;
        let shop = Shop::open(server, scratch, |server| photos(server, protocol)).await?;
        shop.server.ready().await?;
        Ok(Self { shop, payee })
    }

    pub(super) fn url(&self) -> String {
        format!("{}/photo", self.shop.url)
    }

    /// Stops for good; the store stays.
    pub(super) async fn close(self) {
        self.shop.server.shutdown().await;
    }
}

fn photos(server: &PaymentServer, protocol: SessionProtocol) -> anyhow::Result<Router> {
    let offer = server.session().amount("0.01").protocol(protocol);
    let route = Route::new("/photo", [offer.build()?])?;
    let pay = PaymentLayer::new(server.clone(), route);
    let photo = get(|_: Paid| async { "a photo" });
    Ok(Router::new().route("/photo", photo.layer(pay)))
}

/// A payee of its own, with money for fees.
pub(super) async fn payee(case: &Case<'_>) -> anyhow::Result<LocalSigner> {
    let payee = account::signer_for(&format!("payee {}", alloy_primitives::B256::random()))?;
    account::fund(case.node, payee.address(), dollars(10)).await?;
    Ok(payee)
}

/// A server that was down knows what has happened before it serves.
pub(super) async fn downtime(case: &Case<'_>) -> anyhow::Result<()> {
    let (store, signer) = (MemoryStore::new(), case.payer().await?);
    let stall = Stall::open(case, payee(case).await?, store.clone(), |it| it).await?;
    let payer = Raw::new(signer.clone());
    let mut channels = Vec::new();
    for _ in 0..3 {
        let opened = payer
            .open_channel(case.node, &stall.url(), dollars(1))
            .await?;
        channels.push(opened.1);
    }
    let [grown, leaving, settled] = &channels[..] else {
        bail!("three channels");
    };
    stall.shop.server.catch_up().await?;
    let keys = stall.payee.clone();
    stall.close().await;

    let (node, voucher) = (case.node, payer.sign(settled, cents(1)).await?);
    let context = account::context(node, gas::TOP_UP).await?;
    let top_up = build::top_up(&context, grown, dollars(1))?;
    account::send(node, top_up, &signer).await?;
    let context = account::context(node, gas::REQUEST_CLOSE).await?;
    let request = build::request_close(&context, leaving)?;
    account::send(node, request, &signer).await?;
    let context = account::context(node, gas::SETTLE).await?;
    let settle = build::settle(&context, settled, &voucher)?;
    account::send(node, settle, &keys).await?;

    let stall = Stall::open(case, keys, store, |it| it).await?;
    let server = &stall.shop.server;
    ensure!(server.channel(grown.id()).await?.deposit == dollars(2));
    let phase = server.channel(leaving.id()).await?.phase;
    // Once it knows, it may answer before anybody looks.
    let knows = match &phase {
        Phase::CloseRequested { .. } | Phase::Closed { .. } => true,
        Phase::Closing { requested_at, .. } => requested_at.is_some(),
        _ => false,
    };
    ensure!(knows, "{phase:?}");
    ensure!(server.channel(settled.id()).await?.settled == cents(1));
    ensure!(server.health().is_ready());
    stall.close().await;
    Ok(())
}

/// While the chain is not seen, no more is sold than the policy risks.
pub(super) async fn outage(case: &Case<'_>) -> anyhow::Result<()> {
    let chain = case.node.control()?;
    let signer = case.payer().await?;
    let mut policy = FollowPolicy::default();
    policy.unseen_after = Some(Duration::from_millis(500));
    policy.unseen_cap = cents(3);
    let configure = |it: mpp_server::Builder<MemoryStore>| it.watch_every(LOOK).follow(policy);
    let stall = Stall::open(case, payee(case).await?, MemoryStore::new(), configure).await?;
    let payer = Raw::new(signer);
    let (_, terms) = payer
        .open_channel(case.node, &stall.url(), dollars(1))
        .await?;
    let checked = check_outage(chain, &stall, &payer, &terms).await;
    chain.set_outage(false);
    checked?;
    stall.close().await;
    Ok(())
}

async fn check_outage(
    chain: Control<'_>,
    stall: &Stall,
    payer: &Raw,
    terms: &ChannelTerms,
) -> anyhow::Result<()> {
    let buy = async |total: u64| {
        let url = stall.url();
        let challenge = payer.challenge(&url).await?;
        let signed = payer.sign(terms, cents(total)).await?;
        let paid = payer.pay(Method::GET, &url, &challenge, &signed, terms);
        anyhow::Ok(paid.await?)
    };
    ensure!(buy(2).await?.status() == 200);
    chain.set_outage(true);
    until(stall, false).await?;
    ensure!(buy(3).await?.status() == 200, "the cap is not reached");
    let beyond = buy(4).await?;
    ensure!(
        beyond.status() == StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        beyond.status()
    );
    chain.set_outage(false);
    let sold = async {
        loop {
            let status = buy(4).await?.status();
            // On a busy machine the last look is soon too long ago again.
            if status != StatusCode::SERVICE_UNAVAILABLE {
                return anyhow::Ok(status);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let status = tokio::time::timeout(PATIENCE, sold).await??;
    ensure!(status == StatusCode::OK, "{status}");
    Ok(())
}

/// Waits until the server is ready, or is not.
async fn until(stall: &Stall, ready: bool) -> anyhow::Result<()> {
    let changed = async {
        while stall.shop.server.health().is_ready() != ready {
            tokio::time::sleep(LOOK).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, changed).await;
    waited.context("the server's readiness does not change")
}
