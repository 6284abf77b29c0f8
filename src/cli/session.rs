//! What most verbs begin with: the account, its manager, and what an earlier command left.

use crate::host::{Held, Hold, Host, HostError, Interrupts, Pending, Recovered, recover};
use crate::plan::{self, Plan};
use crate::spec::BoxName;

use super::error::{Failure, Kind};
use super::output::Output;
use super::progress::Spinner;

/// Everything a verb that changes something needs.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) host: Host,
    pub(super) out: Output,
}

impl Session {
    /// Connects, and changes nothing: for a dry run.
    pub(super) fn look(out: Output) -> Result<Self, Failure> {
        Ok(Self { host: Host::connect(Interrupts::catch())?, out })
    }

    /// Connects, and finishes what was cut short, but for a box that is about to be destroyed anyway.
    pub(super) fn begin(out: Output, but: Option<&BoxName>) -> Result<Self, Failure> {
        let session = Self::look(out)?;
        session.recover(but)?;
        Ok(session)
    }

    /// Finishes what was cut short.
    pub(super) fn recover(&self, but: Option<&BoxName>) -> Result<(), Failure> {
        for found in recover(&self.host, but)? {
            self.out.warning(&match found {
                Recovered::Destroyed(name) => format!("destroying {name} had been cut short; it is finished now"),
                Recovered::Trashed(name) => {
                    format!("destroying {name} had been cut short; it is finished now, and {name} is in the trash")
                }
                Recovered::PutBack(name) => {
                    format!("restoring {name} had been cut short; it is in the trash as before")
                }
                Recovered::Created { name, starting, restored } => format!(
                    "{} {name} had been cut short; it is {}: `devbox-ctl start {name}`, or `devbox-ctl destroy {name}`",
                    if restored { "restoring" } else { "creating" },
                    if starting { "starting" } else { "not started" }
                ),
                Recovered::Stuck(name, why) => {
                    format!("destroying {name} had been cut short and still fails: {}", Failure::from(why).message)
                }
                Recovered::Unsettled(name, why) => {
                    format!("{name} runs without a place in the broker's ledger: {}", Failure::from(why).message)
                }
                Recovered::TakenBack(name) => {
                    format!("creating {name} from a backup had been cut short; what had been done is taken back")
                }
                Recovered::Unswept(why) => Failure::from(why).message,
            });
        }
        Ok(())
    }

    /// The box of this name, locked.
    pub(super) fn hold(&self, name: &BoxName) -> Result<Held, Failure> {
        match self.host.hold(name) {
            Err(HostError::Gone { .. }) => Err(Failure::no_such_box(name)),
            other => Ok(other?),
        }
    }

    /// The one of this name that is in the trash, locked.
    pub(super) fn hold_trashed(&self, name: &BoxName) -> Result<Held, Failure> {
        match self.host.hold_trashed(name) {
            Err(HostError::Gone { .. }) => {
                Err(Failure::new(Kind::NoSuchBox, format!("there is no {name} in your trash"))
                    .hint("`devbox-ctl trash` shows what is in it"))
            }
            other => Ok(other?),
        }
    }

    /// All are tried: the first failure is the command's, the others are told on the way. An interruption ends it.
    pub(super) fn all<T>(
        &self,
        of: impl IntoIterator<Item = T>,
        act: impl Fn(T) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut first = Ok(());
        for one in of {
            let done = self.host.interrupts.check().map_err(Failure::from).and_then(|()| act(one));
            let Err(failure) = done else { continue };
            let interrupted = failure.kind == Kind::Interrupted;
            if interrupted || first.is_ok() {
                first = Err(failure);
            } else if !self.out.json {
                super::output::error_text(&failure.text());
            }
            if interrupted {
                break;
            }
        }
        first
    }

    /// Checks a plan and carries it out with a spinner.
    pub(super) fn apply(&self, plan: &Plan, hold: Hold) -> Result<(), Failure> {
        plan::check(plan)?;
        let spinner = Spinner::new(self.out);
        Ok(self.host.apply(plan, hold, &|text| spinner.step(text))?)
    }
}

/// The boxes a verb is for.
#[derive(Debug, clap::Args)]
pub(super) struct Names {
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Runs a verb on each of its boxes. Every name is judged before anything is done to any box.
pub(super) fn each(
    typed: &Names,
    out: Output,
    act: impl Fn(&Session, Held) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let names: Vec<BoxName> = typed.names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let session = Session::begin(out, None)?;
    session.all(&names, |name| {
        let held = session.hold(name)?;
        refuse_half(&held)?;
        act(&session, held)
    })
}

pub(super) fn half_destroyed(name: &BoxName) -> Failure {
    half(name, "is half destroyed")
}

fn half(name: &BoxName, what: &str) -> Failure {
    Failure::new(Kind::Backend, format!("{name} {what}"))
        .hint(format!("`devbox-ctl destroy --yes {name}` takes it away, and says what is in the way"))
}

/// A box that is going away, or is not whole yet.
pub(super) fn refuse_half(held: &Held) -> Result<(), Failure> {
    let name = &held.entry.name;
    match held.entry.pending {
        Some(Pending::Destroy { .. } | Pending::Trash) => Err(half_destroyed(name)),
        Some(Pending::Fill) => Err(half(name, "is half made of a backup")),
        Some(Pending::Create { .. }) | None => Ok(()),
    }
}
