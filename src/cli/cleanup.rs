//! `cleanup`: what the owner's daily timer runs; and `sample`, which runs every few minutes.

use jiff::Timestamp;
use serde::Serialize;

use super::error::{Failure, Kind};
use super::output::{self, Output};
use super::session::Session;
use crate::host::life::{self, Open, Outlook};
use crate::host::{self, Account, Held as HeldBox};
use crate::plan::{self, TrashedBy};
use crate::policy::life::book::{Book, Record};
use crate::policy::life::{Act, Held, Now, Work};
use crate::settings::Settings;
use crate::spec::BoxName;

/// Warn of, stop and put away boxes that nobody uses, as your terms say; a timer of yours runs this daily
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl cleanup --dry-run")]
pub(super) struct Args {
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Look at your boxes and note whether they are used
#[derive(Debug, clap::Args)]
pub(super) struct SampleArgs {}

/// Show, once each, what your boxes were warned of
#[derive(Debug, clap::Args)]
pub(super) struct NoticesArgs {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Due {
    name: BoxName,
    act: Act,
    /// `warn` or `do`.
    now: &'static str,
    at: Option<Timestamp>,
    held: Option<Held>,
}

pub(super) fn sample(_: &SampleArgs, _: Output) -> Result<(), Failure> {
    let account = Account::current()?;
    let mut open = Open::wait(&account)?;
    life::sample(&account, &mut open.book)?;
    Ok(open.save()?)
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    // Before anything: what is due is decided by settings that hold.
    let settings = host::settings()?;
    if args.dry_run {
        let account = Account::current()?;
        let mut book = life::read(&account);
        life::sample(&account, &mut book)?;
        show(&outlooks(&account, &book, &settings)?, out);
        return Ok(());
    }
    let session = Session::begin(out, None)?;
    let account = session.host.account.clone();
    let mut open = Open::wait(&account)?;
    if let Some(why) = &open.anew {
        out.warning(&format!("what was known of how your boxes are used cannot be read, and is counted anew: {why}"));
    }
    life::sample(&account, &mut open.book)?;
    open.save()?;
    let due = outlooks(&account, &open.book, &settings)?;
    // Whoever keeps a box awake meanwhile is not kept waiting.
    drop(open);
    let mut first = Ok(());
    for outlook in due.iter().filter(|o| o.decision.now != Now::Nothing) {
        let done = one(&session, &outlook.name, &settings);
        first = first.and(done);
    }
    first
}

fn outlooks(account: &Account, book: &Book, settings: &Settings) -> Result<Vec<Outlook>, Failure> {
    let owner = settings.owner(&account.user);
    let full = life::is_trash_full(account, owner)?;
    Ok(life::outlooks(book, &life::all(account)?, owner, full))
}

/// Decided again once nobody else is at work on the box: it may have been used, started or kept awake since.
fn one(session: &Session, name: &BoxName, settings: &Settings) -> Result<(), Failure> {
    let account = &session.host.account;
    let held = match session.hold(name) {
        Err(failure) if failure.kind == Kind::NoSuchBox => session.hold_trashed(name)?,
        other => other?,
    };
    let mut open = Open::wait(account)?;
    life::sample(account, &mut open.book)?;
    let owner = settings.owner(&account.user);
    let outlook = life::outlook(&open.book, &held.entry, owner, life::is_trash_full(account, owner)?);
    // It may take minutes, and who keeps a box awake is not to wait for it.
    drop(open);
    let Some((act, left)) = outlook.decision.next else { return Ok(()) };
    match outlook.decision.now {
        Now::Nothing => Ok(()),
        Now::Warn { stage } => warn(session, &held, &outlook, (act, left), stage),
        Now::Do => act_on(session, held, &outlook, act),
    }
}

fn warn(
    session: &Session,
    held: &HeldBox,
    outlook: &Outlook,
    (act, left): (Act, u64),
    stage: u64,
) -> Result<(), Failure> {
    let found = life::look_through(&session.host, &held.entry).unwrap_or_default();
    let mut text = super::why::notice(&outlook.name, act, left);
    if found.work == Work::Some {
        text += &format!("; git work in it that is nowhere else: {}", found.text);
    }
    for trouble in life::tell(&session.host, outlook, &text) {
        session.out.warning(&trouble);
    }
    let mut open = Open::wait(&session.host.account)?;
    if let Some(record) = open.book.record_mut(&outlook.name) {
        record.warned(act, stage);
        record.found = found;
    }
    open.save()?;
    session.out.remark(&text);
    Ok(())
}

fn act_on(session: &Session, held: HeldBox, outlook: &Outlook, act: Act) -> Result<(), Failure> {
    let name = &outlook.name;
    let spent = outlook.record.as_ref().map(Record::spent).unwrap_or_default();
    let spent = output::span(spent.cast_signed());
    let said = match act {
        Act::Stop => {
            let why = format!("nobody had used it for {spent}");
            session.apply(&plan::stop(name, &why), held.into())?;
            format!("{name} is stopped: {why}")
        }
        Act::Trash => {
            let why = format!("it was stopped for {spent}");
            super::destroy::move_away(session, held, TrashedBy::Timer, Some(why.clone()))?;
            format!("{name} is in the trash: {why}; `devbox-ctl restore {name}` brings it back")
        }
        // What a timer put there may have got work since it was warned of; nobody deletes that.
        Act::Reclaim if life::look_through(&session.host, &held.entry).unwrap_or_default().work != Work::None => {
            format!("{name} stays in the trash: there may be work in it that is nowhere else")
        }
        Act::Empty | Act::Reclaim => {
            super::trash::delete(session, held, &[])?;
            format!("{name} is deleted: it was in the trash for {spent}")
        }
    };
    session.out.remark(&said);
    Ok(())
}

fn show(outlooks: &[Outlook], out: Output) {
    let due: Vec<Due> = outlooks
        .iter()
        .filter_map(|outlook| {
            let (act, left) = outlook.decision.next?;
            let (name, at, held) = (outlook.name.clone(), life::in_seconds(left), outlook.decision.held);
            let now = match outlook.decision.now {
                Now::Nothing => return None,
                Now::Warn { .. } => "warn",
                Now::Do => "do",
            };
            Some(Due { name, act, now, at, held })
        })
        .collect();
    if out.json {
        return output::json(&due);
    }
    if due.is_empty() {
        out.remark("nothing is to be done");
    }
    for outlook in outlooks {
        let Some((act, left)) = outlook.decision.next else { continue };
        match outlook.decision.now {
            Now::Nothing => {}
            Now::Warn { .. } => output::line(&format!("warn: {}", super::why::notice(&outlook.name, act, left))),
            Now::Do => output::line(&super::why::would(&outlook.name, act)),
        }
    }
}

pub(super) fn notices(_: &NoticesArgs, _: Output) -> Result<(), Failure> {
    let account = Account::current()?;
    if !life::is_kept(&account) {
        return Ok(());
    }
    let settings = host::settings()?;
    let mut open = Open::wait(&account)?;
    let mut shown = false;
    for outlook in outlooks(&account, &open.book, &settings)? {
        let Some(record) = open.book.record_mut(&outlook.name) else { continue };
        if let (Some(warned), Some((act, left))) = (record.show(), outlook.decision.next) {
            shown = true;
            if warned == act {
                output::line(&super::why::notice(&outlook.name, act, left));
            }
        }
    }
    if shown { Ok(open.save()?) } else { Ok(()) }
}
