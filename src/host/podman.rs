//! Podman's CLI, and the two files of its store that answer faster than it does.
//!
//! A call of the CLI takes 60-120 ms, most of a `create`; so what can be read is read. Only a clear answer is taken
//! from the store; everything else is asked.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use duct::cmd;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tracing::debug;

use super::systemd::Systemd;
use super::{Account, HostError, files};
use crate::quadlet::names;
use crate::shown::printable;
use crate::spec::{BoxName, DevIs, ImageRef};

/// Podman as the owner's units run it: with the manager's environment and not the shell's, which may name another
/// store, another home or another machine.
#[derive(Debug)]
pub struct Podman {
    environment: HashMap<String, String>,
    /// Where nothing moves it (containers-storage.conf(5), containers.conf(5)).
    pub(super) store: Option<PathBuf>,
}

/// Variables that begin so may move the store or name another machine's (podman(1)).
const MOVERS: [&str; 5] = ["CONTAINER_", "CONTAINERS_", "STORAGE_", "XDG_DATA_HOME", "XDG_CONFIG_HOME"];

/// Variables that would change what a container is, and where; a box's unit has them not either.
pub(super) const NOT_OURS: [&str; 4] = ["CONTAINER_CONNECTION", "CONTAINER_HOST", "CONTAINER_SSHKEY", "PODMAN_USERNS"];

/// The variable that names the settings which podman reads last (containers.conf(5)).
pub(super) const CONF_OVERRIDE: &str = "CONTAINERS_CONF_OVERRIDE";

/// Whose volume it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeState {
    Absent,
    /// Labelled for this box, and by whom its files are.
    Ours(DevIs),
    Foreign,
}

impl Podman {
    pub fn of(account: &Account, systemd: &Systemd) -> Result<Self, HostError> {
        Ok(Self::with(account, systemd.environment()?.into_iter().collect()))
    }

    fn with(account: &Account, mut environment: HashMap<String, String>) -> Self {
        // Of no box's: what a box is, its unit says. Before it is asked what moves the store: a box's units set the override.
        for variable in NOT_OURS.into_iter().chain([CONF_OVERRIDE]) {
            environment.remove(variable);
        }
        let home = account.home().display().to_string();
        let moved = environment.get("HOME").is_some_and(|h| *h != home)
            || environment.keys().any(|k| MOVERS.iter().any(|mover| k.starts_with(mover)));
        // To find podman by; the manager's may lack what a person installed it to.
        environment.extend(std::env::var("PATH").ok().map(|path| ("PATH".to_owned(), path)));
        environment.entry("HOME".to_owned()).or_insert(home);
        environment.entry("XDG_RUNTIME_DIR".to_owned()).or_insert_with(|| account.runtime().display().to_string());
        let store = (!moved && !is_configured_elsewhere(account))
            .then(|| account.home().join(".local/share/containers/storage"));
        Self { environment, store }
    }

    /// As a process that the owner's manager started, which has its environment from there.
    pub fn in_unit(account: &Account) -> Self {
        Self::with(account, std::env::vars().collect())
    }

    /// The environment of every call of podman.
    pub fn environment(&self) -> &HashMap<String, String> {
        &self.environment
    }

    /// The same for a container that is made for a box, with the box's own settings.
    pub(super) fn environment_in(&self, folder: &Path) -> HashMap<String, String> {
        let mut environment = self.environment.clone();
        environment.extend(own_conf(folder).map(|conf| (CONF_OVERRIDE.to_owned(), conf)));
        environment
    }

