//! `cleanup`: what the owner's daily timer runs; and `sample`, which runs every few minutes.

use jiff::Timestamp;
use serde::Serialize;

use super::error::{Failure, Kind};
use super::output::{self, Output};
use super::session::Session;
use crate::host::life::{self, Open, Outlook};
use crate::host::{self, Account, Held as HeldBox, HostError};
use crate::plan::{self, TrashedBy};
use crate::policy::life::book::{Book, Record};
use crate::policy::life::{Act, Held, Now, Work};
use crate::policy::warning::{Event, Unsaid};
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
    look(&Account::current()?, |book| book.sampled = Some(host::now())).map(drop)
}

/// Looks at all boxes, and writes down what was seen.
fn look(account: &Account, also: impl FnOnce(&mut Book)) -> Result<Open, Failure> {
    let looked = life::look_at_all(account, &life::read(account))?;
    let mut open = Open::wait(account)?;
    looked.note(&mut open.book);
    also(&mut open.book);
    open.save()?;
    Ok(open)
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    // Before anything: what is due is decided by settings that hold.
    let settings = host::settings()?;
    if args.dry_run {
        let account = Account::current()?;
        show(&outlooks(&account, &life::at_this_moment(&account)?, &settings)?, out);
        return Ok(());
    }
    let session = Session::begin(out, None)?;
    let account = session.host.account.clone();
    let open = look(&account, |_| ())?;
    if let Some(why) = &open.anew {
        out.warning(&format!("what was known of how your boxes are used cannot be read, and is counted anew: {why}"));
    }
    let due = outlooks(&account, &open.book, &settings)?;
    // Whoever keeps a box awake meanwhile is not kept waiting.
    drop(open);
    tell_again(&session)?;
    let due = due.iter().filter(|o| o.decision.now != Now::Nothing);
    let done = session.all(due, |outlook| one(&session, &outlook.name, &settings));
    // It ran, whatever became of one of them.
    let mut open = Open::wait(&account)?;
    open.book.cleaned = Some(host::now());
    open.save()?;
    done
}

/// More is nothing that a broker misses which has not answered for so long.
const MOST_UNSAID: usize = 32;

/// For the administrator's command, where the broker has one. It decides nothing here: whoever cannot be told is told of
/// in every other way, and at the next cleanup.
fn tell_administrator(session: &Session, unsaid: Unsaid) -> Result<(), Failure> {
    if is_said(session, &unsaid) {
        return Ok(());
    }
    let mut open = Open::wait(&session.host.account)?;
    open.book.unsaid.push(unsaid);
    open.book.unsaid.truncate(MOST_UNSAID);
    Ok(open.save()?)
}

/// What could not be told before.
fn tell_again(session: &Session) -> Result<(), Failure> {
    let account = &session.host.account;
    let unsaid = life::read(account).unsaid;
    if unsaid.is_empty() {
        return Ok(());
    }
    // Those behind one that nobody answers would each wait as long for it.
    let said = unsaid.iter().take_while(|unsaid| is_said(session, unsaid)).count();
    let mut open = Open::wait(account)?;
    open.book.unsaid.drain(..said.min(open.book.unsaid.len()));
    Ok(open.save()?)
}

/// Whether there is nothing left to say: a refusal is an answer too.
fn is_said(session: &Session, unsaid: &Unsaid) -> bool {
    let Some(seconds) = unsaid.ahead(host::now()) else { return true };
    let (name, work) = (&unsaid.name, &unsaid.work);
    let told =
        session.host.broker().and_then(|broker| broker.map_or(Ok(()), |b| b.warn(name, unsaid.event, seconds, work)));
    if let Err(why) = &told {
        session.out.warning(&format!("the administrator's command was not told of {name}: {why}"));
    }
    !matches!(told, Err(HostError::Broker(_)))
}

fn outlooks(account: &Account, book: &Book, settings: &Settings) -> Result<Vec<Outlook>, Failure> {
    let owner = settings.owner(&account.user);
    let full = life::is_trash_full(account, owner)?;
    Ok(life::outlooks(book, &life::all(account)?, owner, full))
}

