//! `cleanup`: what the owner's daily timer runs; and `sample`, which runs every few minutes.

mod tell;

use jiff::Timestamp;
use serde::Serialize;

use super::error::{Failure, Kind};
use super::output::{self, Output};
use super::session::Session;
use crate::host::life::{self, Open, Outlook};
use crate::host::{self, Account, Held as HeldBox};
use crate::plan::{self, TrashedBy};
use crate::policy::life::book::{Book, Record, SILENT};
use crate::policy::life::{Act, Held, Now, Work};
use crate::policy::warning::{Event, Unsaid};
use crate::settings::Settings;
use crate::spec::BoxName;
use tell::Teller;

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

/// In seconds: longer than from one daily cleanup to the next, and shorter than what is missed.
const LATE: i64 = SILENT - 43_200;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Due {
    name: BoxName,
    act: Act,
    /// `warn` or `do`.
    now: &'static str,
    at: Option<Timestamp>,
    held: Option<Held>,
    /// For people.
    #[serde(skip)]
    line: String,
}

pub(super) fn sample(_: &SampleArgs, _: Output) -> Result<(), Failure> {
    look(&Account::current()?, |book| book.sampled = Some(host::now())).map(drop)
}

/// Looks at all boxes, and writes down what was seen.
fn look(account: &Account, also: impl FnOnce(&mut Book)) -> Result<Open, Failure> {
    let mut open = life::look_at_all(account)?;
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
    let teller = Teller::new(&session);
    teller.tell_again()?;
    let due = due.iter().filter(|o| o.decision.now != Now::Nothing || o.is_needed_again);
    let done = session.all(due, |outlook| one(&teller, &outlook.name, &settings));
    // It ran, whatever became of one of them.
    let mut open = Open::wait(&account)?;
    let last = open.book.cleaned.replace(host::now());
    open.save()?;
    drop(open);
    if is_late(last, host::now()) {
        teller.report();
    }
    done
}

/// After a night too many: the daily report may have said so already, just before this ran.
fn is_late(last: Option<Timestamp>, now: Timestamp) -> bool {
    last.is_none_or(|last| now.as_second() - last.as_second() > LATE)
}

fn outlooks(account: &Account, book: &Book, settings: &Settings) -> Result<Vec<Outlook>, Failure> {
    let owner = settings.owner(&account.user);
    let full = life::is_trash_full(account, owner)?;
    Ok(life::outlooks(book, &life::all(account)?, owner, full))
}

/// Decided again once nobody else is at work on the box: it may have been used, started or kept awake since.
fn one(teller: &Teller<'_>, name: &BoxName, settings: &Settings) -> Result<(), Failure> {
    let (held, outlook) = decide(teller.session, name, settings)?;
    if outlook.is_needed_again {
        return teller.session.apply(&plan::run_on(name), held.into()).map(drop);
    }
    let Some((act, left)) = outlook.decision.next else { return Ok(()) };
    match (outlook.decision.now, act) {
        (Now::Nothing, _) => Ok(()),
        (Now::Warn { .. }, _) => warn(teller, held, (act, left), settings),
        (Now::Do, Act::Reclaim) => reclaim(teller, held, settings),
        (Now::Do, _) => act_on(teller, held, &outlook, act),
    }
}

/// The box, which stays as it is while it is held.
fn decide(session: &Session, name: &BoxName, settings: &Settings) -> Result<(HeldBox, Outlook), Failure> {
    let account = &session.host.account;
    let held = match session.hold(name) {
        Err(failure) if failure.kind == Kind::NoSuchBox => session.hold_trashed(name)?,
        other => other?,
    };
    let open = life::look_at(account, &held.entry)?;
    open.save()?;
    let owner = settings.owner(&account.user);
    let outlook = life::outlook(&open.book, &held.entry, owner, life::is_trash_full(account, owner)?);
    Ok((held, outlook))
}