    pub(super) fn run(&self, what: &'static str, arguments: &[&str]) -> Result<std::process::Output, HostError> {
        debug!("podman {}", arguments.join(" "));
        let child = cmd("podman", arguments).full_env(&self.environment).stdin_null().stdout_capture().stderr_capture();
        let child = child.unchecked();
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

    /// Hands a box that runs a key by standard input, and waits until it has logged in with it.
    pub fn hand_in_key(&self, name: &BoxName, key: &SecretString) -> Result<(), HostError> {
        let container = names::container(name);
        let arguments = ["exec", "--interactive", "--user=root", &container, "/usr/libexec/devbox/tailnet-key"];
        debug!("podman {} <key", arguments.join(" "));
        let child = cmd("podman", arguments).full_env(&self.environment).stdin_bytes(key.expose_secret().as_bytes());
        let output = child.stdout_capture().stderr_capture().unchecked().run();
        let failed_to = |stderr: String| HostError::Podman { what: "exec", stderr };
        let output = output.map_err(|e| failed_to(e.to_string()))?;
        // The box tells how the login went on its standard output; what podman has to say is on the other.
        let said = [output.stdout, output.stderr].concat();
        if output.status.success() { Ok(()) } else { Err(failed("exec", &said)) }
    }

    /// What a program writes, at most a mebibyte of it. One that takes too long is ended.
    pub fn run_with(
        &self,
        program: &'static str,
        arguments: &[&str],
        input: &[u8],
        patience: std::time::Duration,
    ) -> Result<Vec<u8>, HostError> {
        debug!("{program} {}", arguments.join(" "));
        let failed_to = |stderr: &str| HostError::Podman { what: "run", stderr: stderr.to_owned() };
        let child = cmd(program, arguments).full_env(&self.environment).stdin_bytes(input).stderr_null().unchecked();
        let child = child.before_spawn(|command| {
            std::os::unix::process::CommandExt::process_group(command, 0);
            Ok(())
        });
        let reader = child.reader().map_err(|e| failed_to(&e.to_string()))?;
        let mut output = Vec::new();
        std::thread::scope(|scope| {
            let (ended, end) = std::sync::mpsc::channel::<()>();
            let watched = &reader;
            scope.spawn(move || {
                if end.recv_timeout(patience) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    let _ = watched.kill();
                }
            });
            let read = std::io::Read::read_to_end(&mut std::io::Read::take(watched, 1 << 20), &mut output);
            drop(ended);
            read
        })
        .map_err(|e| failed_to(&e.to_string()))?;
        let _ = reader.kill();
        Ok(output)
    }

    /// Leaves a line for whoever logs in next in a box that runs. What answers in the box is the box's: it has ten
    /// seconds.
    pub fn hand_in_notice(&self, name: &BoxName, text: &str) -> Result<(), HostError> {
        let container = names::container(name);
        let line = format!("{text}\n");
        let write = ["install", "-o", "dev", "-m", "600", "/dev/stdin", "/run/devbox/notice"];
        let arguments = [&["exec", "--interactive", "--user=root", &container], &write[..]].concat();
        debug!("podman {} <notice", arguments.join(" "));
        let child = cmd("podman", arguments).full_env(&self.environment).stdin_bytes(line).stdout_null().stderr_null();
        let failed_to = |stderr: &str| HostError::Podman { what: "exec", stderr: stderr.to_owned() };
        let handle = child.unchecked().start().map_err(|e| failed_to(&e.to_string()))?;
        match handle.wait_timeout(std::time::Duration::from_secs(10)).map_err(|e| failed_to(&e.to_string()))? {
            Some(output) if output.status.success() => Ok(()),
            Some(output) => Err(failed("exec", &output.stderr)),
            None => {
                let _ = handle.kill();
                Err(failed_to("the box did not take the notice within ten seconds"))
            }
        }
    }

    /// Ends a container that copies, if it is there: what it has copied does not count any more.
    pub(super) fn remove_copier(&self, container: &str) {
        let _ = self.run("rm", &["rm", "--force", "--time=0", "--ignore", "--", container]);
    }

    /// Whether the owner's store has the image.
    pub fn has_image(&self, image: &ImageRef) -> Result<bool, HostError> {
        // One that is not listed may be known to podman all the same: by a short name, or in another store.
        if self.stored_image(image).is_some() {
            return Ok(true);
        }
        self.image_exists(image.as_str())
    }

    /// Whether a box whose `dev` is its owner would be the first of that image: podman copies all of it then, with other
    /// owners of its files (containers-storage.conf(5); 2 to 30 s were measured).
    pub fn copies_image(&self, image: &ImageRef) -> bool {
        self.stored_image(image).is_some_and(|image| image.mapped.is_empty())
    }

    /// As the store lists it, where every name has its tag.
    fn stored_image(&self, image: &ImageRef) -> Option<Stored> {
        let images = stored(&self.store.as_ref()?.join("overlay-images/images.json"))?;
        let tagged = format!("{image}:latest");
        let is_it = |name: &String| name == image.as_str() || *name == tagged;
        images.into_iter().find(|i| i.names.iter().any(is_it))
    }

