//! The end of a server while charges are being served.

use std::{sync::Arc, time::Duration};

use axum::routing::MethodRouter;
use mpp_core::Challenge;
use mpp_server::{
    PaymentServer, Shutdown,
    charge::record::{ChargeRecord, ChargeState as Served},
};
use tokio::sync::Semaphore;

use super::*;
use crate::wallet::challenge_of;

/// Longer than a grant lasts without a sign of life.
const LEASE_SECS: u32 = 31;

/// A handler that is inside until it is told to go on.
#[derive(Clone)]
struct Slow {
    entered: Arc<Semaphore>,
    leave: Arc<Semaphore>,
}

impl Slow {
    fn new() -> Self {
        let none = || Arc::new(Semaphore::new(0));
        Self {
            entered: none(),
            leave: none(),
        }
    }

    fn handler(&self, text: &'static str) -> MethodRouter {
        let slow = self.clone();
        get(move |_: Paid| async move {
            slow.entered.add_permits(1);
            slow.leave.acquire().await.unwrap().forget();
            text
        })
    }

    /// Waits until a request is being served.
    async fn entered(&self) {
        self.entered.acquire().await.unwrap().forget();
    }

    fn leave(&self) {
        self.leave.add_permits(1);
    }
}

/// A route of one charge, or of one proof of identity.
fn route(server: &PaymentServer, amount: &str, slow: &Slow) -> Router {
    let offer = server.charge().amount(amount).build().unwrap();
    sell(server, "/slow", [offer], slow.handler("slow"))
}

/// Pays with this credential, on a task.
fn pay(pair: &Pair, value: &str) -> tokio::task::JoinHandle<reqwest::Response> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(pair.url("/slow")).header("authorization", value);
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    tokio::spawn(async move { request.send().await.unwrap() })
}

fn end(server: &PaymentServer, how: Shutdown) -> tokio::task::JoinHandle<()> {
    let server = server.clone();
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    tokio::spawn(async move { server.shutdown_with(how).await })
}

/// Asks until the server takes nothing new.
async fn until_closed(pair: &Pair) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    loop {
        let answer = client.get(pair.url("/slow")).send().await.unwrap();
        if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
            return;
        }
        assert_eq!(answer.status(), StatusCode::PAYMENT_REQUIRED);
    }
}

async fn record(server: &PaymentServer, challenge: &Challenge) -> ChargeRecord {
    server.charge_of(&challenge.id).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_shutdown_waits_for_charges_that_are_being_served() {
    let (pair, slow) = (Pair::new().await, Slow::new());
    let app = route(&pair.server, "0.01", &slow);
    pair.socket.serve(app.clone());
    let challenge = challenge_of(&app, "/slow").await;
    let value = pair.wallet().charge(&challenge, &challenge).await;
    let answer = pay(&pair, &value);
    slow.entered().await;

    let ended = end(&pair.server, Shutdown::default());
    until_closed(&pair).await;
    // Each is an exchange over the socket: whoever does not wait is long gone.
    for _ in 0..10 {
        until_closed(&pair).await;
        assert!(!ended.is_finished(), "it did not wait");
    }
    slow.leave();
    ended.await.unwrap();
    // What has ended was captured, and its answer arrives.
    let record = record(&pair.server, &challenge).await;
    assert!(
        matches!(record.state, Served::Served { .. }),
        "{:?}",
        record.state
    );
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers().contains_key("payment-receipt"));
    assert_eq!(answer.text().await.unwrap(), "slow");
}

#[tokio::test]
async fn a_shutdown_waits_for_who_has_shown_a_proof() {
    let (pair, slow) = (Pair::new().await, Slow::new());
    pair.socket.serve(route(&pair.server, "0", &slow));
    let (client, url) = (pair.client(), pair.url("/slow"));
    #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
    let answer = tokio::spawn(async move { client.get(url).send().await.unwrap() });
    slow.entered().await;
    let ended = end(&pair.server, Shutdown::default());
    for _ in 0..10 {
        until_closed(&pair).await;
        assert!(!ended.is_finished(), "it did not wait");
    }
    slow.leave();
    ended.await.unwrap();
    assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
}

// At the end of its patience nothing false is written: the payment is neither lost nor served
// twice.
#[tokio::test]
async fn what_is_left_behind_by_a_shutdown_is_served_by_the_next_process() {
    let (pair, slow) = (Pair::new().await, Slow::new());
    let app = route(&pair.server, "0.01", &slow);
    pair.socket.serve(app.clone());
    let challenge = challenge_of(&app, "/slow").await;
    let value = pair.wallet().charge(&challenge, &challenge).await;
    let late = pay(&pair, &value);
    slow.entered().await;
    let at_once = Shutdown {
        finish: Duration::ZERO,
        checkpoint: Duration::ZERO,
        ..Shutdown::default()
    };
    pair.server.shutdown_with(at_once).await;
    let left = record(&pair.server, &challenge).await;
    assert!(
        matches!(left.state, Served::Serving { .. }),
        "{:?}",
        left.state
    );

    // The next process can not know whether it is still being served, and says so.
    let (next, prompt) = (pair.configure().build().unwrap(), Slow::new());
    pair.socket.serve(route(&next, "0.01", &prompt));
    let early = pay(&pair, &value).await.unwrap();
    assert_eq!(early.status(), StatusCode::CONFLICT);
    pair.advance(LEASE_SECS);
    let again = pay(&pair, &value);
    prompt.entered().await;
    prompt.leave();
    let again = again.await.unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    assert!(again.headers().contains_key("payment-receipt"));
    // What the handler of the old process brings now is not delivered.
    slow.leave();
    let late = late.await.unwrap();
    assert!(!late.status().is_success(), "{}", late.status());
    assert!(!late.headers().contains_key("payment-receipt"));
    assert_eq!(pair.chain.transactions_mined(), 1, "paid once");
    assert_eq!(record(&next, &challenge).await.grants, 2);
}
