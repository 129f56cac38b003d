//! Sessions that survive restarts of both sides, and the loss of the client's book (PROTOCOL 5.8).

use std::sync::Arc;

use axum::{
    Router,
    response::{IntoResponse as _, Response},
    routing::any,
};
use http::{HeaderMap, Method, StatusCode};
use mpp_client::{
    ClientError, DurableBook, MemoryBook, Policy, PolicyViolation, ResumePolicy,
    session::resume::SnapshotRefused,
};
use mpp_core::{
    Amount, Challenge, Credential, Receipt,
    header::{challenge, credential, names, session},
};
use mpp_http::client::Client;
use mpp_server::PaymentServer;
use mpp_tempo::{
    LocalSigner, SessionProtocol, Signer as _,
    charge::ProofTerms,
    wire::{ChargePayload, SessionSnapshot},
};
use serde_json::{Value, json};

use crate::{
    folder::{Folder, opened},
    pair::{BOTH, DEPOSIT, PRICE, Pair},
    wallet::{Answer, Ask},
};

const V2: SessionProtocol = SessionProtocol::V2;

fn policy() -> Policy {
    Policy::new(Amount::new(1_000_000))
}

/// A client that begins with what is in the directory.
fn restarted(pair: &Pair, folder: &Folder) -> Client {
    pair.client_of(policy(), Arc::new(DurableBook::open(&folder.0).unwrap()))
}

/// A client without any memory.
fn forgetful(pair: &Pair) -> Client {
    pair.client_of(policy(), Arc::new(MemoryBook::default()))
}

/// Buys a photo and returns what was spent in total.
async fn buy(client: &Client, pair: &Pair) -> u128 {
    let response = client.get(pair.url("/photo")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    match response.receipt() {
        Some(Receipt::Session(receipt)) => receipt.spent.base_units(),
        other => panic!("{other:?}"),
    }
}

/// Another server over the same store, as after a restart of its process.
async fn restart_server(pair: &Pair, protocol: SessionProtocol) -> PaymentServer {
    pair.server.shutdown().await;
    let server = pair.configure().build().unwrap();
    pair.socket.serve(pair.goods(&server, protocol));
    server.catch_up().await.unwrap();
    server
}

// A restart of the client, of the server, and of both: the same channel, no transaction.
#[tokio::test]
async fn restarts_of_either_side_and_of_both_continue_on_the_channel() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let folder = Folder::new(&format!("restarts-{protocol}"));
        let client = restarted(&pair, &folder);
        assert_eq!(buy(&client, &pair).await, PRICE);
        let channel = client.channels().unwrap()[0].channel_id;
        drop(client);
        assert_eq!(pair.chain.transactions_mined(), 1);
        pair.chain.reset_counters();

        let client = restarted(&pair, &folder);
        assert_eq!(buy(&client, &pair).await, 2 * PRICE);
        let _server = restart_server(&pair, protocol).await;
        assert_eq!(buy(&client, &pair).await, 3 * PRICE);
        drop(client);
        let server = restart_server(&pair, protocol).await;
        let client = restarted(&pair, &folder);
        assert_eq!(buy(&client, &pair).await, 4 * PRICE);

        assert_eq!(pair.chain.transactions_mined(), 0);
        let channels = client.channels().unwrap();
        assert_eq!(channels.len(), 1);
        assert_eq!(channels[0].channel_id, channel);
        // And the deposit comes back in the end.
        let session = client.session(pair.url("/photo")).unwrap();
        session.close().await.unwrap();
        let record = server.channel(channel).await.unwrap();
        assert_eq!(record.settled.base_units(), 4 * PRICE);
    }
}

// What a server has acknowledged is in its file, and all that the next one needs.
#[tokio::test]
async fn a_server_that_opens_its_file_again_continues_on_the_channel() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let folder = Folder::new(&format!("server-{protocol}"));
        std::fs::create_dir_all(&folder.0).unwrap();
        let client = forgetful(&pair);
        for number in 1..=3 {
            let store = opened(&folder.0.join("channels.store")).await;
            let server = pair.configure().store(store).build().unwrap();
            server.catch_up().await.unwrap();
            pair.socket.serve(pair.goods(&server, protocol));
            assert_eq!(buy(&client, &pair).await, number * PRICE);
            pair.socket.serve(Router::new());
            server.shutdown().await;
        }
        assert_eq!(pair.chain.transactions_mined(), 1);
        assert_eq!(client.channels().unwrap().len(), 1);
    }
}

