//! Every target over its committed corpus.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use mpp_fuzz::{TARGETS, Target, trace};

/// Panics of any thread or task; those of tasks end only the task.
static PANICS: AtomicUsize = AtomicUsize::new(0);

// Each time on a thread of its own, which knows nothing of what was before.
#[test]
fn the_corpus_breaks_no_rule_and_does_the_same_twice() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        usual(panic);
    }));
    for target in TARGETS {
        let play = |_| std::thread::spawn(|| play(target)).join().unwrap();
        let [first, second] = [0, 1].map(play);
        assert_eq!(first, second, "{} is not reproducible", target.name);
    }
}

/// Returns the checksum over everything that was done.
fn play(target: &Target) -> u32 {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let files = std::fs::read_dir(corpus.join(target.name)).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no corpus", target.name);
    for file in files {
        (target.check)(&std::fs::read(&file).unwrap());
        let panics = PANICS.load(Ordering::SeqCst);
        assert_eq!(panics, 0, "a task has failed: {}", file.display());
    }
    trace::checksum()
}

#[test]
fn every_target_has_a_binary() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    let files = std::fs::read_dir(targets)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut names: Vec<String> = files
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, known);
}
