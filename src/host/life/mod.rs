//! The owner's boxes looked at, and what is kept of that: `~/.local/state/devbox/life.json`.

mod busy;
mod probe;
mod tell;
mod work;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use tracing::debug;

use super::{Account, Entry, HostError, files, now, registry};
use crate::plan::TrashedBy;
use crate::policy::life::activity::Kind;
use crate::policy::life::book::{Book, LONGEST_STEP, Look, Record, Tick};
use crate::policy::life::{Decision, Facts, Now, Phase, Terms, Work, decide, in_days};
use crate::settings::OwnerSettings;
use crate::spec::BoxName;

const FILE: &str = "life.json";
const LOCK: &str = "life.lock";

use busy::Busy;
pub use tell::tell;
pub use work::look_through;

/// The book, and the right to write it until this is dropped.
#[derive(Debug)]
pub struct Open {
    pub book: Book,
    /// What was kept could not be read, and everything is counted anew.
    pub anew: Option<String>,
    folder: PathBuf,
    _lock: File,
}

/// This moment (time(7)). A clock that cannot be read stands still.
pub fn tick() -> Tick {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let seconds = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| u64::try_from(t.tv_sec()).unwrap_or(0));
    Tick { boot: boot.trim().to_owned(), seconds }
}

/// Whether there is anything of it.
pub fn is_kept(account: &Account) -> bool {
    account.life().join(FILE).exists()
}

/// What is kept, to be looked at only. Nothing where there is nothing or where it cannot be read.
pub fn read(account: &Account) -> Book {
    parse(account).unwrap_or_default()
}

fn parse(account: &Account) -> Result<Book, String> {
    match files::read(&account.life().join(FILE)) {
        Ok(None) => Ok(Book::default()),
        Ok(Some(text)) => serde_json::from_str::<Book>(&text).map(Book::checked).map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    }
}

impl Open {
    /// Waits for whoever writes it.
    pub fn wait(account: &Account) -> Result<Self, HostError> {
        let (folder, lock) = Self::lock_file(account)?;
        lock.lock().map_err(HostError::io("locking", folder.join(LOCK)))?;
        Ok(Self::opened(account, folder, lock))
    }

    /// `None` where somebody writes it.
    pub fn at_once(account: &Account) -> Result<Option<Self>, HostError> {
        let (folder, lock) = Self::lock_file(account)?;
        Ok(lock.try_lock().is_ok().then(|| Self::opened(account, folder, lock)))
    }

    fn lock_file(account: &Account) -> Result<(PathBuf, File), HostError> {
        let folder = account.life();
        files::private_folder(&folder)?;
        let path = folder.join(LOCK);
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
        let lock = options.open(&path).map_err(HostError::io("locking", &path))?;
        Ok((folder, lock))
    }

    fn opened(account: &Account, folder: PathBuf, lock: File) -> Self {
        let (book, anew) = match parse(account) {
            Ok(book) => (book, None),
            Err(why) => (Book::default(), Some(why)),
        };
        Self { book, anew, folder, _lock: lock }
    }

    pub fn save(&self) -> Result<(), HostError> {
        let text = serde_json::to_string(&self.book).map_err(|e| HostError::io("writing", &self.folder)(e.into()))?;
        files::write(&self.folder, FILE, &text)
    }
}

/// Looks at every box and notes what is seen. The book is held from before that: what is noted after it is newer.
pub fn look_at_all(account: &Account) -> Result<Open, HostError> {
    let busy = Busy::ask(account, || names_of_all(account))?;
    let mut open = Open::wait(account)?;
    note_all(account, &busy, &mut open.book)?;
    Ok(open)
}

/// The same with one.
pub fn look_at(account: &Account, entry: &Entry) -> Result<Open, HostError> {
    let busy = Busy::ask(account, || Ok(vec![entry.name.clone()]))?;
    let mut open = Open::wait(account)?;
    note(account, &[entry], &busy, &mut open.book);
    Ok(open)
}

