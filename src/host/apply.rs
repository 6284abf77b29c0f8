//! Executes a [`Plan`], step by step, and takes it back when a step fails. It chooses nothing.

use std::cell::OnceCell;
use std::thread;
use std::time::Duration;

use super::copier::CopyLock;
use super::lock::BoxLock;
use super::podman::Podman;
use super::systemd::{Job, JobEnd, Line, Systemd};
use super::{
    Account, AccountLock, Broker, Entry, HostError, Interrupts, Restore, files, generator, journal, own, registry,
    stage, volumes,
};
use crate::plan::{Place, Plan, Step};
use crate::quadlet::names;
use crate::spec::BoxName;

/// Longer than the unit's own TimeoutStartSec= and TimeoutStopSec= together, so that systemd's verdict comes first.
pub(super) const START: Duration = Duration::from_secs(170);
/// In line for its turn to start, before that: longer than the TimeoutStartSec= of the turn's unit.
const LINE: Duration = Duration::from_mins(11);
/// Longer than TimeoutStopSec=.
const STOP: Duration = Duration::from_secs(45);

/// Is told each step before it is done.
pub type Progress<'a> = &'a dyn Fn(&str);

/// The machine, as a plan acts on it.
#[derive(Debug)]
pub struct Host {
    pub account: Account,
    pub systemd: Systemd,
    pub podman: Podman,
    pub interrupts: Interrupts,
    broker: OnceCell<Option<Broker>>,
}

/// A plan that was not carried out.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Applied {
    #[source]
    pub cause: Box<HostError>,
    /// Why it could not be taken back either; the next command finishes it.
    pub undo_failed: Option<Box<HostError>>,
    /// Whether there was something to take back.
    pub undone: bool,
}

/// What a plan was decided under, kept until it is done.
#[derive(Debug)]
pub struct Hold {
    /// For a box that is to appear: names and limits.
    admission: Option<AccountLock>,
    lock: Option<BoxLock>,
    /// What the volumes of a new box are filled from.
    restore: Option<Restore>,
}

impl Hold {
    #[must_use]
    pub fn with(self, restore: Option<Restore>) -> Self {
        Self { restore, ..self }
    }
}

impl From<AccountLock> for Hold {
    fn from(admission: AccountLock) -> Self {
        Self { admission: Some(admission), lock: None, restore: None }
    }
}

impl From<Held> for Hold {
    fn from(held: Held) -> Self {
        Self { admission: None, lock: Some(held.lock), restore: None }
    }
}

/// A box that is counted where it was not: limits are the account's.
impl From<(Held, AccountLock)> for Hold {
    fn from((held, admission): (Held, AccountLock)) -> Self {
        Self { admission: Some(admission), lock: Some(held.lock), restore: None }
    }
}

/// A box as it is, and stays until this is dropped.
#[derive(Debug)]
pub struct Held {
    pub entry: Entry,
    lock: BoxLock,
}

impl Held {
    /// Lets others at it again.
    pub fn release(self) -> Entry {
        self.entry
    }
}

impl Host {
    /// The account's host. Nothing is asked of the broker before it is needed.
    pub fn connect(interrupts: Interrupts) -> Result<Self, HostError> {
        let account = Account::current()?;
        let systemd = Systemd::connect(&account)?;
        let podman = Podman::of(&account, &systemd)?;
        Ok(Self { account, systemd, podman, interrupts, broker: OnceCell::new() })
    }

    /// The broker, where this host has one.
    pub fn broker(&self) -> Result<Option<&Broker>, HostError> {
        if let Some(broker) = self.broker.get() {
            return Ok(broker.as_ref());
        }
        let found = Broker::connect()?;
        Ok(self.broker.get_or_init(|| found).as_ref())
    }

    fn the_broker(&self) -> Result<&Broker, HostError> {
        self.broker()?.ok_or_else(|| HostError::Broker("it is not installed any more".to_owned()))
    }

    /// The box of this name, once nobody else is at work on it.
    pub fn hold(&self, name: &BoxName) -> Result<Held, HostError> {
        self.hold_in(Place::Boxes, name)
    }

