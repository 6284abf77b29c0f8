//! Tests on real systems: systemd, podman and Quadlet on lab hosts, and what the kernel enforces on a machine in QEMU.
//!
//! `cargo xtask test` runs them and says which. Run by `cargo test` alone they are counted as ignored: booting a host
//! needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// expect-test writes `r#"…"#` always, and its texts make functions long.
#![allow(clippy::needless_raw_string_hashes, clippy::too_many_lines)]

mod browser;
mod harness;
mod machine;
mod prelude;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use harness::pool::Pool;
use harness::{Test, report, rooms};
use libtest_mimic::{Arguments, Trial};
use testbed::artifacts::Debian;
use testbed::selection::Choice;

rooms! {
    accounts,
    attack,
    backup,
    backup_faults,
    broker,
    broker_host,
    bus,
    commands,
    doctor,
    editor,
    exec,
    faults,
    flood,
    hook,
    hook_examples,
    image,
    inputs,
    kill,
    lab,
    ledger,
    life,
    life_use,
    login,
    login_faults,
    mounts,
    own_podman,
    own_tailnet,
    prune,
    pruned,
    races,
    reboot,
    secrets,
    store,
    storm,
    syncthing,
    syncthing_page,
    tailnet,
    trash,
    trash_broker,
    trash_kill,
    units,
    whole,
}

/// Those of all rooms, on hosts and on a machine.
fn every_test() -> Vec<Test> {
    [all_tests(), machine::all_tests()].concat()
}

/// What `cargo xtask test` asks for; without it all are ignored.
#[derive(Debug)]
struct Run {
    choice: Choice,
    debians: Vec<Debian>,
    side_by_side: usize,
    /// How often each test runs.
    times: usize,
}

impl Run {
    fn asked_for() -> anyhow::Result<Option<Self>> {
        let Ok(choice) = std::env::var("DEVBOX_TESTS") else { return Ok(None) };
        let debians = std::env::var("DEVBOX_DEBIANS").unwrap_or_else(|_| Debian::Trixie.to_string());
        let number = |variable| std::env::var(variable).ok().map(|n| n.parse()).transpose();
        Ok(Some(Self {
            choice: choice.parse()?,
            debians: debians.split(',').map(str::parse).collect::<Result<_, _>>()?,
            side_by_side: number("DEVBOX_HOSTS")?.unwrap_or_else(side_by_side),
            times: number("DEVBOX_TIMES")?.unwrap_or(1),
        }))
    }

    /// On the first Debian a test has the tier that it declares. On the second one every test counts as slow.
    fn has(&self, test: &Test, debian: Debian) -> bool {
        let first = self.debians.first() == Some(&debian);
        let tier = if first { test.tier } else { testbed::selection::Tier::Slow };
        self.choice.has(tier, &name(test, debian))
    }
}

/// Tests wait more than they compute: two for each processor keep the processors busy.
fn side_by_side() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get) * 2
}

fn name(test: &Test, debian: Debian) -> String {
    match debian {
        Debian::Trixie => test.name(),
        Debian::Forky => format!("{debian}::{}", test.name()),
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let run = match Run::asked_for() {
        Ok(run) => run,
        Err(e) => {
            eprintln!("error: {e:#}");
            return ExitCode::FAILURE;
        }
    };
    let Some(run) = run else {
        let never = |test: &Test| Trial::test(test.name(), || Ok(())).with_ignored_flag(true);
        return libtest_mimic::run(&arguments, every_test().iter().map(never).collect()).exit_code();
    };
    let lock = if arguments.list { Ok(None) } else { world::begin().map(Some) };
    let _lock = match lock {
        Ok(lock) => lock,
        Err(e) => {
            eprintln!("error: cannot begin: {e:#}");
            return ExitCode::FAILURE;
        }
    };
    arguments.test_threads = Some(run.side_by_side);
    let mut chosen = Vec::new();
    let mut left_out = 0;
    for debian in &run.debians {
        for test in every_test() {
            // A machine is made of trixie.
            let runs_there = *debian == Debian::Trixie || matches!(test.body, harness::Body::Host(_));
            if runs_there && run.has(&test, *debian) {
                chosen.extend((0..run.times).map(|_| (name(&test, *debian), test, *debian)));
            } else {
                left_out += usize::from(runs_there);
            }
        }
    }
    // The longest first, so that no host is left with a long one at the end.
    let times = report::kept();
    let seconds = |name: &str| times.get(name).copied().unwrap_or(f32::MAX);
    chosen.sort_by(|one, other| seconds(&other.0).total_cmp(&seconds(&one.0)));
    let pool = Arc::new(Pool::default());
    let trials = chosen.into_iter().map(|(name, test, debian)| {
        let (pool, whole_name) = (Arc::clone(&pool), name.clone());
        Trial::test(name, move || pool.run(&test, debian, &whole_name))
    });
    let trials = trials.collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list
        && let Some(pool) = Arc::into_inner(pool)
    {
        let mut report = pool.down();
        report.print();
        report.keep();
        println!("{left_out} tests are left out ({}); `cargo xtask test --all` runs them", run.choice);
    }
    conclusion.exit_code()
}
