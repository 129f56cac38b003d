//! The process of a node.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// A node that does not listen by then has not started.
const PATIENCE: Duration = Duration::from_secs(30);
/// What it prints before its address.
const LISTENING: &str = "Listening on ";

/// When blocks are mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mining {
    /// One for each transaction, at once.
    Automatic,
    /// One every so many seconds, as on a real network.
    Every(u32),
}

impl Mining {
    fn argument(self) -> Option<String> {
        match self {
            Self::Automatic => None,
            Self::Every(seconds) => Some(format!("--block-time={seconds}")),
        }
    }
}

/// A child that is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) url: String,
    _child: Child,
}

impl Process {
    /// Runs the binary in these packages and waits until it listens.
    pub(super) async fn start(packages: &Path, fork: &str, mining: Mining) -> anyhow::Result<Self> {
        let binary = packages.join(format!("@foundry-rs/anvil-{}/bin/anvil", platform()?));
        let mut child = Command::new(&binary)
            .args(["--network", "tempo", "--hardfork", fork])
            .args(["--chain-id", "42431", "--base-fee", "2000000000"])
            .args(["--port", "0"])
            .args(mining.argument())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} does not start", binary.display()))?;
        let stdout = child.stdout.take().context("no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(address) = line.strip_prefix(LISTENING) {
                    return anyhow::Ok(format!("http://{}", address.trim()));
                }
            }
            bail!("anvil has ended")
        };
        let url = timeout(PATIENCE, listening).await;
        let url = url.context("anvil does not listen")??;
        // It prints every request, and would end if nobody took that.
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the process, which its owner kills"
        )]
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { url, _child: child })
    }
}

/// The names that the packages use.
fn platform() -> anyhow::Result<&'static str> {
    Ok(match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "linux-amd64",
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "x86_64") => "darwin-amd64",
        ("macos", "aarch64") => "darwin-arm64",
        (system, processor) => bail!("there is no anvil for {system} on {processor}"),
    })
}
