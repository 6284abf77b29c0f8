//! Quadlet's own generator as the judge of our units, before anything of them is started.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use duct::cmd;
use tracing::debug;

use super::{HostError, files};
use crate::quadlet::names;
use crate::shown::printable;
use crate::spec::BoxName;

/// Where distributions put it; the name decides that it works for users.
const PLACES: [&str; 4] = [
    "/usr/lib/systemd/user-generators/podman-user-generator",
    "/usr/local/lib/systemd/user-generators/podman-user-generator",
    "/run/current-system/sw/lib/systemd/user-generators/podman-user-generator",
    "/usr/libexec/podman/quadlet",
];

/// The least podman whose Quadlet knows the keys of our templates (podman-systemd.unit(5)).
const LEAST: (u32, u32) = (5, 4);

fn program() -> Result<PathBuf, HostError> {
    PLACES.iter().map(PathBuf::from).find(|p| p.exists()).ok_or(HostError::GeneratorMissing)
}

/// Fails when podman is absent or too old. The generator is asked, since it must know the keys, comes with podman, and
/// answers sooner. `kept`: where its answer is kept, which took 30 ms of every create (measured with podman 5.4.2).
pub(super) fn check_version(kept: Option<&Path>) -> Result<(), HostError> {
    let on_path = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("podman").is_file()));
    if !on_path {
        return Err(HostError::PodmanMissing);
    }
    let program = program()?;
    let found = match kept {
        Some(file) => kept_version(&program, file)?,
        None => version(&program)?,
    };
    let mut numbers = found.split('.').map(|n| n.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= LEAST => Ok(()),
        _ => Err(HostError::PodmanOld { found: printable(&found) }),
    }
}

fn version(program: &Path) -> Result<String, HostError> {
    debug!("{} -version", program.display());
    let output = cmd!(program, "-version").stdin_null().stdout_capture().stderr_null().unchecked().run();
    let output = output.map_err(HostError::io("running", program))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().last().unwrap_or_default().to_owned())
}

/// The same from `file`, as long as the program is the one that was asked.
fn kept_version(program: &Path, file: &Path) -> Result<String, HostError> {
    let meta = program.metadata().map_err(HostError::io("reading", program))?;
    let is_of = format!("{} {} {} {} {} ", meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.ctime_nsec());
    let text = files::read(file).ok().flatten().unwrap_or_default();
    if let Some(version) = text.strip_prefix(&is_of) {
        return Ok(version.to_owned());
    }
    let version = version(program)?;
    // Where it cannot be kept it is asked for again.
    if let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) {
        let _ = files::private_folder(folder).and_then(|()| files::write(folder, name, &(is_of + &version)));
    }
    Ok(version)
}

/// Has the generator make services of a folder's units, to nowhere, and holds it to the ones that a box needs.
pub(super) fn check(folder: &Path, name: &BoxName) -> Result<(), HostError> {
    let program = program()?;
    debug!("QUADLET_UNIT_DIRS={} {} -user -dryrun", folder.display(), program.display());
    let output = cmd(&program, ["-user", "-dryrun"])
        .env("QUADLET_UNIT_DIRS", folder)
        .stdin_null()
        .stdout_capture()
        .stderr_capture()
        .unchecked()
        .run()
        .map_err(HostError::io("running", &program))?;
    let made = String::from_utf8_lossy(&output.stdout);
    let wanted = std::iter::once(names::service(name)).chain(names::volume_services(name));
    let missing: Vec<String> = wanted.filter(|unit| !made.contains(&format!("---{unit}---"))).collect();
    if output.status.success() && missing.is_empty() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let mut why: Vec<String> = said
        .lines()
        .filter(|line| !line.contains("Loading source unit file"))
        .map(|line| printable(line.split_once("]: ").map_or(line, |(_, rest)| rest)))
        .collect();
    why.extend(missing.into_iter().map(|unit| format!("no {unit} comes of these units")));
    Err(HostError::GeneratorRefused(why))
}

/// Why the generator made nothing of a live folder, for a unit that systemd does not know.
pub fn explain(folder: &Path, name: &BoxName) -> Vec<String> {
    match check(folder, name) {
        Err(HostError::GeneratorRefused(why)) => why,
        _ => Vec::new(),
    }
}
