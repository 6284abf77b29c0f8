//! `cargo xtask bench`: devbox-ctl beside what a person would do by hand, on one host, in one run, as ratios.
//!
//! hyperfine(1) runs inside the host, so that entering it is no part of any figure.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use testbed::artifacts::Debian;
use testbed::lab::Host;
use testbed::{progress, tools};

use super::build;

mod backup;
mod broker;
mod idle;
mod tailnet;

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Runs of each command
    #[arg(long, default_value_t = 15)]
    runs: u32,
    /// Only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Files of the box that is backed up; 100,000 are 5 GB, which takes three times that of disk
    #[arg(long, default_value_t = 10_000)]
    files: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// create, start, list, memory
    Host,
    /// From create to ssh over a tailnet
    Tailnet,
    /// devboxd
    Broker,
    /// A box into a file, and out of it
    Backup,
    /// A look at a hundred running boxes
    Idle,
}

/// One command and what has to be so before each of its runs.
struct Case {
    prepare: &'static str,
    command: &'static str,
}

/// Two commands to compare, and the ratio that is promised.
struct Pair {
    what: &'static str,
    ours: Case,
    by_hand: (&'static str, Case),
    at_most: f64,
}

const HAND: &str = ".config/containers/systemd/hand";

/// The same units, written by hand: what is measured is what devbox-ctl adds to them. Without what only devbox-ctl fulfils,
/// its looks before a start among it.
const SETUP: &str = r"
set -eu
devbox-ctl create hand --no-start -q
mkdir -p /tmp/units && cp .config/containers/systemd/devbox/hand/devbox-* /tmp/units && sed -i '/PathExists=/d; /^Exec/d; /CONTAINERS_CONF_OVERRIDE/d; s/^StartLimitIntervalSec=.*/StartLimitIntervalSec=0/' /tmp/units/devbox-*
devbox-ctl destroy --now --yes -q hand
printf '%s\n' '#!/bin/sh' 'mkdir .config/containers/systemd/hand && cp /tmp/units/* .config/containers/systemd/hand && systemctl --user daemon-reload && exec systemctl --user start devbox-hand.service' > /tmp/create-by-hand
printf '%s\n' '#!/bin/sh' 'systemctl --user stop devbox-hand.service devbox-hand--home-volume.service devbox-hand--state-volume.service' 'podman volume rm -f hand-data hand--state' 'rm -rf .config/containers/systemd/hand' 'systemctl --user daemon-reload' > /tmp/destroy-by-hand
chmod +x /tmp/create-by-hand /tmp/destroy-by-hand
";

const CREATE_AND_START: &[Pair] = &[
    Pair {
        what: "create",
        ours: Case {
            prepare: "sh -c 'devbox-ctl destroy --now --yes -q bench; true'",
            command: "devbox-ctl create bench",
        },
        by_hand: (
            "units by hand, reload, start",
            Case { prepare: "/tmp/destroy-by-hand", command: "/tmp/create-by-hand" },
        ),
        at_most: 1.15,
    },
    Pair {
        what: "start",
        ours: Case { prepare: "sh -c 'devbox-ctl stop bench; true'", command: "devbox-ctl start bench" },
        by_hand: (
            "systemctl --user start",
            Case {
                prepare: "systemctl --user stop devbox-hand.service",
                command: "systemctl --user start devbox-hand.service",
            },
        ),
        at_most: 1.1,
    },
];

const LIST_OF_TEN: &[Pair] = &[
    Pair {
        what: "list, 10 boxes",
        ours: Case { prepare: "true", command: "devbox-ctl list" },
        by_hand: ("podman ps", Case { prepare: "true", command: "podman ps" }),
        at_most: 1.0 / 15.0,
    },
    Pair {
        what: "list, 10 boxes",
        ours: Case { prepare: "true", command: "devbox-ctl list" },
        by_hand: ("distrobox list", Case { prepare: "true", command: "distrobox list" }),
        at_most: 1.0 / 15.0,
    },
];

pub(crate) fn run(args: &Bench) -> Result<()> {
    let binary = build::release()?;
    tools::become_root()?;
    testbed::lab::down("bench", true)?;
    let host = testbed::up_with_image("bench", Debian::Trixie)?;
    host.install(&binary)?;
    let done = measure(&host, &binary, args);
    host.purge()?;
    done
}

fn measure(host: &Host, binary: &Path, args: &Bench) -> Result<()> {
    let has = |part| args.only.is_none_or(|only| only == part);
    let programs = binary.parent().unwrap_or(binary);
    println!("| what | devbox-ctl | by hand | ratio | promised | |\n| --- | --- | --- | --- | --- | --- |");
    std::fs::create_dir_all(host.root().join("etc/devbox")).context("no /etc/devbox")?;
    let mut broken = 0;
    if has(Part::Host) {
        broken += alone(host, binary, args.runs)?;
    }
    if has(Part::Tailnet) {
        broken += tailnet::measure(host, programs, args.runs)?;
    }
    if has(Part::Broker) {
        broken += broker::measure(host, programs, args.runs)?;
    }
    if has(Part::Backup) {
        broken += backup::measure(host, args.runs, args.files)?;
    }
    // The last: its boxes stay.
    if has(Part::Idle) {
        broken += idle::measure(host, args.runs)?;
    }
    if broken > 0 {
        bail!("{broken} of these are over what is promised");
    }
    Ok(())
}

/// devbox-ctl without a broker.
fn alone(host: &Host, binary: &Path, runs: u32) -> Result<usize> {
    let mut broken = 0;
    std::fs::write(host.root().join("etc/devbox/users.toml"), "[defaults]\nmax_boxes = 400\n")
        .context("no users.toml")?;
    shell(host, SETUP)?;
    for pair in CREATE_AND_START {
        broken += compare(host, pair, runs)?;
    }
    shell(host, &format!("/tmp/destroy-by-hand; test ! -e {HAND}; devbox-ctl destroy --now --yes -q bench"))?;

    progress::step("ten boxes");
    shell(host, "set -e; for n in 0 1 2 3 4 5 6 7 8 9; do devbox-ctl create -q box-$n; done")?;
    for pair in LIST_OF_TEN {
        broken += compare(host, pair, runs)?;
    }

    progress::step("three hundred boxes, ten of them running");
    shell(
        host,
        "set -e; cd .config/containers/systemd/devbox; for n in $(seq 10 299); do cp -r box-0 box-$n; cd box-$n; \
         for f in devbox-*; do mv $f devbox-box-$n${f#devbox-box-0}; done; sed -i s/box-0/box-$n/g *; cd ..; done",
    )?;
    let list = time(host, &Case { prepare: "true", command: "devbox-ctl list" }, runs)?;
    broken += limit("list, 300 boxes", list.median * 1000.0, "ms", 40.0);
    shell(host, "devbox-ctl stop -q box-1 box-2; devbox-ctl destroy --now --yes -q box-2")?;
    for verb in [&["list", "--json"][..], &["start", "box-1"], &["create", "box-2"]] {
        broken += limit(&format!("peak memory of {}, 300 boxes", verb[0]), peak_memory(host, verb)?, "MB", 15.0);
    }
    let size = std::fs::metadata(binary).context("no binary")?.len();
    #[allow(clippy::cast_precision_loss)] // a few megabytes
    let size = size as f64 / 1e6;
    broken += limit("release binary", size, "MB", 12.0);
    Ok(broken)
}

/// hyperfine's own report, as far as it is used.
#[derive(Deserialize)]
struct Report {
    results: Vec<Timing>,
}

#[derive(Deserialize)]
struct Timing {
    /// Seconds.
    median: f64,
    /// Of processor time, in the mean.
    user: f64,
    system: f64,
}

/// In megabytes, as time(1) reads it from the kernel.
fn peak_memory(host: &Host, verb: &[&str]) -> Result<f64> {
    let time = ["/usr/bin/time", "--format=%M", "--output=/tmp/peak", "devbox-ctl"];
    let output =
        host.command("alice").args(time).args(verb).stdin(Stdio::null()).output().context("cannot run time")?;
    let peak = host.command("alice").args(["cat", "/tmp/peak"]).output().context("no figure")?;
    let kibibytes: f64 = String::from_utf8_lossy(&peak.stdout).trim().parse().context("time printed no number")?;
    if output.status.success() {
        Ok(kibibytes * 1024.0 / 1e6)
    } else {
        bail!("{}", String::from_utf8_lossy(&output.stderr))
    }
}

fn compare(host: &Host, pair: &Pair, runs: u32) -> Result<usize> {
    let ours = time(host, &pair.ours, runs)?.median;
    let theirs = time(host, &pair.by_hand.1, runs)?.median;
    let ratio = ours / theirs;
    let ok = ratio <= pair.at_most;
    println!(
        "| {} | {:.1} ms | {} {:.1} ms | {ratio:.3} | ≤ {:.3} | {} |",
        pair.what,
        ours * 1000.0,
        pair.by_hand.0,
        theirs * 1000.0,
        pair.at_most,
        word(ok)
    );
    Ok(usize::from(!ok))
}

fn limit(what: &str, value: f64, unit: &str, at_most: f64) -> usize {
    let ok = value <= at_most && value > 0.0;
    println!("| {what} | {value:.1} {unit} | | | ≤ {at_most} {unit} | {} |", word(ok));
    usize::from(!ok)
}

fn word(ok: bool) -> &'static str {
    if ok { "yes" } else { "NO" }
}

