//! A payment server on a socket.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use axum::Router;
use mpp_core::{Realm, SecretKey};
use mpp_server::{Builder, EmbeddedStore, PaymentServer};
use mpp_tempo::LocalSigner;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{account, log_scan, node::Node};

/// A listening server; stops when dropped.
#[derive(Debug)]
pub(crate) struct Shop {
    /// The payment server behind it.
    pub(crate) server: PaymentServer,
    /// Where it listens, without a slash at the end.
    pub(crate) url: String,
    task: JoinHandle<()>,
    /// Where its store is; removed with it.
    _scratch: Scratch,
}

impl Shop {
    /// Serves what `router` makes.
    pub(crate) async fn open(
        server: PaymentServer,
        scratch: Scratch,
        router: impl FnOnce(&PaymentServer) -> anyhow::Result<Router>,
    ) -> anyhow::Result<Self> {
        use axum::serve::ListenerExt as _;
        let app = router(&server)?
            .layer(axum::middleware::from_fn(log_scan::overhear))
            .into_make_service_with_connect_info::<SocketAddr>();
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
        #[expect(clippy::disallowed_methods, reason = "ends with the server's events")]
        tokio::spawn(log_scan::overhear_events(server.subscribe()));
        Ok(Self {
            server,
            url,
            task,
            _scratch: scratch,
        })
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A folder for one run, removed at its end.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes the folder, where the system keeps temporary files.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let name = format!("mpp-xtask-{}", alloy_primitives::B256::random());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can not be removed, the system removes later.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A configuration that lacks only what a caller wants to change.
pub(crate) fn configure(
    node: &Node,
    account: LocalSigner,
    scratch: &Scratch,
) -> anyhow::Result<Builder<EmbeddedStore>> {
    let secret = alloy_primitives::B256::random();
    log_scan::secret("server secret", secret.as_slice());
    Ok(PaymentServer::builder()
        .realm(Realm::new("shop.example")?)
        .secret_key(SecretKey::from_bytes(secret.as_slice())?)
        .network(node.network()?)
        .chain(node.chain.clone())
        .store(EmbeddedStore::open(scratch.path().join("shop.store"))?)
        .account(account)
        .fee_payer(account::signer_for("sponsor")?))
}
