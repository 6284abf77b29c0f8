//! Which images of an owner's go: nothing that a box, a container or a name needs.
//!
//! An image without a name is what a build or a newer image of the same name has left. One with a name was brought by
//! somebody, for devbox-ctl pulls nothing: it goes only where its owner asks for all.

use std::collections::{BTreeMap, BTreeSet};

/// An image without a name may be of a build that is at work: between two of its steps nothing else holds it.
pub const YOUNG: i64 = 3600;

/// One image of the owner's store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    pub id: String,
    /// The image that it was built on, as far as it is there.
    pub parent: Option<String>,
    pub names: Vec<String>,
    pub digest: String,
    /// With what it shares with others.
    pub bytes: u64,
    /// Seconds since 1970.
    pub created: i64,
    /// It is in a store that is not the owner's to change.
    pub read_only: bool,
}

/// All that is known; what could not be read is an error before it comes to this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub images: Vec<Image>,
    /// Ids of the images that boxes were made with, in the trash or out of it, and of the one that a new box has.
    pub of_boxes: BTreeSet<String>,
    /// Ids of the images of all containers, whoever made them; unfinished builds too.
    pub of_containers: BTreeSet<String>,
    /// Ids of the manifest lists, and digests of what is in them.
    pub lists: BTreeSet<String>,
    pub listed: BTreeSet<String>,
}

/// What is asked to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// What has no name.
    Leftovers,
    /// And what has one.
    All,
}

/// What goes, each image before the one that it was built on.
pub fn prune(facts: &Facts, scope: Scope, now: i64) -> Vec<Image> {
    let by_id: BTreeMap<&str, &Image> = facts.images.iter().map(|image| (image.id.as_str(), image)).collect();
    let is_wanted = |image: &Image| {
        image.read_only
            || facts.of_boxes.contains(&image.id)
            || facts.of_containers.contains(&image.id)
            || facts.lists.contains(&image.id)
            || facts.listed.contains(&image.digest)
            || (!image.names.is_empty() && scope == Scope::Leftovers)
            || (image.names.is_empty() && image.created > now - YOUNG)
    };
    let mut kept = BTreeSet::new();
    for image in facts.images.iter().filter(|image| is_wanted(image)) {
        // And all that it was built on; a circle ends where it was met before.
        let mut next = Some(image);
        while let Some(image) = next.filter(|image| kept.insert(image.id.as_str())) {
            next = image.parent.as_deref().and_then(|parent| by_id.get(parent).copied());
        }
    }
    let mut left: Vec<&Image> = facts.images.iter().filter(|image| !kept.contains(image.id.as_str())).collect();
    left.sort_by(|a, b| (&a.names, &a.id).cmp(&(&b.names, &b.id)));
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let parents: BTreeSet<&str> = left.iter().filter_map(|image| image.parent.as_deref()).collect();
        let (under, leaves): (Vec<&Image>, Vec<&Image>) =
            left.iter().partition(|image| parents.contains(image.id.as_str()));
        if leaves.is_empty() {
            // A circle, which no store has: nobody knows what that is.
            break;
        }
        ordered.extend(leaves.into_iter().cloned());
        left = under;
    }
    ordered
}

/// A layer of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub parent: Option<String>,
    pub bytes: Option<u64>,
}

/// The layers of a store, and those that each image has at its top.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layers {
    pub layers: BTreeMap<String, Layer>,
    pub tops: BTreeMap<String, Vec<String>>,
}

