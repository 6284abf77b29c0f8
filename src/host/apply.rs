//! Executes a [`Plan`], step by step, and takes it back when a step fails. It chooses nothing.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lock::BoxLock;
use super::systemd::{Job, JobEnd, Systemd};
use super::{Account, HostError, Interrupts, Pending, files, generator, journal, podman, registry};
use crate::plan::{Plan, Step, Verb};
use crate::quadlet::names;
use crate::spec::BoxName;

/// Longer than the unit's own TimeoutStartSec=, so that systemd's verdict comes first.
const START: Duration = Duration::from_secs(140);
/// Longer than TimeoutStopSec=.
const STOP: Duration = Duration::from_secs(45);

/// Is told each step before it is done.
pub type Progress<'a> = &'a dyn Fn(&str);

/// The machine, as a plan acts on it.
#[derive(Debug)]
pub struct Host {
    pub account: Account,
    pub systemd: Systemd,
    pub interrupts: Interrupts,
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

impl Host {
    /// Finishes a destruction that an earlier command was cut short in, if it still is as `found`.
    pub(super) fn resume(&self, plan: &Plan, found: &Pending) -> Result<(), Applied> {
        self.carry_out(plan, None, &|_| {}, Some(found))
    }

    /// Carries out a plan, as a verb asked for it.
    pub fn apply(
        &self,
        plan: &Plan,
        admission: Option<super::AccountLock>,
        progress: Progress<'_>,
    ) -> Result<(), Applied> {
        self.carry_out(plan, admission, progress, None)
    }

    /// Carries out a plan on a box, which stays locked meanwhile. `Publish` holds `admission` until the folder is there.
    fn carry_out(
        &self,
        plan: &Plan,
        admission: Option<super::AccountLock>,
        progress: Progress<'_>,
        resumed: Option<&Pending>,
    ) -> Result<(), Applied> {
        let folder = self.account.folder(&plan.name);
        let whole = |cause: HostError| Applied { cause: Box::new(cause), undo_failed: None, undone: false };
        let mut admission = admission;
        let mut lock = None;
        if plan.files.is_empty() {
            lock = Some(BoxLock::take(&folder, plan.name.as_str(), &self.interrupts).map_err(whole)?);
            // A destroy died while this waited for it: what it began is finished first, by the next command.
            let pending = registry::entry(&self.account, &plan.name).and_then(|e| e.pending);
            if plan.verb != Verb::Destroy && matches!(pending, Some(Pending::Destroy { .. })) {
                return Err(whole(HostError::Gone { what: plan.name.to_string() }));
            }
            // A destroy that was found cut short may be finished, and the name be another box's, by the time this has
            // the lock: without the same mark it is not the box that was to go.
            if resumed.is_some() && pending.as_ref() != resumed {
                return Err(whole(HostError::Gone { what: plan.name.to_string() }));
            }
        }
        for step in &plan.steps {
            progress(&step.describe(&plan.name));
            let done = match step {
                Step::Publish => self.publish(plan).map(|held| {
                    lock = Some(held);
                    drop(admission.take());
                }),
                other => self.interrupts.check().and_then(|()| self.step(&plan.name, other)),
            };
            if let Err(cause) = done {
                // Until it is published there is nothing to take back.
                if lock.is_none() || plan.undo.is_empty() {
                    return Err(whole(cause));
                }
                self.interrupts.ignore();
                return Err(Applied {
                    cause: Box::new(cause),
                    undo_failed: self.undo(plan, progress).err().map(Box::new),
                    undone: true,
                });
            }
        }
        Ok(())
    }

    /// Every step is tried; the first failure is told.
    fn undo(&self, plan: &Plan, progress: Progress<'_>) -> Result<(), HostError> {
        progress("take it back");
        let mut first = Ok(());
        for step in &plan.undo {
            let done = self.step(&plan.name, step);
            // While volumes or units are left, the folder and its mark must stay: they say how to finish.
            if done.is_err() && !matches!(step, Step::Reload | Step::ResetFailed { .. }) {
                return done;
            }
            first = first.and(done);
        }
        first
    }

    fn publish(&self, plan: &Plan) -> Result<BoxLock, HostError> {
        let staged = files::private_temporary("making-", &self.account.stage())?;
        // Held from before the folder can be seen; a rename does not drop it.
        let lock = BoxLock::take(staged.path(), plan.name.as_str(), &self.interrupts)?;
        files::fill(staged.path(), &plan.files)?;
        generator::check(staged.path(), &plan.name)?;
        self.interrupts.check()?;
        files::publish(staged.path(), &self.account.folder(&plan.name)).map_err(|e| match e {
            HostError::Taken(_) => HostError::Taken(plan.name.to_string()),
            other => other,
        })?;
        // Renamed: there is nothing left to remove.
        let _ = staged.keep();
        Ok(lock)
    }

