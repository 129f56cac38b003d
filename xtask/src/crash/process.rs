//! The photo example as a process that can be killed.

use std::{path::PathBuf, process::Stdio, time::Duration};

use alloy_primitives::B256;
use anyhow::{Context as _, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    task::JoinSet,
    time::timeout,
};

const PACKAGE: &str = "mpp-example-photo";
/// It listens before this is over, or it hangs.
const START: Duration = Duration::from_secs(30);

/// The program and its environment, the same at every start.
#[derive(Debug)]
pub(super) struct Binary {
    path: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Binary {
    /// Builds the example in the profile of this program, beside it.
    pub(super) fn build() -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = std::process::Command::new(cargo);
        // With xtask in the selection, dependencies keep their features.
        build.args([
            "build",
            "--quiet",
            "--package",
            "xtask",
            "--package",
            PACKAGE,
        ]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        ensure!(build.status()?.success(), "{PACKAGE} does not build");
        let name = format!("{PACKAGE}{}", std::env::consts::EXE_SUFFIX);
        let path = std::env::current_exe()?.with_file_name(name);
        ensure!(path.is_file(), "there is no {}", path.display());
        // Challenges and account outlive the process, as in any deployment.
        let secret = || format!("{:#x}", B256::random());
        let environment = vec![
            ("MPP_SECRET_KEY", secret()),
            ("MPP_ACCOUNT_KEY", secret()),
            ("MPP_LISTEN", "127.0.0.1:0".to_owned()),
        ];
        Ok(Self { path, environment })
    }

    /// Adds a variable.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub(super) struct ServerProcess {
    /// Where it sells, without a slash at the end.
    pub(super) url: String,
    child: Child,
    _log: JoinSet<()>,
}

impl ServerProcess {
    /// Starts the program and waits until it listens.
    pub(super) async fn start(binary: &Binary) -> anyhow::Result<Self> {
        let environment = binary
            .environment
            .iter()
            .map(|(name, value)| (*name, value));
        let mut child = Command::new(&binary.path)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let log = child.stdout.take().context("the server's log")?;
        let mut log = BufReader::new(log).lines();
        let url = timeout(START, first_url(&mut log))
            .await
            .context("the server does not listen")??;
        let mut reading = JoinSet::new();
        reading.spawn(read_on(log));
        Ok(Self {
            url,
            child,
            _log: reading,
        })
    }

    /// SIGKILL.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            anyhow::bail!("the server has ended by itself: {status}");
        }
        Ok(self.child.kill().await?)
    }
}

/// Reads until the server says where it listens.
async fn first_url(log: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<String> {
    let mut lines = Vec::new();
    while let Some(line) = log.next_line().await? {
        if let Some((_, url)) = line.split_once("selling photos at ") {
            let (url, _) = url.split_once("/photos").context("the server's URL")?;
            return Ok(url.to_owned());
        }
        lines.push(line);
    }
    anyhow::bail!("the server does not start: {}", lines.join("\n"))
}

/// Keeps the pipe empty and shows errors.
async fn read_on(mut log: Lines<BufReader<ChildStdout>>) {
    while let Ok(Some(line)) = log.next_line().await {
        if line.contains("ERROR") {
            println!("server: {line}");
        }
    }
}
