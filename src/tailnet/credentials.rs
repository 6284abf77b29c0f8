//! The secret that a provider is asked with.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use secrecy::SecretString;

use super::trouble::{Doing, Mend, Trouble};
use crate::settings::TailnetSettings;

/// Where it is.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// The broker's: systemd's `$CREDENTIALS_DIRECTORY`, on a tmpfs of its own.
    Given(Option<PathBuf>),
    /// A file of an owner's, for that owner's boxes.
    Own { file: PathBuf, uid: u32 },
}

impl Credentials {
    /// The name of the credential, where the settings do not name another.
    const NAME: &'static str = "devbox.tailnet";

    /// What helps, said to who can do it.
    pub(super) fn hint(&self, trouble: &Trouble) -> String {
        match (self, &trouble.mend) {
            (Self::Own { .. }, Mend::Administrator(what)) => format!("you can mend it: {what}"),
            _ => trouble.hint(),
        }
    }

    pub(super) fn secret(&self, settings: &TailnetSettings) -> Result<SecretString, Trouble> {
        match self {
            Self::Given(folder) => given(folder.as_deref(), settings),
            Self::Own { file, uid } => own(file, *uid),
        }
    }
}

fn given(folder: Option<&Path>, settings: &TailnetSettings) -> Result<SecretString, Trouble> {
    let name = settings.credential.as_deref().unwrap_or(Credentials::NAME);
    let missing = |why: String| {
        Trouble::new(Doing::ReadingToken, why).mend(Mend::Administrator(format!(
            "put it into /etc/credstore/{name} (mode 600), then `systemctl stop devboxd`"
        )))
    };
    let folder = folder.ok_or_else(|| missing("devboxd was given no credentials".to_owned()))?;
    let text = std::fs::read_to_string(folder.join(name))
        .map_err(|e| missing(format!("there is no credential {name}: {e}")))?;
    match text.trim() {
        "" => Err(missing(format!("the credential {name} is empty"))),
        secret => Ok(secret.to_owned().into()),
    }
}

/// What others could read is nobody's secret any more, and is not used as if it were.
fn own(path: &Path, uid: u32) -> Result<SecretString, Trouble> {
    let at = path.display();
    let trouble = |why: &str, what: String| {
        Trouble::new(Doing::ReadingToken, format!("{at}: {why}")).mend(Mend::Administrator(what))
    };
    let make = || format!("`install -m600 /dev/stdin {at}`, and the secret on its input");
    let mut options = File::options();
    // A pipe put there would be waited for.
    options.read(true).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits());
    let file = options.open(path).map_err(|e| match e.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ELOOP) => trouble("it is a link, and only a file is read", make()),
        _ => trouble(&e.to_string(), make()),
    })?;
    let meta = file.metadata().map_err(|e| trouble(&e.to_string(), make()))?;
    if !meta.is_file() {
        return Err(trouble("it is not a file", make()));
    }
    if meta.uid() != uid {
        return Err(trouble("it is not yours", make()));
    }
    if meta.mode() & 0o177 != 0 {
        return Err(trouble(
            "others may read or write it",
            format!("`chmod 600 {at}`; was it so for long, a new secret"),
        ));
    }
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).map_err(|e| trouble(&e.to_string(), make()))?;
    match text.trim() {
        "" => Err(trouble("it is empty", make())),
        secret => Ok(secret.to_owned().into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn an_owners_secret_is_a_private_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tailnet-credential");
        let uid = nix::unistd::geteuid().as_raw();
        let read = |uid| own(&file, uid).map(|s| s.expose_secret().to_owned());
        let why = |uid| {
            let trouble = read(uid).unwrap_err();
            let all = Credentials::Own { file: file.clone(), uid };
            assert!(all.hint(&trouble).starts_with("you can mend it: "), "{trouble:?}");
            assert!(!format!("{trouble:?}").contains("s3cret"), "{trouble:?}");
            trouble.why
        };
        assert!(why(uid).contains("No such file"));
        fs::write(&file, "s3cret\n").unwrap();
        for (mode, good) in
            [(0o600, true), (0o400, true), (0o644, false), (0o640, false), (0o602, false), (0o700, false)]
        {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(uid).is_ok_and(|s| s == "s3cret"), good, "{mode:o}");
        }
        assert!(why(uid).contains("others may"));
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert!(why(uid + 1).contains("not yours"));
        fs::write(&file, " \n").unwrap();
        assert!(why(uid).contains("empty"));
        fs::rename(&file, folder.path().join("other")).unwrap();
        symlink(folder.path().join("other"), &file).unwrap();
        assert!(why(uid).contains("a link"));
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(why(uid).contains("not a file"));
    }
}
