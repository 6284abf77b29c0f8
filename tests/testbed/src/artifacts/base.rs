//! The Debian root of a lab host, without the box image.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::cache::{self, Artifact};
use super::recipe::{self, Debian};
use crate::{paths, progress, run};

/// The name of the base root that this recipe makes.
pub(crate) fn base_name(debian: Debian) -> String {
    format!("{}{}", family(debian), recipe::base_key(debian))
}

fn family(debian: Debian) -> String {
    format!("base-{debian}-")
}

/// The base root, built when this recipe's is not there yet.
pub fn base(debian: Debian) -> Result<Artifact> {
    let artifact = cache::named(base_name(debian))?;
    cache::build_once(&artifact, &family(debian), |partial| {
        progress::step(&format!("building the Debian root ({debian})"));
        let folder = recipe::KEPT_PACKAGES;
        let keep = format!("mkdir -p {folder} && cd {folder} && apt-get download {}", recipe::BUS);
        // apt's own user may not write there, and says so.
        let hook = format!("--customize-hook=chroot \"$1\" sh -c '{keep}'");
        let include = recipe::packages(debian).join(",");
        debootstrap(debian, &partial.join("root"), &["--include", &include, &hook])?;
        furnish(&partial.join("root"))
    })?;
    Ok(artifact)
}

/// Runs mmdebstrap with Debian's own mirror into a directory or a tar file.
pub fn debootstrap(debian: Debian, into: &Path, options: &[&str]) -> Result<()> {
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--mode=root", "--aptopt=Acquire::Languages \"none\""]).args(options);
    if debian == Debian::Forky {
        // Testing's Release file is valid for a week, and a mirror may lag behind.
        command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
    }
    // A pattern for a tar as well, so that both have what a person would look up, and nothing more.
    command.args(["--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*"]);
    command.args(["--dpkgopt=path-include=/usr/share/doc/*/copyright"]);
    command.arg(debian.to_string()).arg(into);
    run::logged(&mut command, &paths::lab()?.join(format!("mmdebstrap-{}.log", log_name(into))))
}

/// Several run at the same time: each has a log of its own, named after the artifact that it is for.
fn log_name(into: &Path) -> String {
    let artifact = into.parent().and_then(Path::file_name).unwrap_or_default();
    artifact.display().to_string()
}

/// Turns a Debian root into a lab host's.
fn furnish(root: &Path) -> Result<()> {
    for (path, text) in recipe::FILES {
        paths::write(&root.join(path), text)?;
    }
    for (path, target) in recipe::LINKS {
        let path = root.join(path);
        if let Some(dir) = path.parent() {
            paths::create(dir)?;
        }
        let _ = fs::remove_file(&path);
        symlink(target, &path).with_context(|| format!("cannot link {}", path.display()))?;
    }
    // Kept over a reboot, and split by user so that each can read their own.
    paths::create(&root.join("var/log/journal"))?;
    for user in recipe::USERS {
        let mut add = Command::new("chroot");
        add.arg(root).args(["/usr/sbin/useradd", "--create-home", "--user-group", "--shell", "/bin/bash", "--uid"]);
        run::output(add.arg(user.uid.to_string()).arg(user.name))?;
        if user.linger {
            paths::write(&root.join("var/lib/systemd/linger").join(user.name), "")?;
        }
    }
    Ok(())
}
