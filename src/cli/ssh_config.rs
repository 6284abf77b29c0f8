//! `ssh-config`: one Include file of ours; the user's own file gets one line and is otherwise left byte for byte.

use std::fmt::Write as _;
use std::path::Path;

use super::error::{Failure, Kind};
use super::output::{self, Output};
use crate::host::{Account, AccountLock, Host, Interrupts, entries, ssh_files, ssh_key};
use crate::quadlet::names;
use crate::spec::BoxName;

/// Print or install SSH settings, so that `ssh NAME`, scp and editors reach your boxes
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  devbox-ctl ssh-config --install && ssh my-project\n  ssh HOST devbox-ctl ssh-config --for-client >> ~/.ssh/config   (on your laptop)"
)]
pub(super) struct Args {
    /// Write our file and have ~/.ssh/config include it
    #[arg(long, conflicts_with = "for_client")]
    install: bool,
    /// Settings for another machine from which you reach this host by ssh
    #[arg(long)]
    for_client: bool,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let account = Account::current()?;
    if args.for_client {
        output::raw(&for_client(&account)?);
        return Ok(());
    }
    ssh_key::public(&account)?;
    if !args.install {
        output::raw(&text(&account)?);
        return Ok(());
    }
    write(&account, &Interrupts::catch())?;
    let include = account.ssh_include();
    match ssh_files::add_include(&account) {
        Ok(true) => out.remark(&format!("{} now includes {}", account.ssh_config().display(), include.display())),
        Ok(false) => out.remark(&format!("{} is up to date", include.display())),
        Err(why) => {
            return Err(Failure::from(why)
                .hint(format!("put this line at its top yourself: {}", ssh_files::include_line(&account))));
        }
    }
    Ok(())
}

/// Brings an installed file up to date; without one, nothing is done. A failure here spoils no create or destroy.
pub(super) fn refresh(host: &Host) {
    if host.account.ssh_include().exists() {
        let _ = write(&host.account, &host.interrupts);
    }
}

/// Under the account's lock: of two commands at once, the later one knows of both's boxes.
fn write(account: &Account, interrupts: &Interrupts) -> Result<(), Failure> {
    let _lock = AccountLock::take(account, interrupts)?;
    Ok(ssh_files::write_include(account, &text(account)?)?)
}

fn text(account: &Account) -> Result<String, Failure> {
    let mut text = "# Written by devbox-ctl for your boxes; changes here are lost.\n".to_owned();
    for entry in entries(account)? {
        let _ = write!(text, "\nHost {}\n", entry.name);
        for (key, value) in options(account, &entry.name)? {
            let _ = writeln!(text, "  {key} {value}");
        }
    }
    Ok(text)
}

/// What ssh must know of a box, as ssh_config(5) names it.
pub(super) fn options(account: &Account, name: &BoxName) -> Result<Vec<(&'static str, String)>, Failure> {
    let program = std::env::current_exe().map_err(|e| Failure::new(Kind::Bug, format!("no path of my own: {e}")))?;
    let known = account.folder(name).join(names::KNOWN_HOSTS_FILE);
    Ok(vec![
        ("HostName", name.to_string()),
        ("User", "dev".to_owned()),
        ("ProxyCommand", format!("{} ssh-proxy {name}", shell_word(&program)?)),
        ("HostKeyAlias", names::container(name)),
        ("IdentityFile", quoted(&account.ssh_key())?),
        ("IdentitiesOnly", "yes".to_owned()),
        // The pipe already ends in the owner's own box; the key is pinned to notice a box that lost its state.
        ("UserKnownHostsFile", quoted(&known)?),
        ("StrictHostKeyChecking", "accept-new".to_owned()),
        // Who is root in a box could use an agent that is forwarded to it; `-A` asks for it.
        ("ForwardAgent", "no".to_owned()),
        ("LogLevel", "ERROR".to_owned()),
    ])
}

fn for_client(account: &Account) -> Result<String, Failure> {
    let host = crate::host::own_name();
    let mut text = format!("# Boxes of {} on {host}; put the name by which you reach that host.\n", account.user);
    for entry in entries(account)? {
        let name = &entry.name;
        let _ = write!(
            text,
            "\nHost {name}\n  User dev\n  HostKeyAlias {}\n  ProxyCommand ssh {}@{host} devbox-ctl ssh-proxy {name}\n  StrictHostKeyChecking accept-new\n  ForwardAgent no\n",
            names::container(name),
            account.user
        );
    }
    Ok(text)
}

/// A path as one word of the shell that ssh runs a ProxyCommand with, after ssh's own percent tokens.
fn shell_word(path: &Path) -> Result<String, Failure> {
    Ok(format!("'{}'", plain(path)?.replace('\'', "'\\''").replace('%', "%%")))
}

/// A path as one argument of ssh_config(5).
fn quoted(path: &Path) -> Result<String, Failure> {
    let text = plain(path)?;
    if text.contains('"') {
        return Err(odd(path));
    }
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

fn plain(path: &Path) -> Result<&str, Failure> {
    path.to_str().filter(|p| !p.chars().any(char::is_control)).ok_or_else(|| odd(path))
}

fn odd(path: &Path) -> Failure {
    Failure::new(Kind::InvalidInput, format!("ssh_config cannot hold the path {}", path.display()))
}
