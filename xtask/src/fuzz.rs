//! `cargo xtask fuzz`: every fuzz target for some seconds.
//!
//! The targets are a workspace of their own in `fuzz`. They are built here
//! with the coverage that libFuzzer needs, on whatever toolchain there is.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, bail, ensure};

/// Which targets, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only this target; may be given several times.
    #[arg(long = "target", value_name = "TARGET")]
    targets: Vec<String>,
    /// So many targets run at once.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Only play the committed inputs again, which is the same every time.
    #[arg(long, conflicts_with_all = ["seconds", "merge"])]
    replay: bool,
    /// Only play the committed inputs and a fixed number of changes of them,
    /// which is the same every time, too.
    #[arg(long, conflicts_with_all = ["seconds", "merge", "replay"])]
    smoke: bool,
    /// Afterwards keep the inputs that find more than the committed ones.
    #[arg(long)]
    merge: bool,
}

/// What cargo-fuzz would ask for, without AddressSanitizer: there is next to no
/// unsafe code, and it has tests of its own.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table";

/// Servers are started by the thousand: what one gives back is the next one's,
/// without the kernel in between.
const MEMORY: [(&str, &str); 2] = [
    ("MALLOC_MMAP_THRESHOLD_", "1073741824"),
    ("MALLOC_TRIM_THRESHOLD_", "2147483648"),
];

/// The longest inputs, in bytes, where another length is of no use.
const LENGTHS: [(&str, u32); 4] = [
    ("charge_machine", 388),
    ("client_machine", 388),
    ("session_machine", 388),
    ("voucher_verifier", 390),
];
const USUAL_LENGTH: u32 = 4_096;

/// Where everything is.
struct Place {
    workspace: PathBuf,
    binaries: PathBuf,
    triple: String,
}

/// What one target did.
struct Report {
    target: String,
    executions: u64,
    /// Executions per second.
    speed: Option<u64>,
    edges: Option<u64>,
    /// Of everything that was tried and stored, where that is the same every
    /// time.
    checksum: Option<String>,
    /// The end of the output of one that has found something.
    failure: Option<String>,
}

/// Builds the targets and runs them.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let place = Place::find()?;
    let mut targets = place.choose(&options.targets)?;
    // What takes longest comes first, so that no job waits for it in the end.
    targets.sort_by_key(|target| !target.ends_with("_machine"));
    match options.smoke {
        true => place.build_smoke()?,
        false => place.build(&targets)?,
    }
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some(target) = targets.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let report = match (options.smoke, options.replay) {
                        (true, _) => place.smoke(target),
                        (_, true) => place.replay(target),
                        _ => place.explore(target, options.seconds),
                    };
                    let mut all = reports.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push(report);
                }
            });
        }
    });
    let reports = reports.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut reports = reports.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    reports.sort_by(|one, other| one.target.cmp(&other.target));
    show(&reports);
    let failed = reports.iter().filter(|report| report.failure.is_some());
    ensure!(failed.count() == 0, "a target has found something");
    if options.merge {
        for target in &targets {
            place.merge(target)?;
        }
    }
    Ok(())
}

