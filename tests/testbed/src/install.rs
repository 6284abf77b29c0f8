//! What a host gets: programs, units, the bus's and polkit's files, man pages and completions, as a package would lay
//! them out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::paths;

/// What a login shell of an owner's reads.
const OWNERS_PROFILE: &str = "etc/profile.d/devbox-ctl.sh";

/// (in the repository, on the host)
const FILES: &[(&str, &str)] = &[
    ("systemd/devboxd.service", "usr/lib/systemd/system/devboxd.service"),
    ("systemd/devboxd.socket", "usr/lib/systemd/system/devboxd.socket"),
    ("systemd/devbox-tidy.service", "usr/lib/systemd/system/devbox-tidy.service"),
    ("systemd/devbox-tidy.timer", "usr/lib/systemd/system/devbox-tidy.timer"),
    ("systemd/devbox-warn.socket", "usr/lib/systemd/system/devbox-warn.socket"),
    ("systemd/devbox-warn@.service", "usr/lib/systemd/system/devbox-warn@.service"),
    ("systemd/devbox-limits.service", "usr/lib/systemd/system/devbox-limits.service"),
    ("systemd/devbox-limits.path", "usr/lib/systemd/system/devbox-limits.path"),
    ("systemd/user-delegate.conf", "usr/lib/systemd/system/user@.service.d/50-devbox.conf"),
    ("systemd/devboxes-report.service", "usr/lib/systemd/user/devboxes-report.service"),
    ("systemd/devboxes-report.timer", "usr/lib/systemd/user/devboxes-report.timer"),
    ("systemd/devboxes-tend.service", "usr/lib/systemd/user/devboxes-tend.service"),
    ("systemd/devboxes-tend.timer", "usr/lib/systemd/user/devboxes-tend.timer"),
    ("systemd/devboxes-sample.service", "usr/lib/systemd/user/devboxes-sample.service"),
    ("systemd/devboxes-sample.timer", "usr/lib/systemd/user/devboxes-sample.timer"),
    ("systemd/devboxes-cleanup.service", "usr/lib/systemd/user/devboxes-cleanup.service"),
    ("systemd/devboxes-cleanup.timer", "usr/lib/systemd/user/devboxes-cleanup.timer"),
    ("systemd/devboxes-turn@.service", "usr/lib/systemd/user/devboxes-turn@.service"),
    ("systemd/devboxes-started.service", "usr/lib/systemd/user/devboxes-started.service"),
    ("systemd/profile.sh", OWNERS_PROFILE),
    ("systemd/devboxes-login.socket", "usr/lib/systemd/user/devboxes-login.socket"),
    ("systemd/devboxes-login@.service", "usr/lib/systemd/user/devboxes-login@.service"),
    ("systemd/devbox.sysusers", "usr/lib/sysusers.d/devbox.conf"),
    ("systemd/io.devbox.Broker1.service", "usr/share/dbus-1/system-services/io.devbox.Broker1.service"),
    ("systemd/io.devbox.Broker1.conf", "usr/share/dbus-1/system.d/io.devbox.Broker1.conf"),
    ("systemd/io.devbox.policy", "usr/share/polkit-1/actions/io.devbox.policy"),
];

/// Where those of the owners go: they are of use without the broker too.
const OF_OWNERS: &str = "usr/lib/systemd/user/";

/// (of the build, on the host)
const PROGRAMS: &[(&str, &str)] = &[("devbox-ctl", "usr/bin/devbox-ctl"), ("devboxd", "usr/libexec/devbox/devboxd")];

/// What makes a running host take notice.
pub const ACTIVATE: &[&[&str]] = &[
    &["systemd-sysusers"],
    &["systemctl", "daemon-reload"],
    &["busctl", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig"],
    &[
        "systemctl",
        "enable",
        "--now",
        "devbox-limits.service",
        "devbox-limits.path",
        "devboxd.socket",
        "devbox-warn.socket",
        "devbox-tidy.timer",
    ],
    &[
        "systemctl",
        "--global",
        "enable",
        "devboxes-report.timer",
        "devboxes-tend.timer",
        "devboxes-sample.timer",
        "devboxes-cleanup.timer",
        "devboxes-started.service",
    ],
];

/// Copies everything under a root; `programs` is the folder of the release build.
pub fn into(root: &Path, programs: &Path) -> Result<()> {
    for (from, to) in PROGRAMS {
        copy(&programs.join(from), &root.join(to), 0o755)?;
    }
    for (from, to) in FILES {
        copy(&paths::workspace().join(from), &root.join(to), 0o644)?;
    }
    documents(root, programs)
}

/// Man pages and completions, made by the program itself.
fn documents(root: &Path, programs: &Path) -> Result<()> {
    let program = programs.join("devbox-ctl");
    let man = root.join("usr/share/man/man1");
    fs::create_dir_all(&man).with_context(|| format!("cannot make {}", man.display()))?;
    let made = Command::new(&program).arg("--quiet").arg("man").arg(&man).status().context("cannot run devbox-ctl")?;
    ensure!(made.success(), "the man pages could not be made");
    for (shell, to) in [
        ("bash", "usr/share/bash-completion/completions/devbox-ctl"),
        ("zsh", "usr/share/zsh/vendor-completions/_devbox-ctl"),
        ("fish", "usr/share/fish/vendor_completions.d/devbox-ctl.fish"),
    ] {
        let script = Command::new(&program).args(["completions", shell]).output().context("cannot run devbox-ctl")?;
        let to = root.join(to);
        fs::create_dir_all(to.parent().unwrap_or(root)).with_context(|| format!("cannot make {}", to.display()))?;
        fs::write(&to, script.stdout).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// What a host without a broker has of it: the program, and the units of owners.
pub fn without_broker(root: &Path, programs: &Path) -> Result<()> {
    let (from, to) = PROGRAMS[0];
    copy(&programs.join(from), &root.join(to), 0o755)?;
    for (from, to) in FILES.iter().filter(|(_, to)| to.starts_with(OF_OWNERS) || *to == OWNERS_PROFILE) {
        copy(&paths::workspace().join(from), &root.join(to), 0o644)?;
    }
    documents(root, programs)
}

/// The absolute paths of the programs and units on a host. Removing these files uninstalls; the ledger stays.
pub fn files() -> Vec<String> {
    PROGRAMS.iter().chain(FILES).map(|(_, to)| format!("/{to}")).collect()
}

/// Takes away the programs and units again; the ledger stays.
pub fn remove(root: &Path) -> Result<()> {
    for (_, to) in PROGRAMS.iter().chain(FILES) {
        let path = root.join(to);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let doing = || format!("cannot install {}", to.display());
    fs::create_dir_all(to.parent().unwrap_or(to)).with_context(doing)?;
    // Beside it and renamed: a program that runs cannot be written.
    let new = to.with_extension("new");
    fs::copy(from, &new).with_context(doing)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).with_context(doing)?;
    fs::rename(&new, to).with_context(doing)
}

#[cfg(test)]
mod tests {
    use super::FILES;

    /// A box's unit is devbox-NAME.service, and would take the place of one of ours by that name.
    #[test]
    fn no_box_has_a_name_that_is_a_unit_of_owners() {
        let of_owners = FILES.iter().filter_map(|(_, to)| to.strip_prefix(super::OF_OWNERS));
        let clash: Vec<_> = of_owners.filter(|unit| unit.starts_with("devbox-")).collect();
        assert!(clash.is_empty(), "{clash:?}");
    }
}
