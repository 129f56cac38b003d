//! A node as a process of its own.

use std::{process::Stdio, time::Duration};

use anyhow::Context as _;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use super::{
    Setup,
    serve::{ACCOUNT, SECRET},
};

/// It listens before this is over, or it hangs.
const START: Duration = Duration::from_secs(30);

/// A running node; killed when dropped.
#[derive(Debug)]
pub(super) struct NodeProcess {
    /// Where it sells, without a slash at the end.
    pub(super) url: String,
    _child: Child,
}

impl NodeProcess {
    /// Starts this program once more, as a server.
    pub(super) async fn start(setup: &Setup) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve-node", "--node", &setup.node.url])
            .args(["--schema", &setup.schema.0])
            .env(SECRET, &setup.secret)
            .env(ACCOUNT, format!("{:#x}", setup.account))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().context("the node's output")?;
        let mut lines = BufReader::new(output).lines();
        let url = timeout(START, lines.next_line())
            .await
            .context("a node does not listen")??
            .context("a node has ended")?;
        Ok(Self { url, _child: child })
    }
}
