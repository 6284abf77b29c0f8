//! Admission: may this owner have this box?

use crate::settings::Settings;
use crate::spec::{BoxName, Cpu, Memory};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub owner: &'a str,
    pub name: &'a BoxName,
    pub cpu: Cpu,
    pub memory: Memory,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0} may not have boxes on this host")]
    NotAllowed(String),
    #[error("there is already a box called {0}")]
    Exists(BoxName),
    #[error("you already have {held} {}, and {limit} is your limit", if *.held == 1 { "box" } else { "boxes" })]
    OwnerLimit { held: usize, limit: u32 },
    #[error("{0} is in the trash")]
    Trashed(BoxName),
    #[error("you have {held} {} in the trash, and {limit} is your limit there too", if *.held == 1 { "box" } else { "boxes" })]
    TrashLimit { held: usize, limit: u32 },
    #[error("{asked} processors for one box is more than the {limit} allowed")]
    Cpu { asked: Cpu, limit: Cpu },
    #[error("{asked} of memory for one box is more than the {limit} allowed")]
    Memory { asked: Memory, limit: Memory },
}

/// Decides over the names the owner holds. The host's limit is the broker's to decide, since one owner cannot see
/// another's boxes.
pub fn admit(request: Request<'_>, held: &[BoxName], settings: &Settings) -> Result<(), Refusal> {
    let owner = settings.owner(request.owner);
    if !owner.allowed {
        return Err(Refusal::NotAllowed(request.owner.to_owned()));
    }
    // A name that is taken says more than a full quota: the box that was asked for is there.
    if held.contains(request.name) {
        return Err(Refusal::Exists(request.name.clone()));
    }
    if request.cpu > owner.max_cpu {
        return Err(Refusal::Cpu { asked: request.cpu, limit: owner.max_cpu });
    }
    if request.memory > owner.max_memory {
        return Err(Refusal::Memory { asked: request.memory, limit: owner.max_memory });
    }
    if held.len() >= usize::try_from(owner.max_boxes).unwrap_or(usize::MAX) {
        return Err(Refusal::OwnerLimit { held: held.len(), limit: owner.max_boxes });
    }
    Ok(())
}

/// Whether there is room in an owner's trash for one box more: as much as for boxes. `held`: what is in it.
pub fn admit_to_trash(owner: &str, name: &BoxName, held: &[BoxName], settings: &Settings) -> Result<(), Refusal> {
    let limit = settings.owner(owner).max_boxes;
    let others = held.iter().filter(|other| *other != name).count();
    if others >= usize::try_from(limit).unwrap_or(usize::MAX) {
        return Err(Refusal::TrashLimit { held: others, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decide(name: &str, cpu: &str, memory: &str, held: &[&str], settings: &str) -> Result<(), Refusal> {
        let settings = Settings::read(&[("t".to_owned(), settings.to_owned())]).unwrap();
        let held: Vec<BoxName> = held.iter().map(|n| n.parse().unwrap()).collect();
        let name = name.parse().unwrap();
        let request =
            Request { owner: "alice", name: &name, cpu: cpu.parse().unwrap(), memory: memory.parse().unwrap() };
        admit(request, &held, &settings)
    }

    #[test]
    fn refusals() {
        let five = ["aa1", "aa2", "aa3", "aa4", "aa5"];
        assert_eq!(decide("new", "2", "4G", &five[..4], ""), Ok(()));
        assert_eq!(decide("new", "2", "4G", &five, ""), Err(Refusal::OwnerLimit { held: 5, limit: 5 }));
        assert!(matches!(decide("aa1", "2", "4G", &five, ""), Err(Refusal::Exists(_))));
        assert!(matches!(decide("new", "9", "4G", &[], ""), Err(Refusal::Cpu { .. })));
        assert!(matches!(decide("new", "1", "17G", &[], ""), Err(Refusal::Memory { .. })));
        assert_eq!(decide("new", "9", "4G", &[], "[users.alice]\nmax_cpu = 16"), Ok(()));
        assert!(matches!(decide("new", "1", "1G", &[], "[users.alice]\nallowed = false"), Err(Refusal::NotAllowed(_))));
        assert!(matches!(
            decide("new", "1", "1G", &[], "[users.alice]\nmax_boxes = 0"),
            Err(Refusal::OwnerLimit { .. })
        ));
    }

    #[test]
    fn the_trash_has_as_much_room_as_there_are_boxes() {
        let settings = Settings::read(&[("t".to_owned(), "[defaults]\nmax_boxes = 2".to_owned())]).unwrap();
        let decide = |name: &str, held: &[&str]| {
            let held: Vec<BoxName> = held.iter().map(|n| n.parse().unwrap()).collect();
            admit_to_trash("alice", &name.parse().unwrap(), &held, &settings)
        };
        assert_eq!(decide("new", &["aa1"]), Ok(()));
        assert_eq!(decide("new", &["aa1", "aa2"]), Err(Refusal::TrashLimit { held: 2, limit: 2 }));
        // One that is on its way there already.
        assert_eq!(decide("aa2", &["aa1", "aa2"]), Ok(()));
    }

    proptest! {
        #[test]
        fn never_one_more_than_the_limit(limit in 0_u32..8, asked in prop::collection::vec("[a-z]{3}", 0..20)) {
            let settings = Settings::read(&[("t".to_owned(), format!("[defaults]\nmax_boxes = {limit}"))]).unwrap();
            let mut held: Vec<BoxName> = Vec::new();
            for name in asked {
                let name: BoxName = name.parse().unwrap();
                let owner = settings.owner("alice");
                let request = Request { owner: "alice", name: &name, cpu: owner.cpu, memory: owner.memory };
                if admit(request, &held, &settings).is_ok() {
                    held.push(name);
                }
            }
            prop_assert!(held.len() <= limit as usize);
        }
    }
}
