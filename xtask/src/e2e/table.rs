//! The table of results.

use mpp_tempo::SessionProtocol;

use crate::node::control::Uncontrolled;

/// Prints results as they come and counts them.
#[derive(Debug, Default)]
pub(super) struct Table {
    passed: usize,
    skipped: Vec<(String, Uncontrolled)>,
    failures: Vec<(String, anyhow::Error)>,
}

impl Table {
    /// Notes a result; prints a line when both protocols are through.
    pub(super) fn add(
        &mut self,
        name: &str,
        protocol: SessionProtocol,
        result: anyhow::Result<()>,
    ) {
        if self.is_empty() {
            println!("{:<48} {:>6} {:>6}", "check", "v1", "v2");
        }
        let mark = self.note(format!("{name} ({protocol})"), result);
        match protocol {
            SessionProtocol::V1 => {
                print!("{name:<48} {mark:>6} ");
                drop(std::io::Write::flush(&mut std::io::stdout()));
            }
            SessionProtocol::V2 => println!("{mark:>6}"),
        }
    }

    /// Notes the result of a check that knows no protocol versions.
    pub(super) fn add_once(&mut self, name: &str, result: anyhow::Result<()>) {
        let mark = self.note(name.to_owned(), result);
        println!("{name:<48} {mark:>6}");
    }

    fn is_empty(&self) -> bool {
        self.passed == 0 && self.skipped.is_empty() && self.failures.is_empty()
    }

    fn note(&mut self, name: String, result: anyhow::Result<()>) -> &'static str {
        let Err(error) = result else {
            self.passed = self.passed.saturating_add(1);
            return "ok";
        };
        match error.downcast::<Uncontrolled>() {
            Ok(reason) => {
                self.skipped.push((name, reason));
                "-"
            }
            Err(error) => {
                self.failures.push((name, error));
                "FAILED"
            }
        }
    }

    /// Explains what did not run, and the failures.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        println!();
        for (name, reason) in &self.skipped {
            println!("not run: {name}: {reason}");
        }
        for (name, error) in &self.failures {
            println!("FAILED {name}");
            for cause in error.chain() {
                println!("    {cause}");
            }
        }
        println!(
            "{} passed, {} failed, {} not run",
            self.passed,
            self.failures.len(),
            self.skipped.len()
        );
        anyhow::ensure!(self.failures.is_empty(), "some checks failed");
        anyhow::ensure!(self.passed > 0, "no check has this name");
        Ok(())
    }
}
