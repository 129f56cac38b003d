//! A payment server on a socket.

use std::net::SocketAddr;

use axum::Router;
use mpp_core::{Realm, SecretKey};
use mpp_server::{Builder, MemoryStore, PaymentServer};
use mpp_tempo::LocalSigner;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{account, node::Node};

/// A listening server; stops when dropped.
#[derive(Debug)]
pub(crate) struct Shop {
    /// The payment server behind it.
    pub(crate) server: PaymentServer,
    /// Where it listens, without a slash at the end.
    pub(crate) url: String,
    task: JoinHandle<()>,
}

impl Shop {
    /// Serves what `router` makes.
    pub(crate) async fn open(
        server: PaymentServer,
        router: impl FnOnce(&PaymentServer) -> anyhow::Result<Router>,
    ) -> anyhow::Result<Self> {
        use axum::serve::ListenerExt as _;
        let app = router(&server)?.into_make_service_with_connect_info::<SocketAddr>();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let listener = listener.tap_io(|stream| {
            // Words leave as they are paid.
            drop(stream.set_nodelay(true));
        });
        let serve = async move {
            drop(axum::serve(listener, app).await);
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the shop owns and ends this task"
        )]
        let task = tokio::spawn(serve);
        Ok(Self { server, url, task })
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A configuration that lacks only what a caller wants to change.
pub(crate) fn configure(node: &Node, account: LocalSigner) -> anyhow::Result<Builder<MemoryStore>> {
    let secret = alloy_primitives::B256::random();
    Ok(PaymentServer::builder()
        .realm(Realm::new("shop.example")?)
        .secret_key(SecretKey::from_bytes(secret.as_slice())?)
        .network(node.network()?)
        .chain(node.chain.clone())
        .account(account)
        .fee_payer(account::signer_for("sponsor")?))
}
