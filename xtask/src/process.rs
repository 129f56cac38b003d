//! This program once more, as a server in a process of its own.

use std::{process::Stdio, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// It listens before this is over, or it hangs.
const START: Duration = Duration::from_secs(30);

/// A server that has said where it listens; killed when dropped.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    /// Where it sells, without a slash at the end.
    pub(crate) url: String,
    child: Child,
}

impl ServerProcess {
    /// Starts this program with these arguments, and waits for the line with its URL.
    pub(crate) async fn start(
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().context("the server's output")?;
        let mut lines = BufReader::new(output).lines();
        let url = timeout(START, lines.next_line())
            .await
            .context("a server does not listen")??
            .context("a server has ended")?;
        Ok(Self { url, child })
    }

    /// SIGKILL; returns when the process is gone.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            anyhow::bail!("a server has ended by itself: {status}");
        }
        Ok(self.child.kill().await?)
    }
}
