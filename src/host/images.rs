//! The owner's images: what is there, who needs it, and taking one away.

mod listed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::podman::{Podman, failed, stored_list};
use super::{Account, HostError, files};
use crate::policy::prune::{Facts, Image, Layer, Layers};
use crate::quadlet::names;
use crate::shown::printable;
use crate::spec::{BoxName, BoxSpec, ImageRef};
use listed::{ListedContainer, ListedImage, ManifestList, StoredImage, StoredLayer, merged};

/// What is known of the owner's images.
#[derive(Debug)]
pub struct Seen {
    pub facts: Facts,
    /// Containers of builds that were not finished, or are at work.
    pub builds: Vec<String>,
}

/// The images that the account's boxes were made with: those in the boxes' folder and in the trash, and whatever else
/// is on its way between them. One that cannot be told is an error: it could be any.
///
/// A box that is moved meanwhile is met all the same, for it goes the way that this does; back out of the trash it comes
/// under the account's lock alone.
pub fn of_boxes(account: &Account) -> Result<BTreeSet<String>, HostError> {
    let mut images = BTreeSet::from([ImageRef::default().to_string()]);
    for folder in [account.boxes(), account.trash(), account.stage()] {
        for path in files::names_in(&folder).map_err(HostError::io("reading", &folder))? {
            match path.symlink_metadata() {
                Ok(meta) if !meta.is_dir() => continue,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(HostError::io("reading", &path)(e)),
                Ok(_) => {}
            }
            let file = path.join(names::SPEC_FILE);
            let text = files::read(&file).map_err(HostError::io("reading", &file))?;
            let is_box = folder != account.stage() && has_a_boxs_name(&path);
            let unknown = |why: String| HostError::UnknownImage { folder: path.clone(), why };
            match text.map(|text| BoxSpec::from_toml(&text)) {
                Some(Ok(spec)) => drop(images.insert(spec.image.to_string())),
                Some(Err(why)) => return Err(unknown(printable(&why.to_string()))),
                None if is_box => return Err(unknown(format!("{} is missing", names::SPEC_FILE))),
                // Being filled, or taken apart; or none of ours.
                None => {}
            }
        }
    }
    Ok(images)
}

fn has_a_boxs_name(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<BoxName>().is_ok())
}

impl Podman {
    /// All that decides over images. Nothing is guessed: what podman does not tell is an error.
    pub fn images(&self, of_boxes: &BTreeSet<String>) -> Result<Seen, HostError> {
        let listed: Vec<ListedImage> = self.asked("images", &["images", "--all", "--no-trunc", "--format=json"])?;
        let containers: Vec<ListedContainer> =
            self.asked("ps", &["ps", "--all", "--external", "--no-trunc", "--format=json"])?;
        let images = merged(listed);
        let mut facts = Facts { of_boxes: self.ids(of_boxes, &images)?, images, ..Facts::default() };
        let mut builds = Vec::new();
        for container in containers {
            facts.of_containers.insert(container.image);
            // Podman's word for what another program keeps in its store.
            builds.extend((container.state == "storage").then_some(container.names).into_iter().flatten().take(1));
        }
        let lists: Vec<ListedImage> =
            self.asked("images", &["images", "--filter=manifest=true", "--no-trunc", "--format=json"])?;
        for list in lists {
            // One of two names is listed twice.
            if facts.lists.insert(list.id.clone()) {
                let text: ManifestList = self.asked("manifest inspect", &["manifest", "inspect", "--", &list.id])?;
                facts.listed.extend(text.manifests.into_iter().map(|one| one.digest));
            }
        }
        Ok(Seen { facts, builds })
    }

    /// The ids of references. One that is not there is nobody's.
    fn ids(&self, references: &BTreeSet<String>, images: &[Image]) -> Result<BTreeSet<String>, HostError> {
        let mut ids = BTreeSet::new();
        for reference in references {
            // Two where two stores have one of the name.
            let named: Vec<_> = images.iter().filter(|image| image.names.contains(reference)).collect();
            if !named.is_empty() {
                ids.extend(named.into_iter().map(|image| image.id.clone()));
                continue;
            }
            // A short name, a digest or the beginning of an id.
            let output =
                self.run("image inspect", &["image", "inspect", "--format={{.Id}}", "--", reference.as_str()])?;
            if output.status.success() {
                ids.insert(String::from_utf8_lossy(&output.stdout).trim().to_owned());
                continue;
            }
            if self.image_exists(reference)? {
                return Err(failed("image inspect", &output.stderr));
            }
        }
        Ok(ids)
    }

    fn asked<T: DeserializeOwned>(&self, what: &'static str, arguments: &[&str]) -> Result<T, HostError> {
        let output = self.run(what, arguments)?;
        if !output.status.success() {
            return Err(failed(what, &output.stderr));
        }
        serde_json::from_slice(&output.stdout).map_err(|e| HostError::Podman { what, stderr: e.to_string() })
    }

