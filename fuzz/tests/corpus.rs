//! Every target over its committed corpus.

use std::path::Path;

#[test]
fn the_corpus_breaks_no_rule() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, check) in mpp_fuzz::TARGETS {
        let inputs = std::fs::read_dir(corpus.join(name)).unwrap();
        let mut count = 0;
        for input in inputs {
            check(&std::fs::read(input.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{name} has no corpus");
    }
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
    let known: Vec<_> = mpp_fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, known);
}
