//! Whether a box that starts gets a key: what is known of its device → one [`Decision`].

use std::net::IpAddr;

/// A device as the tailnet's provider knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub id: String,
    /// As the tailnet knows it: a name that was taken has got a suffix.
    pub hostname: String,
    pub addresses: Vec<IpAddr>,
    pub tags: Vec<String>,
    /// Its node key no longer holds: the device has to log in anew.
    pub expired: bool,
    pub online: Option<bool>,
}

/// What the ledger has of a box's device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// `None` until the provider has shown it.
    pub device: Option<String>,
    /// Whether it is of the provider and the control server that the settings name now.
    pub is_here: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is on the tailnet and needs no key.
    On(Option<Device>),
    /// It gets a key to log in with as the device that it is, or as a new one.
    Key(Option<Device>),
    /// It gets a key after this device of its own is gone: one live device a box.
    KeyInPlaceOf(String),
    /// The tailnet has a device of that name which is not this box's.
    Clash(Device),
}

/// Why a key is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The box starts: it may be on the tailnet already.
    Start,
    /// The box has lost its login, whatever is known here.
    Lost,
    /// Its owner wants another key for the login that it has.
    Rotate,
}

/// `devices`: `None` where the provider cannot say. `anew`: the box has no login, whatever is known here.
pub fn decide(
    name: &str,
    tags: &[String],
    enrolled: Option<&Enrolled>,
    devices: Option<&[Device]>,
    need: Need,
) -> Decision {
    let enrolled = enrolled.filter(|e| e.is_here);
    let Some(devices) = devices else {
        // Nothing to look at: a key was given once, and the box says when it needs another.
        let is_on = enrolled.is_some() && need == Need::Start;
        return if is_on { Decision::On(None) } else { Decision::Key(None) };
    };
    let is_ours = |device: &&Device| match enrolled {
        Some(Enrolled { device: Some(id), .. }) => device.id == *id,
        // A key was given, and this came of it: nobody else gets keys with these tags.
        Some(_) => device.hostname == name && same(&device.tags, tags),
        None => false,
    };
    let ours = devices.iter().find(is_ours);
    if let Some(device) = ours
        && !device.expired
        && need == Need::Start
    {
        return Decision::On(Some(device.clone()));
    }
    // Logged in anew it stays the device that it is, and keeps its address.
    if let Some(device) = ours
        && need != Need::Lost
    {
        return Decision::Key(Some(device.clone()));
    }
    let other = devices.iter().find(|d| d.hostname == name && Some(&d.id) != ours.map(|o| &o.id));
    match other {
        Some(other) => Decision::Clash(other.clone()),
        None => ours.map_or(Decision::Key(None), |d| Decision::KeyInPlaceOf(d.id.clone())),
    }
}

fn same(some: &[String], others: &[String]) -> bool {
    some.len() == others.len() && some.iter().all(|tag| others.contains(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(id: &str, hostname: &str, tags: &[&str], expired: bool) -> Device {
        let tags = tags.iter().map(|t| (*t).to_owned()).collect();
        Device { id: id.into(), hostname: hostname.into(), addresses: Vec::new(), tags, expired, online: None }
    }

    fn enrolled(device: Option<&str>) -> Enrolled {
        Enrolled { device: device.map(str::to_owned), is_here: true }
    }

    const OURS: [&str; 2] = ["tag:devcontainer", "tag:alice-container"];

    #[test]
    fn one_device_a_box() {
        use Decision::{Clash, Key, KeyInPlaceOf, On};
        use Need::{Lost, Rotate, Start};
        let tags = OURS.map(str::to_owned);
        let decide =
            |known: Option<&Enrolled>, devices: &[Device], need| decide("abc", &tags, known, Some(devices), need);
        let reversed = [OURS[1], OURS[0]];
        let (live, dead) = (device("1", "abc", &reversed, false), device("1", "abc", &reversed, true));
        let phone = device("9", "abc", &[], false);
        let known = enrolled(Some("1"));
        let unseen = enrolled(None);

        assert_eq!(decide(None, &[], Start), Key(None));
        for ours in [&known, &unseen] {
            assert_eq!(decide(Some(ours), std::slice::from_ref(&live), Start), On(Some(live.clone())));
            assert_eq!(decide(Some(ours), std::slice::from_ref(&live), Rotate), Key(Some(live.clone())));
            assert_eq!(decide(Some(ours), std::slice::from_ref(&dead), Start), Key(Some(dead.clone())));
            assert_eq!(decide(Some(ours), std::slice::from_ref(&live), Lost), KeyInPlaceOf("1".into()));
            // Revoked: there is nothing left of it.
            assert_eq!(decide(Some(ours), &[], Start), Key(None));
        }
        // Renamed by its owner, it is still theirs.
        let renamed = device("1", "other", &OURS, false);
        assert_eq!(decide(Some(&known), std::slice::from_ref(&renamed), Start), On(Some(renamed.clone())));
        assert_eq!(decide(Some(&known), &[renamed], Lost), KeyInPlaceOf("1".into()));
        // Somebody's phone is not taken off the tailnet for a box, nor a box of another host.
        assert_eq!(decide(None, std::slice::from_ref(&phone), Start), Clash(phone.clone()));
        assert_eq!(decide(Some(&unseen), std::slice::from_ref(&phone), Lost), Clash(phone.clone()));
        assert_eq!(decide(None, std::slice::from_ref(&live), Start), Clash(live.clone()));
        // On another control server nothing of the old one counts.
        let elsewhere = Enrolled { is_here: false, ..known };
        assert_eq!(decide(Some(&elsewhere), &[], Start), Key(None));
    }

    #[test]
    fn without_a_list_the_box_has_the_last_word() {
        let tags = OURS.map(str::to_owned);
        let on = |known: Option<&Enrolled>, need| decide("abc", &tags, known, None, need) == Decision::On(None);
        let given = enrolled(None);
        assert!(on(Some(&given), Need::Start));
        for (known, need) in
            [(None, Need::Start), (None, Need::Lost), (Some(&given), Need::Lost), (Some(&given), Need::Rotate)]
        {
            assert!(!on(known, need), "{known:?} {need:?}");
        }
    }
}