/// The look takes minutes, and nobody is to wait for it: what it is for is decided again after it.
fn warn(teller: &Teller<'_>, held: HeldBox, (act, left): (Act, u64), settings: &Settings) -> Result<(), Failure> {
    let session = teller.session;
    let entry = held.release();
    let found = life::look_through(&session.host, &entry).unwrap_or_default();
    let (held, outlook) = decide(session, &entry.name, settings)?;
    let Now::Warn { stage, goes_on } = outlook.decision.now else { return Ok(()) };
    if outlook.decision.next.is_none_or(|(now, _)| now != act) {
        return Ok(());
    }
    let mut text = super::why::notice(&outlook.name, act, left);
    if found.work == Work::Some {
        text += &format!("; git work in it that is nowhere else: {}", found.text);
    }
    drop(held);
    // Nobody knows when somebody logs in there.
    let dated = format!("{}: {text}", host::now().strftime("%Y-%m-%d"));
    if let Err(why) = life::tell(&session.host, &outlook, &dated) {
        session.out.warning(&why.to_string());
    }
    let work = if found.work == Work::Some { found.text.clone() } else { String::new() };
    let (name, event, at) = (outlook.name.clone(), Event::ahead(act), life::in_seconds(left).unwrap_or_else(host::now));
    let unsaid = Unsaid { name, event, at, work, begun: false };
    let mut open = Open::wait(&session.host.account)?;
    if let Some(record) = open.book.record_mut(&outlook.name) {
        record.warned(act, stage, goes_on);
        record.found = found;
    }
    // With it: whoever is killed from here on has both.
    teller.keep(&mut open.book, unsaid.clone());
    open.save()?;
    // The broker may be slow to answer, and nobody waits for the book meanwhile.
    drop(open);
    session.out.remark(&text);
    teller.tell(&unsaid)
}

/// It may have got work since its owner was warned, and nobody deletes that.
fn reclaim(teller: &Teller<'_>, held: HeldBox, settings: &Settings) -> Result<(), Failure> {
    let session = teller.session;
    let entry = held.release();
    let found = life::look_through(&session.host, &entry).unwrap_or_default();
    let (held, outlook) = decide(session, &entry.name, settings)?;
    let same = held.entry.trashed == entry.trashed && outlook.decision.now == Now::Do;
    if found.work != Work::None || !same {
        session.out.remark(&format!("{} stays in the trash: there may be work in it that is nowhere else", entry.name));
        return Ok(());
    }
    act_on(teller, held, &outlook, Act::Reclaim)
}

fn act_on(teller: &Teller<'_>, held: HeldBox, outlook: &Outlook, act: Act) -> Result<(), Failure> {
    let (session, name) = (teller.session, &outlook.name);
    // Before it: where it is cut short, and finished by another command, the next cleanup finds that it came true.
    let begun =
        Unsaid { name: name.clone(), event: Event::done(act), at: host::now(), work: String::new(), begun: true };
    teller.keep_now(&begun)?;
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
    let done = teller.came_true(&mut open.book, begun);
    open.save()?;
    drop(open);
    session.out.remark(&said);
    teller.tell(&done)
}

fn show(outlooks: &[Outlook], out: Output) {
    let due: Vec<Due> = outlooks
        .iter()
        .filter_map(|outlook| {
            let (act, left) = outlook.decision.next?;
            let name = outlook.name.clone();
            let (now, line) = match outlook.decision.now {
                Now::Nothing => return None,
                Now::Warn { .. } => ("warn", format!("warn: {}", super::why::notice(&name, act, left))),
                Now::Do => ("do", super::why::would(&name, act)),
            };
            Some(Due { name, act, now, at: life::in_seconds(left), held: outlook.decision.held, line })
        })
        .collect();
    if out.json {
        return output::json(&due);
    }
    if due.is_empty() {
        out.remark("nothing is to be done");
    }
    for due in due {
        output::line(&due.line);
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
        let Some(record) = open.book.record_mut(&outlook.name).filter(|_| outlook.decision.is_told) else { continue };
        if let (Some(warned), Some((act, left))) = (record.show(), outlook.decision.next) {
            shown = true;
            if warned == act {
                output::line(&super::why::notice(&outlook.name, act, left));
            }
        }
    }
    if shown { Ok(open.save()?) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cleanup_a_night_late_tells_that_it_ran() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let ago = |hours: i64| Some(now - jiff::SignedDuration::from_hours(hours));
        assert!(!is_late(ago(26), now), "by its delay");
        assert!(!is_late(ago(-400), now), "of a clock that was ahead");
        assert!(is_late(ago(47), now) && is_late(None, now));
    }
}