    /// Takes an image away; whether it is gone. Never by force: podman refuses what a container has.
    ///
    /// By its id: a name may be another image's by now.
    pub fn remove_image(&self, image: &Image) -> Result<bool, HostError> {
        // One of several names is not removed by the id.
        let spare = image.names.get(1..).unwrap_or_default();
        if !spare.is_empty() {
            let names: Vec<&str> = spare.iter().map(String::as_str).collect();
            let output = self.run("untag", &[&["untag", "--", &image.id][..], &names].concat())?;
            if !output.status.success() {
                self.name_again(image, spare)?;
                return Err(failed("untag", &output.stderr));
            }
        }
        // What it was built on is decided by us.
        let output = self.run("image rm", &["image", "rm", "--no-prune", "--", &image.id])?;
        if !self.image_exists(&image.id)? {
            return Ok(true);
        }
        self.name_again(image, spare)?;
        // In use (podman-rmi(1)), or something was made of it meanwhile.
        if output.status.code() == Some(2) { Ok(false) } else { Err(failed("image rm", &output.stderr)) }
    }

    /// It stays, with the names that nobody else has taken.
    fn name_again(&self, image: &Image, names: &[String]) -> Result<(), HostError> {
        for name in names {
            if !self.image_exists(name)? {
                self.run("tag", &["tag", "--", &image.id, name])?;
            }
        }
        Ok(())
    }

    /// The store's layers, to tell what would be freed; `None` where that cannot be read.
    pub fn layers(&self) -> Option<Layers> {
        let store = self.store.as_ref()?;
        let images: Vec<StoredImage> = stored_list(&store.join("overlay-images/images.json"))?;
        let layers: Vec<StoredLayer> = stored_list(&store.join("overlay-layers/layers.json"))?;
        let tops: BTreeMap<_, _> =
            images.into_iter().map(|image| (image.id, image.layer.into_iter().chain(image.mapped).collect())).collect();
        let layers = layers.into_iter().map(|l| (l.id, Layer { parent: l.parent, bytes: l.bytes })).collect();
        Some(Layers { layers, tops })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(home: &Path) -> Account {
        let account = Account::at(home);
        for folder in [account.boxes(), account.trash(), account.stage()] {
            files::private_folder(&folder).unwrap();
        }
        account
    }

    fn spec(image: &str, name: &str) -> String {
        let text = format!(
            "format = 1\nname = \"{name}\"\nimage = \"{image}\"\ncpu = 1\nmemory = \"1G\"\ncreated_at = \"2026-01-02T03:04:05Z\"\ndev = \"owner\"\n"
        );
        BoxSpec::from_toml(&text).unwrap();
        text
    }

    #[test]
    fn images_of_boxes_wherever_they_are() {
        let home = tempfile::tempdir().unwrap();
        let account = account(home.path());
        for (folder, image) in [
            (account.boxes().join("abc"), "localhost/a:1"),
            (account.trash().join("old"), "localhost/b:1"),
            (account.stage().join("making-x"), "localhost/c:1"),
            (account.stage().join("gone-x--1"), "localhost/d:1"),
        ] {
            files::private_folder(&folder).unwrap();
            std::fs::write(folder.join("box.toml"), spec(image, "abc")).unwrap();
        }
        // Not a box, and a folder that is being filled.
        std::fs::write(account.boxes().join("README"), "x").unwrap();
        files::private_folder(&account.boxes().join("Not_A_Box")).unwrap();
        files::private_folder(&account.stage().join("making-y")).unwrap();
        let images = of_boxes(&account).unwrap();
        let expected = ["a:1", "b:1", "c:1", "d:1", "devbox:latest"].map(|image| format!("localhost/{image}"));
        assert_eq!(images.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_cannot_be_read_is_no_image_of_nobody() {
        let home = tempfile::tempdir().unwrap();
        let account = account(home.path());
        let folder = account.trash().join("old");
        files::private_folder(&folder).unwrap();
        let unknown = |text: &str| {
            std::fs::write(folder.join("box.toml"), text).unwrap();
            matches!(of_boxes(&account), Err(HostError::UnknownImage { .. }))
        };
        assert!(unknown("") && unknown("format = 2\n") && unknown("\u{1b}"));
        std::fs::remove_file(folder.join("box.toml")).unwrap();
        assert!(matches!(of_boxes(&account), Err(HostError::UnknownImage { .. })), "missing");
        std::os::unix::fs::symlink("/dev/null", folder.join("box.toml")).unwrap();
        assert!(matches!(of_boxes(&account), Err(HostError::Io { .. })), "a link is not followed");
        std::fs::remove_dir_all(account.trash()).unwrap();
        std::fs::write(account.trash(), "").unwrap();
        assert!(matches!(of_boxes(&account), Err(HostError::Io { .. })), "the trash is no folder");
    }
}