// Two handles of one book, as two processes have them: one open, one channel, exact totals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_over_one_directory_open_once_and_pay_as_one() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let folder = Folder::new(&format!("shared-{protocol}"));
        let clients = [restarted(&pair, &folder), restarted(&pair, &folder)];
        let requests = (0..10_usize).map(|number| buy(&clients[number % 2], &pair));
        let mut spent = futures_util::future::join_all(requests).await;
        spent.sort_unstable();
        let expected: Vec<_> = (1..=10).map(|units| units * PRICE).collect();
        assert_eq!(spent, expected);
        assert_eq!(pair.chain.transactions_mined(), 1);
        let channels = clients[0].channels().unwrap();
        assert_eq!(channels.len(), 1);
        let record = pair.record(channels[0].channel_id).await;
        assert_eq!(record.accepted().base_units(), 10 * PRICE);
        // The next unit needs a larger deposit: one of them refills, both use it.
        for client in &clients {
            buy(client, &pair).await;
        }
        assert_eq!(pair.chain.transactions_mined(), 2);
    }
}

// PROTOCOL 5.8: resume instead of opening a second channel.
#[tokio::test]
async fn a_client_that_lost_its_book_gets_its_channel_back() {
    let pair = Pair::trading(V2).await;
    assert_eq!(buy(&forgetful(&pair), &pair).await, PRICE);
    pair.chain.reset_counters();
    let client = forgetful(&pair);
    assert_eq!(buy(&client, &pair).await, 2 * PRICE);
    assert_eq!(pair.chain.transactions_mined(), 0);
    let channels = client.channels().unwrap();
    assert_eq!(channels.len(), 1);
    assert_eq!(channels[0].deposit.base_units(), DEPOSIT);
    assert_eq!(channels[0].signed.base_units(), 2 * PRICE);
    assert_eq!(
        pair.record(channels[0].channel_id).await.spent.base_units(),
        2 * PRICE
    );

    // Also from a server that has restarted meanwhile.
    let server = restart_server(&pair, V2).await;
    let client = forgetful(&pair);
    assert_eq!(buy(&client, &pair).await, 3 * PRICE);
    assert_eq!(pair.chain.transactions_mined(), 0);
    // It refills and closes like any other.
    let session = client.session(pair.url("/photo")).unwrap();
    session.top_up(Amount::new(DEPOSIT)).await.unwrap();
    let receipt = session.close().await.unwrap();
    assert!(receipt.tx_hash.is_some());
    let record = server.channel(channels[0].channel_id).await.unwrap();
    assert_eq!(record.settled.base_units(), 3 * PRICE);
    assert_eq!(record.deposit.base_units(), 2 * DEPOSIT);
}

// The server has none: one is opened, and it is asked once only.
#[tokio::test]
async fn a_channel_is_opened_when_the_server_knows_of_none() {
    let pair = Pair::trading(V2).await;
    let client = forgetful(&pair);
    buy(&client, &pair).await;
    client
        .session(pair.url("/photo"))
        .unwrap()
        .close()
        .await
        .unwrap();
    let before = pair.socket.requests();
    buy(&client, &pair).await;
    assert_eq!(pair.socket.requests() - before, 1);
    assert_eq!(client.channels().unwrap().len(), 2);

    // A policy that never asks opens one beside the first.
    let never = policy().resume(ResumePolicy::Never);
    let client = pair.client_of(never, Arc::new(MemoryBook::default()));
    assert_eq!(buy(&client, &pair).await, PRICE);
    assert_eq!(pair.chain.transactions_mined(), 4);
}

#[tokio::test]
async fn a_bunch_of_requests_of_a_forgetful_client_resumes_once() {
    let pair = Pair::trading(V2).await;
    assert_eq!(buy(&forgetful(&pair), &pair).await, PRICE);
    let client = forgetful(&pair);
    let before = pair.socket.requests();
    let all = futures_util::future::join_all((0..8).map(|_| buy(&client, &pair)));
    let mut spent = all.await;
    spent.sort_unstable();
    let expected: Vec<_> = (2..=9).map(|units| units * PRICE).collect();
    assert_eq!(spent, expected);
    assert_eq!(pair.chain.transactions_mined(), 1);
    // One question and one proof; each request at most three times.
    assert!(pair.socket.requests() - before <= 2 + 3 * 8);
    assert_eq!(client.channels().unwrap().len(), 1);
}