    /// The same in the trash.
    pub fn hold_trashed(&self, name: &BoxName) -> Result<Held, HostError> {
        self.hold_in(Place::Trash, name)
    }

    fn hold_in(&self, place: Place, name: &BoxName) -> Result<Held, HostError> {
        let lock = BoxLock::take(&self.account.folder_in(place, name), name.as_str(), &self.interrupts)?;
        let entry = registry::entry_in(&self.account, place, name);
        Ok(Held { entry: entry.ok_or_else(|| HostError::Gone { what: name.to_string() })?, lock })
    }

    /// `None` when somebody is at work on it, or when it is gone.
    pub(super) fn try_hold(&self, place: Place, name: &BoxName) -> Option<Held> {
        let lock = BoxLock::try_take(&self.account.folder_in(place, name))?;
        Some(Held { entry: registry::entry_in(&self.account, place, name)?, lock })
    }

    /// The right to make a box of this name.
    pub fn admission(&self, name: &BoxName) -> Result<AccountLock, HostError> {
        let lock = AccountLock::take(&self.account, &self.interrupts)?;
        stage::wait_until_forgotten(&self.account, name, &self.interrupts)?;
        Ok(lock)
    }

    /// Carries out a plan on a box, which stays locked meanwhile; an admission is held until the folder is there.
    pub fn apply(&self, plan: &Plan, hold: Hold, progress: Progress<'_>) -> Result<(), Applied> {
        let Hold { mut admission, mut lock, mut restore } = hold;
        let mut place = plan.place;
        let mut deaf = None;
        let mut first = Ok(());
        for (at, step) in plan.steps.iter().enumerate() {
            progress(&step.describe(&plan.name));
            // Half a destruction is worse than a whole one; it takes a second.
            if matches!(step, Step::MarkDestroying { .. } | Step::MarkTrashing) && self.interrupts.check().is_ok() {
                deaf = Some(self.interrupts.ignore());
            }
            let done = match step {
                Step::Publish => self.publish(plan).map(|held| {
                    lock = Some(held);
                    drop(admission.take());
                }),
                Step::FillVolume(fill) => self.interrupts.check().and_then(|()| match restore.as_mut() {
                    Some(restore) => self.fill(&plan.name, fill, restore),
                    None => Err(HostError::Systemd("a plan fills a volume from nothing".to_owned())),
                }),
                Step::Reload if plan.steps[..at].contains(&Step::Publish) => {
                    self.interrupts.check().and_then(|()| self.reload_and_judge(&plan.name))
                }
                other => self.interrupts.check().and_then(|()| self.step(&mut place, &plan.name, other, progress)),
            };
            // From here on it is counted where it belongs.
            if matches!(step, Step::MarkTrashing | Step::FromTrash) {
                drop(admission.take());
            }
            if done.is_err() && is_done_without(step) {
                first = first.and(done);
                continue;
            }
            if let Err(cause) = done {
                // Until it is published there is nothing to take back.
                let only_marked = plan.steps[..at].iter().all(Step::is_mark);
                if only_marked && matches!(cause, HostError::Refused(_) | HostError::Interrupted) {
                    let _deaf = self.interrupts.ignore();
                    let back =
                        plan.refused.iter().try_for_each(|step| self.step(&mut place, &plan.name, step, progress));
                    let undo_failed = back.err().map(Box::new);
                    return Err(Applied { cause: Box::new(cause), undo_failed, undone: false });
                }
                // Whether the broker has done it is not known: the marks stay, and the next command asks again.
                let unknown = only_marked && matches!(cause, HostError::Broker(_) | HostError::BusFull(_));
                if lock.is_none() || plan.undo.is_empty() || unknown {
                    // But for the name. One that is not given back is free again when the reservation ends.
                    if lock.is_none() && plan.steps[..at].iter().any(|s| matches!(s, Step::Reserve { .. })) {
                        let _ = self.step(&mut place, &plan.name, &Step::Release, progress);
                    }
                    return Err(Applied { cause: Box::new(cause), undo_failed: None, undone: false });
                }
                let _deaf = self.interrupts.ignore();
                return Err(Applied {
                    cause: Box::new(cause),
                    undo_failed: self.undo(plan, &mut place, progress).err().map(Box::new),
                    undone: true,
                });
            }
        }
        drop(deaf);
        first.map_err(|cause| Applied { cause: Box::new(cause), undo_failed: None, undone: false })
    }

