//! A job of the manager's, from its asking to its end.

use std::pin::pin;
use std::time::Duration;

use async_io::Timer;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use tracing::debug;

use super::{Systemd, is_unknown_unit};
use crate::host::{HostError, Interrupts};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    Start,
    Stop,
    Restart,
}

impl Job {
    pub(in crate::host) fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }
}

/// How a job ended: `done`, or what systemd calls it otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    Ended(String),
    NoSuchUnit,
}

/// What a box's job may wait for before systemd begins with it.
#[derive(Clone, Copy)]
pub(in crate::host) struct Line<'a> {
    /// The unit of its turn.
    pub unit: &'a str,
    /// Longer than that unit's own limit, so that systemd's verdict comes first.
    pub patience: Duration,
    /// Is told that it waits there.
    pub waits: &'a dyn Fn(),
}

impl Systemd {
    /// Runs a job and waits for its end, which `patience` is for. What is before it in `line` has a patience of its own.
    ///
    /// `JobRemoved` is subscribed to before the call, so it cannot be missed.
    pub(in crate::host) fn job(
        &self,
        job: Job,
        unit: &str,
        patience: Duration,
        line: Option<Line<'_>>,
        interrupts: &Interrupts,
    ) -> Result<JobEnd, HostError> {
        debug!("systemd: {job:?}Unit {unit}");
        zbus::block_on(async {
            let mut removed = self.manager.receive_job_removed().await?;
            let asked = match job {
                Job::Start => self.manager.start_unit(unit, "replace").await,
                Job::Stop => self.manager.stop_unit(unit, "replace").await,
                Job::Restart => self.manager.restart_unit(unit, "replace").await,
            };
            let path = match asked {
                Ok(path) => path,
                Err(e) if is_unknown_unit(&e) => return Ok(JobEnd::NoSuchUnit),
                Err(e) => return Err(e.into()),
            };
            let mut line = match line {
                Some(line) if self.is_in_line(&line).await? => Some(line),
                _ => None,
            };
            let mut limit = line.map_or(patience, |line| line.patience);
            let mut late = Timer::after(limit);
            let mut stopped = pin!(interrupts.wait());
            loop {
                let signal = match select(removed.next(), select(&mut stopped, &mut late)).await {
                    Either::Left((Some(signal), _)) => signal,
                    Either::Left((None, _)) => return Err(HostError::BusLost),
                    Either::Right((Either::Left(_), _)) => return Err(HostError::Interrupted),
                    Either::Right((Either::Right(_), _)) => {
                        return Err(HostError::Timeout { job, unit: unit.to_owned(), seconds: limit.as_secs() });
                    }
                };
                let Ok(args) = signal.args() else { continue };
                if *args.job() == path {
                    return Ok(JobEnd::Ended(args.result().clone()));
                }
                if line.take_if(|line| line.unit == args.unit()).is_some() {
                    limit = patience;
                    late.set_after(limit);
                }
            }
        })
    }

    /// Whether the job that was asked for waits behind this unit; it is told of that one's end then.
    async fn is_in_line(&self, line: &Line<'_>) -> Result<bool, HostError> {
        let waits = async || -> zbus::Result<bool> {
            let listed = self.manager.list_units_by_patterns(&[], &[line.unit]).await?;
            Ok(listed.iter().any(|(_, _, _, active, _, _, _, job, ..)| active == "activating" || *job != 0))
        };
        if !waits().await? {
            return Ok(false);
        }
        // Jobs of others are told to those only who have asked for it; it may have ended before that.
        self.manager.subscribe().await?;
        let is_there = waits().await?;
        if is_there {
            (line.waits)();
        }
        Ok(is_there)
    }
}
