//! One server, every transport, one channel.

use std::sync::Arc;

use axum::{
    Json, Router,
    routing::{get, post},
};
use futures_util::StreamExt as _;
use mpp_client::{Origin, Policy, TransportError, exchange::SendError};
use mpp_core::Amount;
use mpp_http::server::PaymentLayer;
use mpp_mcp::{
    RpcError,
    client::{PayingClient, Reply, Transport},
    meta::Members,
    rmcp::PaidServer,
    server::Catalog,
};
use mpp_server::{
    Route,
    store::{ChannelStore as _, LedgerPage},
};
use mpp_tempo::SessionProtocol;
use rmcp::{
    model::CallToolRequestParams,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};

use super::reading::{app, open, texts};
use crate::{
    mcp::{Tools, catalog},
    pair::{BOTH, PRICE, Pair},
    shop::{Visits, photo},
};

/// Everything that this server sells.
fn everything(pair: &Pair, protocol: SessionProtocol) -> Router {
    let offer = || pair.offer(protocol).build().unwrap();
    let route = Route::new("/photo", [offer()]).unwrap();
    let pay = PaymentLayer::new(pair.server.clone(), route);
    let tools = PaidServer::new(catalog(pair), Tools::default());
    let config = StreamableHttpServerConfig::default();
    let sessions = Arc::new(LocalSessionManager::default());
    let mcp = StreamableHttpService::new(move || Ok(tools.clone()), sessions, config);
    app(&pair.server, protocol)
        .route("/photo", get(photo(&Visits::default())).layer(pay))
        .route("/rpc", post(rpc).with_state(rpc_catalog(pair, protocol)))
        .nest_service("/mcp", mcp)
}

fn rpc_catalog(pair: &Pair, protocol: SessionProtocol) -> Catalog {
    let offer = pair.offer(protocol).build().unwrap();
    Catalog::new(pair.server.clone())
        .method("eth_getBlockByNumber", [offer])
        .unwrap()
}

/// An Ethereum node's endpoint whose blocks cost something.
async fn rpc(
    axum::extract::State(catalog): axum::extract::State<Catalog>,
    Json(message): Json<Value>,
) -> Json<Option<Value>> {
    let answer = catalog.serve(message, None, |request| async move {
        match &*request.method {
            "eth_getBlockByNumber" => Ok(json!({"number": "0x1348c9"})),
            "eth_chainId" => Ok(json!("0xa5bf")),
            _ => Err(RpcError::method_not_found()),
        }
    });
    Json(answer.await)
}

/// JSON-RPC over HTTP.
struct Post {
    http: reqwest::Client,
    url: String,
}

impl Transport for Post {
    async fn call(
        &self,
        method: &str,
        params: Option<Value>,
        meta: Members,
    ) -> Result<Reply, SendError> {
        let mut message = json!({"jsonrpc": "2.0", "id": 1, "method": method});
        if let Some(params) = params {
            message["params"] = params;
        }
        if !meta.is_empty() {
            message["_meta"] = Value::Object(meta);
        }
        let lost = |error| SendError::MayHaveArrived(TransportError::caused("lost", error));
        let sent = self
            .http
            .post(&self.url)
            .header("content-type", "application/json");
        let answer = sent.body(message.to_string()).send().await.map_err(lost)?;
        let text = answer.text().await.map_err(lost)?;
        Reply::read(serde_json::from_str(&text).unwrap())
    }
}

fn origin(pair: &Pair) -> Origin {
    let url = reqwest::Url::parse(&pair.socket.url).unwrap();
    Origin::of(&url).unwrap()
}

#[tokio::test]
async fn every_transport_pays_from_one_channel_and_the_ledger_sums_up() {
    let pair = Pair::new().await;
    pair.socket.serve(everything(&pair, BOTH[1]));
    let policy = Policy::new(Amount::new(1_000_000));
    let client = pair.client();

    let photo = client.get(pair.url("/photo")).send().await.unwrap();
    assert!(photo.receipt().is_some());

    let session = client.session(pair.url("/words")).unwrap();
    let mut events = session.sse("/words").await.unwrap();
    while let Some(event) = events.next().await {
        event.unwrap();
    }
    drop(events);

    let mut socket = open(&pair, &client).await;
    assert_eq!(texts(&mut socket).await.len(), 21);
    drop(socket);

    let payer = pair.payer_with(policy, Arc::clone(&pair.book) as _);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = Post {
        http,
        url: pair.url("/rpc"),
    };
    let node = PayingClient::new(payer.clone(), origin(&pair), post);
    let params = || Some(json!(["latest", false]));
    let block = node.call("eth_getBlockByNumber", params()).await.unwrap();
    assert_eq!(block.result.unwrap()["number"], "0x1348c9");
    assert!(block.receipt.is_some());
    let free = node.call("eth_chainId", None).await.unwrap();
    assert_eq!(
        (free.result.unwrap(), free.receipt),
        (json!("0xa5bf"), None)
    );

    let (running, peer) = crate::mcp::over_http(pair.url("/mcp"), payer, origin(&pair)).await;
    for _ in 0..3 {
        let added = peer.call_tool(CallToolRequestParams::new("add")).await;
        assert!(added.unwrap().receipt.is_some());
    }
    running.cancel().await.unwrap();

    let channel = pair.only_channel();
    let record = pair.record(channel).await;
    let units = 1 + 20 + 20 + 1 + 3;
    assert_eq!(record.spent, Amount::new(units * PRICE));
    let page = LedgerPage {
        channel: Some(channel),
        after: 0,
        limit: 1_000,
    };
    let ledger = pair.store.ledger(page).await.unwrap();
    let mut sum = Amount::ZERO;
    for numbered in ledger {
        sum = sum.checked_add(numbered.entry.cost).unwrap();
    }
    assert_eq!(sum, record.spent);
}
