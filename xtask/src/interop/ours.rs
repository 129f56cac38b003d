//! Our server, which sells what the peers' servers sell.

use std::time::Duration;

use alloy_primitives::Address;
use axum::{Router, routing::get};
use mpp_http::server::{Metered, Paid, PaidSession, PaymentLayer};
use mpp_server::{Builder, ChargeOffer, EmbeddedStore, Offer, PaymentServer, Route, SettlePolicy};
use mpp_tempo::{SessionProtocol, Signer as _, wire::ChargeMode};

use crate::{
    account,
    e2e::dollars,
    node::Node,
    shop::{self, Scratch, Shop},
};

/// Words of a stream.
pub(super) const WORDS: u32 = 20;

/// Pause between two looks at the chain, and at what is to be collected.
const LOOK: Duration = Duration::from_millis(200);

/// Less than the 30 s that the first networks allowed.
const HURRY: Duration = Duration::from_secs(25);

/// Our server.
#[derive(Debug)]
pub(super) struct Ours {
    pub(super) shop: Shop,
}

impl Ours {
    /// Opens with a payee of its own.
    pub(super) async fn open(node: &Node, payee: &str) -> anyhow::Result<Self> {
        Self::open_with(node, payee, |builder| builder).await
    }

    /// Opens for peers that sign until the end of a challenge, on a node that
    /// takes nothing that is valid for long.
    pub(super) async fn hasty(node: &Node) -> anyhow::Result<Self> {
        let hurry = |builder: Builder<EmbeddedStore>| builder.challenge_lifetime(HURRY);
        Self::open_with(node, "the seller in a hurry", hurry).await
    }

    async fn open_with(
        node: &Node,
        payee: &str,
        configure: impl FnOnce(Builder<EmbeddedStore>) -> Builder<EmbeddedStore>,
    ) -> anyhow::Result<Self> {
        let payee = account::signer_for(payee)?;
        let sponsor = account::signer_for("the sponsor of the interoperability suite")?;
        for signer in [&payee, &sponsor] {
            account::fund(node, signer.address(), dollars(10)).await?;
        }
        let scratch = Scratch::new()?;
        let server = configure(shop::configure(node, payee, &scratch)?)
            .fee_payer(sponsor)
            .watch_every(LOOK)
            .settlement(SettlePolicy {
                every: LOOK,
                scan_every: LOOK,
                ..SettlePolicy::on_demand()
            })
            .build()?;
        let shop = Shop::open(server, scratch, router).await?;
        Ok(Self { shop })
    }
}

fn router(server: &PaymentServer) -> anyhow::Result<Router> {
    let mut router = Router::new();
    for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
        let offer = |deposit: &str| {
            let offer = server.session().amount("0.01").protocol(protocol);
            offer.suggested_deposit(deposit)
        };
        // The client of v1 does not refill in the middle of a stream.
        let deposit = match protocol {
            SessionProtocol::V1 => "0.50",
            SessionProtocol::V2 => "0.05",
        };
        let requests = offer("0.05").unit_type("request").build()?;
        let words = offer(deposit).unit_type("word").build()?;
        router = router
            .merge(sell(
                server,
                &format!("/{protocol}/requests"),
                requests,
                get(serve_photo),
            )?)
            .merge(sell(
                server,
                &format!("/{protocol}/stream"),
                words,
                get(serve_words),
            )?);
    }
    for (name, offer) in charges(server) {
        let path = format!("/charge/{name}");
        router = router.merge(sell(server, &path, offer.build()?, get(serve_photo))?);
    }
    let tools = mpp_example_mcp_tool::offer(server);
    Ok(router.merge(mpp_example_mcp_tool::router(server, tools)?))
}

fn charges(server: &PaymentServer) -> [(&'static str, ChargeOffer); 5] {
    let cent = || server.charge().amount("0.01");
    let other = Address::repeat_byte(0x77);
    [
        ("pull", cent().modes([ChargeMode::Pull])),
        ("push", cent().modes([ChargeMode::Push])),
        ("proof", server.charge().amount("0")),
        ("sponsored", cent().sponsored()),
        ("splits", cent().split(other, "0.004")),
    ]
}

fn sell(
    server: &PaymentServer,
    path: &str,
    offer: Offer,
    handler: axum::routing::MethodRouter,
) -> anyhow::Result<Router> {
    let route = Route::new(path, [offer])?;
    let pay = PaymentLayer::new(server.clone(), route).websocket();
    Ok(Router::new().route(path, handler.layer(pay)))
}

async fn serve_photo(_paid: Paid) -> &'static str {
    "a photo"
}

async fn serve_words(session: PaidSession) -> Metered {
    session.stream(|mut stream| async move {
        for number in 0..WORDS {
            stream.charge().await?;
            stream.send(format!("word{number}")).await;
        }
        Ok(())
    })
}
