//! The only room that touches the machine: systemd over D-Bus, podman, Quadlet's generator, files and locks.
//!
//! It returns values and [`HostError`]s; it prints nothing.

mod account;
mod apply;
pub mod backup;
mod backup_file;
mod broker;
mod copier;
mod disk;
mod error;
mod etc;
pub mod exec;
mod files;
mod generator;
pub mod health;
pub mod hook;
pub mod images;
mod interrupt;
pub mod journal;
mod keeper;
pub mod life;
mod lock;
pub mod login;
pub mod mounts;
pub mod observe;
pub mod own;
pub mod podman;
mod recover;
mod registry;
pub mod resolver;
mod restore;
pub mod slices;
pub mod ssh_files;
pub mod ssh_key;
mod stage;
pub mod systemd;
pub mod turn;
pub mod volumes;

pub use account::{Account, now, own_name, program};
pub use apply::{Applied, Held, Hold, Host, Progress};
pub use backup_file::BackupFile;
pub use broker::Broker;
pub use error::HostError;
pub use etc::{SettingsProblem, settings, settings_files, settings_with, templates};
pub use generator::explain;
pub use interrupt::Interrupts;
pub use keeper::{Keeper, Left, tidy};
pub use lock::AccountLock;
pub use recover::{Recovered, recover};
pub use registry::{
    BY_OWNER, Entry, Pending, StopMark, TrashMark, Trouble, entries, entry, names as box_names, trash_names,
    trashed_entries, trashed_entry,
};
pub use restore::Restore;
