//! `cargo xtask test`: every test there is, ending in one plain count.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::Args;
use xtask::{progress, tools};

use super::build;

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Only tests whose names contain this
    filter: Option<String>,
    /// Only those on a machine in QEMU, where limits are enforced; no other run has them
    #[arg(long)]
    vm: bool,
}

/// What the names of those on a machine in QEMU begin with, and no others contain.
const MACHINE: &str = "machine::";

#[derive(Debug, Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

pub(crate) fn run(args: &Test) -> Result<()> {
    let binary = build::release()?;
    let mut command = build::cargo();
    if args.vm {
        progress::step("running the tests on a machine in QEMU");
        command.args(["test", "--test", "vm", "--"]).env("DEVBOX_VM", "1");
    } else {
        progress::step("running every test; those on a real host boot one");
        command.args(["test", "--workspace", "--no-fail-fast", "--", "--skip", MACHINE]).env("DEVBOX_LAB", "1");
    }
    command.args(&args.filter);
    let me = std::env::current_exe().context("cannot find this program")?;
    command.env("DEVBOX_BIN", binary).env("DEVBOX_XTASK", me);
    if !tools::is_root() {
        eprintln!("The tests on a real host need root: cargo runs the test programs through sudo.");
        command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "sudo --preserve-env");
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", "sudo --preserve-env");
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let mut count = Count::default();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line.context("cannot read what the tests say")?;
            println!("{line}");
            count.add(&line);
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    println!("\ntests: {} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    if !status.success() || count.failed > 0 {
        bail!("there are failures above");
    }
    if args.filter.is_none() && count.skipped > 0 {
        bail!("tests were skipped that this command is there to run");
    }
    Ok(())
}

impl Count {
    /// `test result: ok. 3 passed; 0 failed; 0 ignored; …`, one of each test program.
    fn add(&mut self, line: &str) {
        let Some((_, numbers)) = line.strip_prefix("test result: ").and_then(|l| l.split_once(". ")) else { return };
        for part in numbers.split("; ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let number: usize = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn counts_add_up() {
        let mut count = Count::default();
        count.add("running 3 tests");
        count.add("test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s");
        count.add("test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 60.00s");
        assert_eq!((count.passed, count.failed, count.skipped), (7, 2, 1));
    }
}
