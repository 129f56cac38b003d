//! What was earned reaches the payee without anybody asking for it.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use axum::{Router, routing::get};
use mpp_client::{Policy, TopUpPolicy};
use mpp_core::Amount;
use mpp_http::server::{Paid, PaymentLayer};
use mpp_server::{PaymentServer, Route, SettlePolicy, session::record::Phase, settle::OnShutdown};
use mpp_tempo::{
    ChannelId, LocalSigner, SessionProtocol, Signer as _,
    tx::{build, gas},
};

use super::{Case, cents, dollars};
use crate::{
    account,
    node::Node,
    shop::{self, Scratch, Shop},
};

/// Pause between two looks of the server.
const LOOK: Duration = Duration::from_millis(100);
/// How long a check waits for what has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

const SETTLE_V1: [u8; 4] = [0x51, 0x6d, 0x3b, 0x88];
const SETTLE_V2: [u8; 4] = [0x97, 0xfb, 0x51, 0x04];

/// A shop that collects by a policy, with a payee of its own.
struct Stall<'a> {
    case: &'a Case<'a>,
    payee: LocalSigner,
    shop: Shop,
}

/// A policy whose timers are quick.
pub(super) fn quick(policy: SettlePolicy) -> SettlePolicy {
    SettlePolicy {
        every: LOOK,
        scan_every: LOOK,
        lease: Duration::from_secs(2),
        ..policy
    }
}

impl<'a> Stall<'a> {
    async fn open(case: &'a Case<'a>, policy: SettlePolicy) -> anyhow::Result<Self> {
        let payee = account::signer_for(&format!("payee {}", alloy_primitives::B256::random()))?;
        account::fund(case.node, payee.address(), dollars(10)).await?;
        let scratch = Scratch::new()?;
        let server = shop::configure(case.node, payee.clone(), &scratch)?
            .watch_every(LOOK)
            .settlement(quick(policy))
            .build()?;
        let protocol = case.protocol;
        let shop = Shop::open(server, scratch, |server| router(server, protocol)).await?;
        Ok(Self { case, payee, shop })
    }

    fn url(&self) -> String {
        format!("{}/photo", self.shop.url)
    }

    /// Buys so many photos; returns the payer and its channel.
    async fn sell(&self, purpose: &str, photos: u64) -> anyhow::Result<(LocalSigner, ChannelId)> {
        let signer = account::signer_for(&format!("{purpose} {}", self.payee.address()))?;
        account::fund(self.case.node, signer.address(), dollars(5)).await?;
        let id = self.buy(&signer, photos).await?;
        Ok((signer, id))
    }

    async fn buy(&self, signer: &LocalSigner, photos: u64) -> anyhow::Result<ChannelId> {
        let policy = Policy::new(dollars(1)).top_up(TopUpPolicy::Never);
        let client = self.case.client(signer.clone(), policy)?;
        let session = client.session(self.url())?;
        for _ in 0..photos {
            ensure!(session.get(self.url()).send().await?.status() == 200);
        }
        Ok(session.state()?.context("no channel")?.channel_id)
    }

    async fn settled(&self, id: ChannelId) -> anyhow::Result<Amount> {
        Ok(self.shop.server.channel(id).await?.settled)
    }

