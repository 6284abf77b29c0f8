//! What podman lists, and what it keeps of it in the store.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::policy::prune::Image;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListedImage {
    pub(super) id: String,
    #[serde(default)]
    pub(super) parent_id: Option<String>,
    #[serde(default)]
    pub(super) names: Option<Vec<String>>,
    #[serde(default)]
    pub(super) digest: String,
    #[serde(default)]
    pub(super) size: u64,
    pub(super) created: i64,
    #[serde(default)]
    pub(super) read_only: bool,
}

impl From<ListedImage> for Image {
    fn from(listed: ListedImage) -> Self {
        Self {
            id: listed.id,
            parent: listed.parent_id.filter(|parent| !parent.is_empty()),
            names: listed.names.unwrap_or_default(),
            digest: listed.digest,
            bytes: listed.size,
            created: listed.created,
            read_only: listed.read_only,
        }
    }
}

/// Podman lists an image once for each of its names.
pub(super) fn merged(listed: Vec<ListedImage>) -> Vec<Image> {
    let mut images: Vec<Image> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for image in listed.into_iter().map(Image::from) {
        if let Some(known) = places.get(&image.id).and_then(|at| images.get_mut(*at)) {
            let more: Vec<_> = image.names.into_iter().filter(|name| !known.names.contains(name)).collect();
            known.names.extend(more);
            known.parent = known.parent.take().or(image.parent);
            known.read_only |= image.read_only;
            continue;
        }
        places.insert(image.id.clone(), images.len());
        images.push(image);
    }
    images
}

#[derive(Deserialize)]
pub(super) struct ListedContainer {
    #[serde(rename = "ImageID")]
    pub(super) image: String,
    #[serde(rename = "State")]
    pub(super) state: String,
    #[serde(rename = "Names", default)]
    pub(super) names: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct ManifestList {
    pub(super) manifests: Vec<Listed>,
}

#[derive(Deserialize)]
pub(super) struct Listed {
    pub(super) digest: String,
}

#[derive(Deserialize)]
pub(super) struct StoredImage {
    pub(super) id: String,
    #[serde(default)]
    pub(super) layer: Option<String>,
    #[serde(rename = "mapped-layers", default)]
    pub(super) mapped: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct StoredLayer {
    pub(super) id: String,
    #[serde(default)]
    pub(super) parent: Option<String>,
    #[serde(rename = "diff-size", default)]
    pub(super) bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_two_names_is_one() {
        let text = r#"[
            {"Id": "a", "Names": ["localhost/x:1", "localhost/x:2"], "Created": 1, "Size": 5},
            {"Id": "b", "ParentId": "a", "Created": 2, "Size": 6},
            {"Id": "a", "Names": ["localhost/x:1", "localhost/x:2"], "Created": 1, "Size": 5},
            {"Id": "b", "Names": ["localhost/y:1"], "Created": 2, "Size": 6, "ReadOnly": true}
        ]"#;
        let images = merged(serde_json::from_str(text).unwrap());
        assert_eq!(images.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(images[0].names, ["localhost/x:1", "localhost/x:2"]);
        assert_eq!((&images[1].names[..], images[1].read_only), (&["localhost/y:1".to_owned()][..], true));
        assert_eq!(images[1].parent.as_deref(), Some("a"));
    }
}
