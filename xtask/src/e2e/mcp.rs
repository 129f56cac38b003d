//! Paid tools over MCP, with rmcp on both ends (PROTOCOL 6).

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use mpp_client::{IntentPolicy, Origin, Payer, Policy};
use mpp_core::{Amount, Challenge, Credential, Receipt, SessionReceipt};
use mpp_mcp::{
    meta, native,
    rmcp::{Bought, CallError, PayingPeer, advertise},
};
use mpp_tempo::{LocalSigner, Signer as _};
use rmcp::{
    RoleClient, ServiceExt as _,
    model::{CallToolRequestParams, CallToolResult, ClientConfig, ErrorData, RequestMetaObject},
    service::{RunningService, ServiceError},
    transport::StreamableHttpClientTransport,
};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::{Case, cents, dollars};
use crate::{
    log_scan::Watched,
    raw::{Raw, voucher},
    tools::ACCOUNT,
};

type Running = RunningService<RoleClient, ClientConfig>;

/// A client of the market's tools.
struct Tools {
    running: Running,
    peer: PayingPeer,
    /// The server, if it is a process of its own.
    _child: Option<Child>,
}

impl Tools {
    /// Over Streamable HTTP.
    async fn over_http(case: &Case<'_>, policy: Policy) -> anyhow::Result<Self> {
        let payer = payer(case, case.payer().await?, policy)?;
        let url = case.url("mcp");
        let running = advertise(ClientConfig::default(), &payer)
            .serve(StreamableHttpClientTransport::from_uri(url.clone()))
            .await?;
        let origin = Origin::of(&url.parse::<reqwest::Url>()?)?;
        let peer = PayingPeer::new(running.peer().clone(), payer, origin);
        Ok(Self {
            running,
            peer,
            _child: None,
        })
    }

    /// Over the pipes of a process that this one starts.
    async fn over_stdio(case: &Case<'_>, policy: Policy) -> anyhow::Result<Self> {
        let purpose = format!("{} {} stdio", case.name, case.protocol);
        let payee = crate::account::signer_for(&purpose)?;
        crate::account::fund(case.node, payee.address(), dollars(10)).await?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve-tools", "--node", &case.node.url])
            .args(["--protocol", &case.protocol.to_string()])
            .env(ACCOUNT, &purpose)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pipes = child.stdout.take().zip(child.stdin.take());
        let payer = payer(case, case.payer().await?, policy)?;
        let running = advertise(ClientConfig::default(), &payer)
            .serve(pipes.context("the server's pipes")?)
            .await?;
        let origin = Origin::process("tools")?;
        let peer = PayingPeer::new(running.peer().clone(), payer, origin);
        Ok(Self {
            running,
            peer,
            _child: Some(child),
        })
    }

    async fn explain(&self, word: &str) -> Result<Bought<CallToolResult>, CallError> {
        self.peer.call_tool(explain(word)).await
    }
}

fn payer(case: &Case<'_>, signer: LocalSigner, policy: Policy) -> anyhow::Result<Payer> {
    Ok(Payer::builder()
        .signer(Watched(signer))
        .chain(case.node.chain.clone())
        .policy(policy)
        .build()?)
}

fn dollar() -> Policy {
    Policy::new(dollars(1))
}

fn explain(word: &str) -> CallToolRequestParams {
    let arguments = json!({ "word": word });
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    CallToolRequestParams::new("explain").with_arguments(arguments)
}

fn session(bought: Bought<CallToolResult>) -> anyhow::Result<SessionReceipt> {
    match bought.receipt {
        Some(Receipt::Session(receipt)) => Ok(receipt),
        other => anyhow::bail!("no receipt of a session: {other:?}"),
    }
}

/// Twelve calls from one channel: opened once, topped up, closed.
async fn spend(tools: &Tools) -> anyhow::Result<()> {
    for (calls, word) in (1..=12).zip(mpp_example_mcp_tool::words().cycle()) {
        let receipt = session(tools.explain(word).await?)?;
        ensure!(receipt.spent == cents(calls), "{} spent", receipt.spent);
    }
    let closed = tools.peer.close().await?;
    ensure!(closed.spent == cents(12) && closed.tx_hash.is_some());
    Ok(())
}

