//! The paying client over plain messages.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use mpp_client::{ClientError, MemoryBook, Origin, Policy, TransportError, exchange::SendError};
use mpp_core::{Amount, Receipt, SessionReceipt};
use mpp_mcp::{
    RpcError,
    client::{CallOptions, PayingClient, Reply, Transport},
    meta::{self, Members},
};
use serde_json::{Value, json};

use super::counter::{Counter, tool};
use crate::pair::{BOTH, DEPOSIT, PRICE, Pair};

#[track_caller]
fn session(receipt: Option<Receipt>) -> SessionReceipt {
    match receipt {
        Some(Receipt::Session(receipt)) => receipt,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_spans_calls_of_many_operations() {
    let pair = Pair::new().await;
    for protocol in BOTH {
        let counter = Counter::of(&pair, protocol);
        let client = counter.client_with(
            &pair,
            Policy::new(Amount::new(1_000_000)),
            Arc::new(MemoryBook::default()),
        );
        for round in 0..3_u128 {
            for (index, (method, params)) in [
                ("tools/call", tool("add", None)),
                ("tools/call", tool("other", None)),
                ("eth_paid", json!(["latest"])),
                ("resources/read", json!({"uri": "data://x"})),
                ("prompts/get", json!({"name": "ask"})),
            ]
            .into_iter()
            .enumerate()
            {
                let reply = client.call(method, Some(params)).await.unwrap();
                reply.result.unwrap();
                let calls = round * 5 + u128::try_from(index).unwrap() + 1;
                assert_eq!(session(reply.receipt).spent, Amount::new(calls * PRICE));
            }
        }
        // Fifteen calls, ten of which the first deposit covers.
        let channel = client.channel_id().unwrap();
        let record = pair.record(channel).await;
        assert_eq!(record.deposit, Amount::new(2 * DEPOSIT));
        let closed = client.close().await.unwrap();
        assert!(closed.tx_hash.is_some());
        assert_eq!(closed.spent, Amount::new(15 * PRICE));
    }
}

#[tokio::test]
async fn a_top_up_runs_no_handler() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let client = counter.client(&pair);
    assert!(matches!(
        client.top_up(Amount::new(1)).await,
        Err(ClientError::Misuse(_))
    ));
    client
        .call("tools/call", Some(tool("add", None)))
        .await
        .unwrap();
    let runs = counter.runs();
    client.top_up(Amount::new(5_000)).await.unwrap();
    client.close().await.unwrap();
    assert_eq!(counter.runs(), runs);
    let record = pair.record(client.channel_id().unwrap()).await;
    assert_eq!(record.deposit, Amount::new(DEPOSIT + 5_000));
}

#[tokio::test]
async fn a_call_that_fails_leaves_the_balance_whole() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let client = counter.client(&pair);
    for name in ["broken", "failing"] {
        let reply = client
            .call("tools/call", Some(tool(name, None)))
            .await
            .unwrap();
        assert_eq!(reply.receipt, None);
    }
    let reply = client
        .call("tools/call", Some(tool("add", None)))
        .await
        .unwrap();
    let receipt = session(reply.receipt);
    assert_eq!(receipt.spent, Amount::new(PRICE));
    // What the failing calls had reserved pays for this one.
    assert_eq!(receipt.accepted_cumulative, Amount::new(PRICE));
}

#[tokio::test]
async fn a_handler_that_needs_more_gets_it_within_the_policy() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let mean = counter.client(&pair);
    let refused = mean.call("tools/call", Some(tool("metered", None))).await;
    assert!(refused.is_err(), "{refused:?}");
    let policy = Policy::new(Amount::new(1_000_000)).max_per_request(Amount::new(3 * PRICE));
    let client = counter.client_with(&pair, policy, Arc::clone(&pair.book) as _);
    let reply = client
        .call("tools/call", Some(tool("metered", None)))
        .await
        .unwrap();
    assert_eq!(session(reply.receipt).spent, Amount::new(2 * PRICE));
}

