//! Encrypted connections, to servers with certificates of their own.

use super::{private::Private, *};
use crate::store::{
    Distrust,
    shared::testing::{Authority, a_commit_wakes_the_other_node, free_port, plain, shown},
};

/// A server that speaks nothing but TLS on its port.
async fn encrypted(authority: &Authority, host: &str) -> Option<(Private, u16)> {
    let [certificate, key] = authority.issue(host);
    let root = authority.root_file();
    let port = free_port();
    let settings = format!(
        "--tls-port {port} --tls-auth-clients no --tls-cert-file {} --tls-key-file {} \
         --tls-ca-cert-file {} --appendonly yes --appendfsync always --requirepass hunter2",
        plain(&certificate),
        plain(&key),
        plain(&root),
    );
    Some((Private::start(&settings).await?, port))
}

fn config(address: &str) -> RedisConfig {
    let config = RedisConfig::new(&ConnectionString::new(address)).unwrap();
    config.patience(Duration::from_secs(30))
}

async fn refused(config: RedisConfig) -> ConnectError {
    let error = RedisStore::connect(&config).await.unwrap_err();
    let text = shown(&error);
    assert!(!text.contains("hunter2"), "{text}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_trusted_certificate_serves_and_wakes() {
    let authority = Authority::new();
    let Some((_private, port)) = encrypted(&authority, "localhost").await else {
        return;
    };
    let config = config(&format!("rediss://:hunter2@localhost:{port}"))
        .root_certificates(&authority.root())
        .unwrap()
        .patience(Duration::from_secs(30))
        .reread_every(Duration::from_secs(3_600));
    let (one, other) = (
        RedisStore::connect(&config).await.unwrap(),
        RedisStore::connect(&config).await.unwrap(),
    );
    // Only an announcement wakes it, and there is no other way than TLS.
    a_commit_wakes_the_other_node(&one, &other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_can_not_prove_itself_is_refused() {
    let authority = Authority::new();
    let Some((_private, port)) = encrypted(&authority, "localhost").await else {
        return;
    };
    let stranger = Authority::new();
    for (host, root, why) in [
        ("localhost", Some(&stranger), Distrust::Issuer),
        ("localhost", None, Distrust::Issuer),
        ("127.0.0.1", Some(&authority), Distrust::Host),
    ] {
        let mut config = config(&format!("rediss://:hunter2@{host}:{port}"));
        if let Some(root) = root {
            config = config.root_certificates(&root.root()).unwrap();
        }
        let error = refused(config).await;
        let expected =
            matches!(&error, ConnectError::Untrusted { why: found, .. } if *found == why);
        assert!(expected, "{host}: {}", shown(&error));
        assert!(!error.is_transient(), "{host}");
    }
}

// A server may also wait for the end of a line that never comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_encryption_is_refused() {
    let port = free_port();
    let Some(_private) = Private::start(&format!("--port {port}")).await else {
        return;
    };
    let authority = Authority::new();
    let config = config(&format!("rediss://:hunter2@127.0.0.1:{port}"));
    let error = refused(config.root_certificates(&authority.root()).unwrap()).await;
    let expected = matches!(
        error,
        ConnectError::Unencrypted { .. } | ConnectError::Unreachable { .. }
    );
    assert!(expected, "{}", shown(&error));
}
