//! `ssh NAME`, and the proxy behind it.
//!
//! Nothing listens: ssh talks to an sshd that is started in the box for this one connection, over the pipe of an
//! `exec`. Who may exec is the box's owner, by the kernel's word; the key only satisfies the protocol.

use std::os::unix::process::CommandExt;
use std::process::Command;

use super::error::{Failure, Kind};
use super::exec::{replace, running};
use super::output::Output;
use super::ssh_config;
use crate::host::{podman, ssh_key};
use crate::spec::BoxName;

/// Open a shell in a box, or run a command there, over SSH
#[derive(Debug, clap::Args)]
#[command(
    after_help = "As with ssh(1), a shell in the box reads CMD: its words are joined by spaces and split again.\n`devbox-ctl exec` passes every word as it is.\n\nExamples:\n  devbox-ctl ssh my-project\n  devbox-ctl ssh my-project -- make test\n  devbox-ctl ssh -t my-project -- htop"
)]
pub(super) struct Args {
    name: String,
    /// Let the box use your ssh agent while you are connected, as `ssh -A` does
    #[arg(short = 'A')]
    forward_agent: bool,
    /// Give CMD a terminal, as `ssh -t` does
    #[arg(short = 't')]
    terminal: bool,
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct ProxyArgs {
    name: String,
}

pub(super) fn run(args: &Args, _: Output) -> Result<(), Failure> {
    let name: BoxName = args.name.parse()?;
    let (account, _) = running(&name)?;
    ssh_key::public(&account)?;
    let mut command = Command::new("ssh");
    for (key, value) in ssh_config::options(&account, &name)? {
        command.arg("-o").arg(format!("{key}={value}"));
    }
    if args.forward_agent {
        command.arg("-A");
    }
    if args.terminal {
        command.arg("-t");
    }
    command.arg("--").arg(name.as_str()).args(&args.command);
    let error = command.exec();
    Err(Failure::new(Kind::Backend, format!("ssh cannot be run: {error}"))
        .hint("an administrator can install openssh-client"))
}

pub(super) fn proxy(args: &ProxyArgs, _: Output) -> Result<(), Failure> {
    let name: BoxName = args.name.parse()?;
    let (account, podman) = running(&name)?;
    let mut command = vec!["/usr/libexec/devbox/sshd-stdio".to_owned()];
    command.extend(ssh_key::accepted(&account)?);
    Err(replace(&podman, &podman::exec_arguments(&name, "root", false, &command)))
}