    /// By podman's own word: a name, a digest or an id, in whatever store.
    pub(super) fn image_exists(&self, what: &str) -> Result<bool, HostError> {
        let output = self.run("image exists", &["image", "exists", "--", what])?;
        match output.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(failed("image exists", &output.stderr)),
        }
    }

    /// A container of the box's name that no box of ours made: starting the unit would replace it.
    pub fn has_foreign_container(&self, name: &BoxName) -> Result<bool, HostError> {
        let wanted = names::container(name);
        match self.is_listed(&wanted) {
            Some(true) => return Ok(!self.is_ours(name, &wanted)?),
            Some(false) => return Ok(false),
            None => {}
        }
        let there = self.run("container exists", &["container", "exists", "--", &wanted])?;
        match there.status.code() {
            Some(0) => Ok(!self.is_ours(name, &wanted)?),
            Some(1) => Ok(false),
            _ => Err(failed("container exists", &there.stderr)),
        }
    }

    /// Whether the store has a container of that name; `None` where it is not to be read.
    fn is_listed(&self, container: &str) -> Option<bool> {
        let folder = self.store.as_ref()?.join("overlay-containers");
        // Those started with --rm are in a list of their own.
        let (kept, passing) =
            (stored(&folder.join("containers.json"))?, stored(&folder.join("volatile-containers.json"))?);
        Some(kept.iter().chain(&passing).any(|c| c.names.iter().any(|name| name == container)))
    }

    /// Removes the box's container where it is there although its unit has stopped: where podman is ended while it makes
    /// one, the unit's own `podman rm` may not find it.
    pub(super) fn remove_leftover(&self, name: &BoxName) -> Result<(), HostError> {
        let container = names::container(name);
        if self.is_listed(&container) == Some(true) && self.is_ours(name, &container)? {
            self.run("rm", &["rm", "--force", "--time=0", "--ignore", "--", &container])?;
        }
        Ok(())
    }

    /// A container of that name that has the box's label: left over, since after a power cut no stop has removed it.
    pub(super) fn is_ours(&self, name: &BoxName, container: &str) -> Result<bool, HostError> {
        let format = format!("--format={{{{index .Config.Labels \"{}\"}}}}", names::LABEL);
        let output = self.run("container inspect", &["container", "inspect", &format, "--", container])?;
        Ok(output.status.success() && String::from_utf8_lossy(&output.stdout).trim() == name.as_str())
    }

    /// Whose a volume is.
    pub fn volume(&self, name: &BoxName, volume: &str) -> Result<VolumeState, HostError> {
        // A local volume is a folder of its name; podman is asked only where there is one, or where the store was moved.
        if let Some(store) = &self.store
            && store
                .join("volumes")
                .join(volume)
                .symlink_metadata()
                .is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
        {
            return Ok(VolumeState::Absent);
        }
        self.ask_volume(name, volume)
    }

    pub(super) fn ask_volume(&self, name: &BoxName, volume: &str) -> Result<VolumeState, HostError> {
        Ok(self.labelled_volume(name, volume)?.0)
    }

    /// Whose a volume is, and the backup priority that its label says.
    pub(super) fn labelled_volume(
        &self,
        name: &BoxName,
        volume: &str,
    ) -> Result<(VolumeState, Option<String>), HostError> {
        let output = self.run("volume inspect", &["volume", "inspect", "--", volume])?;
        if !output.status.success() {
            let there = self.run("volume exists", &["volume", "exists", "--", volume])?;
            return match there.status.code() {
                Some(1) => Ok((VolumeState::Absent, None)),
                _ => Err(failed("volume inspect", &output.stderr)),
            };
        }
        let volumes: Vec<InspectedVolume> = serde_json::from_slice(&output.stdout)
            .map_err(|e| HostError::Podman { what: "volume inspect", stderr: e.to_string() })?;
        // Podman takes the beginning of a name for the name.
        let Some(volume) = volumes.iter().find(|v| v.name == volume) else { return Ok((VolumeState::Absent, None)) };
        let label = |key| volume.labels.get(key).map(String::as_str);
        let state = match label(names::DEV_LABEL).and_then(DevIs::of_word) {
            Some(dev) if label(names::LABEL) == Some(name.as_str()) => VolumeState::Ours(dev),
            _ => VolumeState::Foreign,
        };
        Ok((state, label(names::BACKUP_LABEL).map(printable)))
    }

    /// Where podman has the files of a volume.
    pub(super) fn mountpoint(&self, volume: &str) -> Result<Option<PathBuf>, HostError> {
        let arguments = ["volume", "inspect", "--format={{.Mountpoint}}", "--", volume];
        let output = self.run("volume inspect", &arguments)?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(output.status.success().then(|| PathBuf::from(text.trim_end_matches('\n'))))
    }
}

