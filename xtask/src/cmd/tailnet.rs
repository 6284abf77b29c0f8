//! `cargo xtask lab tailnet …`

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use clap::Subcommand;
use testbed::daemon::Life;
use testbed::lab::Host;
use testbed::tailnet;

#[derive(Debug, Subcommand)]
pub(crate) enum Tailnet {
    /// Start a new one beside a host that is up; alice and bob each have a device on it, named after them
    Up {
        #[arg(default_value = "lab")]
        name: String,
    },
    /// Run headscale's command line: `lab tailnet server nodes list`
    Server {
        #[arg(long, default_value = "lab")]
        name: String,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run tailscale on somebody's device: `lab tailnet device alice ssh dev@my-project`
    Device {
        #[arg(long, default_value = "lab")]
        name: String,
        /// alice or bob
        device: String,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// End it, with its devices; nothing of it is kept
    Down {
        #[arg(default_value = "lab")]
        name: String,
    },
}

pub(crate) fn run(verb: Tailnet) -> Result<()> {
    match verb {
        Tailnet::Up { name } => {
            let up = tailnet::Tailnet::up(&Host::attach(&name)?, Life::Kept)?;
            for user in tailnet::USERS {
                up.device(user, user)?;
            }
            println!("control server     {}", up.url());
            println!("its certificate    {}", up.ca().display());
            println!("REST API's key     {}", up.api_key_file().display());
            let name = if name == "lab" { String::new() } else { format!(" --name {name}") };
            println!("headscale          cargo xtask lab tailnet server{name} nodes list");
            println!("alice's device     cargo xtask lab tailnet device{name} alice status");
            Ok(())
        }
        // In our place: terminal, signals and exit status are the command's.
        Tailnet::Server { name, arguments } => {
            let mut server = tailnet::Tailnet::attach(&Host::attach(&name)?)?.headscale(&[]);
            Err(server.args(arguments).exec()).context("cannot run headscale")
        }
        Tailnet::Device { name, device, arguments } => {
            let device = tailnet::Tailnet::attach(&Host::attach(&name)?)?.attach_device(&device)?;
            Err(device.command(&arguments).exec()).context("cannot run tailscale")
        }
        Tailnet::Down { name } => tailnet::down(&name),
    }
}