/// As it is at this moment, noted nowhere.
pub fn at_this_moment(account: &Account) -> Result<Book, HostError> {
    let busy = Busy::ask(account, || names_of_all(account))?;
    let mut book = read(account);
    note_all(account, &busy, &mut book)?;
    Ok(book)
}

fn note_all(account: &Account, busy: &Busy, book: &mut Book) -> Result<(), HostError> {
    let entries = all(account)?;
    let entries: Vec<&Entry> = entries.iter().collect();
    note(account, &entries, busy, book);
    book.keep_only(&entries.iter().map(|entry| &entry.name).collect::<Vec<_>>());
    Ok(())
}

/// Moves the clock on, and notes what is seen.
fn note(account: &Account, entries: &[&Entry], busy: &Busy, book: &mut Book) {
    let looks: Vec<_> = entries.iter().map(|entry| (&entry.name, look(account, entry, book, busy))).collect();
    let when = now();
    book.begin(when);
    let step = book.advance(tick());
    for (name, look) in looks {
        debug!("life: {name}: {look:?}");
        match look {
            Some(look) => book.note(look, step, when),
            None => book.is_damaged(name),
        }
    }
}

/// Boxes, and what is in the trash.
pub fn all(account: &Account) -> Result<Vec<Entry>, HostError> {
    let mut entries = registry::entries(account)?;
    // One of both names is being moved: what is first counts.
    let trashed = registry::trashed_entries(account)?;
    entries.extend(trashed.into_iter().filter(|t| registry::entry(account, &t.name).is_none()));
    Ok(entries)
}

fn names_of_all(account: &Account) -> Result<Vec<BoxName>, HostError> {
    Ok(all(account)?.into_iter().map(|entry| entry.name).collect())
}

/// In the trash by whose word; none of one that is a box.
fn in_trash(entry: &Entry) -> Option<(Phase, String)> {
    let mark = entry.trashed.as_ref()?;
    let phase = match mark.by {
        Some(TrashedBy::Owner) => Phase::Destroyed,
        Some(TrashedBy::Timer) => Phase::Trashed,
        Some(TrashedBy::Administrator) | None => Phase::Other,
    };
    Some((phase, mark.at.unwrap_or_default().to_string()))
}

/// The phase of a box and what is seen of it; none of one whose folder is damaged.
fn look(account: &Account, entry: &Entry, book: &Book, busy: &Busy) -> Option<Look> {
    let made = entry.spec.as_ref().ok()?.created_at;
    let (name, at_rest) = (entry.name.clone(), Some(false));
    if entry.pending.is_some() {
        return Some(Look { name, made, phase: Phase::Other, key: String::new(), seen: None, busy: at_rest });
    }
    if let Some((phase, key)) = in_trash(entry) {
        return Some(Look { name, made, phase, key, seen: None, busy: at_rest });
    }
    let carried = book.record(&entry.name).and_then(Record::carried);
    let running = probe::look(account.uid, &entry.name, carried);
    let (phase, key, seen, busy) = match (running, &entry.stopped) {
        (Some((key, seen)), mark) => {
            let phase = if mark.is_some() { Phase::RunsOn } else { Phase::Running };
            (phase, key, Some(seen), busy.of(&entry.name))
        }
        (None, Some(mark)) => (Phase::Stopped, mark.at.unwrap_or_default().to_string(), None, at_rest),
        (None, None) => (Phase::Other, String::new(), None, at_rest),
    };
    Some(Look { name, made, phase, key, seen, busy })
}

/// How a box stands, and what comes of it.
#[derive(Debug, Clone)]
pub struct Outlook {
    pub name: BoxName,
    pub phase: Phase,
    pub terms: Terms,
    pub decision: Decision,
    pub record: Option<Record>,
    /// How long its lease lasts.
    pub lease: u64,
    /// It runs although it was to be stopped, and was used since. Left marked, it would not come back after a reboot.
    pub is_needed_again: bool,
}

