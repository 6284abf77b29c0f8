//! `cargo xtask test`: the tests of a choice, ending in one plain count.

use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use serde_json::Value;
use testbed::artifacts::Debian;
use testbed::selection::{Choice, SLICES};
use testbed::{progress, run, tools};

use super::build;

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Only tests whose names contain this, slow ones included
    filter: Option<String>,
    /// The slow tests too, those on a machine in QEMU among them, and all of them on Debian forky as well
    #[arg(long, conflicts_with = "slice")]
    all: bool,
    /// Also a tenth of what --all adds. The number of the commit says which; ten commits in a row run everything
    #[arg(long)]
    slice: bool,
    /// The Debian release of the hosts: trixie, which is the default, or forky
    #[arg(long, conflicts_with_all = ["all", "slice"])]
    debian: Option<Debian>,
    /// How many tests run side by side, each on a host of its own [default: two for each processor]
    #[arg(long)]
    hosts: Option<NonZeroUsize>,
    /// How often each test runs: for one that fails now and then
    #[arg(long, default_value = "1")]
    times: NonZeroUsize,
}

impl Test {
    fn choice(&self) -> Result<Choice> {
        if self.all || self.filter.is_some() {
            Ok(Choice::All)
        } else if self.slice {
            Ok(Choice::Slice(commit_number()? % SLICES))
        } else {
            Ok(Choice::EveryCommit)
        }
    }

    fn debians(&self) -> String {
        match self.debian {
            Some(debian) => debian.to_string(),
            None if self.all || self.slice => format!("{},{}", Debian::Trixie, Debian::Forky),
            None => Debian::Trixie.to_string(),
        }
    }
}

/// How many commits there are up to this one. A shallow clone does not know: there it is a number from the hash.
///
/// The hash would serve everywhere, but it is random: after ten commits a third of the slices would not have run.
fn commit_number() -> Result<u64> {
    let git =
        |arguments: &[&str]| run::output(Command::new("git").args(arguments).current_dir(testbed::paths::workspace()));
    if git(&["rev-parse", "--is-shallow-repository"])?.trim() == "false" {
        return git(&["rev-list", "--count", "HEAD"])?.trim().parse().context("git gives no number of commits");
    }
    let hash = git(&["rev-parse", "HEAD"])?;
    let start = hash.get(..8).context("git gives no hash")?;
    u64::from_str_radix(start, 16).context("git gives no hash")
}

#[derive(Debug, Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
    /// Test programs that ended otherwise than with a result.
    broken: Vec<String>,
    /// What the test programs say of failed tests.
    failures: String,
}

pub(crate) fn run(args: &Test) -> Result<()> {
    let binary = build::release()?;
    progress::step("building the tests");
    let programs = programs()?;
    let (choice, debians) = (args.choice()?, args.debians());
    progress::step(&format!("running the tests: {choice}, on {debians}"));
    let me = std::env::current_exe().context("cannot find this program")?;
    // Root's cache is another one.
    let cache = testbed::paths::cache()?;
    let command = |program: &Program| {
        let mut command = if tools::is_root() {
            Command::new(&program.path)
        } else {
            let mut sudo = Command::new("sudo");
            sudo.arg("--preserve-env").arg(&program.path).env("DEVBOX_CACHE", &cache);
            sudo
        };
        command.args(&args.filter).current_dir(&program.package).env("CARGO_MANIFEST_DIR", &program.package);
        command.env("DEVBOX_TESTS", choice.to_string()).env("DEVBOX_DEBIANS", &debians);
        command.env("DEVBOX_BIN", &binary).env("DEVBOX_XTASK", &me);
        command.env("DEVBOX_TIMES", args.times.to_string());
        command.envs(args.hosts.map(|hosts| ("DEVBOX_HOSTS", hosts.to_string())));
        command.stdin(Stdio::null());
        command
    };
    if !tools::is_root() {
        eprintln!("The tests on a real host need root: the test programs are run through sudo.");
        // Now, since two of them would ask for the password at the same time.
        let status = Command::new("sudo").arg("--validate").status().context("cannot run sudo")?;
        ensure!(status.success(), "sudo refuses");
    }
    let (on_hosts, others): (Vec<_>, Vec<_>) = programs.iter().partition(|program| program.name == "host");
    let mut count = Count::default();
    // The others take a minute or two in all; meanwhile the hosts boot, and their tests mostly wait.
    std::thread::scope(|scope| -> Result<()> {
        let others = scope.spawn(|| others.iter().map(|program| quiet(program, command(program))).collect::<Vec<_>>());
        for program in &on_hosts {
            count.stream(program, command(program))?;
        }
        for result in others.join().map_err(|_| anyhow!("a thread panicked"))? {
            let (name, text, ended_well) = result?;
            println!("\n==> {name}\n{}", text.trim());
            count.whole(&name, &text, ended_well);
        }
        Ok(())
    })?;
    // Once more, last: the end of a long output is what is read first, and all that some places keep.
    if !count.failures.is_empty() {
        println!("\n{}", count.failures.trim_end());
    }
    println!("\ntests: {} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    if count.failed > 0 || !count.broken.is_empty() {
        bail!("there are failures above {}", count.broken.join(", "));
    }
    ensure!(count.passed > 0, "no test was run");
    if args.filter.is_none() && count.skipped > 0 {
        bail!("tests were skipped that this command is there to run");
    }
    Ok(())
}

