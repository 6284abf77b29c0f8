//! Whose boxes these are, and where they live.

use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use super::HostError;
use crate::plan::Place;
use crate::quadlet::names;
use crate::spec::BoxName;

/// The owner, by the kernel's word: never `$USER` or `$HOME`.
#[derive(Debug, Clone)]
pub struct Account {
    pub uid: u32,
    pub user: String,
    home: PathBuf,
}

impl Account {
    /// The account this process runs as.
    pub fn current() -> Result<Self, HostError> {
        let uid = Uid::current();
        if uid.is_root() {
            return Err(HostError::Root);
        }
        match User::from_uid(uid) {
            Ok(Some(user)) => Ok(Self { uid: uid.as_raw(), user: user.name, home: user.dir }),
            _ => Err(HostError::NoAccount(uid.as_raw())),
        }
    }

    #[cfg(test)]
    pub(super) fn at(home: &Path) -> Self {
        Self { uid: Uid::current().as_raw(), user: "alice".to_owned(), home: home.to_owned() }
    }

    /// One folder a box. The units in it are the registry.
    ///
    /// Not `$XDG_CONFIG_HOME`: the user manager reads units, and it has not the shell's environment.
    pub fn boxes(&self) -> PathBuf {
        self.home.join(".config/containers/systemd/devbox")
    }

    pub fn folder(&self, name: &BoxName) -> PathBuf {
        self.boxes().join(name.as_str())
    }

    /// Destroyed boxes: beside Quadlet's folder, so that a rename is enough, and outside its search.
    pub fn trash(&self) -> PathBuf {
        self.home.join(".config/containers/devbox-trash")
    }

    /// A box's folder.
    pub fn folder_in(&self, place: Place, name: &BoxName) -> PathBuf {
        match place {
            Place::Boxes => self.folder(name),
            Place::Trash => self.trash().join(name.as_str()),
        }
    }

    /// Everything Quadlet searches for this user that the user can write.
    pub fn quadlets(&self) -> PathBuf {
        self.home.join(".config/containers/systemd")
    }

    /// Where folders are made and taken apart: beside Quadlet's, so that a rename is enough, and outside its search.
    pub fn stage(&self) -> PathBuf {
        self.home.join(".config/containers/devbox-stage")
    }

    /// The owner's own provider of tailnet keys, where there is no broker, and its secret.
    pub fn tailnet_settings(&self) -> PathBuf {
        self.home.join(".config/devbox/tailnet.toml")
    }

    pub fn tailnet_credential(&self) -> PathBuf {
        self.home.join(".config/devbox/tailnet-credential")
    }

    /// Where boxes ask for their keys then; [`crate::wire::OWN_LOGIN_SOCKET`] with the folder of this account.
    pub fn login_socket(&self) -> PathBuf {
        self.runtime().join("devbox/login.sock")
    }

    /// Where the sources of a box's mounts are while it runs.
    pub(super) fn mounts(&self, name: &BoxName) -> PathBuf {
        self.runtime().join(names::mounts_folder(name))
    }

    /// Says that the box was looked at, just before it starts.
    pub fn looked_at(&self, name: &BoxName) -> PathBuf {
        self.runtime().join(names::looked_at_file(name))
    }

    /// The version of podman's generator.
    pub(super) fn kept_version(&self) -> PathBuf {
        self.runtime().join("devbox/podman-version")
    }

    /// Turns to start boxes. Gone with the account's last process, as what is written there should be.
    pub(super) fn turns(&self) -> PathBuf {
        self.runtime().join("devboxes-turns")
    }

    /// What is known of how boxes are used.
    pub(super) fn life(&self) -> PathBuf {
        self.state().join("devbox")
    }

    /// The owner's own word on whether a box is at work.
    pub(super) fn busy_command(&self) -> PathBuf {
        self.home.join(".config/devbox/busy")
    }

    /// Where what is only known here is kept.
    pub(super) fn state(&self) -> PathBuf {
        self.home.join(".local/state")
    }

    /// The key with which `devbox-ctl ssh` enters boxes.
    pub fn ssh_key(&self) -> PathBuf {
        self.home.join(".local/share/devbox/ssh/id_ed25519")
    }

    /// The Include file of `ssh-config`.
    pub fn ssh_include(&self) -> PathBuf {
        self.home.join(".local/share/devbox/ssh/config")
    }

    pub fn ssh_config(&self) -> PathBuf {
        self.home.join(".ssh/config")
    }

    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// Where the account's user manager has its sockets (pam_systemd(8)).
    pub(super) fn runtime(&self) -> PathBuf {
        Path::new("/run/user").join(self.uid.to_string())
    }

    pub(super) fn bus(&self) -> PathBuf {
        self.runtime().join("bus")
    }
}

/// Now, to the second: what a person or a script can use.
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

/// Where this program is for a unit that runs it later: as it is found on the PATH, since what that leads to may be another
/// file after an upgrade (on NixOS it always is).
pub fn program() -> Result<String, HostError> {
    let own = std::env::current_exe().map_err(HostError::io("looking for", "devbox-ctl"))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = ["/usr/bin", "/usr/local/bin"].map(PathBuf::from).into_iter().chain(std::env::split_paths(&path));
    let mut places = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join("devbox-ctl"));
    // One that was replaced while this ran is where its successor is.
    let is_own = |place: &PathBuf| {
        if own.exists() { place.canonicalize().is_ok_and(|real| real == own) } else { place.exists() }
    };
    let found = places.find(is_own).unwrap_or(own);
    let odd = || io::Error::other("a unit cannot run a program at such a path");
    found.to_str().map(str::to_owned).ok_or_else(odd).map_err(HostError::io("running", &found))
}

/// This machine's name, for a person to replace where it is not the one others use.
pub fn own_name() -> String {
    nix::unistd::gethostname().ok().and_then(|n| n.into_string().ok()).unwrap_or_else(|| "HOST".to_owned())
}
