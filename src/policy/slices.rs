//! What an owner's slice may take, as drop-ins of systemd's: the limit that holds whatever its owner runs.

use std::collections::BTreeMap;

use crate::settings::{OwnerSettings, Settings};

/// A drop-in, by the unit whose folder it is for.
pub type DropIns = BTreeMap<String, String>;

/// One drop-in for every user without a section of their own, one for each who has one, and one that frees root.
/// `uid`: the id of a user name; a name without one is left out, for there is no slice to limit.
pub fn drop_ins<E>(settings: &Settings, uid: impl Fn(&str) -> Result<Option<u32>, E>) -> Result<DropIns, E> {
    let mut drop_ins = DropIns::new();
    let everybody = settings.everybody();
    let shared = lines(everybody);
    if !shared.is_empty() {
        // The prefix's drop-ins hold for every user's slice (systemd.unit(5)), so for root's too.
        drop_ins.insert("user-.slice".to_owned(), text(&shared));
        let freed: Vec<Line> = shared.into_iter().map(|line| Line { value: line.none.to_owned(), ..line }).collect();
        drop_ins.insert("user-0.slice".to_owned(), text(&freed));
    }
    for (name, owner) in settings.named_owners() {
        // Root with limits could not repair the host.
        if let Some(uid) = uid(name)?.filter(|uid| *uid != 0) {
            let own = lines(owner);
            if !own.is_empty() {
                drop_ins.insert(format!("user-{uid}.slice"), text(&own));
            }
        }
    }
    Ok(drop_ins)
}

struct Line {
    key: &'static str,
    value: String,
    /// What takes the limit away (systemd.resource-control(5)).
    none: &'static str,
}

/// What the settings set, and nothing else: the rest is the distribution's (its `user-.slice` has a TasksMax).
fn lines(owner: &OwnerSettings) -> Vec<Line> {
    let memory = owner.owner_memory.map(|m| Line { key: "MemoryMax", value: m.bytes().to_string(), none: "infinity" });
    let cpu = owner.owner_cpu.map(|m| Line { key: "CPUQuota", value: format!("{}%", m.div_ceil(10)), none: "" });
    let tasks = owner.owner_tasks.map(|t| Line { key: "TasksMax", value: t.to_string(), none: "infinity" });
    [memory, cpu, tasks].into_iter().flatten().collect()
}

fn text(lines: &[Line]) -> String {
    let mut text = "# Written from /etc/devbox by devbox-limits.service; changes here are lost.\n[Slice]\n".to_owned();
    for Line { key, value, .. } in lines {
        text += &format!("{key}={value}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> DropIns {
        let settings = Settings::read(&[("t".to_owned(), text.to_owned())]).unwrap();
        let uid = |name: &str| match name {
            "root" => Ok(Some(0)),
            "alice" => Ok(Some(1000)),
            "far" => Err("no answer"),
            _ => Ok(None),
        };
        // One that is not answered for keeps what it has: nothing is written at all.
        assert!(
            drop_ins(&Settings::read(&[("t".to_owned(), "[users.far]\nowner_tasks = 9\n".to_owned())]).unwrap(), uid)
                .is_err()
        );
        drop_ins(&settings, uid).unwrap()
    }

    #[test]
    fn who_gets_one() {
        assert!(of("").is_empty());
        let all = of(
            "[defaults]\nowner_memory = \"24G\"\nowner_cpu = 1.5\n[users.alice]\nowner_tasks = 100\n[users.gone]\nmax_boxes = 1\n[users.root]\nowner_tasks = 9\n",
        );
        assert_eq!(all.keys().collect::<Vec<_>>(), ["user-.slice", "user-0.slice", "user-1000.slice"]);
        assert!(all["user-.slice"].ends_with("[Slice]\nMemoryMax=25769803776\nCPUQuota=150%\n"));
        assert!(all["user-0.slice"].ends_with("[Slice]\nMemoryMax=infinity\nCPUQuota=\n"));
        // The defaults go on where a section does not say otherwise.
        assert!(all["user-1000.slice"].ends_with("MemoryMax=25769803776\nCPUQuota=150%\nTasksMax=100\n"));
    }
}
