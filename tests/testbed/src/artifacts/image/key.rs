//! What the image's source is: every file's path, mode and content.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::artifacts::recipe;

/// A hash over a directory.
pub(super) fn of(dir: &Path) -> Result<String> {
    let mut files = Vec::new();
    list(dir, &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let text = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mode = file.metadata().context("cannot read a mode")?.permissions().mode() & 0o111;
        let name = file.strip_prefix(dir).unwrap_or(&file);
        hash.update(format!("{} {mode:o} {}\n", name.display(), text.len()));
        hash.update(text);
    }
    Ok(recipe::hex(&hash.finalize(), 16))
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry.with_context(|| format!("cannot read {}", dir.display()))?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_mode_and_name_each_count() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run");
        fs::write(&file, "one").unwrap();
        let first = of(dir.path()).unwrap();
        assert_eq!(first, of(dir.path()).unwrap());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        let executable = of(dir.path()).unwrap();
        fs::write(&file, "two").unwrap();
        let changed = of(dir.path()).unwrap();
        fs::rename(&file, dir.path().join("walk")).unwrap();
        let renamed = of(dir.path()).unwrap();
        let all = [first, executable, changed, renamed];
        assert!((1..all.len()).all(|n| !all[n..].contains(&all[n - 1])), "{all:?}");
    }
}
