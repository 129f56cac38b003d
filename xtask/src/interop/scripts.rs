//! Programs of peers, run with the packages they need.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// A script that has not answered by then hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with the scripts and their packages, and what is built in Rust.
#[derive(Debug)]
pub(super) struct Scripts {
    folder: PathBuf,
    python: PathBuf,
    rust: PathBuf,
}

/// What a script is told in its environment.
pub(super) type Environment<'a> = &'a [(&'a str, String)];

impl Scripts {
    /// Installs the packages as they are locked, unless that was done before.
    ///
    /// # Errors
    /// Without Node, npm and Python, or when the packages can not be had, as
    /// without a network.
    pub(super) async fn install() -> anyhow::Result<Self> {
        for tool in ["node", "npm", "python3"] {
            let version = Command::new(tool).arg("--version").output().await;
            ensure!(
                version.is_ok_and(|output| output.status.success()),
                "{tool} is missing"
            );
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = root.join("../target/interop");
        tokio::fs::create_dir_all(&folder).await?;
        let mut sources = tokio::fs::read_dir(root.join("interop")).await?;
        while let Some(source) = sources.next_entry().await? {
            tokio::fs::copy(source.path(), folder.join(source.file_name())).await?;
        }
        let rust = build(&root.join("mpp-peer")).await?;
        let scripts = Self {
            python: folder.join("python/bin/python"),
            folder,
            rust,
        };
        let mut wanted = tokio::fs::read(scripts.folder.join("package-lock.json")).await?;
        wanted.extend(tokio::fs::read(scripts.folder.join("requirements.txt")).await?);
        let installed = scripts.folder.join("installed");
        let there = tokio::fs::read(&installed).await;
        if there.as_ref().is_ok_and(|there| *there == wanted) {
            return Ok(scripts);
        }
        if there.is_ok() {
            tokio::fs::remove_file(&installed).await?;
        }
        // The peers name versions of optional packages that exclude each other.
        let npm = "ci --legacy-peer-deps --no-audit --no-fund --loglevel error";
        scripts.prepare("npm", npm).await?;
        scripts.prepare("python3", "-m venv python").await?;
        let pip = "-m pip install --quiet --disable-pip-version-check -r requirements.txt";
        scripts.prepare(&scripts.python, pip).await?;
        tokio::fs::write(&installed, wanted).await?;
        Ok(scripts)
    }

    /// Runs a program that is to succeed.
    async fn prepare(
        &self,
        program: impl AsRef<std::ffi::OsStr>,
        arguments: &str,
    ) -> anyhow::Result<()> {
        let end = Command::new(program)
            .args(arguments.split(' '))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await?;
        ensure!(
            end.success(),
            "the peers could not be installed: {arguments}"
        );
        Ok(())
    }

    fn command(&self, script: &str, environment: Environment<'_>) -> Command {
        let (program, argument) = match script.rsplit_once('.') {
            Some((role, "rs")) => (self.rust.as_path(), role),
            Some((_, "py")) => (self.python.as_path(), script),
            _ => (Path::new("node"), script),
        };
        let mut command = Command::new(program);
        command
            .arg(argument)
            .current_dir(&self.folder)
            .env("NODE_NO_WARNINGS", "1")
            .env("RUST_BACKTRACE", "0")
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a script to its end; the last line it prints is JSON.
    pub(super) async fn run(
        &self,
        script: &str,
        environment: Environment<'_>,
    ) -> anyhow::Result<Value> {
        let output = timeout(PATIENCE, self.command(script, environment).output());
        let output = output.await.context("the peer hangs")??;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let why = said.lines().rev().find(|line| line.contains("Error"));
            anyhow::bail!("{}", why.unwrap_or("the peer failed").trim());
        }
        let said = String::from_utf8(output.stdout)?;
        let last = said.lines().last().context("the peer says nothing")?;
        Ok(serde_json::from_str(last)?)
    }

    /// Starts a server; the first line it prints is its address.
    pub(super) async fn serve(
        &self,
        script: &str,
        environment: Environment<'_>,
    ) -> anyhow::Result<Server> {
        let mut child = self.command(script, environment).spawn()?;
        let stdout = child.stdout.take().context("no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let first = timeout(PATIENCE, lines.next_line());
        let url = first.await.context("the peer hangs")??;
        Ok(Server {
            url: url.context("the peer does not start")?,
            child,
        })
    }
}

/// Builds the peer in Rust, whose dependencies are not ours.
async fn build(package: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or(package.join("../../target"), PathBuf::from);
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--locked", "--target-dir"])
        .arg(&target)
        .current_dir(package)
        .stdin(Stdio::null())
        .status()
        .await?;
    ensure!(status.success(), "the peer in Rust does not build");
    Ok(target.join("debug/mpp-peer"))
}

/// A peer that sells; ended when dropped.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) url: String,
    child: Child,
}

impl Server {
    /// SIGKILL; returns when it is gone.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }
}
