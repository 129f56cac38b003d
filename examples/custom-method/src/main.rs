//! Sells and buys with prepaid credit, in one process: `cargo run -p mpp-example-custom-method`.

#![expect(clippy::print_stdout, reason = "what was bought is shown")]

use std::sync::Arc;

use axum::{Router, routing::get};
use mpp_client::Policy;
use mpp_core::{Amount, Realm, SecretKey};
use mpp_devnet::{Devnet, DevnetConfig};
use mpp_example_custom_method::{Bank, Credit, CreditOffer};
use mpp_http::client::Client;
use mpp_http::server::{Paid, PaymentLayer};
use mpp_server::{PaymentServer, Route};
use mpp_tempo::LocalSigner;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let secret: [u8; 64] = rand::random();
    let bank = Arc::new(Bank::default());
    bank.open("alice", 25, secret);
    // Nothing here goes over a chain, but a server knows one.
    let server = PaymentServer::builder()
        .realm(Realm::new("localhost")?)
        .secret_key(SecretKey::from_bytes(&rand::random::<[u8; 32]>())?)
        .testnet()
        .chain(Devnet::new(DevnetConfig::default()))
        .account(LocalSigner::from_bytes(&rand::random())?)
        .build()?;
    let route = Route::new("/joke", [CreditOffer::build(bank, 10)?])?;
    let joke =
        async |_: Paid| "Why did the voucher cross the channel? To settle on the other side.";
    let pay = PaymentLayer::new(server, route);
    let app = Router::new().route("/joke", get(joke).layer(pay));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/joke", listener.local_addr()?);

    let client = Client::builder()
        .method(Credit::new("alice", secret, 10)?)
        .policy(Policy::new(Amount::ZERO))
        .build()?;
    let buying = async {
        for _ in 0..3 {
            match client.get(&url).send().await {
                Ok(joke) => println!("{}", joke.text().await?),
                Err(error) => println!("no more jokes: {error}"),
            }
        }
        anyhow::Ok(())
    };
    tokio::select! {
        served = axum::serve(listener, app).into_future() => Ok(served?),
        bought = buying => bought,
    }
}