pub(super) async fn http(case: &Case<'_>) -> anyhow::Result<()> {
    let tools = Tools::over_http(case, dollar()).await?;
    spend(&tools).await?;
    tools.running.cancel().await?;
    Ok(())
}

pub(super) async fn stdio(case: &Case<'_>) -> anyhow::Result<()> {
    let tools = Tools::over_stdio(case, dollar()).await?;
    spend(&tools).await?;
    tools.running.cancel().await?;
    Ok(())
}

/// A call that is paid by a charge of its own, over both transports.
pub(super) async fn charge(case: &Case<'_>) -> anyhow::Result<()> {
    let policy = Policy::new(dollars(1)).intents(IntentPolicy::ChargeOnly);
    let over = [
        Tools::over_http(case, policy.clone()).await?,
        Tools::over_stdio(case, policy).await?,
    ];
    for tools in over {
        let recite = CallToolRequestParams::new("recite");
        let bought = tools.peer.call_tool(recite).await?;
        let Some(Receipt::Charge(receipt)) = bought.receipt else {
            anyhow::bail!("no receipt of a charge: {:?}", bought.receipt);
        };
        ensure!(receipt.challenge_id.is_some() && receipt.reference.starts_with("0x"));
        ensure!(tools.peer.channel_id().is_none());
        tools.running.cancel().await?;
    }
    Ok(())
}

/// Thirty-two calls side by side, one channel.
pub(super) async fn parallel(case: &Case<'_>) -> anyhow::Result<()> {
    let tools = Tools::over_http(case, dollar()).await?;
    try_join_all((0..32).map(|_| tools.explain("voucher"))).await?;
    let channel = tools.peer.channel_id().context("no channel")?;
    let record = case.shop().server.channel(channel).await?;
    ensure!(record.spent == cents(32), "{} spent", record.spent);
    ensure!(record.accepted() == record.spent);
    Ok(())
}

/// A word that nobody knows is a failed call, and free.
pub(super) async fn failing(case: &Case<'_>) -> anyhow::Result<()> {
    let tools = Tools::over_http(case, dollar()).await?;
    let failed = tools.explain("blockchain").await?;
    ensure!(failed.result.is_error == Some(true) && failed.receipt.is_none());
    let refused = tools.peer.call_tool(CallToolRequestParams::new("explain"));
    ensure!(matches!(refused.await, Err(CallError::Server(_))));
    let receipt = session(tools.explain("receipt").await?)?;
    ensure!(receipt.spent == cents(1), "{} spent", receipt.spent);
    Ok(())
}

/// A client that knows nothing of payments is told, and goes on.
pub(super) async fn plain(case: &Case<'_>) -> anyhow::Result<()> {
    let transport = StreamableHttpClientTransport::from_uri(case.url("mcp"));
    let client = ClientConfig::default().serve(transport).await?;
    for _ in 0..2 {
        let error = refusal(client.call_tool(explain("voucher")).await)?;
        ensure!(error.code.0 == -32_042, "{error:?}");
        let data = error.data.context("no data")?;
        ensure!(member(&data, "/httpStatus") == 402, "{data}");
        let request = member(&data, "/challenges/0/request");
        ensure!(request.is_object(), "{data}");
    }
    client
        .call_tool(CallToolRequestParams::new("words"))
        .await?;
    ensure!(client.list_all_tools().await?.len() == 3);
    client.cancel().await?;
    Ok(())
}

fn refusal(called: Result<CallToolResult, ServiceError>) -> anyhow::Result<ErrorData> {
    match called {
        Err(ServiceError::McpError(error)) => Ok(error),
        other => anyhow::bail!("not refused: {other:?}"),
    }
}

