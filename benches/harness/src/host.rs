//! The machine that measures.

use std::fs;

use mpp_tempo::voucher::{Tier, VerifierEngine};
use serde::{Deserialize, Serialize};

/// The machine, and how the program was built for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Name, family and model of the CPU.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cpus: usize,
    /// CPU features that the code asks for at run time.
    pub features: Vec<String>,
    /// The compiler.
    pub rustc: String,
    /// The tier that the verifier chooses.
    pub tier: String,
}

impl Host {
    /// The present machine.
    #[must_use]
    pub fn detect() -> Self {
        Self {
            cpu: cpu_name(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            features: features(),
            rustc: env!("MPP_BENCH_RUSTC").to_owned(),
            tier: tier_name(VerifierEngine::new(0).tier()),
        }
    }
}

/// A tier as it stands in the ids of rows.
#[must_use]
pub fn tier_name(tier: Tier) -> String {
    format!("{tier:?}").to_lowercase()
}

/// Keeps the calling thread on one CPU, the `index`-th that this process may use.
///
/// Where the system has no such call, the scheduler decides.
pub fn pin(index: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        static ALLOWED: std::sync::OnceLock<CpuSet> = std::sync::OnceLock::new();
        // Read once, before the first pin narrows it.
        let allowed = ALLOWED.get_or_init(|| sched_getaffinity(None).unwrap_or_default());
        let mut choices = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
        if let Some(cpu) = choices.nth(index) {
            let mut one = CpuSet::new();
            one.set(cpu);
            // Refused in some containers: then the scheduler decides.
            let _ = sched_setaffinity(None, &one);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = index;
}

fn cpu_name() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |wanted: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        fields
            .find(|(name, _)| name.trim() == wanted)
            .map(|(_, value)| value.trim())
    };
    match (value("model name"), value("cpu family"), value("model")) {
        (Some(name), Some(family), Some(model)) => {
            format!("{name} (family {family}, model {model})")
        }
        _ => format!("unknown {}", std::env::consts::ARCH),
    }
}

/// What this CPU, or the emulator that runs us, admits to.
fn features() -> Vec<String> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("adx", std::is_x86_feature_detected!("adx")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("bmi2", std::is_x86_feature_detected!("bmi2")),
        ("sha", std::is_x86_feature_detected!("sha")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512ifma", std::is_x86_feature_detected!("avx512ifma")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let found: [(&str, bool); 0] = [];
    found
        .into_iter()
        .filter(|(_, present)| *present)
        .map(|(name, _)| name.to_owned())
        .collect()
}
