//! rmcp on both ends.

use mpp_client::ClientError;
use mpp_core::{Amount, Receipt, SessionReceipt};
use mpp_mcp::{Capability, capability::PAYMENT, meta, rmcp::CallError};
use rmcp::{
    model::{
        CallToolRequestParams, ClientConfig, ClientNotification, CustomNotification,
        GetPromptRequestParams, ReadResourceRequestParams,
    },
    service::ServiceError,
};
use serde_json::json;

use super::tools::Connected;
use crate::pair::{PRICE, Pair};

fn tool(name: &'static str) -> CallToolRequestParams {
    CallToolRequestParams::new(name)
}

#[track_caller]
fn session(receipt: Option<Receipt>) -> SessionReceipt {
    match receipt {
        Some(Receipt::Session(receipt)) => receipt,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tools_resources_and_prompts_are_paid_from_one_channel() {
    let pair = Pair::new().await;
    let (connected, peer) = Connected::paying(&pair).await;
    let added = peer.call_tool(tool("add")).await.unwrap();
    assert_eq!(added.result.is_error, Some(false));
    assert_eq!(session(added.receipt).spent, Amount::new(PRICE));
    let read = ReadResourceRequestParams::new("data://one");
    let read = peer.read_resource(read).await.unwrap();
    assert_eq!(read.result.contents.len(), 1);
    assert_eq!(session(read.receipt).spent, Amount::new(2 * PRICE));
    let asked = peer.get_prompt(GetPromptRequestParams::new("ask")).await;
    assert_eq!(
        session(asked.unwrap().receipt).spent,
        Amount::new(3 * PRICE)
    );
    assert_eq!(pair.only_channel(), peer.channel_id().unwrap());

    peer.top_up(Amount::new(5_000)).await.unwrap();
    assert_eq!(connected.tools.runs(), 3);
    let closed = peer.close().await.unwrap();
    assert_eq!(closed.spent, Amount::new(3 * PRICE));
    assert!(closed.tx_hash.is_some());
    assert_eq!(connected.tools.runs(), 3);
}

#[tokio::test]
async fn a_free_call_of_a_paying_client_has_no_receipt() {
    let pair = Pair::new().await;
    let (_connected, peer) = Connected::paying(&pair).await;
    let free = peer.call_tool(tool("free")).await.unwrap();
    assert_eq!(free.receipt, None);
    let meta = free.result.meta.unwrap_or_default();
    assert!(meta.0.keys().all(|key| !meta::is_ours(key)), "{meta:?}");
    assert!(pair.client().channels().unwrap().is_empty());
}

// The other half, with the TypeScript SDK, is in the suite of peers.
#[tokio::test]
async fn a_client_that_knows_nothing_of_payments_is_told_and_stays() {
    let pair = Pair::new().await;
    let connected = Connected::to(&pair, ClientConfig::default()).await;
    for _ in 0..2 {
        let error = connected.client.call_tool(tool("add")).await.unwrap_err();
        let ServiceError::McpError(error) = error else {
            panic!("{error:?}");
        };
        assert_eq!(error.code.0, -32_042);
        assert_eq!(error.message, "Payment Required");
        let data = error.data.unwrap();
        assert_eq!(
            data["challenges"][0]["request"]["amount"],
            PRICE.to_string()
        );
    }
    connected.client.call_tool(tool("free")).await.unwrap();
    let listed = connected.client.list_all_tools().await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(connected.tools.runs(), 1);
}

#[tokio::test]
async fn calls_side_by_side_are_paid_from_one_channel() {
    let pair = Pair::new().await;
    let (connected, peer) = Connected::paying(&pair).await;
    let calls = (0..24).map(|_| peer.call_tool(tool("add")));
    for call in futures_util::future::join_all(calls).await {
        call.unwrap();
    }
    let record = pair.record(pair.only_channel()).await;
    assert_eq!(record.spent, Amount::new(24 * PRICE));
    assert_eq!(connected.tools.runs(), 24);
}

#[tokio::test]
async fn failures_of_any_kind_are_not_charged() {
    let pair = Pair::new().await;
    let (connected, peer) = Connected::paying(&pair).await;
    let broken = peer.call_tool(tool("broken")).await.unwrap_err();
    let CallError::Server(error) = broken else {
        panic!("{broken:?}");
    };
    assert_eq!(error.message, "no luck");
    let failing = peer.call_tool(tool("failing")).await.unwrap();
    assert_eq!(
        (failing.result.is_error, failing.receipt),
        (Some(true), None)
    );
    // Its result would come later, by a way that nobody guards.
    let task = peer.call_tool(tool("task")).await.unwrap_err();
    assert!(matches!(task, CallError::Server(error) if error.code.0 == -32_603));
    assert_eq!(connected.tools.runs(), 3);
    let added = peer.call_tool(tool("add")).await.unwrap();
    assert_eq!(session(added.receipt).spent, Amount::new(PRICE));
}

#[tokio::test]
async fn a_call_that_is_given_up_is_not_charged() {
    let pair = Pair::new().await;
    let (connected, peer) = Connected::paying(&pair).await;
    peer.call_tool(tool("add")).await.unwrap();
    tokio::select! {
        done = peer.call_tool(tool("slow")) => panic!("{done:?}"),
        () = connected.tools.began.notified() => {}
    }
    // The server hears of it and drops the handler.
    connected.tools.ended.notified().await;
    let channel = pair.only_channel();
    while !pair.record(channel).await.holds.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(pair.record(channel).await.spent, Amount::new(PRICE));
}

#[tokio::test]
async fn both_sides_say_what_they_take() {
    let pair = Pair::new().await;
    let (connected, _peer) = Connected::paying(&pair).await;
    let theirs = connected.client.peer().peer_info().unwrap();
    let theirs = theirs.capabilities.experimental.clone().unwrap();
    let ours = connected.server.peer().peer_info().unwrap();
    let ours = ours.capabilities.experimental.clone().unwrap();
    for (said, expected) in [
        (theirs, "tempo/session"),
        (ours, "tempo/session, tempo/charge"),
    ] {
        let read = Capability::read(&said[PAYMENT].clone().into()).unwrap();
        assert_eq!(read.accept_payment().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_notification_of_a_paid_tool_reaches_no_handler() {
    let pair = Pair::new().await;
    let (connected, peer) = Connected::paying(&pair).await;
    let notify = |method: &str, params| {
        let notice = CustomNotification::new(method, Some(params));
        let notice = ClientNotification::CustomNotification(notice);
        connected.client.peer().send_notification(notice)
    };
    notify("tools/call", json!({"name": "add"})).await.unwrap();
    notify("tools/call", json!({"name": "free"})).await.unwrap();
    // Messages are handled in order, up to this one.
    peer.call_tool(tool("free")).await.unwrap();
    while connected.tools.notices.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(connected.tools.notices.lock().unwrap().len(), 1);
    assert_eq!(connected.tools.runs(), 1);
}

#[tokio::test]
async fn a_connection_that_is_gone_leaves_the_call_in_doubt() {
    let pair = Pair::new().await;
    let (connected, peer) = Connected::paying(&pair).await;
    peer.call_tool(tool("add")).await.unwrap();
    connected.server.cancel().await.unwrap();
    let lost = peer.call_tool(tool("add")).await.unwrap_err();
    assert!(
        matches!(lost, CallError::Client(ClientError::Indeterminate { .. })),
        "{lost:?}"
    );
}
