//! The table of results.

use mpp_tempo::SessionProtocol;

/// Prints results as they come and counts them.
#[derive(Debug, Default)]
pub(super) struct Table {
    passed: usize,
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
        if self.passed == 0 && self.failures.is_empty() {
            println!("{:<48} {:>6} {:>6}", "check", "v1", "v2");
        }
        let mark = if result.is_ok() { "ok" } else { "FAILED" };
        match protocol {
            SessionProtocol::V1 => {
                print!("{name:<48} {mark:>6} ");
                drop(std::io::Write::flush(&mut std::io::stdout()));
            }
            SessionProtocol::V2 => println!("{mark:>6}"),
        }
        match result {
            Ok(()) => self.passed = self.passed.saturating_add(1),
            Err(error) => self.failures.push((format!("{name} ({protocol})"), error)),
        }
    }

    /// Notes the result of a check that knows no protocol versions.
    pub(super) fn add_once(&mut self, name: &str, result: anyhow::Result<()>) {
        let mark = if result.is_ok() { "ok" } else { "FAILED" };
        println!("{name:<48} {mark:>6}");
        match result {
            Ok(()) => self.passed = self.passed.saturating_add(1),
            Err(error) => self.failures.push((name.to_owned(), error)),
        }
    }

    /// Explains the failures.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        println!();
        for (name, error) in &self.failures {
            println!("FAILED {name}");
            for cause in error.chain() {
                println!("    {cause}");
            }
        }
        println!("{} passed, {} failed", self.passed, self.failures.len());
        anyhow::ensure!(self.failures.is_empty(), "some checks failed");
        anyhow::ensure!(self.passed > 0, "no check has this name");
        Ok(())
    }
}
