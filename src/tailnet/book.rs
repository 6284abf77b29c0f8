//! Where it is written what is known of boxes' devices: devboxd's ledger for a host, files of an owner's without one.

use serde::{Deserialize, Serialize};

use super::Tag;
use crate::settings::TailnetSettings;
use crate::spec::BoxName;
use crate::wire::Refused;

/// A book as one caller may read and write it: of boxes that are somebody else's it knows nothing.
pub trait Book: Clone + Send + 'static {
    /// What is known, for a box that its holder asks about.
    fn facts(&self, name: &BoxName) -> Result<Facts, Refused>;

    /// A key is about to be given for it; refused where its owner had enough.
    fn given(&self, row: DeviceRow) -> Result<(), Refused>;

    /// It could not be made after all.
    fn not_given(&self, name: &BoxName, before: Option<DeviceRow>) -> Result<(), Refused>;

    /// The provider was asked: what it said of the device.
    fn noted(&self, row: DeviceRow) -> Result<(), Refused>;

    /// Why it got no key.
    fn trouble(&self, name: &BoxName, trouble: TroubleRow) -> Result<(), Refused>;

    /// Devices of boxes that are gone, and the settings that hold now.
    fn departed(&self) -> Result<(Vec<Departed>, TailnetSettings), Refused>;

    /// That one is off the tailnet.
    fn forget(&self, gone: &Departed) -> Result<(), Refused>;

    /// Does it while nobody else does anything for boxes of that owner: two keys for one box would be two devices.
    fn in_turn<T>(&self, uid: u32, work: impl FnOnce() -> T) -> Result<T, Refused>;

    /// For whoever looks after the service that gives the keys.
    fn log(&self, text: &str);
}

#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub name: BoxName,
    pub uid: u32,
    pub user: String,
    pub tags: Vec<Tag>,
    pub settings: TailnetSettings,
    pub device: Option<DeviceRow>,
    pub trouble: Option<TroubleRow>,
}

/// The device of a box, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceRow {
    pub name: String,
    pub uid: u32,
    /// Which provider and control server it is of.
    pub provider: String,
    /// `None` until the provider has shown it.
    pub device: Option<String>,
    pub hostname: String,
    /// With spaces between them.
    pub addresses: String,
    pub expired: bool,
    /// When the provider was last asked.
    pub at: i64,
}

/// A device whose box is gone, and which is to go too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departed {
    /// The book's own number of it.
    pub id: i64,
    pub name: String,
    pub uid: u32,
    pub provider: String,
    pub device: Option<String>,
    /// Whose it was, and whether the name is a box's with a device again.
    pub user: String,
    pub is_reused: bool,
}

/// Why a box did not get a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TroubleRow {
    pub text: String,
    pub hint: String,
}