    /// Every step is tried; the first failure is told.
    fn undo(&self, plan: &Plan, place: &mut Place, progress: Progress<'_>) -> Result<(), HostError> {
        progress("take it back");
        let mut first = Ok(());
        for step in &plan.undo {
            let done = self.step(place, &plan.name, step, progress);
            // While volumes or units are left, the folder and its mark must stay: they say how to finish.
            if done.is_err() && !is_done_without(step) && !matches!(step, Step::Reload | Step::ResetFailed { .. }) {
                return done;
            }
            first = first.and(done);
        }
        first
    }

    fn publish(&self, plan: &Plan) -> Result<BoxLock, HostError> {
        let staged = stage::making(&self.account)?;
        // Held from before the folder can be seen; a rename does not drop it.
        let lock = BoxLock::take(staged.path(), plan.name.as_str(), &self.interrupts)?;
        files::fill(staged.path(), &plan.files)?;
        self.interrupts.check()?;
        files::publish(staged.path(), &self.account.folder(&plan.name)).map_err(|e| match e {
            HostError::Taken(_) => HostError::Taken(plan.name.to_string()),
            other => other,
        })?;
        // Renamed: there is nothing left to remove.
        let _ = staged.keep();
        Ok(lock)
    }

    /// What the generator makes of new units is looked at beside systemd's own run of it: one after the other they take 35 ms
    /// more. Units that it refuses are taken back before anything of them is started.
    fn reload_and_judge(&self, name: &BoxName) -> Result<(), HostError> {
        let folder = self.account.folder(name);
        thread::scope(|scope| {
            let judged = scope.spawn(|| generator::check(&folder, name));
            let reloaded = self.systemd.reload();
            judged.join().unwrap_or(Err(HostError::GeneratorMissing)).and(reloaded)
        })
    }

    /// `place`: where the folder is, and is after it.
    fn step(&self, place: &mut Place, name: &BoxName, step: &Step, progress: Progress<'_>) -> Result<(), HostError> {
        let folder = self.account.folder_in(*place, name);
        match step {
            Step::Publish | Step::FillVolume(_) => Err(HostError::Systemd("a plan is out of order".to_owned())),
            Step::Reload => self.systemd.reload(),
            Step::ResetFailed { unit } => self.systemd.reset_failed(unit),
            Step::Start { unit } => self.run(name, Job::Start, unit, progress),
            Step::Restart { unit } => self.run(name, Job::Restart, unit, progress),
            Step::Stop { unit } => self.stop(unit),
            Step::MarkStopped { why } => {
                let text = registry::StopMark { at: Some(super::now()), why: Some(why.clone()) }.text();
                // Its name is what counts; where the disk has no room for the rest, it goes without.
                files::write(&folder, names::STOPPED_FILE, &text)
                    .or_else(|_| files::mark(&folder, &[names::STOPPED_FILE.to_owned()]))
            }
            Step::UnmarkStopped => files::remove(&folder.join(names::STOPPED_FILE)),
            Step::MarkDestroying { keep_volumes } => registry::mark_destroying(&folder, name, keep_volumes),
            Step::NoteTrashed { by, why, days } => registry::note_trashed(&folder, *by, why.as_deref(), *days),
            Step::MarkTrashing => files::mark(&folder, &[names::TRASHING_FILE.to_owned()]),
            Step::UnmarkTrashing => registry::unmark_trashing(&folder),
            Step::MarkRestoring => files::mark(&folder, &[names::CREATING_FILE.to_owned()]),
            Step::ToTrash => self.move_to(place, Place::Trash, name),
            Step::FromTrash => self.move_to(place, Place::Boxes, name),
            Step::Trash => self.the_broker()?.trash(name),
            Step::Restore { cpu, memory, start } => self.the_broker()?.restore(name, *cpu, *memory, *start),
            Step::Settle => registry::settle(&folder, *place),
            Step::MarkFilled => files::remove(&folder.join(names::FILLING_FILE)).and_then(|()| files::sync(&folder)),
            Step::RemoveVolume { volume } => {
                // What a killed command left at work on it would make it anew.
                CopyLock::wait(&folder, name.as_str(), &self.interrupts)?;
                self.podman.remove_volume(name, volume, volumes::noted(&folder, volume))
            }
            Step::Reserve { cpu, memory, start } => self.the_broker()?.reserve(name, *cpu, *memory, *start),
            Step::Commit => self.the_broker()?.commit(name),
            Step::Release => self.the_broker()?.release(name),
            Step::Depart => own::depart(&self.account, name),
            Step::AskRoom { memory } => self.the_broker()?.start(name, memory.bytes()),
            Step::Withdraw => files::withdraw(&folder, &stage::aside(&self.account, name)),
            Step::Discard => files::remove_all(&stage::aside(&self.account, name)),
        }
    }

