//! What is played.

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
    matrix::{Deviation, Direction},
    ours::WORDS,
    scripts::Server,
};
use crate::{
    account,
    e2e::{cents, dollars},
};

const MPPX: &str = "mppx 0.11.0";
const MPPX_V1: &str = "mppx 0.8.14";
const MCP: &str = "MCP SDK 1.32.2";
const PYMPP: &str = "pympp 0.16.0";
const MPP: &str = "mpp 0.18.2";

/// One flow with one peer.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) peer: &'static str,
    pub(super) name: &'static str,
    /// How the peer is known to depart from the protocol.
    pub(super) deviation: Option<Deviation>,
    play: Play,
}

#[derive(Clone, Copy, Debug)]
enum Play {
    /// The peer's client buys with a session, so many units for a cent each.
    Session {
        flow: &'static str,
        path: &'static str,
        units: u32,
    },
    /// The peer's client pays one charge.
    Charge {
        flow: &'static str,
        path: &'static str,
    },
    /// The peer's MCP client calls paid tools, which costs so much.
    Tools {
        flow: &'static str,
        calls: u32,
        cost: u64,
    },
    /// Our client buys requests from the peer's server.
    OurRequests { protocol: &'static str },
    /// Our client reads a stream of the peer's server.
    OurStream { protocol: &'static str },
    /// Our client pays one charge to the peer's server.
    OurCharge { path: &'static str },
}

const fn flow(peer: &'static str, name: &'static str, play: Play) -> Flow {
    Flow {
        peer,
        name,
        deviation: None,
        play,
    }
}

const fn session(
    peer: &'static str,
    name: &'static str,
    flow_name: &'static str,
    path: &'static str,
    units: u32,
) -> Flow {
    let play = Play::Session {
        flow: flow_name,
        path,
        units,
    };
    flow(peer, name, play)
}

const fn charge(
    peer: &'static str,
    name: &'static str,
    flow_name: &'static str,
    path: &'static str,
) -> Flow {
    let play = Play::Charge {
        flow: flow_name,
        path,
    };
    flow(peer, name, play)
}

const fn our_charge(peer: &'static str, name: &'static str, path: &'static str) -> Flow {
    flow(peer, name, Play::OurCharge { path })
}

/// A flow that fails for a reason of the peer's.
const fn deviating(flow: Flow, why: Deviation) -> Flow {
    Flow {
        deviation: Some(why),
        ..flow
    }
}

/// Its client sends a transfer of nothing instead.
const SIGNS_NO_PROOF: Deviation = Deviation {
    why: "it knows no proofs of identity",
    says: "a charge of zero is answered with a proof",
};
const TAKES_NO_PROOF: Deviation = Deviation {
    why: "it knows no proofs of identity",
    says: "Input tag 'proof' found",
};
const NO_SIMULATION: Deviation = Deviation {
    why: "it needs tempo_simulateV1, which no local node offers",
    says: "tempo_simulateV1",
};

/// All flows.
pub(super) const FLOWS: &[Flow] = &[
    session(
        MPPX,
        "session v2, requests, close",
        "v2 requests",
        "/v2/requests",
        5,
    ),
    session(
        MPPX,
        "session v2, SSE with top-ups, close",
        "v2 stream",
        "/v2/stream",
        WORDS,
    ),
    session(
        MPPX,
        "session v2, WebSocket, close",
        "v2 socket",
        "/v2/stream",
        WORDS,
    ),
    session(
        MPPX,
        "session v2, resume by bootstrap",
        "v2 resume",
        "/v2/requests",
        5,
    ),
    session(
        MPPX,
        "session v1, requests, close",
        "v1 requests",
        "/v1/requests",
        5,
    ),
    session(
        MPPX,
        "session v1, SSE, close",
        "v1 stream",
        "/v1/stream",
        WORDS,
    ),
    charge(MPPX, "charge, pull", "pull charge", "/charge/pull"),
    charge(MPPX, "charge, push", "push charge", "/charge/push"),
    charge(
        MPPX,
        "charge, proof of identity",
        "proof charge",
        "/charge/proof",
    ),
    charge(
        MPPX,
        "charge, sponsored",
        "sponsored charge",
        "/charge/sponsored",
    ),
    charge(MPPX, "charge, splits", "splits charge", "/charge/splits"),
    flow(
        MPPX,
        "session v2, requests, close",
        Play::OurRequests { protocol: "v2" },
    ),
    flow(
        MPPX,
        "session v2, SSE with top-ups, close",
        Play::OurStream { protocol: "v2" },
    ),
    flow(
        MPPX_V1,
        "session v1, requests, close",
        Play::OurRequests { protocol: "v1" },
    ),
    flow(
        MPPX_V1,
        "session v1, SSE with top-ups, close",
        Play::OurStream { protocol: "v1" },
    ),
    our_charge(MPPX, "charge, pull", "/charge/pull"),
    our_charge(MPPX, "charge, push", "/charge/push"),
    our_charge(MPPX, "charge, proof of identity", "/charge/proof"),
    our_charge(MPPX, "charge, sponsored", "/charge/sponsored"),
    our_charge(MPPX, "charge, splits", "/charge/splits"),
    flow(
        MCP,
        "a client without payments is told",
        Play::Tools {
            flow: "plain",
            calls: 1,
            cost: 0,
        },
    ),
    flow(
        MCP,
        "charge, pull (mppx 0.11.0)",
        Play::Tools {
            flow: "charge",
            calls: 1,
            cost: 5,
        },
    ),
    flow(
        MCP,
        "session v2, three calls (mppx 0.11.0)",
        Play::Tools {
            flow: "session",
            calls: 3,
            cost: 10,
        },
    ),
    charge(PYMPP, "charge, pull", "pull charge", "/charge/pull"),
    deviating(
        charge(
            PYMPP,
            "charge, proof of identity",
            "proof charge",
            "/charge/proof",
        ),
        SIGNS_NO_PROOF,
    ),
    charge(
        PYMPP,
        "charge, sponsored",
        "sponsored charge",
        "/charge/sponsored",
    ),
    charge(PYMPP, "charge, splits", "splits charge", "/charge/splits"),
    our_charge(PYMPP, "charge, pull", "/charge/pull"),
    deviating(
        our_charge(PYMPP, "charge, proof of identity", "/charge/proof"),
        TAKES_NO_PROOF,
    ),
    deviating(
        our_charge(PYMPP, "charge, sponsored", "/charge/sponsored"),
        NO_SIMULATION,
    ),
    our_charge(PYMPP, "charge, splits", "/charge/splits"),
    session(
        MPP,
        "session v2, requests, close",
        "v2 requests",
        "/v2/requests",
        5,
    ),
    session(
        MPP,
        "session v2, SSE with top-ups, close",
        "v2 stream",
        "/v2/stream",
        WORDS,
    ),
    session(
        MPP,
        "session v2, resume by bootstrap",
        "v2 resume",
        "/v2/requests",
        5,
    ),
    session(
        MPP,
        "session v1, requests, close",
        "v1 requests",
        "/v1/requests",
        5,
    ),
    session(
        MPP,
        "session v1, SSE, close",
        "v1 stream",
        "/v1/stream",
        WORDS,
    ),
    charge(MPP, "charge, pull", "pull charge", "/charge/pull"),
    charge(
        MPP,
        "charge, proof of identity",
        "proof charge",
        "/charge/proof",
    ),
    charge(
        MPP,
        "charge, sponsored",
        "sponsored charge",
        "/charge/sponsored",
    ),
    charge(MPP, "charge, splits", "splits charge", "/charge/splits"),
    flow(
        MPP,
        "session v1, requests, close",
        Play::OurRequests { protocol: "v1" },
    ),
    flow(
        MPP,
        "session v1, SSE, close",
        Play::OurStream { protocol: "v1" },
    ),
    our_charge(MPP, "charge, pull", "/charge/pull"),
    our_charge(MPP, "charge, proof of identity", "/charge/proof"),
    our_charge(MPP, "charge, sponsored", "/charge/sponsored"),
];

impl Flow {
    pub(super) fn direction(&self) -> Direction {
        match self.play {
            Play::Session { .. } | Play::Charge { .. } | Play::Tools { .. } => Direction::Buys,
            Play::OurRequests { .. } | Play::OurStream { .. } | Play::OurCharge { .. } => {
                Direction::Sells
            }
        }
    }

    /// The peer's client or server.
    fn script(&self, role: &str) -> String {
        match self.peer {
            MCP => String::from("mcp.mjs"),
            PYMPP => format!("{role}.py"),
            MPP => format!("{role}.rs"),
            _ => format!("{role}.mjs"),
        }
    }

    pub(super) async fn play(&self, stage: &Stage) -> anyhow::Result<()> {
        let purpose = format!("{} {} {:?}", self.peer, self.name, self.direction());
        let payer = stage.person(&purpose, dollars(2)).await?;
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
struct Person {
    signer: LocalSigner,
    key: String,
}

impl Person {
    fn address(&self) -> Address {
        self.signer.address()
    }
}

impl Stage {
    /// Somebody with money whom no other flow knows.
    async fn person(&self, purpose: &str, money: Amount) -> anyhow::Result<Person> {
        let signer = account::signer_for(purpose)?;
        account::fund(&self.node, signer.address(), money).await?;
        Ok(Person {
            signer,
            key: account::key_for(purpose).to_string(),
        })
    }

    fn client(&self, payer: &Person) -> anyhow::Result<Client> {
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
        let environment = [
            ("FLOW", name.to_owned()),
            ("PAYER_KEY", payer.key.clone()),
            ("RPC_URL", self.node.url.clone()),
            ("URL", format!("{}{path}", self.ours.shop.url)),
        ];
        let script = flow.script("client");
        let said = self.scripts.run(&script, &environment).await?;
        Ok(serde_json::from_value(said)?)
    }

    async fn peer_server(&self, flow: &Flow, protocol: &str) -> anyhow::Result<Server> {
        let seller = self.person("the peer that sells", dollars(2)).await?;
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
        let paid = dollars(2)
            .checked_sub(left)
            .context("the payer has gained")?;
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
