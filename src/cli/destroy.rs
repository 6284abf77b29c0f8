//! `destroy NAME`.

use super::error::{Failure, Kind};
use super::output::Output;
use super::session::Session;
use super::trash::{delete, kept};
use super::{ask, ssh_config, trash};
use crate::host::{self, Account, AccountLock, Entry, Held, Left, Pending, entry, tidy, trash_names, trashed_entry};
use crate::plan::{self, Place, TrashedBy};
use crate::policy::limits::{Refusal, admit_to_trash};
use crate::quadlet::names;
use crate::spec::BoxName;
use crate::wire::in_trash;

/// Move a box into the trash, after asking; `restore` brings it back
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  devbox-ctl destroy my-project\n  devbox-ctl restore my-project\n  devbox-ctl destroy --now my-project"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Args {
    name: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Delete the box at once and keep its volumes: a box created under this name has the data again
    #[arg(long)]
    keep_volume: bool,
    /// Delete it and its data at once, for good; also one that is in the trash
    #[arg(long)]
    now: bool,
    /// An administrator says so
    #[arg(long, hide = true)]
    by_administrator: bool,
}

impl Args {
    /// Whether it is deleted, and not moved.
    fn at_once(&self) -> bool {
        self.now || self.keep_volume
    }
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let name: BoxName = args.name.parse()?;
    if !args.yes {
        confirm(args, &name)?;
    }
    // Its own destruction, should one have been cut short, is gone on with here, where it is known what to keep.
    let session = Session::begin(out, Some(&name))?;
    let said = match session.hold(&name) {
        Ok(held) if args.at_once() || is_being_deleted(&held.entry) => {
            let keep = kept(&held.entry, &keep(args, &held.entry));
            let plan = plan::destroy(&name, Place::Boxes, &keep, session.host.broker()?.is_some());
            session.apply(&plan, held.into()).map_err(|failure| half_done(&session, &name, failure))?;
            gone(&name, &keep, args.keep_volume)
        }
        Ok(held) => {
            let by = if args.by_administrator { TrashedBy::Administrator } else { TrashedBy::Owner };
            let moved = move_away(&session, held, by, None).map_err(|failure| half_done(&session, &name, failure))?;
            format!("{name} is in the trash until {moved}; `devbox-ctl restore {name}` brings it back")
        }
        Err(failure) if failure.kind != Kind::NoSuchBox => return Err(failure),
        Err(failure) => match trashed_entry(&session.host.account, &name) {
            Some(entry) if args.at_once() || is_being_deleted(&entry) => {
                let keep = kept(&entry, &keep(args, &entry));
                let held = session.hold_trashed(&name)?;
                delete(&session, held, &keep).map_err(|failure| half_done(&session, &name, failure))?;
                gone(&name, &keep, args.keep_volume)
            }
            Some(_) => {
                let failure = Failure::new(Kind::AlreadySo, format!("{name} is in the trash already"));
                return Err(failure.hint(in_trash(&name)));
            }
            None => return Err(failure),
        },
    };
    ssh_config::refresh(&session.host);
    let broker = session.host.broker()?;
    let left = tidy(&session.host.account, broker);
    out.remark(&said);
    match left {
        Ok(Left { count: 1.., why }) => {
            let left = Failure::new(Kind::TailnetLeft, format!("{name} could not be taken off the tailnet yet"));
            Err(Failure { facts: why, ..left }.hint(if broker.is_some() {
                "that is tried again every quarter of an hour; `journalctl -u devboxd` says why"
            } else {
                "`devboxes-tend.timer` of yours tries it again every few minutes"
            }))
        }
        // Whether a device is left is then unknown, and the timer's to find out.
        Err(why) => Err(Failure { kind: Kind::TailnetLeft, ..Failure::from(why) }),
        Ok(_) => Ok(()),
    }
}

/// What was begun with `--now` is gone on with as it was meant; and what is half made of a backup is in the backup too.
fn is_being_deleted(entry: &Entry) -> bool {
    matches!(entry.pending, Some(Pending::Destroy { .. } | Pending::Fill))
}

fn keep(args: &Args, entry: &Entry) -> Vec<String> {
    let name = &entry.name;
    if args.keep_volume && entry.pending != Some(Pending::Fill) { names::volumes(name).to_vec() } else { Vec::new() }
}