/// Of all these boxes, as far as it is kept.
pub fn outlooks(book: &Book, entries: &[Entry], owner: &OwnerSettings, trash_full: bool) -> Vec<Outlook> {
    entries.iter().map(|entry| outlook(book, entry, owner, trash_full)).collect()
}

/// Whether the owner's trash takes no box more.
pub fn is_trash_full(account: &Account, owner: &OwnerSettings) -> Result<bool, HostError> {
    Ok(registry::trash_names(account)?.len() >= usize::try_from(owner.max_boxes).unwrap_or(usize::MAX))
}

/// The same for whoever only shows it.
pub fn known(account: &Account, entries: &[Entry]) -> Result<Vec<Outlook>, super::SettingsProblem> {
    Ok(outlooks(&read(account), entries, super::settings()?.owner(&account.user), false))
}

/// From what is kept; nothing is looked at.
pub fn outlook(book: &Book, entry: &Entry, owner: &OwnerSettings, trash_full: bool) -> Outlook {
    let spec = entry.spec.as_ref().ok();
    let record = book.record(&entry.name).filter(|record| spec.is_some_and(|s| record.is_of(s.created_at))).cloned();
    let kept = record.as_ref().map_or(Phase::Other, Record::phase);
    let phase = match (&entry.pending, in_trash(entry), &entry.stopped) {
        (None, Some((phase, _)), _) => phase,
        (None, None, Some(_)) if kept == Phase::RunsOn => kept,
        (None, None, Some(_)) => Phase::Stopped,
        (None, None, None) if kept.runs() => Phase::Running,
        (Some(_), ..) | (None, None, None) => Phase::Other,
    };
    let mut terms = Terms::of(owner, spec.and_then(|s| s.idle_stop_days), spec.and_then(|s| s.stopped_destroy_days));
    // What its owner was told when they destroyed it is not made shorter.
    if let (Some(mark), Some(_)) = (&entry.trashed, terms.empty) {
        terms.empty = mark.term(owner.trash_days).and_then(in_days);
    }
    let clock = book.clock(&tick());
    let unknown = Facts { phase, spent: None, lease: 0, warned: None, work: Work::Unknown, trash_full };
    let facts = record.as_ref().map_or(unknown, |record| record.facts(phase, clock, trash_full));
    let (name, lease) = (entry.name.clone(), facts.lease);
    // The day that its owner was told is one of the calendar's: neither clock deletes it sooner than the other.
    let told = entry.trashed.as_ref().and_then(|mark| mark.ends(owner.trash_days));
    let told = told.map_or(0, |end| u64::try_from(end.as_second() - now().as_second()).unwrap_or(0));
    let facts = Facts { lease: lease.max(told), ..facts };
    let decision = decide(facts, &terms);
    let is_needed_again =
        phase == Phase::RunsOn && decision.now == Now::Nothing && is_used_since(record.as_ref(), entry);
    Outlook { name, phase, terms, decision, record, lease, is_needed_again }
}

/// Whether it was used after it was marked. A look tells of what was before it too, as far back as the look before.
fn is_used_since(record: Option<&Record>, entry: &Entry) -> bool {
    let Some(marked) = entry.stopped.as_ref().and_then(|mark| mark.at) else { return false };
    let after = marked.as_second().saturating_add(2 * LONGEST_STEP.cast_signed());
    let evidence = record.into_iter().flat_map(Record::evidence);
    evidence.filter(|e| e.kind != Kind::Lease).any(|e| e.when.as_second() > after)
}

/// When `seconds` from now are over, if the host stays awake.
pub fn in_seconds(seconds: u64) -> Option<Timestamp> {
    let seconds = i64::try_from(seconds).ok()?;
    now().checked_add(jiff::SignedDuration::from_secs(seconds)).ok()
}
