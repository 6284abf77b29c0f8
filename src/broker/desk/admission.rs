//! Whether a box may be: its owner's limits, the host's, and the room there is now.

use super::{Answer, Caller, Desk, RESERVED_FOR, Seen, Verdict, plain};
use crate::broker::ledger::{Held, Ledger};
use crate::broker::rules::taggable;
use crate::policy::host::{self, HostRefusal};
use crate::policy::limits::{self, Refusal, Request as Asked};
use crate::settings::OwnerSettings;
use crate::spec::{BoxName, Cpu, Memory};
use crate::wire::{Refused, Why};

impl Desk {
    pub(super) fn reserve(
        &mut self,
        ledger: &Ledger<'_>,
        caller: &Caller,
        asked: (&str, u32, u64),
        start: bool,
        seen: &Seen,
    ) -> rusqlite::Result<Verdict> {
        let (name, cpu, memory) = match parse(asked) {
            Ok(parsed) => parsed,
            Err(refused) => return Ok(Err(refused)),
        };
        ledger.expire(seen.now)?;
        let user = self.names.of(caller.uid);
        if self.names.fresh(caller.uid).is_none() {
            // A subordinate id, of which each owner has thousands.
            return Ok(Err(Refused::new(Why::NotAllowed, "only users with an account may have boxes")));
        }
        if let Err(refused) = taggable(&user, &self.rules.settings) {
            return Ok(Err(refused));
        }
        let before = ledger.holder(name.as_str())?;
        // The owner's own: a create that is tried again, or one whose folder is gone. Its old share is given back first.
        let others: Vec<Held> = ledger.of_owner(caller.uid)?.into_iter().filter(|h| h.name != name.as_str()).collect();
        let held: Vec<BoxName> = others.iter().filter_map(|h| h.name.parse().ok()).collect();
        let request = Asked { owner: &user, name: &name, cpu, memory };
        if let Err(refusal) = limits::admit(request, &held, &self.rules.settings) {
            return Ok(Err(owners(&refusal, self.rules.settings.owner(&user), caller.uid, &others, seen)));
        }
        if let Some(held) = before.as_ref().filter(|h| h.uid != caller.uid) {
            let refused = Refused::new(Why::Exists, format!("the name {name} is taken on this host"))
                .hint("names are one for the whole host; choose another");
            let owner = self.is_admin(caller).then(|| format!("it is {}'s", self.names.of(held.uid)));
            return Ok(Err(Refused { facts: owner.into_iter().collect(), ..refused }));
        }
        let mut promised = ledger.promised()?;
        if let Some(own) = &before {
            promised.boxes -= 1;
            promised.cpu_millis -= u64::from(own.cpu);
            promised.memory_bytes -= own.memory;
        }
        if let Err(refusal) = host::admit(request, promised, &self.rules.settings) {
            return Ok(Err(self.hosts(ledger, caller, &refusal, &others, seen)?));
        }
        if start && let Err(refused) = Self::room(caller, memory.bytes(), seen) {
            return Ok(Err(refused));
        }
        let expires = match &before {
            Some(Held { expires: None, .. }) => None,
            _ => Some(seen.now + RESERVED_FOR),
        };
        let since = seen.now;
        let held =
            Held { name: name.to_string(), uid: caller.uid, cpu: cpu.millis(), memory: memory.bytes(), since, expires };
        ledger.put(&held)?;
        Ok(Ok(Answer::Done))
    }

    /// Whether there is room now. What the kernel does not tell is not held against anybody.
    pub(super) fn room(caller: &Caller, memory_bytes: u64, seen: &Seen) -> Verdict {
        let Some(free) = seen.free else { return Ok(Answer::Done) };
        let own: Vec<&str> =
            seen.running().iter().filter(|(uid, _)| *uid == caller.uid).map(|(_, n)| n.as_str()).collect();
        host::room(memory_bytes, free).map(|()| Answer::Done).map_err(|why| {
            let refused = Refused::new(Why::NoResources, why.to_string());
            match own.first() {
                Some(first) => refused
                    .fact(format!("running of yours: {}", own.join(", ")))
                    .hint(format!("`devbox-ctl stop {first}` makes room, or try again later")),
                None => refused.hint("none of the boxes that run is yours: try again later, or ask for less memory"),
            }
        })
    }

    fn hosts(
        &mut self,
        ledger: &Ledger<'_>,
        caller: &Caller,
        refusal: &HostRefusal,
        own: &[Held],
        seen: &Seen,
    ) -> rusqlite::Result<Refused> {
        let mut refused = Refused::new(Why::HostLimit, refusal.to_string());
        if self.is_admin(caller) {
            for (uid, used) in ledger.uses()? {
                let owner = self.names.of(uid);
                refused = refused.fact(format!(
                    "{owner}: {} boxes, {} processors, {}M",
                    used.boxes,
                    used.cpu_millis / 1000,
                    used.memory_bytes >> 20
                ));
            }
        }
        Ok(with_own(
            refused,
            caller.uid,
            own,
            seen,
            "the rest is other owners'; an administrator can raise [host] in users.toml",
        ))
    }
}

pub(super) fn parse((name, cpu, memory): (&str, u32, u64)) -> Result<(BoxName, Cpu, Memory), Refused> {
    let invalid = |why: String| Refused::new(Why::InvalidInput, why);
    Ok((
        name.parse().map_err(|e: crate::spec::NameError| invalid(plain(&e.to_string(), 200)))?,
        Cpu::from_millis(cpu).map_err(|e| invalid(e.to_string()))?,
        Memory::from_bytes(memory).map_err(|e| invalid(e.to_string()))?,
    ))
}

fn owners(refusal: &Refusal, limit: &OwnerSettings, uid: u32, own: &[Held], seen: &Seen) -> Refused {
    let why = match refusal {
        Refusal::NotAllowed(_) => Why::NotAllowed,
        Refusal::Exists(_) => Why::Exists,
        Refusal::OwnerLimit { .. } => Why::OwnerLimit,
        Refusal::Cpu { .. } | Refusal::Memory { .. } => Why::InvalidInput,
    };
    let refused = Refused::new(why, refusal.to_string());
    match refusal {
        Refusal::OwnerLimit { .. } => with_own(refused, uid, own, seen, "ask an administrator for a higher limit"),
        Refusal::NotAllowed(_) => refused.hint("ask an administrator of this host"),
        _ => refused.hint(format!("ask for `--cpu {} --memory {}` or less", limit.max_cpu, limit.max_memory)),
    }
}

/// The caller's own boxes, and the one that would make room: one that does not run anyway.
fn with_own(refused: Refused, uid: u32, own: &[Held], seen: &Seen, otherwise: &str) -> Refused {
    let runs = |h: &&Held| seen.running().contains(&(uid, h.name.clone()));
    let (running, stopped): (Vec<&Held>, Vec<&Held>) = own.iter().partition(runs);
    let words = |label: &str, list: &[&Held]| {
        let names: Vec<&str> = list.iter().map(|h| h.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{label}: {}", names.join(", ")))
    };
    let facts: Vec<String> = [words("running", &running), words("stopped", &stopped)].into_iter().flatten().collect();
    let refused = if facts.is_empty() { refused } else { refused.fact(facts.join(" · ")) };
    match stopped.first().or(running.first()) {
        Some(held) => refused.hint(format!("`devbox-ctl destroy {}` makes room", held.name)),
        None => refused.hint(otherwise),
    }
}