fn gone(name: &BoxName, keep: &[String], asked: bool) -> String {
    match (keep.is_empty(), asked) {
        (true, _) => format!("{name} is deleted"),
        (false, true) => format!("{name} is deleted; its data is kept"),
        (false, false) => format!("{name} is deleted; its data is kept, as the destroy before this one had said"),
    }
}

/// Into the trash; until when, in words.
pub(super) fn move_away(session: &Session, held: Held, by: TrashedBy, why: Option<String>) -> Result<String, Failure> {
    let account = &session.host.account;
    let name = &held.entry.name.clone();
    if trashed_entry(account, name).is_some() {
        return Err(Failure::new(Kind::Exists, format!("there is another {name} in the trash"))
            .fact(format!("its folder is {}", account.folder_in(Place::Trash, name).display()))
            .hint("nothing was changed; the data is of both, so that one of the folders has to be moved by hand"));
    }
    let brokered = session.host.broker()?.is_some();
    // The box before the account: whoever is at work on it may be so for a minute, and nobody else is to wait for that.
    let admission = AccountLock::take(account, &session.host.interrupts)?;
    if !brokered {
        let trashed = trash_names(account)?;
        admit_to_trash(&account.user, name, &trashed, &host::settings()?).map_err(|refusal| full(refusal, &trashed))?;
    }
    let days = host::settings()?.owner(&account.user).trash_days;
    let plan = plan::trash(name, by, why, (by == TrashedBy::Owner).then_some(days), brokered);
    session.apply(&plan, (held, admission).into())?;
    let emptied_at = trashed_entry(account, name).and_then(|entry| trash::view(account, &entry).emptied_at);
    Ok(trash::until(emptied_at))
}

/// Which boxes fill it, so that one can be chosen.
fn full(refusal: Refusal, trashed: &[BoxName]) -> Failure {
    let names = trashed.iter().map(BoxName::as_str).collect::<Vec<_>>().join(", ");
    let failure = Failure::from(refusal);
    if names.is_empty() { failure } else { failure.fact(format!("in the trash: {names}")) }
}

/// Asked before anything is connected to, and before signals are caught: Ctrl-C at the question just ends it.
fn confirm(args: &Args, name: &BoxName) -> Result<(), Failure> {
    let account = Account::current()?;
    let live = entry(&account, name);
    let is_trashed = live.is_none();
    let entry = live.or_else(|| trashed_entry(&account, name)).ok_or_else(|| Failure::no_such_box(name))?;
    let at_once = args.at_once() || is_being_deleted(&entry);
    if is_trashed && !at_once {
        let failure = Failure::new(Kind::AlreadySo, format!("{name} is in the trash already"));
        return Err(failure.hint(in_trash(name)));
    }
    let question = if args.keep_volume {
        format!("Destroy {name} for good? Its data is kept.")
    } else if at_once {
        format!("Destroy {name} for good? Its data in /home/dev is deleted with it.")
    } else {
        let days =
            host::settings().ok().map(|settings| settings.owner(&account.user).trash_days).filter(|days| *days > 0);
        let until =
            days.and_then(|days| host::now().checked_add(jiff::SignedDuration::from_hours(i64::from(days) * 24)).ok());
        format!("Destroy {name}? It goes to the trash, and can be restored until {}.", trash::until(until))
    };
    match ask::yes(&question) {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new(Kind::Interrupted, "not destroyed")),
        None => {
            let option = if args.now { "--now --yes" } else { "--yes" };
            Err(Failure::new(Kind::InvalidInput, "destroy asks first, and there is no terminal to ask on")
                .hint(format!("`devbox-ctl destroy {option} {name}`")))
        }
    }
}

fn half_done(session: &Session, name: &BoxName, failure: Failure) -> Failure {
    let account = &session.host.account;
    let entry = entry(account, name).or_else(|| trashed_entry(account, name));
    match entry.and_then(|e| e.pending) {
        Some(Pending::Destroy { .. } | Pending::Trash) => {
            failure.fact(format!("{name} is half destroyed; the next command that changes something goes on with it"))
        }
        _ => failure,
    }
}