/// Replayed, malformed, and for another tool.
pub(super) async fn bad_credentials(case: &Case<'_>) -> anyhow::Result<()> {
    let transport = StreamableHttpClientTransport::from_uri(case.url("mcp"));
    let client = ClientConfig::default().serve(transport).await?;
    let raw = Raw::new(case.payer().await?);
    let error = refusal(client.call_tool(explain("voucher")).await)?;
    let data = error.data.context("no data")?;
    let challenge = native::read_challenge(member(&data, "/challenges/0"))?;
    let prepared = raw.prepare(case.node, &challenge, dollars(1)).await?;
    let first = raw.sign(&prepared.terms, cents(1)).await?;
    let opening = raw.open(&prepared, &first);
    let call = async |name: &'static str, credential: Value| {
        let mut params = explain("voucher");
        params.name = name.into();
        let mut nested = RequestMetaObject::new();
        nested.0.0.insert(meta::CREDENTIAL.into(), credential);
        params.meta = Some(nested);
        client.call_tool(params).await
    };
    call("explain", written(&raw.credential(&challenge, &opening)?)?).await?;
    let pay = async |units: u64, challenge: &Challenge| {
        let signed = raw.sign(&prepared.terms, cents(units)).await?;
        let payload = voucher(&prepared.terms, &signed);
        written(&raw.credential(challenge, &payload)?)
    };
    let (second, third) = (pay(2, &challenge).await?, pay(3, &challenge).await?);
    call("explain", second.clone()).await?;
    call("explain", third).await?;

    let replayed = refusal(call("explain", second).await)?;
    ensure!(replayed.code.0 == -32_043, "{replayed:?}");
    let data = replayed.data.context("no data")?;
    let reason = member(&data, "/failure/reason");
    ensure!(reason == "delta-too-small", "{data}");
    ensure!(member(&data, "/challenges/0/id").is_string(), "{data}");

    for malformed in [json!("e30"), json!({"challenge": {}}), json!([])] {
        let refused = refusal(call("explain", malformed).await)?;
        ensure!(refused.code.0 == -32_602, "{refused:?}");
    }

    let elsewhere = refusal(call("recite", pay(4, &challenge).await?).await)?;
    ensure!(elsewhere.code.0 == -32_043, "{elsewhere:?}");
    let record = case.shop().server.channel(prepared.terms.id()).await?;
    ensure!(record.spent == cents(3), "{} spent", record.spent);
    client.cancel().await?;
    Ok(())
}

/// What stands at a place of an error's data; null where there is nothing.
fn member(data: &Value, pointer: &str) -> Value {
    data.pointer(pointer).cloned().unwrap_or_default()
}

fn written(credential: &Credential) -> anyhow::Result<Value> {
    Ok(native::credential(credential)?)
}

/// A photo by HTTP, a poem by SSE and by WebSocket, and tools, on one channel.
pub(super) async fn together(case: &Case<'_>) -> anyhow::Result<()> {
    use futures_util::StreamExt as _;

    let book = std::sync::Arc::new(mpp_client::MemoryBook::default());
    let signer = case.payer().await?;
    let client = mpp_http::client::Client::builder()
        .signer(Watched(signer.clone()))
        .chain(case.node.chain.clone())
        .policy(Policy::new(dollars(1)))
        .book(std::sync::Arc::clone(&book) as _)
        .build()?;
    let photo = client.get(case.url("photo")).send().await?;
    ensure!(photo.receipt().is_some());
    let session = client.session(case.url("words"))?;
    let mut events = session.sse(case.url("words")).await?;
    while let Some(event) = events.next().await {
        event?;
    }
    let mut socket = session.ws(case.url("words")).await?;
    while let Some(text) = socket.next().await {
        text?;
    }
    let payer = Payer::builder()
        .signer(Watched(signer))
        .chain(case.node.chain.clone())
        .policy(Policy::new(dollars(1)))
        .book(book)
        .build()?;
    let url = case.url("mcp");
    let running = ClientConfig::default()
        .serve(StreamableHttpClientTransport::from_uri(url.clone()))
        .await?;
    let origin = Origin::of(&url.parse::<reqwest::Url>()?)?;
    let peer = PayingPeer::new(running.peer().clone(), payer, origin);
    for word in mpp_example_mcp_tool::words() {
        peer.call_tool(explain(word)).await?;
    }
    running.cancel().await?;

    let channels = client.channels()?;
    ensure!(channels.len() == 1, "{} channels", channels.len());
    let channel = channels.first().context("no channel")?.channel_id;
    let record = case.shop().server.channel(channel).await?;
    // One photo, twice twenty words, six calls.
    let expected = Amount::new(10_000 + 2 * 20 * 1_000 + 6 * 10_000);
    ensure!(record.spent == expected, "{} spent", record.spent);
    ensure!(Some(channel) == peer.channel_id());
    let closed = session.close().await?;
    ensure!(closed.spent == expected && closed.tx_hash.is_some());
    Ok(())
}