impl Place {
    fn find() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        let workspace = root.context("the workspace has a root")?.join("fuzz");
        let version = Command::new("rustc").arg("-vV").output()?.stdout;
        let version = String::from_utf8(version)?;
        let triple = version.lines().find_map(|line| line.strip_prefix("host: "));
        let triple = triple.context("rustc has a host")?.to_owned();
        Ok(Self {
            binaries: workspace.join("target").join(&triple).join("release"),
            workspace,
            triple,
        })
    }

    /// The targets that are asked for, or all.
    fn choose(&self, asked: &[String]) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        for file in fs::read_dir(self.workspace.join("fuzz_targets"))? {
            let path = file?.path();
            let name = path.file_stem().context("a target has a name")?;
            all.push(name.to_string_lossy().into_owned());
        }
        all.sort();
        if let Some(unknown) = asked.iter().find(|name| !all.contains(name)) {
            bail!("there is no target {unknown}; there are {}", all.join(", "));
        }
        all.retain(|name| asked.is_empty() || asked.contains(name));
        Ok(all)
    }

    fn build(&self, targets: &[String]) -> anyhow::Result<()> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .current_dir(&self.workspace)
            .env("RUSTFLAGS", COVERAGE);
        cargo.args(["build", "--release", "--locked", "--target", &self.triple]);
        for target in targets {
            cargo.args(["--bin", target]);
        }
        let status = cargo.status().context("cargo can not be run")?;
        ensure!(status.success(), "the fuzz targets can not be built");
        Ok(())
    }

    /// Without coverage, which nobody reads: it runs several times as fast.
    fn build_smoke(&self) -> anyhow::Result<()> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(&self.workspace);
        cargo.args(["build", "--release", "--locked", "--bin", "smoke"]);
        let status = cargo.status().context("cargo can not be run")?;
        ensure!(status.success(), "the smoke test can not be built");
        Ok(())
    }

    fn corpus(&self, target: &str) -> PathBuf {
        self.workspace.join("corpus").join(target)
    }

    /// Inputs that were found here, and are not committed.
    fn found(&self, target: &str) -> anyhow::Result<PathBuf> {
        let found = self.workspace.join("target/found").join(target);
        fs::create_dir_all(&found)?;
        Ok(found)
    }

    fn command(&self, target: &str) -> Command {
        let length = LENGTHS.iter().find(|(name, _)| *name == target);
        let length = length.map_or(USUAL_LENGTH, |(_, length)| *length);
        let mut command = Command::new(self.binaries.join(target));
        command.envs(MEMORY);
        command.arg(format!("-max_len={length}"));
        if target.ends_with("_machine") {
            // Most of what can go wrong needs more steps than libFuzzer begins with.
            command.arg("-len_control=0");
        }
        command
    }

    /// Plays the committed inputs.
    fn replay(&self, target: &str) -> anyhow::Result<Report> {
        let mut command = self.command(target);
        command.arg("-runs=0").arg(self.corpus(target));
        self.report(target, command)
    }

    /// Looks for inputs that break a rule, from those that are known.
    fn explore(&self, target: &str, seconds: u32) -> anyhow::Result<Report> {
        let mut command = self.command(target);
        command.arg(format!("-max_total_time={seconds}"));
        command.arg(self.found(target)?).arg(self.corpus(target));
        self.report(target, command)
    }

    /// The same inputs every time, without libFuzzer.
    fn smoke(&self, target: &str) -> anyhow::Result<Report> {
        let mut command = Command::new(self.workspace.join("target/release/smoke"));
        command.envs(MEMORY).arg(target);
        command.env("MPP_FUZZ_ARTIFACTS", self.artifacts(target)?);
        let output = command
            .output()
            .with_context(|| format!("{target} can not be run"))?;
        let told = String::from_utf8_lossy(&output.stdout);
        let figure = |name: &str| told.lines().find_map(|line| line.strip_prefix(name));
        let executions = figure("executions: ").and_then(|count| count.parse().ok());
        let failed = || end_of(&String::from_utf8_lossy(&output.stderr));
        Ok(Report {
            target: target.to_owned(),
            executions: executions.unwrap_or(0),
            speed: None,
            edges: None,
            checksum: figure("checksum: ").map(str::to_owned),
            failure: (!output.status.success()).then(failed),
        })
    }

    /// Where inputs that break a rule are put.
    fn artifacts(&self, target: &str) -> anyhow::Result<PathBuf> {
        let artifacts = self.workspace.join("target/artifacts").join(target);
        fs::create_dir_all(&artifacts)?;
        Ok(artifacts)
    }

    fn report(&self, target: &str, mut command: Command) -> anyhow::Result<Report> {
        let artifacts = self.artifacts(target)?;
        command.args([
            &format!("-artifact_prefix={}/", artifacts.display()),
            // Of the clock on the wall, and the machine may be busy.
            "-timeout=120",
            "-print_final_stats=1",
        ]);
        let output = command.stdout(Stdio::null()).output();
        let output = output.with_context(|| format!("{target} can not be run"))?;
        let told = String::from_utf8_lossy(&output.stderr);
        let figure = |name: &str| {
            let line = told.lines().rev().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().parse().ok())
        };
        Ok(Report {
            target: target.to_owned(),
            executions: figure("stat::number_of_executed_units:").unwrap_or(0),
            speed: figure("stat::average_exec_per_sec:"),
            edges: edges(&told),
            checksum: None,
            failure: (!output.status.success()).then(|| end_of(&told)),
        })
    }

    /// Adds to the committed corpus what covers more, and nothing else.
    fn merge(&self, target: &str) -> anyhow::Result<()> {
        let (corpus, found) = (self.corpus(target), self.found(target)?);
        let merged = self.workspace.join("target/merged").join(target);
        if merged.exists() {
            fs::remove_dir_all(&merged)?;
        }
        fs::create_dir_all(&merged)?;
        let mut command = self.command(target);
        command.args(["-set_cover_merge=1", "-use_counters=0"]);
        command.args([&merged, &corpus, &found]);
        let output = command
            .output()
            .with_context(|| format!("{target} can not be run"))?;
        ensure!(output.status.success(), "{target} can not be merged");
        for directory in [&corpus, &found] {
            fs::remove_dir_all(directory)?;
            fs::create_dir_all(directory)?;
        }
        for file in fs::read_dir(&merged)? {
            let file = file?;
            fs::copy(file.path(), corpus.join(file.file_name()))?;
        }
        Ok(())
    }
}

/// The edges that the newest status line tells of.
fn edges(told: &str) -> Option<u64> {
    let figures = told
        .lines()
        .rev()
        .find_map(|line| line.split_once(" cov: "));
    let edges = figures.and_then(|(_, figures)| figures.split_whitespace().next());
    edges?.parse().ok()
}

/// The last lines: what was broken, and which input did it.
fn end_of(told: &str) -> String {
    let lines: Vec<_> = told.lines().collect();
    let first = lines.len().saturating_sub(60);
    lines.get(first..).unwrap_or_default().join("\n")
}

fn show(reports: &[Report]) {
    println!(
        "{:<18} {:>12} {:>9} {:>7}  result",
        "target", "executions", "exec/s", "edges"
    );
    for report in reports {
        let result = match (&report.failure, &report.checksum) {
            (Some(_), _) => "FAILED".to_owned(),
            (None, Some(checksum)) => format!("clean, {checksum}"),
            (None, None) => "clean".to_owned(),
        };
        let figure =
            |figure: Option<u64>| figure.map_or("-".to_owned(), |figure| figure.to_string());
        println!(
            "{:<18} {:>12} {:>9} {:>7}  {result}",
            report.target,
            report.executions,
            figure(report.speed),
            figure(report.edges)
        );
    }
    for report in reports {
        if let Some(failure) = &report.failure {
            println!("\n{}:\n{failure}", report.target);
        }
    }
}
