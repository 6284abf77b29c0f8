//! Processes of people outside of their slices.

use std::collections::HashMap;
use std::fs;

use nix::unistd::{Uid, User};

use super::{Checked, bad, good};
use crate::shown::printable;

/// Processes of people outside of their slices: nothing of what limits them holds there. `None`: everybody's.
pub fn escaped(only: Option<u32>) -> Vec<Checked> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let mut people = People::default();
    let mut found = Vec::new();
    for process in processes.filter_map(Result::ok) {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        // One that ends meanwhile has not escaped.
        let Some(uid) = fs::read_to_string(format!("/proc/{pid}/status")).ok().as_deref().and_then(real_uid) else {
            continue;
        };
        let Ok(cgroup) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { continue };
        // Another user's slice is a limit too: `sudo` does not leave the session it was called in.
        let is_limited =
            cgroup.lines().any(|l| l.split_once("::").is_some_and(|(_, path)| path.contains("/user.slice/user-")));
        if is_limited {
            continue;
        }
        let Some((user, owner)) = people.whose(uid).filter(|(_, owner)| only.is_none_or(|own| own == *owner)) else {
            continue;
        };
        let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let program = printable(program.trim());
        let unit = cgroup.trim().rsplit('/').next().map(printable).unwrap_or_default();
        found.push(bad(
            "slice",
            format!("{program}[{pid}] of {user} runs outside of user-{owner}.slice, in {unit}: the limits of users.toml do not hold for it"),
            "have that service open sessions with pam_systemd (Debian's cron: add it to /etc/pam.d/cron)",
        ));
    }
    if found.is_empty() {
        found.push(good("slice", "no process is outside of its owner's slice"));
    }
    found
}

/// The accounts of people on this host, by the ids that their processes have.
#[derive(Default)]
struct People {
    known: HashMap<u32, Option<(String, u32)>>,
}

impl People {
    /// The person that a process of that id is, by name and id: an account that can log in, whatever its number (those of a
    /// directory may be beyond 60000), or one whose subordinate id it is.
    fn whose(&mut self, uid: u32) -> Option<(String, u32)> {
        let look = || match User::from_uid(Uid::from_raw(uid)).ok().flatten() {
            Some(user) => {
                let shell = user.shell.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                (uid >= 1000 && !matches!(shell, "nologin" | "false" | "")).then_some((user.name, uid))
            }
            None => subordinate_of(&fs::read_to_string("/etc/subuid").unwrap_or_default(), uid),
        };
        self.known.entry(uid).or_insert_with(look).clone()
    }
}

/// Whose range of subuid(5) has that id.
fn subordinate_of(subuid: &str, uid: u32) -> Option<(String, u32)> {
    let who = subuid.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (who, first, count) = (fields.next()?, fields.next()?.parse::<u32>().ok()?, fields.next()?.parse().ok()?);
        (first..first.saturating_add(count)).contains(&uid).then_some(who)
    })?;
    let user = match who.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(who),
    };
    user.ok().flatten().map(|user| (user.name, user.uid.as_raw()))
}

fn real_uid(status: &str) -> Option<u32> {
    status.lines().find_map(|l| l.strip_prefix("Uid:"))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subordinate_id_is_somebodys() {
        let subuid = "nobody-here:100000:65536\nroot:165536:65536\n0:300000:10\nbroken\n";
        let roots = Some(("root".to_owned(), 0));
        assert_eq!(subordinate_of(subuid, 165_536), roots);
        assert_eq!(subordinate_of(subuid, 231_071), roots);
        assert_eq!(subordinate_of(subuid, 300_009), roots);
        for other in [100_000, 231_072, 300_010] {
            assert_eq!(subordinate_of(subuid, other), None);
        }
    }
}