/// The settings of a box's own, where its folder has them; a box of an earlier version has none.
pub(super) fn own_conf(folder: &Path) -> Option<String> {
    let conf = folder.join(names::CONTAINERS_CONF_FILE);
    conf.exists().then(|| conf.display().to_string())
}

/// Whether a file may move the store: any of the owner's own, and the host's by the keys that do.
fn is_configured_elsewhere(account: &Account) -> bool {
    let own = account.home().join(".config/containers");
    if ["storage.conf", "containers.conf", "containers.conf.d"].iter().any(|f| own.join(f).symlink_metadata().is_ok()) {
        return true;
    }
    let mut paths = Vec::new();
    for folder in ["/usr/share/containers", "/etc/containers"] {
        paths.extend(["storage.conf", "containers.conf"].map(|file| Path::new(folder).join(file)));
        match files::names_in(&Path::new(folder).join("containers.conf.d")) {
            Ok(more) => paths.extend(more),
            Err(_) => return true,
        }
    }
    paths.iter().any(|path| match std::fs::read_to_string(path) {
        Ok(text) => text.parse::<toml::Table>().map_or(true, |table| moves_the_store(&table)),
        Err(e) => e.kind() != std::io::ErrorKind::NotFound,
    })
}

fn moves_the_store(table: &toml::Table) -> bool {
    let has = |section: &str, key: &str| table.get(section).and_then(|s| s.get(key)).is_some();
    has("storage", "rootless_storage_path")
        || has("engine", "volume_path")
        || has("engine", "static_dir")
        || has("engine", "remote")
}

pub(super) fn failed(what: &'static str, stderr: &[u8]) -> HostError {
    let stderr = String::from_utf8_lossy(stderr);
    let last: Vec<&str> = stderr.lines().filter(|l| !l.trim().is_empty()).collect();
    HostError::Podman { what, stderr: printable(last.last().unwrap_or(&"it said nothing")) }
}

#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    names: Vec<String>,
    /// Copies of it for other mappings of ids.
    #[serde(default, rename = "mapped-layers")]
    mapped: Vec<String>,
}

/// The store's list; `None` where it cannot be read, which answers nothing. Podman's own file in the owner's home, it can
/// be larger than any of ours.
fn stored(path: &Path) -> Option<Vec<Stored>> {
    stored_list(path)
}

pub(super) fn stored_list<T: serde::de::DeserializeOwned>(path: &Path) -> Option<Vec<T>> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).ok(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Some(Vec::new()),
        Err(_) => None,
    }
}

#[derive(Deserialize)]
struct InspectedVolume {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Labels", default)]
    labels: std::collections::HashMap<String, String>,
}

/// The arguments that run a command in a box.
pub fn exec_arguments(name: &BoxName, user: &str, terminal: bool, command: &[String]) -> Vec<String> {
    let mut list: Vec<String> = ["exec", "--interactive", "--user", user].map(str::to_owned).to_vec();
    if terminal {
        // Without keys that detach: Ctrl-P is the shell's, and nobody is to leave a shell behind by chance.
        list.extend(["--tty", "--detach-keys="].map(str::to_owned));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Else each start would ask podman for what can be read.
    #[test]
    fn the_override_of_a_boxs_unit_moves_no_store() {
        let account = Account::at(Path::new("/nowhere"));
        let store = |variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            Podman::with(&account, variables.collect()).store
        };
        assert_eq!(store(&[(CONF_OVERRIDE, "/nowhere/containers.conf")]), store(&[]));
        assert_eq!(store(&[("CONTAINERS_STORAGE_CONF", "/nowhere/storage.conf")]), None);
    }
}
