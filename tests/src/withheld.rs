//! What was made leaves only when its charge is committed, over any transport
//! (DESIGN 2.6, PROTOCOL 6): the store fails after the handler has run.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use axum::{
    Router,
    routing::{MethodRouter, get},
};
use http::{Method, StatusCode};
use mpp_client::{IntentPolicy, Origin, Policy, exchange::SendError};
use mpp_core::{Amount, Receipt};
use mpp_http::{
    client::Client,
    server::{Metered, Paid, PaidSession, PaymentLayer},
};
use mpp_mcp::{
    client::{CallOptions, PaidReply, PayingClient, Reply, Transport},
    meta::Members,
    server::Catalog,
};
use mpp_server::{Offer, PaymentServer, Route};
use mpp_tempo::ChannelId;
use serde_json::{Value, json};

use crate::{
    fragile::{Failing, Fragile},
    pair::{BOTH, PRICE, Pair, offer_of},
    shop::sell,
    wallet::Ask,
};

/// A payer, and a server whose store fails while its handler runs.
#[derive(Clone)]
struct Case {
    pair: Arc<Pair>,
    store: Fragile,
    server: PaymentServer,
    runs: Arc<AtomicU32>,
    /// How the store fails when the handler runs next.
    failing: Arc<Mutex<Option<Failing>>>,
    intents: IntentPolicy,
}

impl Case {
    async fn of(intents: IntentPolicy) -> Self {
        let pair = Pair::new().await;
        let store = Fragile::over(&pair.store);
        let server = pair.configure().store(store.clone()).build().unwrap();
        server.catch_up().await.unwrap();
        Self {
            pair: Arc::new(pair),
            store,
            server,
            runs: Arc::default(),
            failing: Arc::default(),
            intents,
        }
    }

    fn offer(&self) -> Offer {
        match self.intents {
            IntentPolicy::ChargeOnly => self.server.charge().amount("0.001").build().unwrap(),
            _ => offer_of(&self.server, BOTH[1]).build().unwrap(),
        }
    }

    fn policy(&self) -> Policy {
        Policy::new(Amount::new(1_000_000)).intents(self.intents)
    }

    /// Lets the store fail when the handler runs next; counts its runs from here.
    fn fail(&self, failing: Failing) {
        *self.failing.lock().unwrap() = Some(failing);
        self.runs.store(0, Ordering::SeqCst);
    }

    /// Runs the handler.
    fn run(&self) {
        self.runs.fetch_add(1, Ordering::SeqCst);
        if let Some(failing) = self.failing.lock().unwrap().take() {
            self.store.fail_next(failing);
        }
    }

    fn runs(&self) -> u32 {
        assert!(self.store.has_failed());
        self.runs.load(Ordering::SeqCst)
    }

    /// What was spent once nothing is held any more.
    async fn spent(&self, channel: ChannelId) -> u128 {
        loop {
            let record = self.pair.record(channel).await;
            if record.holds.is_empty() {
                return record.spent.base_units();
            }
            tokio::task::yield_now().await;
        }
    }

    /// Charges that were paid on chain.
    fn payments(&self) -> u64 {
        self.pair.chain.transactions_mined()
    }
}

/// A photo over HTTP.
fn photos(case: &Case) -> Router {
    let runs = case.clone();
    let handler = get(move |_: Paid| async move {
        runs.run();
        "a photo"
    });
    sell(&case.server, "/photo", [case.offer()], handler)
}

#[tokio::test]
async fn a_response_whose_charge_failed_is_withheld_and_free() {
    for key in [None, Some("order-7")] {
        let case = Case::of(IntentPolicy::SessionOnly).await;
        let app = photos(&case);
        let wallet = case.pair.wallet();
        let opened = wallet.open(&app, "/photo", 0).await;
        let payload = wallet.pay(&opened.terms, PRICE).await;
        let mut ask = Ask::new(Method::GET, "/photo").pay(&opened.challenge, &payload);
        if let Some(key) = key {
            ask = ask.header("idempotency-key", key);
        }
        case.fail(Failing::Before);
        let withheld = ask.send(&app).await;
        assert_eq!(withheld.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!withheld.has_receipt() && !withheld.body.contains("a photo"));
        // Without a key, the handler would run for another request.
        assert_eq!(withheld.headers.contains_key("retry-after"), key.is_some());
        assert_eq!((case.runs(), case.spent(opened.terms.id()).await), (1, 0));
    }
}