    /// Waits until so much is paid out, by the server's and the chain's word.
    async fn until_settled(&self, id: ChannelId, amount: Amount) -> anyhow::Result<()> {
        let waiting = async {
            while self.settled(id).await? < amount {
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(())
        };
        let Ok(waited) = tokio::time::timeout(PATIENCE, waiting).await else {
            bail!("{} of {amount} settled", self.settled(id).await?);
        };
        waited?;
        let settled = self.settled(id).await?;
        ensure!(settled == amount, "settled {settled} instead of {amount}");
        Ok(())
    }

    /// The chain shows a close before the collector has heard of it.
    async fn until_no_deadline_runs(&self) -> anyhow::Result<()> {
        let waiting = async {
            while self.shop.server.deadlines().channels > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.map_err(|_| anyhow::anyhow!("{:?}", self.shop.server.deadlines()))
    }

    /// The payee has got this, less the fees of so many transactions.
    async fn check_earnings(&self, earned: Amount, transactions: u64) -> anyhow::Result<()> {
        let has = self.case.node.balance(self.payee.address()).await?;
        let most = dollars(10).checked_add(earned).context("overflow")?;
        let fees = most
            .checked_sub(has)
            .context("the payee has got too much")?;
        ensure!(
            fees <= cents(transactions),
            "{fees} in fees for {transactions} transactions"
        );
        Ok(())
    }
}

pub(super) fn router(server: &PaymentServer, protocol: SessionProtocol) -> anyhow::Result<Router> {
    let offer = server.session().amount("0.01").protocol(protocol);
    let route = Route::new("/photo", [offer.suggested_deposit("1").build()?])?;
    let pay = PaymentLayer::new(server.clone(), route);
    Ok(Router::new().route("/photo", get(serve_photo).layer(pay)))
}

async fn serve_photo(_paid: Paid) -> &'static str {
    "a photo"
}

/// No request arrives after the last one that was paid.
pub(super) async fn by_itself(case: &Case<'_>) -> anyhow::Result<()> {
    let limits = [
        SettlePolicy {
            channel_amount: Some(cents(3)),
            ..SettlePolicy::on_demand()
        },
        SettlePolicy {
            units: Some(3),
            ..SettlePolicy::on_demand()
        },
        SettlePolicy {
            age: Some(Duration::from_millis(500)),
            ..SettlePolicy::on_demand()
        },
    ];
    for policy in limits {
        let by_age = policy.age.is_some();
        let stall = Stall::open(case, policy).await?;
        let (_, id) = stall.sell("buyer", 3).await?;
        stall.until_settled(id, cents(3)).await?;
        // By age, the first photos may have been settled before the last.
        stall
            .check_earnings(cents(3), if by_age { 3 } else { 1 })
            .await?;
        ensure!(stall.shop.server.channel(id).await?.phase == Phase::Open);
        stall.shop.server.shutdown().await;
    }
    Ok(())
}

pub(super) async fn idle(case: &Case<'_>) -> anyhow::Result<()> {
    let policy = SettlePolicy {
        idle_close: Some(Duration::from_secs(6)),
        ..SettlePolicy::on_demand()
    };
    let stall = Stall::open(case, policy).await?;
    let (payer, id) = stall.sell("buyer", 3).await?;
    stall.until_settled(id, cents(3)).await?;
    let record = stall.shop.server.channel(id).await?;
    ensure!(matches!(record.phase, Phase::Closed { .. }));
    stall.check_earnings(cents(3), 1).await?;
    refunded(case.node, &payer, cents(3)).await?;
    stall.shop.server.shutdown().await;
    Ok(())
}

/// A payer that had $5 has them again but for what it bought and its fees.
async fn refunded(node: &Node, payer: &LocalSigner, bought: Amount) -> anyhow::Result<()> {
    let has = node.balance(payer.address()).await?;
    let most = dollars(5).checked_sub(bought).context("bought too much")?;
    let fees = most
        .checked_sub(has)
        .context("the payer has got too much")?;
    ensure!(fees <= cents(2), "{fees} in fees");
    Ok(())
}

async fn request_close(
    case: &Case<'_>,
    stall: &Stall<'_>,
    payer: &LocalSigner,
    id: ChannelId,
) -> anyhow::Result<()> {
    let terms = stall.shop.server.channel(id).await?.terms;
    let context = account::context(case.node, gas::REQUEST_CLOSE).await?;
    account::send(case.node, build::request_close(&context, &terms)?, payer).await
}

/// The payer asks the chain and is not heard of again.
pub(super) async fn answered(case: &Case<'_>) -> anyhow::Result<()> {
    let stall = Stall::open(case, SettlePolicy::on_demand()).await?;
    let (payer, id) = stall.sell("buyer", 3).await?;
    request_close(case, &stall, &payer, id).await?;
    stall.until_settled(id, cents(3)).await?;
    let record = stall.shop.server.channel(id).await?;
    ensure!(matches!(record.phase, Phase::Closed { .. }));
    stall.check_earnings(cents(3), 1).await?;
    refunded(case.node, &payer, cents(3)).await?;
    stall.until_no_deadline_runs().await?;
    stall.shop.server.shutdown().await;
    Ok(())
}

/// A settlement that fails and one that gets lost are made again.
pub(super) async fn repeated(case: &Case<'_>) -> anyhow::Result<()> {
    let chain = case.node.control()?;
    let selector = match case.protocol {
        SessionProtocol::V1 => SETTLE_V1,
        SessionProtocol::V2 => SETTLE_V2,
    };
    let stall = Stall::open(case, SettlePolicy::on_demand()).await?;
    let (_, id) = stall.sell("buyer", 3).await?;
    chain.revert_next(selector);
    let collected = stall.shop.server.settle().await?;
    ensure!(
        collected.failed == 1 && collected.done == 0,
        "{collected:?}"
    );
    ensure!(
        stall.settled(id).await?.is_zero(),
        "a reverted settlement was believed"
    );
    // Another payer's settlement is lost on the way, and sent again.
    let (_, other) = stall.sell("other", 2).await?;
    chain.drop_next();
    stall.shop.server.settle().await?;
    stall.until_settled(other, cents(2)).await?;
    stall.shop.server.shutdown().await;
    Ok(())
}

/// One payer's account is frozen; the others' money arrives all the same.
pub(super) async fn frozen(case: &Case<'_>) -> anyhow::Result<()> {
    let chain = case.node.control()?;
    let stall = Stall::open(case, SettlePolicy::on_demand()).await?;
    let mut channels = Vec::new();
    for number in 0..5 {
        channels.push(stall.sell(&format!("buyer {number}"), 2).await?);
    }
    let (frozen, frozen_id) = channels.swap_remove(2);
    chain.freeze(frozen.address()).await?;
    stall.shop.server.settle().await?;
    for (_, id) in &channels {
        stall.until_settled(*id, cents(2)).await?;
    }
    let (from_frozen, earned) = match case.protocol {
        // The v1 contract pays the payee whatever becomes of the payer.
        SessionProtocol::V1 => (cents(2), cents(10)),
        SessionProtocol::V2 => (Amount::ZERO, cents(8)),
    };
    ensure!(stall.settled(frozen_id).await? == from_frozen);
    chain.unfreeze(frozen.address()).await?;
    // The batch of all, its halves, and what they were split into.
    stall.check_earnings(earned, 9).await?;
    stall.shop.server.shutdown().await;
    Ok(())
}

pub(super) async fn shutdown(case: &Case<'_>) -> anyhow::Result<()> {
    let policy = SettlePolicy {
        on_shutdown: OnShutdown::Settle,
        ..SettlePolicy::on_demand()
    };
    let stall = Stall::open(case, policy).await?;
    let (_, id) = stall.sell("buyer", 3).await?;
    stall.shop.server.shutdown().await;
    ensure!(stall.settled(id).await? == cents(3));
    stall.check_earnings(cents(3), 1).await
}
