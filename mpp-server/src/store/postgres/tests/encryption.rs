//! Encrypted connections, to servers with certificates of their own.

use super::{
    private::{PASSWORD, Private},
    *,
};
use crate::store::{
    Distrust,
    shared::testing::{Authority, a_commit_wakes_the_other_node, shown},
};

/// A server that lets nobody in without encryption.
async fn encrypted(authority: &Authority, host: &str) -> Option<Private> {
    let [certificate, key] = authority.issue(host);
    let settings = [
        ("ssl_cert_file", certificate.as_path()),
        ("ssl_key_file", key.as_path()),
    ];
    let private = Private::start(&settings).await?;
    private.hba_wants_encryption();
    Some(private)
}

fn config(private: &Private, host: &str, options: &str) -> PostgresConfig {
    let port = private.port();
    let address = format!("postgres://postgres:{PASSWORD}@{host}:{port}/postgres?{options}");
    let config = PostgresConfig::new(&ConnectionString::new(address)).unwrap();
    config.patience(Duration::from_secs(30))
}

async fn refused(config: &PostgresConfig) -> ConnectError {
    let error = PostgresStore::migrate(config).await.unwrap_err();
    let text = shown(&error);
    assert!(!text.contains(PASSWORD), "{text}");
    assert!(!error.is_transient(), "{text}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_trusted_certificate_serves_and_wakes() {
    let authority = Authority::new();
    let Some(private) = encrypted(&authority, "localhost").await else {
        return;
    };
    let plain = config(&private, "localhost", "sslmode=disable");
    PostgresStore::migrate(&plain).await.unwrap_err();
    // The password is bound to the server's certificate, too.
    let root = authority.root_file();
    let options = format!(
        "sslmode=verify-full&channel_binding=require&sslrootcert={}",
        root.display()
    );
    let config = config(&private, "localhost", &options).reread_every(Duration::from_secs(3_600));
    PostgresStore::migrate(&config).await.unwrap();
    let (one, other) = (
        PostgresStore::connect(&config).await.unwrap(),
        PostgresStore::connect(&config).await.unwrap(),
    );
    // Only an announcement wakes it, and there is no other way than TLS.
    a_commit_wakes_the_other_node(&one, &other).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_can_not_prove_itself_is_refused() {
    let authority = Authority::new();
    let Some(private) = encrypted(&authority, "localhost").await else {
        return;
    };
    let stranger = Authority::new();
    for mode in ["require", "verify-ca", "verify-full"] {
        for (host, root, why) in [
            ("localhost", Some(&stranger), Distrust::Issuer),
            ("localhost", None, Distrust::Issuer),
            ("127.0.0.1", Some(&authority), Distrust::Host),
        ] {
            let mut config = config(&private, host, &format!("sslmode={mode}"));
            if let Some(root) = root {
                config = config.root_certificates(&root.root()).unwrap();
            }
            let error = refused(&config).await;
            let expected = match &error {
                ConnectError::Untrusted { why: found, .. } => *found == why,
                // A machine that trusts nobody.
                ConnectError::NoRoots => root.is_none(),
                _ => false,
            };
            assert!(expected, "{mode} {host}: {}", shown(&error));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_encryption_is_refused() {
    let Some(private) = Private::start(&[]).await else {
        return;
    };
    let plain = config(&private, "localhost", "sslmode=disable");
    PostgresStore::migrate(&plain).await.unwrap();
    let config = config(&private, "localhost", "sslmode=require");
    let error = refused(&config).await;
    let expected = matches!(error, ConnectError::Unencrypted { .. });
    assert!(expected, "{}", shown(&error));
}
