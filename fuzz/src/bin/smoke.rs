//! `smoke TARGET [RUNS SEED]`: one target over the same inputs every time.
//!
//! What breaks a rule is written to the directory in `MPP_FUZZ_ARTIFACTS`, as
//! libFuzzer would.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use mpp_fuzz::{TARGETS, smoke};

thread_local! {
    /// What is being checked.
    static INPUT: RefCell<Vec<u8>> = RefCell::default();
}

fn main() {
    let name = std::env::args().nth(1).expect("a target");
    let target = TARGETS.iter().find(|target| target.name == name);
    let target = target.expect("a target of this name");
    let number = |place| {
        std::env::args()
            .nth(place)
            .map(|text| text.parse().expect("a number"))
    };
    let runs = number(2).unwrap_or(target.smoke_runs);
    let seed = number(3).unwrap_or(smoke::SEED);
    let artifacts = std::env::var_os("MPP_FUZZ_ARTIFACTS").map(PathBuf::from);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        let input = INPUT.with_borrow(Vec::clone);
        let file = artifacts.as_ref().map(|directory| directory.join("smoke"));
        match file.map(|file| std::fs::write(&file, &input).map(|()| file)) {
            Some(Ok(file)) => eprintln!("the input is in {}", file.display()),
            _ => eprintln!("the input is {input:?}"),
        }
        // Whatever thread or task it is that panics.
        std::process::exit(1);
    }));
    let inputs = committed(&name);
    let mut executions = 0_u64;
    let checksum = smoke::run(target.check, &inputs, target.shape, (runs, seed), |input| {
        executions += 1;
        INPUT.with_borrow_mut(|current| input.clone_into(current));
    });
    println!("executions: {executions}");
    println!("checksum: {checksum:08x}");
}

/// The committed inputs, in an order that no file system chooses.
fn committed(name: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let entries = std::fs::read_dir(corpus).expect("a corpus");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let read = |file: &PathBuf| std::fs::read(file).expect("an input");
    files.iter().map(read).collect()
}
