//! The method from both sides, over a socket.

use std::future::IntoFuture as _;
use std::sync::Arc;

use axum::{Router, routing::get};
use mpp_client::{ClientError, Policy};
use mpp_core::{Amount, Challenge, Credential, ProblemKind, Realm, SecretKey, header};
use mpp_devnet::{Devnet, DevnetConfig};
use mpp_example_custom_method::{Bank, Credit, CreditOffer};
use mpp_http::client::Client;
use mpp_http::server::{Paid, PaymentLayer};
use mpp_server::{PaymentServer, Route};
use mpp_tempo::LocalSigner;
use tokio::task::JoinHandle;

const SECRET: [u8; 64] = [7; 64];
const PRICE: u64 = 10;

struct Shop {
    url: String,
    task: JoinHandle<()>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A shop in which alice can buy so many times, at two counters.
async fn shop(times: u64) -> Shop {
    let bank = Arc::new(Bank::default());
    bank.open("alice", times.checked_mul(PRICE).unwrap(), SECRET);
    let chain = Devnet::new(DevnetConfig::default());
    let account = LocalSigner::from_hex(&chain.accounts()[0].private_key).unwrap();
    let server = PaymentServer::builder()
        .realm(Realm::new("shop.example").unwrap())
        .secret_key(SecretKey::from_bytes(&(0..32).collect::<Vec<u8>>()).unwrap())
        .testnet()
        .chain(chain)
        .account(account)
        .build()
        .unwrap();
    let mut app = Router::new();
    for path in ["/joke", "/poem"] {
        let offer = CreditOffer::build(Arc::clone(&bank), PRICE).unwrap();
        let pay = PaymentLayer::new(server.clone(), Route::new(path, [offer]).unwrap());
        app = app.route(path, get(async |_: Paid| "sold").layer(pay));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serve = axum::serve(listener, app).into_future();
    #[expect(
        clippy::disallowed_methods,
        reason = "the shop owns and ends this task"
    )]
    let task = tokio::spawn(async move { serve.await.unwrap() });
    Shop { url, task }
}

fn client(secret: [u8; 64], limit: u64) -> Client {
    Client::builder()
        .method(Credit::new("alice", secret, limit).unwrap())
        .policy(Policy::new(Amount::ZERO))
        .http(reqwest::Client::builder().no_proxy())
        .build()
        .unwrap()
}

#[tokio::test]
async fn credit_buys_until_it_is_used_up() {
    let shop = shop(2).await;
    let client = client(SECRET, PRICE);
    for _ in 0..2 {
        let response = client.get(format!("{}/joke", shop.url)).send().await;
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.receipt().is_some());
    }
    let broke = client.get(format!("{}/joke", shop.url)).send().await;
    assert!(
        matches!(&broke, Err(ClientError::Problem(problem))
            if problem.kind == ProblemKind::VerificationFailed),
        "{broke:?}"
    );
}

#[tokio::test]
async fn a_foreign_secret_and_a_high_price_buy_nothing() {
    let shop = shop(1).await;
    let url = format!("{}/joke", shop.url);
    let forged = client([8; 64], PRICE).get(&url).send().await;
    assert!(matches!(forged, Err(ClientError::Problem(_))), "{forged:?}");
    let dear = client(SECRET, PRICE - 1).get(&url).send().await;
    assert!(matches!(dear, Err(ClientError::Method(_))), "{dear:?}");
    // Neither of them cost alice anything.
    let response = client(SECRET, PRICE).get(&url).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_credential_is_good_once_and_at_its_own_counter() {
    let shop = shop(5).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let asked = http.get(format!("{}/joke", shop.url)).send().await.unwrap();
    let value = asked.headers()["www-authenticate"].to_str().unwrap();
    let challenge = header::challenge::parse_all([value]).remove(0).unwrap();
    let credential = header::credential::encode(&credential(&challenge).await).unwrap();
    let mut statuses = Vec::new();
    for path in ["/poem", "/joke", "/joke"] {
        let request = http.get(format!("{}{path}", shop.url));
        let request = request.header("authorization", &credential);
        statuses.push(request.send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [402, 200, 402]);
}

async fn credential(challenge: &Challenge) -> Credential {
    use mpp_client::{ClientMethod as _, Origin};
    let credit = Credit::new("alice", SECRET, PRICE).unwrap();
    let origin = Origin::of(&"https://shop.example".parse().unwrap()).unwrap();
    let payload = credit.pay(&origin, challenge).await.unwrap();
    Credential::new(challenge.clone(), payload)
}