// PROTOCOL 5.8, over messages: a second deposit would not bring the first back.
#[tokio::test]
async fn a_client_that_lost_its_book_goes_on_with_its_channel() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let first = counter.client(&pair);
    first
        .call("tools/call", Some(tool("add", None)))
        .await
        .unwrap();
    let policy = Policy::new(Amount::new(1_000_000));
    let second = counter.client_with(&pair, policy, Arc::new(MemoryBook::default()));
    let reply = second
        .call("tools/call", Some(tool("add", None)))
        .await
        .unwrap();
    assert_eq!(session(reply.receipt).spent, Amount::new(2 * PRICE));
    assert_eq!(first.channel_id(), second.channel_id());
    assert_eq!(counter.runs(), 2);
}

#[tokio::test]
async fn calls_side_by_side_share_one_channel() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let client = counter.client(&pair);
    let calls = (0..16).map(|_| client.call("tools/call", Some(tool("add", None))));
    for reply in futures_util::future::join_all(calls).await {
        reply.unwrap().result.unwrap();
    }
    let record = pair.record(pair.only_channel()).await;
    assert_eq!(record.spent, Amount::new(16 * PRICE));
    assert_eq!(record.spent, record.accepted());
}

/// Loses answers that it is told to lose.
struct Losing {
    counter: Counter,
    calls: AtomicUsize,
    lose: Vec<usize>,
}

impl Transport for Losing {
    async fn call(
        &self,
        method: &str,
        params: Option<Value>,
        meta: Members,
    ) -> Result<Reply, SendError> {
        let reply = self.counter.call_over(method, params, meta).await?;
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if self.lose.contains(&number) {
            let what = TransportError::new("the pipe broke");
            return Err(SendError::MayHaveArrived(what));
        }
        Ok(reply)
    }
}

impl Counter {
    async fn call_over(
        &self,
        method: &str,
        params: Option<Value>,
        meta: Members,
    ) -> Result<Reply, SendError> {
        Transport::call(self, method, params, meta).await
    }
}

fn losing(pair: &Pair, counter: &Counter, lose: Vec<usize>) -> PayingClient<Losing> {
    let policy = Policy::new(Amount::new(1_000_000));
    let payer = pair.payer_with(policy, Arc::clone(&pair.book) as _);
    let transport = Losing {
        counter: counter.clone(),
        calls: AtomicUsize::new(0),
        lose,
    };
    PayingClient::new(payer, Origin::process("counter").unwrap(), transport)
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_under_its_key() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    // Unpaid, introduction, proof, open; then the call whose answer is lost.
    let client = losing(&pair, &counter, vec![4]);
    client
        .call("tools/call", Some(tool("add", None)))
        .await
        .unwrap();
    let options = CallOptions::default().idempotency_key("order 7");
    let reply = client
        .call_with("tools/call", Some(tool("add", None)), &options)
        .await
        .unwrap();
    assert_eq!(reply.result.unwrap()["content"][0]["text"], "5");
    assert_eq!(session(reply.receipt).spent, Amount::new(2 * PRICE));
    assert_eq!(counter.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_tool_without_a_key_is_never_called_twice() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let client = losing(&pair, &counter, vec![4]);
    client
        .call("tools/call", Some(tool("add", None)))
        .await
        .unwrap();
    let lost = client.call("tools/call", Some(tool("add", None))).await;
    assert!(
        matches!(lost, Err(ClientError::Indeterminate { .. })),
        "{lost:?}"
    );
    assert_eq!(counter.runs(), 2);
    // The accounts have kept what it may have cost.
    let reply = client
        .call("tools/call", Some(tool("add", None)))
        .await
        .unwrap();
    assert_eq!(session(reply.receipt).spent, Amount::new(3 * PRICE));
}

// The money is in the channel whether an answer came or not.
#[tokio::test(start_paused = true)]
async fn a_channel_can_be_closed_when_no_answer_came() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let add = || Some(tool("add", None));
    let first = counter.client(&pair);
    first.call("tools/call", add()).await.unwrap();
    // Unpaid; then the voucher.
    let client = losing(&pair, &counter, vec![1]);
    let lost = client.call("tools/call", add()).await;
    assert!(
        matches!(lost, Err(ClientError::Indeterminate { .. })),
        "{lost:?}"
    );
    assert_eq!(client.channel_id(), first.channel_id());
    let closed = client.close().await.unwrap();
    assert_eq!(closed.spent, Amount::new(2 * PRICE));
}

