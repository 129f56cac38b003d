//! One payment, shown many times (SECURITY-CASES A1).

use std::path::Path;

use alloy_primitives::B256;
use axum::Router;
use futures_util::future::join_all;
use http::{StatusCode, header};
use mpp_core::{Credential, ProblemKind, header::credential};
use mpp_server::{ChannelStore, PaymentServer};
use mpp_tempo::{
    ChannelTerms,
    chain::{ChainClient, LogFilter},
    tx::SignedTx,
    wire::ChargePayload,
};

use crate::{
    folder::{Folder, opened},
    pair::{BOTH, Pair},
    shop::{Socket, Visits, photo, sell},
    wallet::{Ask, challenge_of},
};

/// A route that is paid by one charge for each answer.
fn counter(server: &PaymentServer, visits: &Visits) -> Router {
    let offer = server.charge().amount("0.01").build().unwrap();
    sell(server, "/photo", [offer], photo(visits))
}

/// Shows one credential a hundred times at once, to the addresses by turns.
async fn rush(urls: &[String], value: &str) -> Vec<StatusCode> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let copies = (0..100_usize).map(|number| {
        let request = client.get(&urls[number % urls.len()]);
        request.header(header::AUTHORIZATION, value).send()
    });
    let answers = join_all(copies).await.into_iter();
    answers.map(|answer| answer.unwrap().status()).collect()
}

fn served(answers: &[StatusCode]) -> usize {
    let served = answers.iter().filter(|status| status.is_success());
    served.count()
}

/// The same payment as a hash, under the challenge that it was made for.
fn as_hash(value: &str) -> String {
    let pulled = credential::parse(credential::sole_token(value).unwrap()).unwrap();
    let payload: ChargePayload = serde_json::from_value(pulled.payload).unwrap();
    let ChargePayload::Transaction { transaction } = payload else {
        panic!("no transaction");
    };
    let hash = SignedTx::decode(&transaction).unwrap().hash();
    let payload = serde_json::to_value(ChargePayload::Hash { hash }).unwrap();
    credential::encode(&Credential::new(pulled.challenge, payload)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_copies_of_a_charge_over_two_nodes_and_a_restart_get_one_answer() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let other = pair.configure().build().unwrap();
    let elsewhere = Socket::open().await;
    let app = counter(&pair.server, &visits);
    pair.socket.serve(app.clone());
    elsewhere.serve(counter(&other, &visits));
    let urls = [pair.url("/photo"), format!("{}/photo", elsewhere.url)];

    let challenge = challenge_of(&app, "/photo").await;
    let value = pair.wallet().charge(&challenge, &challenge).await;
    let answers = rush(&urls, &value).await;
    assert_eq!(served(&answers), 1, "{answers:?}");
    assert_eq!((visits.count(), pair.chain.transactions_mined()), (1, 1));

    // Both nodes start again, and find what was claimed in the store.
    pair.server.shutdown().await;
    other.shutdown().await;
    for socket in [&pair.socket, &elsewhere] {
        let again = pair.configure().build().unwrap();
        again.catch_up().await.unwrap();
        socket.serve(counter(&again, &visits));
    }
    for value in [&value, &as_hash(&value)] {
        let answers = rush(&urls, value).await;
        assert_eq!(served(&answers), 0, "{answers:?}");
    }
    assert_eq!((visits.count(), pair.chain.transactions_mined()), (1, 1));
}

async fn at_file(pair: &Pair, file: &Path) -> PaymentServer {
    let store = opened(file).await;
    started(pair, store).await
}

async fn started(pair: &Pair, store: impl ChannelStore + std::fmt::Debug) -> PaymentServer {
    let server = pair.configure().store(store).build().unwrap();
    server.catch_up().await.unwrap();
    server
}

// What a file holds is all that the next process knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charge_that_was_served_is_used_up_for_the_next_process() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let folder = Folder::new("copies");
    std::fs::create_dir_all(&folder.0).unwrap();
    let file = folder.0.join("channels.store");
    let mut value = None;
    for _ in 0..3 {
        let server = at_file(&pair, &file).await;
        let app = counter(&server, &visits);
        pair.socket.serve(app.clone());
        let value = match &value {
            Some(value) => value,
            None => {
                let challenge = challenge_of(&app, "/photo").await;
                value.insert(pair.wallet().charge(&challenge, &challenge).await)
            }
        };
        rush(&[pair.url("/photo")], value).await;
        assert_eq!((visits.count(), pair.chain.transactions_mined()), (1, 1));
        drop(app);
        pair.socket.serve(Router::new());
        server.shutdown().await;
    }
}

// One key space: what opened a channel pays no charge, and what paid a charge opens no channel.
#[tokio::test]
async fn a_transaction_of_one_intent_pays_nothing_by_another() {
    let (pair, visits) = (Pair::new().await, Visits::default());
    let session = pair.offer(BOTH[1]).build().unwrap();
    let charge = pair.server.charge().amount("0.01").build().unwrap();
    let app = sell(&pair.server, "/photo", [session, charge], photo(&visits));
    let offered = Ask::get("/photo").send(&app).await.challenges();
    let [session, charge] = offered.as_slice() else {
        panic!("{offered:?}");
    };
    let wallet = pair.wallet();
    let opened = wallet.open_under(&app, "/photo", session.clone(), 0).await;
    let hash = opened_by(&pair, &opened.terms).await;
    let payload = serde_json::to_value(ChargePayload::Hash { hash }).unwrap();
    let value = credential::encode(&Credential::new(charge.clone(), payload)).unwrap();
    let ask = Ask::get("/photo").header("authorization", &value);
    let answer = ask.send(&app).await;
    assert_eq!(answer.problem().kind, ProblemKind::VerificationFailed);
    assert_eq!(visits.count(), 0);
}

/// The transaction that has opened a channel.
async fn opened_by(pair: &Pair, terms: &ChannelTerms) -> B256 {
    let filter = LogFilter {
        addresses: vec![terms.escrow],
        ..LogFilter::default()
    };
    let logs = ChainClient::logs(&pair.chain, filter).await.unwrap();
    let mut opened = logs.iter().filter(|log| log.topics.contains(&terms.id()));
    opened.next().unwrap().tx_hash.unwrap()
}