/// What is free once these are gone: the layers that no other image has. None: not known.
pub fn freed(layers: &Layers, going: &[Image]) -> Option<u64> {
    let going: BTreeSet<&str> = going.iter().map(|image| image.id.as_str()).collect();
    let of = |is_going: bool| {
        let mut chain: BTreeSet<&str> = BTreeSet::new();
        for top in layers.tops.iter().filter(|(id, _)| going.contains(id.as_str()) == is_going).flat_map(|(_, t)| t) {
            let mut next = Some(top.as_str());
            while let Some(id) = next.filter(|id| chain.insert(id)) {
                next = layers.layers.get(id).and_then(|layer| layer.parent.as_deref());
            }
        }
        chain
    };
    if going.iter().any(|id| !layers.tops.contains_key(*id)) {
        return None;
    }
    let staying = of(false);
    of(true).difference(&staying).map(|id| layers.layers.get(*id)?.bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_000_000;

    fn image(id: &str, parent: Option<&str>, names: &[&str]) -> Image {
        Image {
            id: id.to_owned(),
            parent: parent.map(str::to_owned),
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            digest: format!("sha256:{id}"),
            ..Image::default()
        }
    }

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn going(facts: &Facts, scope: Scope) -> Vec<String> {
        prune(facts, scope, NOW).into_iter().map(|image| image.id).collect()
    }

    fn store() -> Facts {
        let images = vec![
            image("base", None, &["localhost/devbox:latest"]),
            image("step", Some("base"), &[]),
            image("old", Some("step"), &[]),
            image("new", Some("step"), &["localhost/mine:1"]),
            image("other", None, &["docker.io/library/debian:latest"]),
            image("loose", None, &[]),
        ];
        Facts { images, of_boxes: set(&["base"]), ..Facts::default() }
    }

    #[test]
    fn what_has_a_name_goes_only_when_asked_for() {
        assert_eq!(going(&store(), Scope::Leftovers), ["loose", "old"]);
        // What it was built on goes after it, and what a box needs stays.
        assert_eq!(going(&store(), Scope::All), ["loose", "old", "other", "new", "step"]);
    }

    #[test]
    fn what_somebody_needs_stays_with_all_that_it_was_built_on() {
        let with = |change: fn(&mut Facts)| {
            let mut facts = store();
            change(&mut facts);
            going(&facts, Scope::All)
        };
        // A box in the trash, or a container that somebody else made.
        assert_eq!(with(|f| f.of_boxes.extend(set(&["old"]))), ["loose", "other", "new"]);
        assert_eq!(with(|f| f.of_containers.extend(set(&["new"]))), ["loose", "old", "other"]);
        assert_eq!(with(|f| f.images[4].read_only = true), ["loose", "old", "new", "step"]);
        // Built a minute ago, or by a clock that is ahead; perhaps the step of a build that is at work.
        assert_eq!(with(|f| f.images[2].created = NOW - 60), ["loose", "other", "new"]);
        assert_eq!(with(|f| f.images[2].created = NOW + 60), ["loose", "other", "new"]);
        // Podman itself shows no name of what is in a manifest list.
        assert_eq!(with(|f| f.listed = set(&["sha256:loose"])), ["old", "other", "new", "step"]);
        assert_eq!(with(|f| f.lists = set(&["other"])), ["loose", "old", "new", "step"]);
    }

    #[test]
    fn nothing_is_known_of_a_circle() {
        let facts = Facts { images: vec![image("a", Some("b"), &[]), image("b", Some("a"), &[])], ..Facts::default() };
        assert!(going(&facts, Scope::All).is_empty());
    }

    #[test]
    fn shared_layers_are_not_freed() {
        let layer = |parent: Option<&str>, bytes| Layer { parent: parent.map(str::to_owned), bytes };
        let mut layers = Layers {
            layers: BTreeMap::from([
                ("l1".to_owned(), layer(None, Some(100))),
                ("l2".to_owned(), layer(Some("l1"), Some(10))),
                ("l3".to_owned(), layer(Some("l1"), Some(1))),
            ]),
            tops: BTreeMap::from([
                ("old".to_owned(), vec!["l2".to_owned()]),
                ("new".to_owned(), vec!["l3".to_owned()]),
            ]),
        };
        let old = [image("old", None, &[])];
        assert_eq!(freed(&layers, &old), Some(10));
        assert_eq!(freed(&layers, &[image("old", None, &[]), image("new", None, &[])]), Some(111));
        assert_eq!(freed(&layers, &[]), Some(0));
        layers.layers.insert("l2".to_owned(), layer(Some("l1"), None));
        assert_eq!(freed(&layers, &old), None);
        assert_eq!(freed(&Layers::default(), &old), None);
    }

    proptest! {
        /// Whatever the store: what goes is needed by nobody, and by nothing that stays.
        #[test]
        fn nothing_needed_goes(parents in prop::collection::vec(prop::option::of(0_usize..12), 12), named: [bool; 12], boxes: [bool; 12], used: [bool; 12], all: bool) {
            let id = |n: usize| format!("i{n}");
            let pick = |flags: &[bool; 12]| (0..12).filter(|n| flags[*n]).map(id).collect::<BTreeSet<_>>();
            let images = (0..12).map(|n| Image { parent: parents[n].map(id), ..image(&id(n), None, if named[n] { &["x"] } else { &[] }) }).collect();
            let facts = Facts { images, of_boxes: pick(&boxes), of_containers: pick(&used), ..Facts::default() };
            let gone = prune(&facts, if all { Scope::All } else { Scope::Leftovers }, NOW);
            let mut before = BTreeSet::new();
            for image in &gone {
                prop_assert!(!facts.of_boxes.contains(&image.id) && !facts.of_containers.contains(&image.id));
                prop_assert!(all || image.names.is_empty());
                before.insert(image.id.clone());
                for child in facts.images.iter().filter(|child| child.parent.as_ref() == Some(&image.id)) {
                    prop_assert!(before.contains(&child.id), "{} is built on {}", child.id, image.id);
                }
            }
        }
    }
}