async fn buy(case: &Case, client: &Client) -> Receipt {
    let request = client.get(case.pair.url("/photo"));
    let response = request.send().await.unwrap();
    let receipt = response.receipt().cloned().unwrap();
    assert_eq!(response.text().await.unwrap(), "a photo");
    receipt
}

// The client's key lets it ask again: what the store has is had from there.
#[tokio::test]
async fn a_client_asks_again_for_what_was_withheld() {
    for (failing, runs) in [(Failing::Before, 2), (Failing::After, 1)] {
        let case = Case::of(IntentPolicy::SessionOnly).await;
        case.pair.socket.serve(photos(&case));
        let client = case.pair.client_with(case.policy());
        buy(&case, &client).await;
        case.fail(failing);
        buy(&case, &client).await;
        let spent = case.spent(case.pair.only_channel()).await;
        assert_eq!((case.runs(), spent), (runs, 2 * PRICE));
        // The accounts of both agree, so the client goes on.
        let known = client.channels().unwrap();
        assert_eq!(known[0].spent.base_units(), spent);
        buy(&case, &client).await;
    }
}

#[tokio::test]
async fn a_charge_that_could_not_be_captured_is_not_paid_again() {
    for (failing, runs) in [(Failing::Before, 2), (Failing::After, 1)] {
        let case = Case::of(IntentPolicy::ChargeOnly).await;
        case.pair.socket.serve(photos(&case));
        let client = case.pair.client_with(case.policy());
        case.fail(failing);
        let receipt = buy(&case, &client).await;
        assert!(matches!(receipt, Receipt::Charge(_)));
        assert_eq!((case.runs(), case.payments()), (runs, 1));
    }
}

/// A tool over JSON-RPC.
#[derive(Clone)]
struct Tool {
    case: Case,
    catalog: Catalog,
}

impl Tool {
    async fn of(intents: IntentPolicy) -> Self {
        let case = Case::of(intents).await;
        let catalog = Catalog::new(case.server.clone())
            .tool("add", [case.offer()])
            .unwrap();
        Self { case, catalog }
    }

    fn client(&self) -> PayingClient<Self> {
        let book = Arc::clone(&self.case.pair.book) as _;
        let payer = self.case.pair.payer_with(self.case.policy(), book);
        PayingClient::new(payer, Origin::process("tool").unwrap(), self.clone())
    }
}

impl Transport for Tool {
    async fn call(
        &self,
        method: &str,
        params: Option<Value>,
        _: Members,
    ) -> Result<Reply, SendError> {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = self.catalog.serve(message, None, |_| async {
            self.case.run();
            Ok(json!({"content": [{"type": "text", "text": "5"}]}))
        });
        Reply::read(answer.await.unwrap())
    }
}

async fn call(client: &PayingClient<Tool>, options: CallOptions) -> PaidReply {
    let params = Some(json!({"name": "add"}));
    let reply = client.call_with("tools/call", params, &options).await;
    reply.unwrap()
}

#[track_caller]
fn is_sum(reply: &PaidReply) {
    let result = reply.result.as_ref().unwrap();
    assert_eq!(result["content"][0]["text"], "5");
    assert!(reply.receipt.is_some());
}