/// A test program and the package that it is of.
#[derive(Debug)]
struct Program {
    name: String,
    path: PathBuf,
    package: PathBuf,
}

/// Builds all test programs.
fn programs() -> Result<Vec<Program>> {
    let mut cargo = build::cargo();
    cargo.args(["test", "--workspace", "--no-run", "--quiet", "--message-format=json-render-diagnostics"]);
    let built = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    if !built.status.success() {
        bail!("the tests do not build");
    }
    let text = String::from_utf8_lossy(&built.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let programs = messages.filter_map(|message| {
        let path = PathBuf::from(message["executable"].as_str()?);
        let package = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
        let name = message["target"]["name"].as_str()?.to_owned();
        (message["profile"]["test"] == true).then_some(Program { name, path, package })
    });
    Ok(programs.collect())
}

/// Runs it to its end; its name, its output and whether it ended with success.
fn quiet(program: &Program, mut command: Command) -> Result<(String, String, bool)> {
    let output = command.output().with_context(|| format!("cannot run {}", program.path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((program.name.clone(), text, output.status.success()))
}

impl Count {
    /// Runs it and shows its output as it comes.
    fn stream(&mut self, program: &Program, mut command: Command) -> Result<()> {
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run a test program")?;
        let mut text = String::new();
        for line in BufReader::new(child.stdout.take().context("no pipe")?).lines() {
            let line = line.context("cannot read what the tests say")?;
            println!("{line}");
            text.push_str(&line);
            text.push('\n');
        }
        let status = child.wait().context("cannot wait for the tests")?;
        self.whole(&program.name, &text, status.success());
        Ok(())
    }

    fn whole(&mut self, name: &str, text: &str, ended_well: bool) {
        let failed = self.failed;
        text.lines().for_each(|line| self.add(line));
        self.failures.push_str(failures(text));
        if !ended_well && self.failed == failed {
            self.broken.push(name.to_owned());
        }
    }

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

/// The part of a test program's output that says why tests failed.
fn failures(text: &str) -> &str {
    let Some((_, after)) = text.split_once("\nfailures:\n") else { return "" };
    after.split_once("\nfailures:\n").map_or(after, |(reasons, _)| reasons)
}

#[cfg(test)]
mod tests {
    use super::{Count, failures};

    #[test]
    fn reasons_of_failures_are_found() {
        let text =
            "test a ... FAILED\n\nfailures:\n\n---- a ----\nexit 1\n\n\nfailures:\n    a\n\ntest result: FAILED.";
        assert_eq!(failures(text).trim(), "---- a ----\nexit 1");
        assert_eq!(failures("test a ... ok\n"), "");
    }

    #[test]
    fn counts_add_up() {
        let mut count = Count::default();
        let first = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s";
        let second =
            "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 6.00s";
        count.whole("one", first, true);
        count.whole("two", second, false);
        assert_eq!((count.passed, count.failed, count.skipped), (7, 2, 1));
        assert!(count.broken.is_empty());
    }

    #[test]
    fn a_program_that_ends_without_a_result_is_a_failure() {
        let mut count = Count::default();
        count.whole("host", "error: no root\n", false);
        assert_eq!(count.broken, ["host"]);
    }
}
