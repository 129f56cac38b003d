//! Unmodified alloy clients over a real socket.

mod answers;
mod clients;
mod protocol;
mod reads;

use super::support::*;
use crate::{Devnet, DevnetConfig, DevnetServer, TimeSource};
use alloy_network::TransactionBuilder;
use alloy_primitives::aliases::U96;
use alloy_primitives::{Address, B256, Bytes};
use alloy_provider::{Provider, ProviderBuilder};
use alloy_sol_types::SolCall;
use core::time::Duration;
use serde_json::Value;
use tempo_alloy::TempoNetwork;
use tempo_alloy::rpc::TempoTransactionRequest;
use tempo_contracts::precompiles::ITIP20ChannelReserve as reserve;
use tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE;

pub(super) async fn serve(config: DevnetConfig) -> (Devnet, DevnetServer) {
    let node = Devnet::new(DevnetConfig {
        time: TimeSource::Fixed(START),
        ..config
    });
    let server = node.serve(([127, 0, 0, 1], 0).into()).await.unwrap();
    (node, server)
}

pub(super) async fn default_node() -> (Devnet, DevnetServer) {
    serve(DevnetConfig {
        sync_timeout: Duration::from_millis(200),
        ..DevnetConfig::default()
    })
    .await
}

pub(super) fn provider(server: &DevnetServer) -> impl Provider<TempoNetwork> + use<> {
    let url = server.url().parse().unwrap();
    ProviderBuilder::<_, _, TempoNetwork>::default().connect_http(url)
}

pub(super) fn open_call(node: &Devnet) -> reserve::openCall {
    reserve::openCall {
        payee: actor(node, 1).address,
        operator: Address::ZERO,
        token: TOKEN,
        deposit: U96::from(500),
        salt: B256::ZERO,
        authorizedSigner: Address::ZERO,
    }
}

pub(super) fn open(node: &Devnet) -> Bytes {
    raw(
        transaction(node, vec![call(RESERVE, &open_call(node))]),
        &actor(node, 2),
    )
    .into()
}

pub(super) async fn view(
    provider: &impl Provider<TempoNetwork>,
    to: Address,
    function: &impl SolCall,
) -> Result<Bytes, alloy_transport_error::Error> {
    let request = TempoTransactionRequest::default()
        .with_to(to)
        .with_input(function.abi_encode());
    provider.call(request).await
}

mod alloy_transport_error {
    pub(super) type Error = alloy_provider::transport::TransportError;
}

/// A request written by hand.
pub(super) async fn post(server: &DevnetServer, body: &str) -> Value {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(server.local_addr())
        .await
        .unwrap();
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream
        .write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}