// A tool may do anything, so it does not run again unless its caller says so.
#[tokio::test(start_paused = true)]
async fn a_result_whose_charge_failed_is_withheld_and_free() {
    for (failing, spent) in [(Failing::Before, PRICE), (Failing::After, 2 * PRICE)] {
        let tool = Tool::of(IntentPolicy::SessionOnly).await;
        let client = tool.client();
        is_sum(&call(&client, CallOptions::default()).await);
        let case = &tool.case;
        case.fail(failing);
        let refused = call(&client, CallOptions::default()).await;
        let error = refused.result.unwrap_err();
        assert_eq!((error.code, refused.receipt), (-32_603, None));
        let data = error.data.unwrap();
        assert_eq!(data["httpStatus"], 503);
        assert_eq!(data.get("retryAfter"), None);
        let channel = case.pair.only_channel();
        assert_eq!((case.runs(), case.spent(channel).await), (1, spent));
        // Whatever was taken, the accounts of both agree after the next call.
        is_sum(&call(&client, CallOptions::default()).await);
        let spent = spent + PRICE;
        assert_eq!((case.runs(), case.spent(channel).await), (2, spent));
        let known = case.pair.client().channels().unwrap();
        assert_eq!(known[0].spent.base_units(), spent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_that_was_withheld_is_had_by_its_key() {
    for (failing, runs) in [(Failing::Before, 2), (Failing::After, 1)] {
        let tool = Tool::of(IntentPolicy::SessionOnly).await;
        let client = tool.client();
        is_sum(&call(&client, CallOptions::default()).await);
        tool.case.fail(failing);
        let options = CallOptions::default().idempotency_key("order 7");
        is_sum(&call(&client, options).await);
        let spent = tool.case.spent(tool.case.pair.only_channel()).await;
        assert_eq!((tool.case.runs(), spent), (runs, 2 * PRICE));
        // The accounts of both agree, so the client goes on.
        let known = tool.case.pair.client().channels().unwrap();
        assert_eq!(known[0].spent.base_units(), spent);
        is_sum(&call(&client, CallOptions::default()).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_charged_result_that_was_withheld_is_not_paid_again() {
    for (failing, key, runs) in [
        (Failing::Before, None, 2),
        (Failing::Before, Some("order 7"), 2),
        (Failing::After, Some("order 7"), 1),
    ] {
        let tool = Tool::of(IntentPolicy::ChargeOnly).await;
        let options = key.map_or_else(CallOptions::default, |key| {
            CallOptions::default().idempotency_key(key)
        });
        tool.case.fail(failing);
        is_sum(&call(&tool.client(), options).await);
        assert_eq!((tool.case.runs(), tool.case.payments()), (runs, 1));
    }
}

/// Two words, and no store for the second.
fn words(case: &Case) -> MethodRouter {
    let case = case.clone();
    get(move |session: PaidSession| async move {
        session.stream(move |mut stream| async move {
            stream.charge().await?;
            stream.send("one").await;
            case.run();
            stream.charge().await?;
            stream.send("two").await;
            Ok(())
        }) as Metered
    })
}

// The unit that could not be charged does not leave; what was charged stays.
#[tokio::test]
async fn a_unit_that_could_not_be_charged_does_not_leave_a_socket() {
    for (failing, spent) in [(Failing::Before, PRICE), (Failing::After, 2 * PRICE)] {
        let case = Case::of(IntentPolicy::SessionOnly).await;
        let route = Route::new("/words", [case.offer()]).unwrap();
        let pay = PaymentLayer::new(case.server.clone(), route).websocket();
        let app = Router::new().route("/words", words(&case).layer(pay));
        case.pair.socket.serve(app);
        let client = case.pair.client_with(case.policy());
        let session = client.session(case.pair.url("/words")).unwrap();
        case.fail(failing);
        let mut stream = session.ws("/words").await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), "one");
        let ended = stream.next().await;
        assert!(!matches!(&ended, Some(Ok(_))), "{ended:?}");
        let channel = case.pair.only_channel();
        assert_eq!((case.runs(), case.spent(channel).await), (1, spent));
        // The rest comes back, whatever became of the stream.
        drop(stream);
        let closed = session.close().await.unwrap();
        assert_eq!(closed.spent.base_units(), spent);
    }
}
