//! What every machine boots from, made once: `disk`, `kernel`, `initramfs`, and the `key` that opens it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::dir::VmDir;
use super::{qemu, recipe};
use crate::artifacts::image::Kind;
use crate::artifacts::{self, Artifact, Debian, debootstrap};
use crate::lab::root;
use crate::seeded;
use crate::{paths, progress, run};

/// Its size as a machine sees it; what is empty takes no room here.
const SIZE: &str = "8G";

/// The template, built when this recipe's is not there yet.
pub(super) fn template() -> Result<Artifact> {
    let template = artifacts::named(recipe::name()?)?;
    artifacts::build_once(&template, "vm-", |partial| {
        let seeded = seeded::seeded(Kind::Full, Debian::Trixie)?;
        progress::step("fetching a kernel");
        let kit = partial.join("kit");
        debootstrap(Debian::Trixie, &kit, &["--variant=extract", "--include", &recipe::KIT.join(",")])?;
        progress::step("making the machine's root");
        let root = partial.join("root");
        root::copy(&seeded, &root)?;
        // mmdebstrap makes these anew, and will not find them there.
        paths::remove_tree(&root.join("dev"))?;
        paths::create(&root.join("dev"))?;
        let packages = recipe::PACKAGES.join(",");
        debootstrap(Debian::Trixie, &root, &["--variant=custom", "--skip=check/empty", "--include", &packages])?;
        furnish(&root)?;
        keys(&root, partial)?;
        let version = modules(&kit, &root)?;
        initramfs(&kit, &version, partial)?;
        fs::rename(kit.join("boot").join(format!("vmlinuz-{version}")), partial.join("kernel"))
            .context("the kernel is not where Debian has it")?;
        progress::step("writing the disk");
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-t", "ext4", "-d"]).arg(&root).arg(partial.join("disk")).arg(SIZE);
        run::output(&mut mke2fs)?;
        paths::remove_tree(&root)?;
        paths::remove_tree(&kit)?;
        progress::step("booting the machine once, to save its state: half a minute, or more beside other programs");
        let building = tempfile::Builder::new().prefix("machine").tempdir_in(partial).context("no directory")?;
        qemu::save(&VmDir::building(building.path().to_owned()), partial)
    })?;
    Ok(template)
}

/// Turns a lab host's root into a machine's.
fn furnish(root: &Path) -> Result<()> {
    for (path, text) in recipe::FILES {
        paths::write(&root.join(path), text)?;
    }
    paths::write(&root.join("etc/lab-network"), format!("INNER={}\nOUTER={}\n", recipe::INNER, recipe::OUTER))?;
    // Nothing answers there: a name is refused at once, not waited for.
    let resolver = format!("nameserver {}\noptions timeout:1 attempts:1\n", recipe::OUTER);
    paths::write(&root.join("etc/resolv.conf"), resolver)?;
    let id = artifacts::recipe::hex(&<sha2::Sha256 as sha2::Digest>::digest("vm"), 16);
    paths::write(&root.join("etc/machine-id"), format!("{id}\n"))?;
    for path in recipe::NOT_HERE {
        fs::remove_file(root.join(path)).with_context(|| format!("no {path} to remove"))?;
    }
    let units = root.join("etc/systemd/system");
    paths::write(&units.join("vm-ready.service"), recipe::ready_service())?;
    link("/etc/systemd/system/vm-ready.service", &units.join("graphical.target.wants/vm-ready.service"))?;
    recipe::MASKED.iter().try_for_each(|unit| link("/dev/null", &units.join(unit)))
}

fn link(target: &str, path: &Path) -> Result<()> {
    paths::create(path.parent().unwrap_or(Path::new("/")))?;
    let _ = fs::remove_file(path);
    symlink(target, path).with_context(|| format!("cannot link {}", path.display()))
}

/// A key to log in with as any user, and the one that the machine shows.
fn keys(root: &Path, to: &Path) -> Result<()> {
    let key = to.join("key");
    run::output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "vm", "-f"]).arg(&key))?;
    let read = |path: PathBuf| fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()));
    paths::write(&root.join("etc/ssh/vm.keys"), read(key.with_extension("pub"))?)?;
    let shown = read(root.join("etc/ssh/ssh_host_ed25519_key.pub"))?;
    paths::write(&to.join("known_hosts"), format!("vm {shown}"))
}

/// Gives the root the kernel's modules; the kernel's version.
fn modules(kit: &Path, root: &Path) -> Result<String> {
    let from = kit.join("usr/lib/modules");
    let versions = fs::read_dir(&from).context("the kernel has no modules")?;
    let mut versions = versions.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let (Some(version), None) = (versions.next(), versions.next()) else { bail!("not one kernel") };
    let mut copy = Command::new("cp");
    copy.args(["--archive", "--no-target-directory", "--"]).arg(from).arg(root.join("usr/lib/modules"));
    run::output(&mut copy)?;
    run::output(Command::new("chroot").arg(root).args(["/usr/sbin/depmod", &version]))?;
    Ok(version)
}

/// The kernel's first root: a program that loads the disk's module and goes on from the disk.
fn initramfs(kit: &Path, version: &str, to: &Path) -> Result<()> {
    let tree = to.join("first");
    for dir in ["bin", "dev", "root"] {
        paths::create(&tree.join(dir))?;
    }
    let busybox = kit.join("usr/bin/busybox");
    fs::copy(&busybox, tree.join("bin/busybox")).context("no busybox")?;
    paths::write(&tree.join("init"), recipe::INIT)?;
    fs::set_permissions(tree.join("init"), fs::Permissions::from_mode(0o755)).context("cannot make init run")?;
    let module = kit.join(format!("usr/lib/modules/{version}/kernel/drivers/block/virtio_blk.ko.xz"));
    let unpacked = Command::new(&busybox).args(["unxz", "-c"]).arg(module).output().context("cannot run busybox")?;
    if !unpacked.status.success() {
        bail!("cannot unpack the disk's module: {}", String::from_utf8_lossy(&unpacked.stderr));
    }
    paths::write(&tree.join("virtio_blk.ko"), unpacked.stdout)?;

    // The kit's own tool again: whoever builds this may have no cpio. Not compressed, which is quickest to boot.
    let archive = fs::File::create(to.join("initramfs")).context("cannot write the initramfs")?;
    let mut cpio = Command::new(&busybox);
    cpio.args(["cpio", "-o", "-H", "newc"]).current_dir(&tree).stdin(Stdio::piped()).stdout(archive);
    let mut child = cpio.stderr(Stdio::null()).spawn().context("cannot run busybox")?;
    let names = ".\nbin\nbin/busybox\ndev\nroot\ninit\nvirtio_blk.ko\n";
    // Dropped when written: cpio ends at the end of its list.
    child.stdin.take().context("no pipe")?.write_all(names.as_bytes()).context("cannot name the files")?;
    if !child.wait().context("cannot wait for busybox")?.success() {
        bail!("cannot pack the initramfs");
    }
    paths::remove_tree(&tree)
}
