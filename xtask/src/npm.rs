//! Programs that come as packages of npm.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

/// A package at one version, with a folder of its own below `target`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) folder: &'static str,
}

impl Package {
    /// The folder with the packages; installed if this version is not there yet.
    ///
    /// # Errors
    /// Without npm, or when the package can not be had, as without a network.
    pub(crate) async fn install(&self) -> anyhow::Result<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = root.join("../target").join(self.folder);
        let packages = folder.join("node_modules");
        if self.is_in(&packages).await {
            return Ok(packages);
        }
        tokio::fs::create_dir_all(&folder).await?;
        // A binary comes as a package of its own for each system, so that no script has to run.
        let end = Command::new("npm")
            .args(["install", "--no-save", "--ignore-scripts"])
            .args(["--no-audit", "--no-fund", "--loglevel", "error"])
            // Without a network it would try for minutes.
            .args(["--fetch-retries", "1", "--fetch-timeout", "60000"])
            .arg("--prefix")
            .arg(&folder)
            .arg(format!("{}@{}", self.name, self.version))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await
            .context("npm is missing")?;
        ensure!(end.success(), "npm could not install {}", self.name);
        ensure!(
            self.is_in(&packages).await,
            "npm has not installed {} {}",
            self.name,
            self.version
        );
        Ok(packages)
    }

    async fn is_in(&self, packages: &Path) -> bool {
        let manifest = packages.join(self.name).join("package.json");
        let Ok(text) = tokio::fs::read(manifest).await else {
            return false;
        };
        let read: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
        read.is_some_and(|manifest| {
            manifest.get("version").and_then(|it| it.as_str()) == Some(self.version)
        })
    }
}
