//! Nothing worth money appears in logs (SECURITY-CASES A20).

use std::{
    io,
    sync::{Arc, Mutex},
};

use futures_util::StreamExt as _;
use mpp_client::ChannelBook as _;
use mpp_core::{Credential, header::names};
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

use crate::{
    pair::{BOTH, PRICE, Pair},
    shop::{Visits, photo, sell},
    wallet::{Ask, authorization},
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).to_lowercase()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

fn hex(bytes: &[u8]) -> String {
    alloy_primitives::hex::encode(bytes)
}

/// Part of a text that is long enough to be unique, from its middle.
fn part(text: &str) -> String {
    let start = text.len() / 2;
    text[start..(start + 24).min(text.len())].to_lowercase()
}

/// Every layer logs into the buffer at TRACE, on this thread.
fn record() -> (Log, tracing::subscriber::DefaultGuard) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(log.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    tracing::trace!("the log is recorded");
    (log, guard)
}

/// The server's secret and the keys of the accounts.
fn keys(pair: &Pair) -> Vec<String> {
    let mut keys = vec![hex(&(0..32).map(|byte: u8| byte ^ 1).collect::<Vec<_>>())];
    for account in &pair.chain.accounts()[..4] {
        keys.push(account.private_key[2..].to_lowercase());
    }
    keys
}

#[track_caller]
fn check(log: &Log, secrets: Vec<String>) {
    let text = log.text();
    assert!(text.contains("the log is recorded"));
    assert!(text.contains("mpp_server::"), "the server does not log");
    for secret in secrets {
        assert!(secret.len() >= 20, "{secret} is too short to look for");
        let found = text.find(&secret).map(|at| {
            let start = text[..at].rfind('\n').map_or(0, |line| line + 1);
            text[start..].lines().next().unwrap_or_default()
        });
        assert_eq!(found, None, "{secret}");
    }
}

// One thread and one subscriber for each test.
#[tokio::test]
async fn a_session_at_trace_logs_no_credential_signature_key_or_secret() {
    let (log, _guard) = record();
    let mut secrets = Vec::new();
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        secrets.extend(keys(&pair));
        let client = pair.client();
        let session = client.session(pair.url("/photo")).unwrap();
        assert_eq!(session.get("/photo").send().await.unwrap().status(), 200);
        let mut stream = session.sse("/words").await.unwrap();
        while let Some(word) = stream.next().await {
            word.unwrap();
        }
        // What is refused is talked about more than what is served.
        let app = pair.goods(&pair.server, protocol);
        let wallet = pair.wallet();
        let opened = wallet.open(&app, "/photo", PRICE).await;
        for units in [PRICE, 2 * PRICE, PRICE, 1_000 * PRICE] {
            let signed = wallet.voucher(&opened.terms, units).await;
            secrets.push(hex(&signed.signature.to_bytes()));
            let payload = wallet.pay(&opened.terms, units).await;
            let value = authorization(&opened.challenge, &payload);
            secrets.push(part(&value));
            for name in [names::AUTHORIZATION, names::PAYMENT_AUTHORIZATION] {
                Ask::get("/photo").header(name, &value).send(&app).await;
            }
            let broken = format!("{value}!{value}");
            let ask = Ask::get("/photo").header(names::AUTHORIZATION, &broken);
            ask.send(&app).await;
        }
        pair.chain.faults().lose_responses(mpp_devnet::Times::Once);
        drop(session.close().await);
        session.close().await.unwrap();
        // Debug output ends up in logs too.
        tracing::debug!(?client, ?session, server = ?pair.server, "debug");
        let record = pair.record(opened.terms.id()).await;
        tracing::debug!(?record, "debug");
        let payload = wallet.pay(&opened.terms, 3 * PRICE).await;
        tracing::debug!(?payload, "debug");
        let signed = payload.voucher().unwrap();
        secrets.push(hex(&signed.signature.to_bytes()));
        let credential = Credential::new(opened.challenge.clone(), payload.to_value());
        tracing::debug!(?credential, "debug");

        let best = record.best.unwrap();
        secrets.push(hex(&best.signature.to_bytes()));
        for record in pair.book.records().unwrap() {
            tracing::debug!(?record, "debug");
            secrets.push(hex(&record.best.signature.to_bytes()));
            let open = record.open.as_ref().unwrap();
            secrets.push(hex(&open.first_voucher.signature.to_bytes()));
            secrets.push(hex(&open.transaction));
        }
    }

    check(&log, secrets);
}

#[tokio::test]
async fn a_charge_at_trace_logs_no_credential_transaction_key_or_secret() {
    let (log, _guard) = record();
    let pair = Pair::new().await;
    let mut secrets = keys(&pair);
    let offer = |amount: &str| pair.server.charge().amount(amount).build().unwrap();
    let visits = Visits::default();
    let app = sell(&pair.server, "/photo", [offer("0.01")], photo(&visits)).merge(sell(
        &pair.server,
        "/me",
        [offer("0")],
        photo(&visits),
    ));
    pair.socket.serve(app.clone());
    let client = pair.client();
    for path in ["/photo", "/me"] {
        let response = client.get(pair.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 200);
    }
    // A chain that does not answer is talked about.
    pair.chain.faults().lose_responses(mpp_devnet::Times::Once);
    drop(client.get(pair.url("/photo")).send().await);
    let charges = pair.book.charges().unwrap();
    assert_eq!(charges.len(), 2);
    for charge in &charges {
        tracing::debug!(?charge, "debug");
        let transaction = charge.payload["signature"].as_str().unwrap();
        secrets.push(transaction[2..].to_lowercase());
        let credential = Credential::new(charge.challenge.clone(), charge.payload.clone());
        tracing::debug!(?credential, "debug");
        let value = mpp_core::header::credential::encode(&credential).unwrap();
        secrets.push(part(&value));
        // What is refused is talked about more than what is served.
        for broken in [value.clone(), format!("{value}!{value}")] {
            let ask = Ask::get("/me").header(names::AUTHORIZATION, &broken);
            ask.send(&app).await;
        }
    }
    tracing::debug!(?client, server = ?pair.server, "debug");
    check(&log, secrets);
}