/// Writes down the challenges and credentials that go by.
struct Watching {
    counter: Counter,
    offered: Mutex<Vec<Value>>,
    /// Those of each call.
    shown: Arc<Mutex<Vec<Vec<Value>>>>,
}

impl Transport for Watching {
    async fn call(
        &self,
        method: &str,
        params: Option<Value>,
        meta: Members,
    ) -> Result<Reply, SendError> {
        let nested = params
            .as_ref()
            .map(|params| &params[meta::META][meta::CREDENTIAL]);
        let shown: Vec<_> = nested
            .filter(|credential| !credential.is_null())
            .into_iter()
            .chain(meta.get(meta::CREDENTIAL))
            .cloned()
            .collect();
        for credential in &shown {
            let offered = self.offered.lock().unwrap();
            assert!(offered.contains(&credential["challenge"]), "{credential}");
        }
        self.shown.lock().unwrap().push(shown);
        let reply = self.counter.call_over(method, params, meta).await?;
        if let Err(error) = &reply.result
            && let Some(challenges) = error.data.as_ref().map(|data| &data["challenges"])
        {
            let challenges = challenges.as_array().unwrap().clone();
            self.offered.lock().unwrap().extend(challenges);
        }
        Ok(reply)
    }
}

// Draft-payment-transport-mcp-00, Challenge Structure and Multiple Payment Options: the client
// returns a challenge as it came, and one credential for a call.
#[tokio::test]
async fn a_call_carries_one_credential_with_its_challenge_as_it_came() {
    let pair = Pair::new().await;
    for (method, params) in [
        ("tools/call", tool("add", None)),
        ("eth_paid", json!(["latest"])),
    ] {
        let counter = Counter::of(&pair, BOTH[1]);
        let policy = Policy::new(Amount::new(1_000_000));
        let payer = pair.payer_with(policy, Arc::new(MemoryBook::default()));
        let shown = Arc::default();
        let transport = Watching {
            counter,
            offered: Mutex::default(),
            shown: Arc::clone(&shown),
        };
        let client = PayingClient::new(payer, Origin::process("counter").unwrap(), transport);
        for _ in 0..3 {
            let reply = client.call(method, Some(params.clone())).await.unwrap();
            reply.result.unwrap();
        }
        let shown = shown.lock().unwrap();
        assert!(shown.iter().all(|credentials| credentials.len() <= 1));
        let paid = shown.iter().flatten().count();
        assert!(paid >= 3, "{paid} credentials");
    }
}

/// Answers as a server that puts its challenges into results.
struct Old(Counter, Mutex<u32>);

impl Transport for Old {
    async fn call(
        &self,
        method: &str,
        params: Option<Value>,
        meta: Members,
    ) -> Result<Reply, SendError> {
        let mut reply = self.0.call_over(method, params, meta).await?;
        if let Err(RpcError {
            code: -32_042,
            data: Some(data),
            ..
        }) = reply.result
        {
            *self.1.lock().unwrap() += 1;
            let required = json!({meta::PAYMENT_REQUIRED: data});
            reply.result = Ok(json!({"content": [], "isError": true, "_meta": required}));
        }
        Ok(reply)
    }
}

#[tokio::test]
async fn challenges_in_a_result_are_understood() {
    let pair = Pair::new().await;
    let counter = Counter::of(&pair, BOTH[1]);
    let policy = Policy::new(Amount::new(1_000_000));
    let payer = pair.payer_with(policy, Arc::clone(&pair.book) as _);
    let origin = Origin::process("old").unwrap();
    let client = PayingClient::new(payer, origin, Old(counter, Mutex::new(0)));
    let reply = client
        .call("tools/call", Some(tool("add", None)))
        .await
        .unwrap();
    assert_eq!(session(reply.receipt).spent, Amount::new(PRICE));
}
