//! What a box's units run: `pre-start` before anything of the box does, `volume-made`, and `post-stop` at its end.

use super::error::{Failure, Kind};
use super::output::{self, Output};
use crate::host::mounts::Within;
use crate::host::podman::Podman;
use crate::host::{self, Account, resolver, volumes};
use crate::spec::BoxName;

/// Look that the box's volumes are there, and put the sources of its mounts where its unit takes them from
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    name: String,
}

/// Take away what `pre-start` mounted
#[derive(Debug, clap::Args)]
pub(super) struct PostStopArgs {
    name: String,
}

/// Mount what standard input says; this process is in podman's namespaces
#[derive(Debug, clap::Args)]
pub(super) struct WithinArgs {}

/// Write down where podman has a volume that it has made
#[derive(Debug, clap::Args)]
pub(super) struct MadeArgs {
    name: String,
    volume: String,
}

/// The status of [`run`] that has systemd make the home's volume, and the one that has it skipped (ExecCondition=,
/// systemd.service(5)). With [`FAILED`] the unit fails, and the box with it. Any other, as of a program that is not there, is
/// like [`THERE`] to systemd; then the box's unit finds no mark.
const TO_MAKE: u8 = 0;
const THERE: u8 = 1;
pub(super) const FAILED: u8 = 255;

pub(super) fn run(args: &Args, _: Output) -> Result<u8, Failure> {
    let name: BoxName = args.name.parse()?;
    let account = Account::current()?;
    let entry = host::entry(&account, &name).ok_or_else(|| Failure::no_such_box(&name))?;
    let spec =
        entry.spec.as_ref().map_err(|trouble| Failure::new(Kind::Backend, format!("{name} is broken: {trouble}")))?;
    let mark = account.looked_at(&name);
    resolver::unmark(&mark)?;
    let is_there = volumes::look(&entry, &Podman::in_unit(&account))?;
    if !spec.mounts.is_empty() {
        send(&Within::holding(&account, &name, &spec.mounts))?;
    }
    resolver::mark(&mark)?;
    Ok(if is_there { THERE } else { TO_MAKE })
}

pub(super) fn volume_made(args: &MadeArgs, _: Output) -> Result<(), Failure> {
    let name: BoxName = args.name.parse()?;
    let account = Account::current()?;
    Ok(volumes::note_made(&account, &Podman::in_unit(&account), &name, &args.volume)?)
}

pub(super) fn post_stop(args: &PostStopArgs, _: Output) -> Result<(), Failure> {
    let name: BoxName = args.name.parse()?;
    send(&Within::dropping(&Account::current()?, &name))
}

pub(super) fn within(_: &WithinArgs, _: Output) -> Result<(), Failure> {
    let job: Within = serde_json::from_reader(std::io::stdin())
        .map_err(|e| Failure::new(Kind::Bug, format!("what to do is not understood: {e}")))?;
    Ok(job.carry_out()?)
}

fn send(job: &Within) -> Result<(), Failure> {
    let program = std::env::current_exe()
        .map_err(|e| Failure::new(Kind::Backend, format!("the path of this program is not known: {e}")))?;
    match job.send(&program, "mounts-within")? {
        Ok(()) => Ok(()),
        Err(said) => {
            // By this process, which the journal knows as the unit's; the one within is gone too soon.
            output::error_text(&said);
            Err(Failure::silent(Kind::Backend))
        }
    }
}
