//! `cargo xtask`: the project's own tools.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use testbed::interrupt::Interrupted;

mod cmd;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "devbox-ctl's own tools")]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lab hosts: real Debian systems with systemd and podman, booted in about two seconds
    #[command(subcommand)]
    Lab(cmd::lab::Lab),
    /// Machines in QEMU, for what a lab host cannot enforce: cpu, memory and task limits
    #[command(subcommand)]
    Vm(cmd::vm::Vm),
    /// Build the box image into target/devbox-image.oci.tar
    Image(cmd::image::Image),
    /// Try devbox-ctl: builds all that it needs, boots a host and creates a box on it
    Try(cmd::trial::Try),
    /// Install devbox-ctl and devboxd on this host, or under a root for a package
    Install(cmd::install::Install),
    /// Run the tests, those on real hosts included
    Test(cmd::test::Test),
    /// Build and cache what the tests need: Debian roots, the box image, headscale. `test` does this too where it has to
    Prepare(cmd::prepare::Prepare),
    /// Measure devbox-ctl beside what a person would do by hand, on a lab host
    Bench(cmd::bench::Bench),
}

fn main() -> ExitCode {
    let done = match Args::parse().verb {
        Verb::Lab(lab) => cmd::lab::run(lab),
        Verb::Vm(vm) => cmd::vm::run(vm),
        Verb::Image(image) => cmd::image::run(&image),
        Verb::Try(args) => cmd::trial::run(&args),
        Verb::Install(args) => cmd::install::run(&args),
        Verb::Test(args) => cmd::test::run(&args),
        Verb::Prepare(args) => cmd::prepare::run(&args),
        Verb::Bench(args) => cmd::bench::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(if e.is::<Interrupted>() { 130 } else { 1 })
        }
    }
}
