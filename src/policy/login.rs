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
    use proptest::prelude::*;

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

    /// A box, what the ledger has of it, and a tailnet with devices of others on it.
    #[derive(Debug, Default)]
    struct World {
        devices: Vec<Device>,
        made: u32,
        known: Option<Enrolled>,
        /// What the box itself is logged in as.
        login: Option<String>,
        /// All that it ever was.
        ours: Vec<String>,
    }

    #[derive(Debug, Clone)]
    enum Move {
        /// `arrives`: the key reaches the box, and the box the tailnet.
        Ask {
            need: Need,
            arrives: bool,
            lists: bool,
        },
        LosesLogin,
        /// What administrators and other people do on the tailnet.
        Expire(usize),
        Delete(usize),
        Rename(usize),
        Join {
            name: &'static str,
            tags: &'static [&'static str],
        },
        OtherServer,
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let need = prop_oneof![Just(Need::Start), Just(Need::Lost), Just(Need::Rotate)];
        let other = prop_oneof![
            // A phone, another owner's box, and another box of this one's.
            Just(("abc", &[][..])),
            Just(("abc", &["tag:devcontainer", "tag:bob-container"][..])),
            Just(("def", &OURS[..])),
            Just(("abc-1", &OURS[..])),
        ];
        let one = prop_oneof![
            6 => (need, prop::bool::weighted(0.8), prop::bool::weighted(0.9))
                .prop_map(|(need, arrives, lists)| Move::Ask { need, arrives, lists }),
            2 => Just(Move::LosesLogin),
            1 => (0..6_usize).prop_map(Move::Expire),
            1 => (0..6_usize).prop_map(Move::Delete),
            1 => (0..6_usize).prop_map(Move::Rename),
            1 => other.prop_map(|(name, tags)| Move::Join { name, tags }),
            1 => Just(Move::OtherServer),
        ];
        prop::collection::vec(one, 0..30)
    }

    impl World {
        /// As a control server does: a name that is taken gets a number.
        fn join(&mut self, name: &str, tags: &[&str]) -> String {
            self.made += 1;
            let id = self.made.to_string();
            let taken = |name: &str| self.devices.iter().any(|d| d.hostname == name);
            let free = (1..99).map(|n| format!("{name}-{n}")).find(|name| !taken(name));
            let hostname = if taken(name) { free.unwrap() } else { name.to_owned() };
            self.devices.push(device(&id, &hostname, tags, false));
            id
        }

        /// As the broker does what was decided.
        fn ask(&mut self, mut need: Need, arrives: bool, lists: bool) -> Result<(), TestCaseError> {
            // A box without a login says so once it runs, and one with a login never does.
            let here = self.login.as_ref().is_some_and(|id| self.devices.iter().any(|d| d.id == *id));
            need = if here && need == Need::Lost { Need::Start } else { need };
            // At its start it could not say so; of an expired device it is believed that its box still has the login.
            let has_expired = self.devices.iter().any(|d| d.expired && self.ours.contains(&d.id));
            if !here && (need == Need::Rotate || has_expired) {
                need = Need::Lost;
            }
            if !lists {
                // A provider that fails decides nothing.
                return Ok(());
            }
            let device = match decide("abc", &OURS.map(str::to_owned), self.known.as_ref(), Some(&self.devices), need) {
                Decision::Clash(other) => {
                    prop_assert!(Some(&other.id) != self.login.as_ref() || other.hostname != "abc");
                    return Ok(());
                }
                Decision::On(device) => {
                    if let Some(device) = device {
                        prop_assert!(self.ours.contains(&device.id), "{:?} is taken for ours", device);
                        self.known = Some(enrolled(Some(&device.id)));
                    }
                    return Ok(());
                }
                Decision::KeyInPlaceOf(id) => {
                    prop_assert!(self.ours.contains(&id), "{} is removed", id);
                    prop_assert!(self.login.as_ref() != Some(&id) || !here, "a box that is on is taken off");
                    self.devices.retain(|d| d.id != id);
                    None
                }
                Decision::Key(device) => device,
            };
            self.known = Some(enrolled(device.as_ref().map(|d| d.id.as_str())));
            if !arrives {
                return Ok(());
            }
            if here {
                let login = self.login.as_ref();
                self.devices.iter_mut().filter(|d| Some(&d.id) == login).for_each(|d| d.expired = false);
            } else {
                let id = self.join("abc", &OURS);
                self.ours.push(id.clone());
                self.login = Some(id);
            }
            Ok(())
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// And nobody else's is taken off the tailnet.
        #[test]
        fn a_box_is_never_two_devices(moves in moves()) {
            let mut world = World::default();
            for step in moves {
                match step {
                    Move::Ask { need, arrives, lists } => world.ask(need, arrives, lists)?,
                    Move::LosesLogin => world.login = None,
                    Move::Expire(n) => world.devices.iter_mut().skip(n).take(1).for_each(|d| d.expired = true),
                    Move::Delete(n) => {
                        if n < world.devices.len() {
                            world.devices.remove(n);
                        }
                    }
                    // A device that nobody has seen yet is known by its name alone: renamed before, it is not found.
                    Move::Rename(_) if world.known.as_ref().is_some_and(|k| k.device.is_none()) => {}
                    Move::Rename(n) => world.devices.iter_mut().skip(n).take(1).for_each(|d| d.hostname += "x"),
                    Move::Join { name, tags } => drop(world.join(name, tags)),
                    Move::OtherServer => {
                        // Nothing of the old one is there, and its ids are others'.
                        let known = world.known.map(|k| Enrolled { is_here: false, ..k });
                        world = World { known, ..World::default() };
                    }
                }
                let live = world.devices.iter().filter(|d| world.ours.contains(&d.id) && !d.expired).count();
                prop_assert!(live <= 1, "{:?}", world);
            }
        }
    }
}
