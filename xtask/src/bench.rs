//! Measures, and puts this repository next to others.
//!
//! The measuring code is compiled in release and lives in `benches`; here processes are started.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

/// What to measure, and where to write it.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A look instead of figures to publish: fewer rounds and channels.
    #[arg(long)]
    quick: bool,
    /// Also measure the crate `mpp` and, on Node with npm, the package `mppx`.
    #[arg(long)]
    peers: bool,
    /// Write everything as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the time per voucher.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Count instructions under valgrind and compare them with the accepted counts.
    #[arg(long, conflicts_with_all = ["quick", "peers", "json", "svg"])]
    instructions: bool,
    /// Accept the present counts.
    #[arg(long, requires = "instructions")]
    bless: bool,
}

/// Runs what the options ask for.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace has a root")?;
    if options.instructions {
        let mut command = harness(root);
        command.args(["instructions", "--baseline"]);
        command.arg(root.join("benches/instructions.json"));
        command.args(options.bless.then_some("--bless"));
        return finish(&mut command);
    }
    let directory = root.join("target/bench");
    fs::create_dir_all(&directory)?;
    if options.peers {
        for tool in ["node", "npm"] {
            finish(Command::new(tool).arg("--version").stdout(Stdio::null()))
                .with_context(|| format!("--peers needs {tool}"))?;
        }
    }
    let quick = options.quick.then_some("--quick");
    let mut runs = vec![directory.join("libraries.json")];
    let mut measure = harness(root);
    measure.arg("measure").args(quick).arg("--out").args(&runs);
    finish(&mut measure)?;
    if options.peers {
        for (file, features) in [("peers.json", ""), ("peers-with-c.json", "c-backend")] {
            let out = directory.join(file);
            let mut peers = cargo(root);
            peers.args(["--manifest-path", "benches/peers/Cargo.toml"]);
            peers.args(["--features", features, "--"]);
            finish(peers.args(quick).arg(&out))?;
            runs.push(out);
        }
        runs.push(node(root, &directory)?);
    }
    show(root, &runs, options)
}

/// Installs `mppx` as it is locked, and lets it verify our vouchers.
fn node(root: &Path, directory: &Path) -> anyhow::Result<PathBuf> {
    let sources = root.join("benches/peers/node");
    let modules = directory.join("node");
    fs::create_dir_all(&modules)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(sources.join(file), modules.join(file))?;
    }
    // viem asks for an mppx that does not exist yet when mppx was published.
    let mut install = Command::new("npm");
    install.args([
        "ci",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--legacy-peer-deps",
    ]);
    finish(install.current_dir(&modules))?;
    let vouchers = directory.join("vouchers.json");
    finish(harness(root).args(["vouchers", "--out"]).arg(&vouchers))?;
    let out = directory.join("node.json");
    let mut node = Command::new("node");
    node.arg(sources.join("vouchers.mjs"));
    node.args([&modules.join("node_modules"), &vouchers, &out]);
    finish(&mut node)?;
    Ok(out)
}

fn show(root: &Path, runs: &[PathBuf], options: &Options) -> anyhow::Result<()> {
    let mut command = harness(root);
    command.arg("show").args(runs);
    for (name, file) in [("--json", &options.json), ("--svg", &options.svg)] {
        if let Some(file) = file {
            command.arg(name).arg(std::path::absolute(file)?);
        }
    }
    finish(&mut command)
}

/// The measuring program of this workspace, built in release.
fn harness(root: &Path) -> Command {
    let mut command = cargo(root);
    command.args(["--package", "mpp-bench", "--"]);
    command
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root);
    command.args(["run", "--quiet", "--release"]);
    command
}

fn finish(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status();
    let status = status.with_context(|| format!("{program} can not be run"))?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}
