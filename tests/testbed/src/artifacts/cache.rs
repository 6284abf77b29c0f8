//! Artifacts by name: each is built once, kept in the cache under a name that has its recipe's hash in it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::{interrupt, lock, paths, progress};

/// How many artifacts of a family are kept beside the newest: other checkouts may still use them.
const KEPT_BESIDE: usize = 2;

/// A directory that is complete and never changes.
#[derive(Debug)]
pub struct Artifact {
    /// Such as `base-trixie-0a1b2c3d4e5f`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
}

impl Artifact {
    /// The root directory in it, of those that are a Debian root.
    pub fn root(&self) -> PathBuf {
        self.path.join("root")
    }
}

/// The artifact of that name, built or not.
pub fn named(name: String) -> Result<Artifact> {
    let path = paths::cache()?.join(&name);
    Ok(Artifact { name, path })
}

/// Builds the artifact unless it is there. It is built under a partial name, so that an interrupted build never counts.
///
/// `family` is the start of the name that its older versions share; the oldest of these are removed.
pub fn build_once(artifact: &Artifact, family: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if is_there(artifact) {
        return Ok(());
    }
    let cache = paths::cache()?;
    let _lock = lock::take(&cache.join(format!("{family}build.lock")))?;
    if is_there(artifact) {
        return Ok(());
    }
    let _guard = interrupt::guard()?;
    let partial = Partial(cache.join(format!("partial-{}", artifact.name)));
    paths::remove_tree(&partial.0)?;
    paths::create(&partial.0)?;
    make(&partial.0)?;
    interrupt::check()?;
    fs::rename(&partial.0, &artifact.path).with_context(|| format!("cannot put {} in place", artifact.name))?;
    remove_oldest(&cache, family, OsStr::new(&artifact.name))
}

/// Its time of modification says when it was last asked for.
fn is_there(artifact: &Artifact) -> bool {
    let there = artifact.path.is_dir();
    if there && let Ok(dir) = fs::File::open(&artifact.path) {
        // A cache that cannot be written only loses the order in which it is cleaned.
        let _ = dir.set_modified(SystemTime::now());
    }
    there
}

struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        if let Err(e) = paths::remove_tree(&self.0) {
            eprintln!("warning: {e:#}");
        }
    }
}

/// Held while an artifact is copied, so that it is not removed meanwhile.
pub(crate) fn copy_lock() -> Result<lock::Lock> {
    lock::share(&paths::cache()?.join("copy.lock"))
}

fn remove_oldest(cache: &Path, family: &str, keep: &OsStr) -> Result<()> {
    let _lock = lock::take(&cache.join("copy.lock"))?;
    let entries = fs::read_dir(cache).context("cannot read the cache")?.filter_map(Result::ok);
    let others = entries.filter(|e| {
        let name = e.file_name();
        name != keep && name.to_string_lossy().starts_with(family) && e.path().is_dir()
    });
    let mut others: Vec<_> = others.map(|e| (e.metadata().and_then(|m| m.modified()).ok(), e.path())).collect();
    others.sort();
    others.reverse();
    for (_, path) in others.iter().skip(KEPT_BESIDE) {
        progress::step(&format!("removing the old {}", path.file_name().unwrap_or_default().display()));
        paths::remove_tree(path)?;
    }
    Ok(())
}
