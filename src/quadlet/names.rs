//! Every name a box has on the host. A box's name has no double hyphen, so `--` cannot be mistaken.

use crate::spec::BoxName;

/// The label that makes a volume or a container ours; its value is the box's name.
pub const LABEL: &str = "io.devbox.box";

/// The label that says who `dev` is outside, and so whose the files of a volume are.
pub const DEV_LABEL: &str = "io.devbox.dev";

/// The label that says how important a volume is in a backup (1 to 9), where it is not what we would say.
pub const BACKUP_LABEL: &str = "io.devbox.backup";

/// How podman maps ids where `dev` is the owner outside (podman-run(1), --userns).
pub const OWNER_MAPPING: &str = "keep-id:uid=1000,gid=1000";

/// How podman maps ids in all other boxes: root in the box is the owner. Said, since PODMAN_USERNS may say otherwise.
pub const DEFAULT_MAPPING: &str = "host";

/// What every unit of ours matches (`ListUnitsByPatterns`).
pub const UNIT_PATTERN: &str = "devbox-*.service";

/// Files of a box's folder that are not units.
pub const SPEC_FILE: &str = "box.toml";
pub const ENV_FILE: &str = "box.env";
/// What podman reads last of all its settings.
pub const CONTAINERS_CONF_FILE: &str = "containers.conf";
/// Present while its owner wants the box stopped; the unit's condition looks for it.
pub const STOPPED_FILE: &str = "stopped";
/// Present until a create is through, and from the beginning of a destroy, so that the next command can finish what was
/// cut short. Marks say it by their names alone: an empty file can be made on a disk that is full.
pub const CREATING_FILE: &str = "creating";
pub const DESTROYING_FILE: &str = "destroying";
/// When and by whom the box was put into the trash; text, and empty where there was no room for it. Beside
/// [`CREATING_FILE`] the box is on its way back.
pub const TRASHED_FILE: &str = "trashed";
/// Present from the beginning of a way into the trash until it is through.
pub const TRASHING_FILE: &str = "trashing";
/// Present until the volumes are whole that a backup is unpacked into; what is in them before is nobody's work.
pub const FILLING_FILE: &str = "filling";
/// Locked by what copies to or from the box's volumes.
pub const COPYING_FILE: &str = "copying";
/// The box's SSH host key as the host's client knows it.
pub const KNOWN_HOSTS_FILE: &str = "known_hosts";

/// Beside [`DESTROYING_FILE`]: this volume stays.
pub fn keep_file(volume: &str) -> String {
    format!("keep-{volume}")
}

/// Where podman keeps a volume of the box, since the box first started: it is not made anew when it is not there.
pub fn made_file(volume: &str) -> String {
    format!("made-{volume}")
}

/// The unit's name without its suffix; the container's name too.
pub fn container(name: &BoxName) -> String {
    format!("devbox-{name}")
}

pub fn service(name: &BoxName) -> String {
    format!("devbox-{name}.service")
}

/// What the box waits for while all boxes start.
pub fn turn_service(name: &BoxName) -> String {
    format!("devboxes-turn@{name}.service")
}

/// The container that copies to or from one of the box's volumes.
pub fn copier(name: &BoxName) -> String {
    format!("devbox-{name}--copy")
}

/// The container in which a box's home is looked through, and its unit; no box can have that name.
pub fn looker(name: &BoxName) -> String {
    format!("devbox-{name}--look")
}

pub fn look_unit(name: &BoxName) -> String {
    format!("devboxes-look-{name}.service")
}

pub fn container_file(name: &BoxName) -> String {
    format!("devbox-{name}.container")
}

/// In the account's runtime folder: where the sources of a box's mounts are, in the order of `box.toml`, from just
/// before the box starts until it has stopped. Only podman's mount namespace has them.
pub fn mounts_folder(name: &BoxName) -> String {
    format!("devbox/mounts/{name}")
}

/// In the account's runtime folder: present from the look that precedes each start until the box has stopped.
pub fn looked_at_file(name: &BoxName) -> String {
    format!("devbox/looked-at/{name}")
}

/// The box a service belongs to, where it is a box's main service.
pub fn box_of_service(unit: &str) -> Option<BoxName> {
    unit.strip_prefix("devbox-")?.strip_suffix(".service")?.parse().ok()
}

pub fn home_volume(name: &BoxName) -> String {
    format!("{name}-data")
}

pub fn state_volume(name: &BoxName) -> String {
    format!("{name}--state")
}

/// All volumes of a box.
pub fn volumes(name: &BoxName) -> [String; 2] {
    [home_volume(name), state_volume(name)]
}

/// The services that Quadlet makes of the volume units. They stay active after the volume is gone, so destroy stops
/// them: else the next box of this name would get a volume without a label.
pub fn volume_services(name: &BoxName) -> [String; 2] {
    ["home", "state"].map(|part| format!("devbox-{name}--{part}-volume.service"))
}

/// The service that makes a volume of the box.
pub fn volume_service(name: &BoxName, volume: &str) -> Option<String> {
    volumes(name).iter().position(|v| v == volume).map(|at| volume_services(name)[at].clone())
}

/// Every unit file name of a box.
pub fn unit_files(name: &BoxName) -> [String; 3] {
    [container_file(name), format!("devbox-{name}--home.volume"), format!("devbox-{name}--state.volume")]
}

/// The slice of a box. A plain `-` would nest `devbox-api-v2.slice` in `devbox-api.slice`, to die with it (systemd.slice(5)).
pub fn slice(name: &BoxName) -> String {
    format!("devbox-{}.slice", name.as_str().replace('-', "\\x2d"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_two_boxes_share_a_generated_name(a in "[a-z][a-z0-9]{1,3}(-[a-z0-9]{1,4}){0,3}", b in "[a-z][a-z0-9]{1,3}(-[a-z0-9]{1,4}){0,3}") {
            let (Ok(a), Ok(b)) = (a.parse::<BoxName>(), b.parse::<BoxName>()) else { return Ok(()) };
            prop_assume!(a != b);
            let all = |n: &BoxName| -> BTreeSet<String> {
                let mut names: BTreeSet<String> = volumes(n).into_iter().chain(volume_services(n)).chain(unit_files(n)).collect();
                names.extend([service(n), container(n), slice(n)]);
                names
            };
            prop_assert!(all(&a).is_disjoint(&all(&b)), "{a} {b}");
            prop_assert!(!slice(&a).starts_with(slice(&b).trim_end_matches(".slice").trim_end_matches('-')) || !slice(&a)[slice(&b).len() - 6..].starts_with('-'));
            prop_assert_eq!(box_of_service(&service(&a)), Some(a.clone()));
            for helper in volume_services(&a) {
                prop_assert_eq!(box_of_service(&helper), None);
            }
        }
    }

    #[test]
    fn a_slice_nests_in_no_other_box() {
        assert_eq!(slice(&"api-v2".parse().unwrap()), "devbox-api\\x2dv2.slice");
    }
}
