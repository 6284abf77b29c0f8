//! The system's bus, on which people ask devboxd.

use std::path::Path;

use super::{Checked, bad, good};

/// What an administrator does.
pub(super) const MEND: &str = "`sudo apt install dbus-broker`, and boot the host anew";
/// There as long as it is what serves the bus.
const BROKERS_CGROUP: &str = "/sys/fs/cgroup/system.slice/dbus-broker.service";

/// Whether one user can hold up everybody's calls. dbus-daemon(1) has one line of connections that have not said yet who they
/// are, and answers calls in the order in which they come; dbus-broker(1) counts both for each user (tests/host/bus.rs).
pub(super) fn bus() -> Checked {
    if Path::new(BROKERS_CGROUP).exists() {
        good("bus", "no user holds up the system's bus for others: dbus-broker")
    } else {
        let text = "any user can hold up the system's bus, and with it logins, podman and devboxd: it is dbus-daemon's";
        bad("bus", text, MEND)
    }
}