#[tokio::test]
async fn a_channel_beyond_the_policy_is_left_alone_and_none_is_opened() {
    let pair = Pair::trading(V2).await;
    buy(&forgetful(&pair), &pair).await;
    let small = Policy::new(Amount::new(DEPOSIT - 1));
    let client = pair.client_of(small, Arc::new(MemoryBook::default()));
    let refused = client.get(pair.url("/photo")).send().await;
    assert!(matches!(
        refused,
        Err(ClientError::Policy(PolicyViolation::DepositTooLarge { .. }))
    ));
    assert!(client.channels().unwrap().is_empty());
    assert_eq!(pair.chain.transactions_mined(), 1);
}

/// A `HEAD` of somebody who takes charges only.
fn head(path: &str) -> Ask {
    Ask::new(Method::HEAD, path).header(names::ACCEPT_PAYMENT, "tempo/charge")
}

async fn proof_challenge(app: &Router, path: &str) -> Challenge {
    let answer = head(path).send(app).await;
    assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED);
    answer.challenges().remove(0)
}

/// Proves `signer` for a realm.
async fn prove(app: &Router, signer: &LocalSigner, realm: &str, asked: &Challenge) -> Answer {
    let terms = ProofTerms {
        account: signer.address(),
        chain_id: 42_431,
        challenge_id: asked.id.as_str(),
        realm,
    };
    let signature = terms.sign(signer).await.unwrap();
    let payload = serde_json::to_value(ChargePayload::Proof { signature }).unwrap();
    let source = format!("did:pkh:eip155:42431:{:#x}", signer.address());
    let field = Credential::new(asked.clone(), payload).with_source(source);
    let field = credential::encode(&field).unwrap();
    head("/photo")
        .header(names::AUTHORIZATION, &field)
        .send(app)
        .await
}

fn told(answer: &Answer) -> Option<SessionSnapshot> {
    let value = answer.headers.get(names::PAYMENT_SESSION_SNAPSHOT)?;
    let json = session::parse_snapshot(value.to_str().unwrap()).unwrap();
    Some(serde_json::from_value(json).unwrap())
}

// PROTOCOL 5.8 on the wire: 204 with both headers, kept by nobody.
#[tokio::test]
async fn a_proof_is_answered_with_the_session_and_its_snapshot() {
    let pair = Pair::trading(V2).await;
    buy(&pair.client(), &pair).await;
    let app = pair.goods(&pair.server, V2);
    let asked = proof_challenge(&app, "/photo").await;
    let answer = prove(&app, &pair.key(1), asked.realm.as_str(), &asked).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(answer.list(http::header::CACHE_CONTROL), "no-store");
    let channel = pair.only_channel().to_string();
    assert_eq!(answer.headers[names::PAYMENT_SESSION], channel.as_str());
    let snapshot = told(&answer).unwrap();
    assert_eq!(snapshot.channel_id.to_string(), channel);
    assert!(snapshot.verify().is_ok());
    assert_eq!(snapshot.spent.base_units(), PRICE);
    assert!(answer.has_receipt());
    assert!(answer.body.is_empty());
}

// Hostile clients: another payer, a replay, another realm.
#[tokio::test]
async fn nobody_is_told_of_a_channel_that_is_not_theirs() {
    let pair = Pair::trading(V2).await;
    buy(&pair.client(), &pair).await;
    let app = pair.goods(&pair.server, V2);
    let realm = "shop.example";

    // The snapshot of another payer.
    let asked = proof_challenge(&app, "/photo").await;
    let answer = prove(&app, &pair.key(2), realm, &asked).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(told(&answer), None);
    assert!(!answer.headers.contains_key(names::PAYMENT_SESSION));

    // A proof that was used, by whoever has seen it, at any server of the store.
    let asked = proof_challenge(&app, "/photo").await;
    assert!(told(&prove(&app, &pair.key(1), realm, &asked).await).is_some());
    let other = pair.goods(&pair.configure().build().unwrap(), V2);
    for app in [&app, &other] {
        let answer = prove(app, &pair.key(1), realm, &asked).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert!(answer.challenges().is_empty());
        assert_eq!(told(&answer), None);
    }

    // A proof that was made for another server.
    let asked = proof_challenge(&app, "/photo").await;
    let answer = prove(&app, &pair.key(1), "other.example", &asked).await;
    assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(told(&answer), None);

    // A challenge that the server did not make.
    let mut asked = proof_challenge(&app, "/photo").await;
    asked.realm = "other.example".parse().unwrap();
    let answer = prove(&app, &pair.key(1), "other.example", &asked).await;
    assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(told(&answer), None);
}

