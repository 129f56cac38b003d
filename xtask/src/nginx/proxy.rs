//! nginx in front of a server, on a free port, with temporary folders.

use std::{net::TcpListener, process::Stdio, time::Duration};

use anyhow::{Context as _, ensure};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::sleep,
};

use crate::shop::Scratch;

/// How long nginx may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// The ways through the proxy, as folders of its URL.
#[derive(Clone, Copy, Debug)]
pub(super) enum Location {
    /// All settings as nginx has them.
    Default,
    /// Ignores what the server says about buffering.
    Deaf,
    /// Gives a silent server up after 20 s.
    Hasty,
}

/// A running nginx; ended when dropped.
#[derive(Debug)]
pub(super) struct Nginx {
    ports: [u16; 3],
    _child: Child,
    _scratch: Scratch,
}

impl Location {
    const ALL: [Self; 3] = [Self::Default, Self::Deaf, Self::Hasty];

    const fn settings(self) -> &'static str {
        match self {
            Self::Default => "",
            Self::Deaf => "proxy_ignore_headers X-Accel-Buffering;",
            Self::Hasty => "proxy_read_timeout 20s;",
        }
    }

    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::Default => "with nginx as it comes",
            Self::Deaf => "with a deaf nginx",
            Self::Hasty => "with a proxy_read_timeout of 20 s",
        }
    }
}

impl Nginx {
    pub(super) async fn is_installed() -> bool {
        let version = command().arg("-v").output().await;
        version.is_ok_and(|output| output.status.success())
    }

    /// Starts it in front of the server at `upstream`.
    pub(super) async fn start(upstream: &str) -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let ports = free_ports();
        let folder = scratch.path().to_str().context("the temporary folder")?;
        let file = scratch.path().join("nginx.conf");
        tokio::fs::write(&file, configuration(folder, ports, upstream)).await?;
        let mut child = command()
            .arg("-c")
            .arg(&file)
            .arg("-p")
            .arg(scratch.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let listens = async {
            for port in ports {
                while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                    ensure!(child.try_wait()?.is_none(), "nginx has ended");
                    sleep(LOOK).await;
                }
            }
            Ok(())
        };
        let listens = tokio::time::timeout(PATIENCE, listens).await;
        listens.context("nginx does not listen")??;
        Ok(Self {
            ports,
            _child: child,
            _scratch: scratch,
        })
    }

    /// The address of a path on the server, seen through this location.
    pub(super) fn url(&self, location: Location, path: &str) -> String {
        let [default, deaf, hasty] = self.ports;
        let port = match location {
            Location::Default => default,
            Location::Deaf => deaf,
            Location::Hasty => hasty,
        };
        format!("http://127.0.0.1:{port}{path}")
    }
}

fn command() -> Command {
    // Where Debian puts it is not on everybody's path.
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("nginx");
    command.env("PATH", format!("{path}:/usr/sbin"));
    command
}

/// One process, so that ending it ends everything; otherwise defaults.
fn configuration(folder: &str, ports: [u16; 3], upstream: &str) -> String {
    let servers: String = Location::ALL
        .into_iter()
        .zip(ports)
        .map(|(location, port)| {
            let settings = location.settings();
            format!(
                "  server {{ listen 127.0.0.1:{port}; {settings} \
                 location / {{ proxy_pass {upstream}; }} }}\n"
            )
        })
        .collect();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = kinds
        .into_iter()
        .map(|kind| format!("  {kind}_temp_path {folder}/{kind};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr crit;\n\
         events {{}}\nhttp {{\n  access_log off;\n{temporary}{servers}}}\n"
    )
}

/// Ports that nobody listens on, and that the system gives to nobody who asks
/// for any port, before nginx listens on them.
fn free_ports() -> [u16; 3] {
    loop {
        let ports = [(); 3].map(|()| rand::random_range(20_000..30_000));
        // Held all at once, so that they differ.
        let listeners = ports.map(|port| TcpListener::bind(("127.0.0.1", port)));
        if listeners.iter().all(Result::is_ok) {
            return ports;
        }
    }
}
