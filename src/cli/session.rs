//! What most verbs begin with: the account, its manager, and what an earlier command left.

use crate::host::systemd::Systemd;
use crate::host::{Account, Entry, Host, Interrupts, Recovered, entry, recover};
use crate::plan::{self, Plan};
use crate::spec::BoxName;

use super::error::Failure;
use super::output::Output;
use super::progress::Spinner;

/// Everything a verb that changes something needs.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) host: Host,
    pub(super) out: Output,
    /// Boxes whose destruction this command finished.
    pub(super) destroyed: Vec<BoxName>,
}

impl Session {
    /// Connects, and changes nothing: for a dry run.
    pub(super) fn look(out: Output) -> Result<Self, Failure> {
        let interrupts = Interrupts::catch();
        let account = Account::current()?;
        let systemd = Systemd::connect(&account)?;
        Ok(Self { host: Host { account, systemd, interrupts }, out, destroyed: Vec::new() })
    }

    /// Connects, and finishes what was cut short.
    pub(super) fn begin(out: Output) -> Result<Self, Failure> {
        let mut session = Self::look(out)?;
        for found in recover(&session.host)? {
            match found {
                Recovered::Destroyed(name) => {
                    out.warning(&format!("destroying {name} had been cut short; it is finished now"));
                    session.destroyed.push(name);
                }
                Recovered::Created(name) => out.warning(&format!(
                    "creating {name} had been cut short; it is not started: `devbox-ctl start {name}` or `devbox-ctl destroy {name}`"
                )),
                Recovered::Stuck(name, why) => {
                    out.warning(&format!("destroying {name} had been cut short and still fails: {}", Failure::from(why).message));
                }
            }
        }
        Ok(session)
    }

    /// The box of this name.
    pub(super) fn entry(&self, name: &BoxName) -> Result<Entry, Failure> {
        entry(&self.host.account, name).ok_or_else(|| Failure::no_such_box(name))
    }

    /// Checks a plan and carries it out with a spinner.
    pub(super) fn apply(&self, plan: &Plan, admission: Option<crate::host::AccountLock>) -> Result<(), Failure> {
        plan::check(plan)?;
        let spinner = Spinner::new(self.out);
        Ok(self.host.apply(plan, admission, &|text| spinner.step(text))?)
    }
}

/// The boxes a verb is for.
#[derive(Debug, clap::Args)]
pub(super) struct Names {
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Runs a verb on each of its boxes. Every name is judged before anything is done to any box; then all are tried, and
/// the first failure is the command's, the others are told on the way.
pub(super) fn each(
    typed: &Names,
    out: Output,
    act: impl Fn(&Session, &BoxName) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let names: Vec<BoxName> = typed.names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let session = Session::begin(out)?;
    let mut first = Ok(());
    for name in &names {
        match act(&session, name) {
            Err(failure) if first.is_ok() => first = Err(failure),
            Err(failure) if !out.json => super::output::error_text(&failure.text()),
            _ => {}
        }
    }
    first
}