/// A server between client and shop that changes what the shop tells of channels.
fn liar(shop: Router, lie: fn(&mut Value)) -> Router {
    use tower::ServiceExt as _;
    Router::new().fallback(any(move |request: axum::extract::Request| async move {
        let mut response: Response = shop.oneshot(request).await.into_response();
        let headers: &mut HeaderMap = response.headers_mut();
        if let Some(value) = headers.get(names::PAYMENT_SESSION_SNAPSHOT) {
            let mut snapshot = session::parse_snapshot(value.to_str().unwrap()).unwrap();
            lie(&mut snapshot);
            let field = session::encode_snapshot(&snapshot).parse().unwrap();
            headers.insert(names::PAYMENT_SESSION_SNAPSHOT, field);
        }
        response
    }))
}

// SECURITY-CASES A27: a hostile server's snapshot signs nothing, opens nothing, is written nowhere.
#[tokio::test]
async fn a_lying_server_gets_neither_a_voucher_nor_a_deposit() {
    let lies: [fn(&mut Value); 5] = [
        |snapshot| {
            snapshot["descriptor"]["payer"] = json!("0x00000000000000000000000000000000000000aa")
        },
        |snapshot| snapshot["spent"] = json!("999000"),
        |snapshot| {
            snapshot["acceptedCumulative"] = json!("9000");
            snapshot["highestVoucher"]["cumulativeAmount"] = json!("9000");
        },
        |snapshot| {
            snapshot["channelId"] =
                json!("0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
        },
        |snapshot| drop(snapshot.as_object_mut().unwrap().remove("highestVoucher")),
    ];
    let pair = Pair::trading(V2).await;
    buy(&forgetful(&pair), &pair).await;
    for lie in lies {
        let shop = pair.goods(&pair.server, V2);
        pair.socket.serve(liar(shop, lie));
        let client = forgetful(&pair);
        let refused = client.get(pair.url("/photo")).send().await;
        let reason = match refused {
            Err(ClientError::Snapshot(reason)) => reason,
            other => panic!("{other:?}"),
        };
        assert_ne!(reason, SnapshotRefused::Unreadable);
        assert!(client.channels().unwrap().is_empty());
    }
    assert_eq!(pair.chain.transactions_mined(), 1);
    // A server that can not say is not paid twice either.
    let broken = |shop: Router| {
        use tower::ServiceExt as _;
        Router::new().fallback(any(move |request: axum::extract::Request| async move {
            match *request.method() == Method::HEAD {
                true => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                false => shop.oneshot(request).await.into_response(),
            }
        }))
    };
    pair.socket.serve(broken(pair.goods(&pair.server, V2)));
    let refused = forgetful(&pair).get(pair.url("/photo")).send().await;
    assert!(
        matches!(refused, Err(ClientError::Status { status: 500 })),
        "{refused:?}"
    );
    assert_eq!(pair.chain.transactions_mined(), 1);
    pair.socket.serve(pair.goods(&pair.server, V2));
    assert_eq!(buy(&forgetful(&pair), &pair).await, 2 * PRICE);
}

// A challenge of another realm is not answered with a proof: it would be one for that realm.
#[tokio::test]
async fn a_proof_is_not_made_for_another_realm() {
    let pair = Pair::trading(V2).await;
    buy(&forgetful(&pair), &pair).await;
    let shop = pair.goods(&pair.server, V2);
    let relay = Router::new().fallback(any(move |request: axum::extract::Request| {
        use tower::ServiceExt as _;
        let shop = shop.clone();
        async move {
            let has_proof = request.method() == Method::HEAD
                && request.headers().contains_key(names::AUTHORIZATION);
            assert!(!has_proof, "a proof was made");
            let asks = request.method() == Method::HEAD;
            let mut response: Response = shop.oneshot(request).await.into_response();
            if asks {
                let field = response.headers()[names::WWW_AUTHENTICATE].clone();
                let mut asked = challenge::parse_all([field.to_str().unwrap()])
                    .remove(0)
                    .unwrap();
                asked.realm = "bank.example".parse().unwrap();
                let field = challenge::encode(&asked).parse().unwrap();
                response
                    .headers_mut()
                    .insert(names::WWW_AUTHENTICATE, field);
            }
            response
        }
    }));
    pair.socket.serve(relay);
    // It counts as a server that knows nothing of this.
    assert_eq!(buy(&forgetful(&pair), &pair).await, PRICE);
    assert_eq!(pair.chain.transactions_mined(), 2);
}
