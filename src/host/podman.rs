//! Podman's CLI, and the two files of its store that answer faster than it does.
//!
//! A call of the CLI takes 60-120 ms, most of a `create`; so what can be read is read. Only a clear answer is taken
//! from the store; everything else is asked.

use std::path::Path;

use duct::cmd;
use serde::Deserialize;
use tracing::debug;

use super::{Account, HostError};
use crate::quadlet::names;
use crate::spec::{BoxName, ImageRef};

/// Whose volume it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeState {
    Absent,
    /// Labelled for this box.
    Ours,
    Foreign,
}

fn run(what: &'static str, arguments: &[&str]) -> Result<std::process::Output, HostError> {
    debug!("podman {}", arguments.join(" "));
    let child = cmd("podman", arguments).stdin_null().stdout_capture().stderr_capture().unchecked();
    // Ctrl-C is ours to answer, not the child's.
    let child = child.before_spawn(|command| {
        std::os::unix::process::CommandExt::process_group(command, 0);
        Ok(())
    });
    child.run().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => HostError::PodmanMissing,
        _ => HostError::Podman { what, stderr: e.to_string() },
    })
}

fn failed(what: &'static str, output: &std::process::Output) -> HostError {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = stderr.lines().filter(|l| !l.trim().is_empty()).collect();
    HostError::Podman { what, stderr: printable(last.last().unwrap_or(&"it said nothing")) }
}

/// Text that others wrote, fit for a terminal: no control characters, not endless.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\t').take(400).collect()
}

#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    names: Vec<String>,
}

/// Whether the owner's store has the image.
pub fn has_image(account: &Account, image: &ImageRef) -> Result<bool, HostError> {
    let listed = account.store().is_some_and(|store| {
        stored(&store.join("overlay-images/images.json")).iter().any(|i| i.names.iter().any(|n| n == image.as_str()))
    });
    if listed {
        return Ok(true);
    }
    let output = run("image exists", &["image", "exists", "--", image.as_str()])?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(failed("image exists", &output)),
    }
}

/// A container of the box's name that no box of ours made: starting the unit would replace it.
pub fn has_foreign_container(account: &Account, name: &BoxName) -> Result<bool, HostError> {
    let wanted = names::container(name);
    let listed = account.store().is_some_and(|store| {
        // Those started with --rm are in a list of their own.
        ["containers.json", "volatile-containers.json"]
            .iter()
            .flat_map(|list| stored(&store.join("overlay-containers").join(list)))
            .any(|c| c.names.contains(&wanted))
    });
    if !listed {
        return Ok(false);
    }
    Ok(!is_our_container(name)?)
}

/// Left over, labelled ours: after a power cut no stop has removed it.
fn is_our_container(name: &BoxName) -> Result<bool, HostError> {
    let format = format!("--format={{{{index .Config.Labels \"{}\"}}}}", names::LABEL);
    let output = run("container inspect", &["container", "inspect", &format, "--", &names::container(name)])?;
    Ok(output.status.success() && String::from_utf8_lossy(&output.stdout).trim() == name.as_str())
}

/// The store's list; empty where it cannot be read, since only what is listed counts as an answer.
fn stored(path: &Path) -> Vec<Stored> {
    // Podman's own file in the owner's home; it can be larger than any of ours.
    std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

#[derive(Deserialize)]
struct InspectedVolume {
    #[serde(rename = "Labels", default)]
    labels: std::collections::HashMap<String, String>,
}

/// Whose a volume is.
pub fn volume(account: &Account, name: &BoxName, volume: &str) -> Result<VolumeState, HostError> {
    // A local volume is a folder of its name; podman is asked only where there is one, or where the store was moved.
    if let Some(store) = account.store()
        && !store.join("volumes").join(volume).exists()
    {
        return Ok(VolumeState::Absent);
    }
    let output = run("volume inspect", &["volume", "inspect", "--", volume])?;
    if !output.status.success() {
        let there = run("volume exists", &["volume", "exists", "--", volume])?;
        return match there.status.code() {
            Some(1) => Ok(VolumeState::Absent),
            _ => Err(failed("volume inspect", &output)),
        };
    }
    let volumes: Vec<InspectedVolume> = serde_json::from_slice(&output.stdout)
        .map_err(|e| HostError::Podman { what: "volume inspect", stderr: e.to_string() })?;
    let ours = volumes.iter().all(|v| v.labels.get(names::LABEL).is_some_and(|b| b == name.as_str()));
    Ok(if ours && !volumes.is_empty() { VolumeState::Ours } else { VolumeState::Foreign })
}

/// Deletes a volume of the box; one that is not there or not the box's own is left alone.
pub fn remove_volume(account: &Account, name: &BoxName, wanted: &str) -> Result<(), HostError> {
    match volume(account, name, wanted)? {
        VolumeState::Absent | VolumeState::Foreign => return Ok(()),
        VolumeState::Ours => {}
    }
    let mut output = run("volume rm", &["volume", "rm", "--", wanted])?;
    // 2: in use (podman-volume-rm(1)).
    if output.status.code() == Some(2) && is_our_container(name)? {
        let gone = run("rm", &["rm", "--force", "--ignore", "--", &names::container(name)])?;
        if !gone.status.success() {
            return Err(failed("rm", &gone));
        }
        output = run("volume rm", &["volume", "rm", "--", wanted])?;
    }
    // 1: gone meanwhile.
    match output.status.code() {
        Some(0 | 1) => Ok(()),
        _ => Err(failed("volume rm", &output)),
    }
}

/// The arguments that run a command in a box.
pub fn exec_arguments(name: &BoxName, user: &str, terminal: bool, command: &[String]) -> Vec<String> {
    let mut list: Vec<String> = ["exec", "--interactive", "--user", user].map(str::to_owned).to_vec();
    if terminal {
        list.push("--tty".to_owned());
        if let Ok(term) = std::env::var("TERM")
            && term.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'+'))
        {
            list.push(format!("--env=TERM={term}"));
        }
    }
    if user == "dev" {
        list.extend(["--workdir=/home/dev", "--env=HOME=/home/dev", "--env=USER=dev"].map(str::to_owned));
    }
    list.push(names::container(name));
    list.extend_from_slice(command);
    list
}