    fn step(&self, name: &BoxName, step: &Step) -> Result<(), HostError> {
        let folder = self.account.folder(name);
        match step {
            Step::Publish => Err(HostError::Systemd("a plan published twice".to_owned())),
            Step::Reload => self.systemd.reload(),
            Step::ResetFailed { unit } => self.systemd.reset_failed(unit),
            Step::Start { unit } => self.run(name, Job::Start, unit),
            Step::Restart { unit } => self.run(name, Job::Restart, unit),
            Step::Stop { unit } => self.stop(unit),
            Step::MarkStopped => {
                let text = format!("at = \"{}\"\nwhy = \"by its owner\"\n", super::now());
                files::write(&folder, names::STOPPED_FILE, &text)
            }
            Step::UnmarkStopped => files::remove(&folder.join(names::STOPPED_FILE)),
            Step::MarkDestroying { keep_volumes } => {
                // Half a destruction is worse than a whole one; it takes a second.
                self.interrupts.ignore();
                let keep: Vec<String> = keep_volumes.iter().map(|v| format!("{v:?}")).collect();
                let text = format!("operation = \"destroy\"\nkeep_volumes = [{}]\n", keep.join(", "));
                files::write(&folder, names::PENDING_FILE, &text)
            }
            Step::Settle => files::remove(&folder.join(names::PENDING_FILE)),
            Step::RemoveVolume { volume } => podman::remove_volume(&self.account, name, volume),
            Step::Withdraw => files::withdraw(&folder, &aside(&self.account, name)),
            Step::Discard => files::remove_all(&aside(&self.account, name)),
        }
    }

    fn run(&self, name: &BoxName, job: Job, unit: &str) -> Result<(), HostError> {
        match self.systemd.job(job, unit, START, &self.interrupts)? {
            JobEnd::Ended(result) if result == "done" => Ok(()),
            JobEnd::Ended(result) => Err(self.failed(unit, result)),
            JobEnd::NoSuchUnit => {
                let why = generator::explain(&self.account.folder(name), name);
                Err(HostError::UnitUnknown { unit: unit.to_owned(), why })
            }
        }
    }

    /// The job only says that it failed; the unit says how (systemd.exec(5), $SERVICE_RESULT).
    fn failed(&self, unit: &str, result: String) -> HostError {
        let details = self.systemd.details(&[unit.to_owned()]).ok().and_then(|mut d| d.pop());
        let result = match details.map(|d| d.result) {
            Some(told) if result == "failed" && !told.is_empty() && told != "success" => told,
            _ => result,
        };
        HostError::Job { unit: unit.to_owned(), result, journal: journal::last_lines(unit, 8) }
    }

    /// A unit that is not there is stopped.
    fn stop(&self, unit: &str) -> Result<(), HostError> {
        match self.systemd.job(Job::Stop, unit, STOP, &self.interrupts)? {
            JobEnd::NoSuchUnit => Ok(()),
            JobEnd::Ended(result) if result == "done" => Ok(()),
            JobEnd::Ended(result) => Err(self.failed(unit, result)),
        }
    }
}

/// Where this process puts a withdrawn box. A name has no double hyphen, so it can be read back.
fn aside(account: &Account, name: &BoxName) -> PathBuf {
    account.stage().join(format!("gone-{name}--{}", std::process::id()))
}

/// Removes what dead commands left in the stage, and gives the withdrawn boxes that systemd may still know.
/// Theirs are unlocked; a command at work holds its folder's lock.
pub(super) fn sweep(account: &Account) -> Result<Vec<(BoxName, PathBuf)>, HostError> {
    let stage = account.stage();
    let mut withdrawn = Vec::new();
    for path in files::names_in(&stage).map_err(HostError::io("reading", &stage))? {
        // Whatever else lies there is none of ours; opening a FIFO would wait for ever.
        let named = path.file_name().and_then(|n| n.to_str());
        let ours = named.is_some_and(|n| n.starts_with("making-") || n.starts_with("gone-"));
        if !ours || !path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
            continue;
        }
        if File::open(&path).is_ok_and(|f| f.try_lock().is_err()) {
            continue;
        }
        match withdrawn_name(&path) {
            Some(name) => withdrawn.push((name, path)),
            None => files::remove_all(&path)?,
        }
    }
    Ok(withdrawn)
}

fn withdrawn_name(path: &Path) -> Option<BoxName> {
    let (name, _) = path.file_name()?.to_str()?.strip_prefix("gone-")?.split_once("--")?;
    name.parse().ok()
}