/// The most memory that the running service has had, in megabytes.
fn peak_of(host: &Host, service: &str) -> Result<f64> {
    let script = format!("awk '/VmHWM/ {{ print $2 }}' /proc/$(systemctl show -P MainPID {service})/status");
    let peak = host.command("root").args(["sh", "-c", &script]).output().context("cannot enter the host")?;
    let kibibytes: f64 = String::from_utf8_lossy(&peak.stdout).trim().parse().context("it does not run")?;
    Ok(kibibytes * 1024.0 / 1e6)
}

fn time(host: &Host, case: &Case, runs: u32) -> Result<Timing> {
    time_as(host, "alice", case, runs)
}

fn time_as(host: &Host, user: &str, case: &Case, runs: u32) -> Result<Timing> {
    let runs = runs.to_string();
    let hyperfine =
        ["hyperfine", "--shell=none", "--style=none", "--warmup=1", "--runs", &runs, "--export-json=/tmp/report.json"];
    // --prepare goes through no shell either.
    let prepare = ["--prepare", case.prepare];
    let output = host
        .command(user)
        .args(hyperfine)
        .args(if case.prepare == "true" { &[][..] } else { &prepare[..] })
        .arg(case.command)
        .stdin(Stdio::null())
        .output()
        .context("cannot run hyperfine")?;
    if !output.status.success() {
        bail!("{}: {}", case.command, String::from_utf8_lossy(&output.stderr));
    }
    let report = host.command(user).args(["cat", "/tmp/report.json"]).output().context("no report")?;
    let report: Report = serde_json::from_slice(&report.stdout).context("hyperfine's report is not as expected")?;
    report.results.into_iter().next().context("an empty report")
}

fn shell(host: &Host, script: &str) -> Result<()> {
    let output =
        host.command("alice").args(["sh", "-c", script]).stdin(Stdio::null()).output().context("cannot run sh")?;
    if output.status.success() { Ok(()) } else { bail!("{}", String::from_utf8_lossy(&output.stderr)) }
}
