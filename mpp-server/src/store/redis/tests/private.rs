//! Servers that a test starts itself, with settings of its own.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::*;
use crate::store::{conformance::sample, shared::testing::shown};

/// A server with its own directory; both end with it.
pub(super) struct Private {
    child: Child,
    directory: PathBuf,
    settings: Vec<String>,
}

impl Private {
    /// Starts a server, unless this machine has none.
    pub(super) async fn start(settings: &str) -> Option<Self> {
        let directory = std::env::temp_dir().join(unique("mpp_redis"));
        std::fs::create_dir_all(&directory).unwrap();
        let settings: Vec<_> = settings.split_whitespace().map(String::from).collect();
        match spawn(&directory, &settings) {
            Ok(child) => {
                let server = Self {
                    child,
                    directory,
                    settings,
                };
                server.wait().await;
                Some(server)
            }
            Err(error) => {
                skip("the program `redis-server`", &error);
                None
            }
        }
    }

    fn address(&self) -> String {
        format!("redis+unix://{}", self.directory.join("socket").display())
    }

    fn server(&self) -> Server {
        Server::at(self.address())
    }

    async fn wait(&self) {
        let client = redis::Client::open(self.address()).unwrap();
        for _ in 0..600 {
            match client.get_multiplexed_async_connection().await {
                Ok(_) => return,
                // It is there, and wants to see a password.
                Err(error) if error.kind() == redis::ErrorKind::AuthenticationFailed => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        panic!("redis-server does not start");
    }

    /// Kills the server and starts it again on its files.
    async fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.directory, &self.settings).unwrap();
        self.wait().await;
    }
}

fn spawn(directory: &std::path::Path, settings: &[String]) -> std::io::Result<Child> {
    Command::new("redis-server")
        .args([
            "--port",
            "0",
            "--save",
            "",
            "--unixsocket",
            "socket",
            "--dir",
        ])
        .arg(directory)
        .args(settings)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

impl Drop for Private {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// A private server, so that a crash is one.
struct Crashing(tokio::sync::Mutex<Private>);

impl Backend for Crashing {
    type Store = RedisStore;

    async fn create(&self) -> RedisStore {
        self.0.lock().await.server().create().await
    }

    async fn another(&self, store: &RedisStore) -> RedisStore {
        self.0.lock().await.server().another(store).await
    }

    async fn reopen(&self, store: RedisStore) -> Option<RedisStore> {
        let mut private = self.0.lock().await;
        private.crash().await;
        private.server().reopen(store).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_always_flushes_keeps_everything_through_its_crash() {
    let settings = "--appendonly yes --appendfsync always";
    let Some(private) = Private::start(settings).await else {
        return;
    };
    let store = private.server().create().await;
    assert!(store.durability().is_bounded(), "{}", store.durability());
    drop(store);
    let crashing = Crashing(tokio::sync::Mutex::new(private));
    conformance::everything_acknowledged_survives(&crashing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_goes_on_when_its_server_has_restarted() {
    let settings = "--appendonly yes --appendfsync always";
    let Some(mut private) = Private::start(settings).await else {
        return;
    };
    let store = private.server().create().await;
    let record = sample::record(1);
    let first = store.commit(sample::first(record.clone())).await.unwrap();
    assert_eq!(first, Commit::Done(Version(1)));
    private.crash().await;
    let charge = store
        .commit(sample::charge(Version(1), &record))
        .await
        .unwrap();
    assert_eq!(charge, Commit::Done(Version(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_always_flush_is_called_so() {
    for (settings, setting) in [
        ("--appendonly no", "`appendonly`"),
        ("--appendonly yes --appendfsync everysec", "`appendfsync`"),
        ("--appendonly yes --appendfsync no", "`appendfsync`"),
        (
            "--appendonly yes --appendfsync always --no-appendfsync-on-rewrite yes",
            "`no-appendfsync-on-rewrite`",
        ),
        (
            "--appendonly yes --appendfsync always --rename-command CONFIG x",
            "does not tell",
        ),
    ] {
        let Some(private) = Private::start(settings).await else {
            return;
        };
        let durability = private.server().create().await.durability();
        assert!(!durability.is_bounded(), "{settings}");
        assert!(
            durability.to_string().contains(setting),
            "{settings}: {durability}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfit_servers_are_refused_for_what_they_are() {
    for (settings, reason) in [
        ("--replicaof 127.0.0.1 1", "Redis is read-only"),
        (
            "--cluster-enabled yes",
            "the server is part of a Redis cluster",
        ),
        (
            "--maxmemory 100mb --maxmemory-policy allkeys-lru",
            "Redis evicts keys",
        ),
    ] {
        let Some(private) = Private::start(settings).await else {
            return;
        };
        let error = RedisStore::connect(&private.server().fresh())
            .await
            .unwrap_err();
        assert!(error.to_string().starts_with(reason), "{settings}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_needs_a_person_and_is_not_shown() {
    let Some(private) = Private::start("--requirepass open-sesame").await else {
        return;
    };
    for address in [
        private.address(),
        format!("{}?pass=hunter2", private.address()),
    ] {
        let config = RedisConfig::new(&ConnectionString::new(address)).unwrap();
        let error = RedisStore::connect(&config).await.unwrap_err();
        assert!(!error.is_transient(), "{error:?}");
        assert!(!shown(&error).contains("hunter2"), "{}", shown(&error));
    }
    let right = format!("{}?pass=open-sesame", private.address());
    let config = RedisConfig::new(&ConnectionString::new(right)).unwrap();
    RedisStore::connect(&config).await.unwrap();
}

// Invariant 6: when the store fails, selling stops; nothing is half written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_refuses_commits_whole() {
    let Some(private) = Private::start("--appendonly no").await else {
        return;
    };
    let server = private.server();
    let store = server.create().await;
    let record = sample::record(1);
    store.commit(sample::first(record.clone())).await.unwrap();
    server.run(&[b"CONFIG", b"SET", b"maxmemory", b"1"]).await;
    let fault = store
        .commit(sample::charge(Version(1), &record))
        .await
        .unwrap_err();
    assert!(fault.is_transient(), "{fault}");
    let found = store.load(record.id).await.unwrap().unwrap();
    assert_eq!((found.version, found.record), (Version(1), record.clone()));
    let ledger = store.ledger(sample::whole_ledger(None)).await.unwrap();
    assert!(ledger.is_empty(), "a refused commit wrote to the ledger");
    server.run(&[b"CONFIG", b"SET", b"maxmemory", b"0"]).await;
    let done = store
        .commit(sample::charge(Version(1), &record))
        .await
        .unwrap();
    assert_eq!(done, Commit::Done(Version(2)));
}

// What it kept is gone, or it is another server: nothing is sold until somebody has looked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_empty_is_noticed() {
    let Some(mut private) = Private::start("--appendonly no").await else {
        return;
    };
    let store = private.server().create().await;
    let record = sample::record(1);
    store.commit(sample::first(record.clone())).await.unwrap();
    private.crash().await;
    let fault = store.load(record.id).await.unwrap_err();
    assert!(!fault.is_transient(), "{fault:?}");
}