/// Decided again once nobody else is at work on the box: it may have been used, started or kept awake since.
fn one(session: &Session, name: &BoxName, settings: &Settings) -> Result<(), Failure> {
    let (held, outlook) = decide(session, name, settings)?;
    let Some((act, left)) = outlook.decision.next else { return Ok(()) };
    match (outlook.decision.now, act) {
        (Now::Nothing, _) => Ok(()),
        (Now::Warn { .. }, _) => warn(session, held, (act, left), settings),
        (Now::Do, Act::Reclaim) => reclaim(session, held, settings),
        (Now::Do, _) => act_on(session, held, &outlook, act),
    }
}

/// The box, which stays as it is while it is held.
fn decide(session: &Session, name: &BoxName, settings: &Settings) -> Result<(HeldBox, Outlook), Failure> {
    let account = &session.host.account;
    let held = match session.hold(name) {
        Err(failure) if failure.kind == Kind::NoSuchBox => session.hold_trashed(name)?,
        other => other?,
    };
    let looked = life::look_at(account, &[&held.entry], &life::read(account));
    let mut open = Open::wait(account)?;
    looked.note(&mut open.book);
    open.save()?;
    let owner = settings.owner(&account.user);
    let outlook = life::outlook(&open.book, &held.entry, owner, life::is_trash_full(account, owner)?);
    Ok((held, outlook))
}

/// The look takes minutes, and nobody is to wait for it: what it is for is decided again after it.
fn warn(session: &Session, held: HeldBox, (act, left): (Act, u64), settings: &Settings) -> Result<(), Failure> {
    let entry = held.release();
    let found = life::look_through(&session.host, &entry).unwrap_or_default();
    let (held, outlook) = decide(session, &entry.name, settings)?;
    let Now::Warn { stage } = outlook.decision.now else { return Ok(()) };
    if outlook.decision.next.is_none_or(|(now, _)| now != act) {
        return Ok(());
    }
    let mut text = super::why::notice(&outlook.name, act, left);
    if found.work == Work::Some {
        text += &format!("; git work in it that is nowhere else: {}", found.text);
    }
    drop(held);
    if let Err(why) = life::tell(&session.host, &outlook, &text) {
        session.out.warning(&why.to_string());
    }
    let work = if found.work == Work::Some { found.text.clone() } else { String::new() };
    let (name, event, at) = (outlook.name.clone(), Event::ahead(act), life::in_seconds(left).unwrap_or_else(host::now));
    tell_administrator(session, Unsaid { name, event, at, work })?;
    let mut open = Open::wait(&session.host.account)?;
    if let Some(record) = open.book.record_mut(&outlook.name) {
        record.warned(act, stage);
        record.found = found;
    }
    open.save()?;
    session.out.remark(&text);
    Ok(())
}

/// It may have got work since its owner was warned, and nobody deletes that.
fn reclaim(session: &Session, held: HeldBox, settings: &Settings) -> Result<(), Failure> {
    let entry = held.release();
    let found = life::look_through(&session.host, &entry).unwrap_or_default();
    let (held, outlook) = decide(session, &entry.name, settings)?;
    let same = held.entry.trashed == entry.trashed && outlook.decision.now == Now::Do;
    if found.work != Work::None || !same {
        session.out.remark(&format!("{} stays in the trash: there may be work in it that is nowhere else", entry.name));
        return Ok(());
    }
    act_on(session, held, &outlook, Act::Reclaim)
}

fn act_on(session: &Session, held: HeldBox, outlook: &Outlook, act: Act) -> Result<(), Failure> {
    let name = &outlook.name;
    let spent = outlook.record.as_ref().map(Record::spent).unwrap_or_default();
    let spent = output::span(spent);
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
        Act::Empty | Act::Reclaim => {
            super::trash::delete(session, held, &[])?;
            format!("{name} is deleted: it was in the trash for {spent}")
        }
    };
    // What was counted has come to its end: the next look begins anew, also where the box comes back before it.
    let mut open = Open::wait(&session.host.account)?;
    if let Some(record) = open.book.record_mut(name) {
        record.begin_anew();
    }
    open.save()?;
    // The broker may be slow to answer, and nobody waits for the book meanwhile.
    drop(open);
    session.out.remark(&said);
    tell_administrator(
        session,
        Unsaid { name: name.clone(), event: Event::done(act), at: host::now(), work: String::new() },
    )
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
    // Nobody waits at a login for whoever writes it.
    let Some(mut open) = Open::at_once(&account)? else { return Ok(()) };
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