    fn move_to(&self, place: &mut Place, to: Place, name: &BoxName) -> Result<(), HostError> {
        files::private_folder(&self.account.trash())?;
        let [from, into] = [*place, to].map(|place| self.account.folder_in(place, name));
        if *place != to {
            files::move_over(&from, &into).map_err(|e| match e {
                HostError::Taken(_) => HostError::Taken(name.to_string()),
                other => other,
            })?;
            *place = to;
        }
        Ok(())
    }

    fn run(&self, name: &BoxName, job: Job, unit: &str, progress: Progress<'_>) -> Result<(), HostError> {
        let turn = names::turn_service(name);
        let waits = || progress(&format!("wait until it is the turn of {name} to start"));
        let line = Line { unit: &turn, patience: LINE, waits: &waits };
        match self.systemd.job(job, unit, START, Some(line), &self.interrupts)? {
            JobEnd::Ended(result) if result == "done" => Ok(()),
            JobEnd::Ended(result) => Err(self.failed(job, unit, result)),
            JobEnd::NoSuchUnit => {
                let why = generator::explain(&self.account.folder(name), name);
                Err(HostError::UnitUnknown { unit: unit.to_owned(), why })
            }
        }
    }

    /// The job only says that it failed; the unit says how (systemd.exec(5), $SERVICE_RESULT).
    pub(super) fn failed(&self, job: Job, unit: &str, result: String) -> HostError {
        let details = self.systemd.details(&[unit.to_owned()]).ok().and_then(|mut d| d.pop());
        let result = match details.map(|d| d.result) {
            Some(told) if result == "failed" && !told.is_empty() && told != "success" => told,
            _ => result,
        };
        // Then it is the unit of the home's volume that says why.
        let told_by = match (result.as_str(), names::box_of_service(unit)) {
            ("dependency" | "assert", Some(name)) => names::volume_services(&name)[0].clone(),
            _ => unit.to_owned(),
        };
        HostError::Job { job, unit: unit.to_owned(), result, journal: journal::last_lines(&self.account, &told_by, 8) }
    }

    /// A unit that is not there is stopped.
    fn stop(&self, unit: &str) -> Result<(), HostError> {
        match self.systemd.job(Job::Stop, unit, STOP, None, &self.interrupts)? {
            JobEnd::NoSuchUnit => Ok(()),
            JobEnd::Ended(result) if result == "done" => {
                names::box_of_service(unit).map_or(Ok(()), |name| self.podman.remove_leftover(&name))
            }
            JobEnd::Ended(result) => Err(self.failed(Job::Stop, unit, result)),
        }
    }
}

/// A box whose mark cannot be written is stopped all the same, and its owner told.
fn is_done_without(step: &Step) -> bool {
    matches!(step, Step::MarkStopped { .. })
}
