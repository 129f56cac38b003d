//! Servers that a test starts itself, with settings of its own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::*;
use crate::store::shared::testing::free_port;

/// The superuser's password.
pub(super) const PASSWORD: &str = "hunter2";

/// A server with its own directory; both end with it.
pub(super) struct Private {
    child: Child,
    directory: PathBuf,
    port: u16,
}

impl Private {
    /// Starts a server that wants passwords, and gives its files to the user
    /// that it runs as. None, unless this machine has the programs.
    pub(super) async fn start(settings: &[(&str, &Path)]) -> Option<Self> {
        let Some(programs) = programs() else {
            absent("the program `initdb`");
            return None;
        };
        let directory = std::env::temp_dir().join(unique("mpp_postgres"));
        std::fs::create_dir_all(&directory).unwrap();
        let password = directory.join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let mut options = Vec::new();
        for (name, file) in settings {
            let copy = directory.join(file.file_name().unwrap());
            std::fs::copy(file, &copy).unwrap();
            run(Command::new("chmod").arg("600").arg(&copy));
            options.push(format!("-c{name}={}", copy.display()));
        }
        if !settings.is_empty() {
            options.push("-cssl=on".into());
        }
        if is_root() {
            run(Command::new("chown")
                .args(["-R", "postgres"])
                .arg(&directory));
        }
        let data = directory.join("data");
        run(program(&programs.join("initdb"))
            .args(["--username=postgres", "--auth=scram-sha-256", "--no-sync"])
            .arg(format!("--pwfile={}", password.display()))
            .arg(format!("--pgdata={}", data.display()))
            .current_dir(&directory));
        let port = free_port();
        let child = program(&programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-clisten_addresses=localhost", "-cunix_socket_directories="])
            .arg(format!("-cport={port}"))
            .args(options)
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            child,
            directory,
            port,
        };
        server.wait().await;
        Some(server)
    }

    /// Lets nobody in who does not encrypt.
    pub(super) fn hba_wants_encryption(&self) {
        let file = self.directory.join("data/pg_hba.conf");
        std::fs::write(file, "hostssl all all all scram-sha-256\n").unwrap();
        self.signal("-HUP");
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    async fn wait(&self) {
        let address = format!(
            "postgres://postgres:{PASSWORD}@localhost:{}/postgres?sslmode=disable",
            self.port
        );
        for _ in 0..600 {
            match tokio_postgres::connect(&address, NoTls).await {
                Ok(_) => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        panic!("postgres does not start");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        run(Command::new("kill").args([signal, &pid]));
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // An immediate shutdown; a killed server would leave its children.
        let pid = self.child.id().to_string();
        drop(Command::new("kill").args(["-QUIT", &pid]).status());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// Where the programs of the server are.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    // Debian keeps them beside the way, one folder for each version.
    for version in std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
    {
        folders.push(version.unwrap().path().join("bin"));
    }
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").is_file())
}

/// A program of the server, which refuses to run as root.
fn program(path: &Path) -> Command {
    if !is_root() {
        return Command::new(path);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(path);
    command
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

fn absent(what: &str) {
    let error = std::io::Error::from(std::io::ErrorKind::NotFound);
    skip(what, &error);
}
