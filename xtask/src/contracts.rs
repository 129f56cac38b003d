//! `cargo xtask contracts`: the runtime code of the escrows from their sources.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use alloy_primitives::Bytes;
use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::npm::Package;

/// The compiler; it runs in Node and needs no network once it is there.
const SOLC: Package = Package {
    name: "solc",
    version: "0.8.37",
    folder: "solc",
};
/// The contracts whose code is kept.
const CONTRACTS: [&str; 2] = ["StreamChannel", "ChannelReserve"];

/// What to do with the code.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Compare with the code that is kept instead of replacing it.
    #[arg(long)]
    check: bool,
    /// Fail instead of saying that nothing was checked when Node or npm is
    /// missing.
    #[arg(long)]
    required: bool,
}

/// Code as it is kept beside its source.
#[derive(Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Artifact {
    compiler: String,
    settings: Value,
    runtime: Bytes,
}

/// Compiles, and writes or compares.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let packages = match SOLC.install().await {
        Ok(packages) => packages,
        Err(error) if options.check && !options.required => {
            println!("NOT CHECKED that the contracts' code is of their sources: {error:#}");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for (name, artifact) in compile(&packages).await? {
        let path = kept(&name);
        let size = artifact.runtime.len();
        if options.check {
            ensure!(
                read(&path)? == artifact,
                "the code of {name} is not of its source; write it with `cargo xtask contracts`"
            );
            println!("{name}: {size} bytes, as kept");
        } else {
            let mut text = serde_json::to_string_pretty(&artifact)?;
            text.push('\n');
            std::fs::write(&path, text)?;
            println!("{name}: {size} bytes written");
        }
    }
    Ok(())
}

/// The runtime code of a contract.
pub(crate) fn runtime(name: &str) -> anyhow::Result<Bytes> {
    Ok(read(&kept(name))?.runtime)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts")
}

fn kept(name: &str) -> PathBuf {
    folder().join(format!("{name}.json"))
}

fn read(path: &Path) -> anyhow::Result<Artifact> {
    let text = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

/// The metadata that the compiler would append says nothing about what the code does.
fn settings() -> Value {
    json!({
        "evmVersion": "cancun",
        "optimizer": {"enabled": true, "runs": 200},
        "metadata": {"appendCBOR": false, "bytecodeHash": "none"},
        "outputSelection": {"*": {"*": ["evm.deployedBytecode.object"]}},
    })
}

fn sources() -> anyhow::Result<Value> {
    let mut sources = serde_json::Map::new();
    for entry in std::fs::read_dir(folder().join("src"))? {
        let path = entry?.path();
        let name = path.file_name().context("a file without a name")?;
        let content = std::fs::read_to_string(&path)?;
        let name = name.to_string_lossy().into_owned();
        sources.insert(name, json!({ "content": content }));
    }
    Ok(Value::Object(sources))
}

async fn compile(packages: &Path) -> anyhow::Result<BTreeMap<String, Artifact>> {
    let settings = settings();
    let input = json!({"language": "Solidity", "sources": sources()?, "settings": settings});
    let output = standard_json(packages, &input).await?;
    complain(&output)?;
    let mut artifacts = BTreeMap::new();
    for name in CONTRACTS {
        let place = format!("/contracts/{name}.sol/{name}/evm/deployedBytecode/object");
        let code = output.pointer(&place).and_then(Value::as_str);
        let runtime = code.context("the compiler has left out a contract")?;
        let artifact = Artifact {
            compiler: format!("{} {}", SOLC.name, SOLC.version),
            settings: settings.clone(),
            runtime: runtime.parse()?,
        };
        artifacts.insert(name.to_owned(), artifact);
    }
    Ok(artifacts)
}

async fn standard_json(packages: &Path, input: &Value) -> anyhow::Result<Value> {
    let mut compiler = Command::new("node")
        .arg(packages.join("solc/solc.js"))
        .arg("--standard-json")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("Node is missing")?;
    let mut stdin = compiler.stdin.take().context("no input")?;
    stdin.write_all(input.to_string().as_bytes()).await?;
    drop(stdin);
    let output = compiler.wait_with_output().await?;
    ensure!(output.status.success(), "the compiler has failed");
    // Before the answer it may greet on lines of its own.
    let start = output.stdout.iter().position(|byte| *byte == b'{');
    let answer = output
        .stdout
        .get(start.context("the compiler is silent")?..);
    Ok(serde_json::from_slice(answer.unwrap_or_default())?)
}

/// Errors end it; warnings too, unless they are about transient storage, whose traps the source
/// has thought of.
fn complain(output: &Value) -> anyhow::Result<()> {
    /// The compiler's number of the warning about composability.
    const TRANSIENT_STORAGE: &str = "2394";
    let said = output.get("errors").and_then(Value::as_array);
    for message in said.into_iter().flatten() {
        let code = message.get("errorCode").and_then(Value::as_str);
        if code == Some(TRANSIENT_STORAGE) {
            continue;
        }
        let text = message.get("formattedMessage").and_then(Value::as_str);
        bail!("{}", text.unwrap_or("the compiler complains"));
    }
    Ok(())
}
