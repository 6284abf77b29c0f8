//! `cargo xtask lab …`

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use clap::Subcommand;
use testbed::artifacts::Debian;
use testbed::lab::{self, Host};
use testbed::{tailnet, tools};

#[derive(Debug, Subcommand)]
pub(crate) enum Lab {
    /// Boot a host, or say that it is up
    Up {
        #[arg(default_value = "lab")]
        name: String,
        /// With the box image loaded for alice, bob and carol
        #[arg(long)]
        image: bool,
        /// The Debian release that it is made of: trixie or forky
        #[arg(long, default_value_t = Debian::Trixie)]
        debian: Debian,
    },
    /// Run a command in a host: `lab in alice podman info`, `lab in alice bash`
    In {
        #[arg(long, default_value = "lab")]
        name: String,
        /// alice, bob, carol, dave (no user manager) or root
        user: String,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// Power a host off and boot it again
    Reboot {
        #[arg(default_value = "lab")]
        name: String,
    },
    /// Power a host off; its root is kept for the next `up`
    Down {
        #[arg(default_value = "lab")]
        name: String,
        /// Every host there is
        #[arg(long, conflicts_with = "name")]
        all: bool,
        /// At once, and remove its root too
        #[arg(long)]
        purge: bool,
    },
    /// A tailnet beside a host: a real control server (headscale), which its boxes can reach
    #[command(subcommand)]
    Tailnet(super::tailnet::Tailnet),
}

pub(crate) fn run(verb: Lab) -> Result<()> {
    tools::become_root()?;
    match verb {
        Lab::Up { name, image: false, debian } => testbed::up(&name, debian).map(drop),
        Lab::Up { name, image: true, debian } => testbed::up_with_image(&name, debian).map(drop),
        Lab::In { name, user, command } => {
            let mut enter = Host::attach(&name)?.command(&user);
            // In our place: terminal, signals and exit status are the command's.
            Err(enter.args(command).exec()).context("cannot enter the host")
        }
        Lab::Reboot { name } => Host::attach(&name)?.reboot(),
        Lab::Down { all: true, purge, .. } => lab::names()?.iter().try_for_each(|name| down(name, purge)),
        Lab::Down { name, purge, .. } => down(&name, purge),
        Lab::Tailnet(verb) => super::tailnet::run(verb),
    }
}

/// Its tailnet goes with it: the address that it is on does.
fn down(name: &str, purge: bool) -> Result<()> {
    tailnet::down(name)?;
    lab::down(name, purge)
}
