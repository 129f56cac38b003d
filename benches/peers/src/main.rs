//! Measures this repository, libsecp256k1 and the crate `mpp` in one process.
//!
//! `cargo run --release -- [--quick] OUT`, with `--features c-backend` for alloy on C and assembly.
//! `cargo xtask bench --peers` runs both builds.

mod kit;

use std::path::PathBuf;

use mpp_bench::report::{Run, RunKind};
use mpp_bench::request::{self, Server};
use mpp_bench::rounds::interleaved;
use mpp_bench::suite::{CHANNELS, Effort};
use mpp_bench::{fixture, host, libraries, own};
use mpp_tempo::SessionProtocol;

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let quick = arguments.iter().position(|argument| argument == "--quick");
    if let Some(index) = quick {
        arguments.remove(index);
    }
    let [out] = &arguments[..] else {
        anyhow::bail!("usage: mpp-bench-peers [--quick] OUT");
    };
    let effort = if quick.is_some() {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    run(effort).save(&PathBuf::from(out))
}

fn run(effort: Effort) -> Run {
    host::pin(0);
    let v1 = fixture::vouchers(SessionProtocol::V1, CHANNELS, effort.vouchers);
    let v2 = fixture::vouchers(SessionProtocol::V2, CHANNELS, effort.vouchers);
    let headers = fixture::headers(&v1);
    let served = || Server::new(&v1, SessionProtocol::V1).having_served(&headers);
    let server = served();
    let remembering = served().remembering(&headers);
    let shop = kit::Shop::new(&v1);
    let mut candidates = vec![libraries::libsecp256k1_recover(&v1)];
    candidates.extend(kit::signatures(&v1, &v2));
    candidates.extend(own::candidates(&v1, CHANNELS));
    candidates.extend(shop.candidates(&headers));
    candidates.extend(request::candidates(&server, &remembering, &headers));
    Run {
        kind: if cfg!(feature = "c-backend") {
            RunKind::PeersWithC
        } else {
            RunKind::Peers
        },
        rows: interleaved(candidates, effort.rounds),
    }
}
