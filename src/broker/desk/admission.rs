//! Whether a box may be: its owner's limits, the host's, and the room there is now.

use super::{Answer, Caller, Desk, RESERVED_FOR, Seen, Verdict, no_such, plain};
use crate::broker::ledger::{Held, Ledger};
use crate::broker::rules::taggable;
use crate::policy::host::{self, HostRefusal};
use crate::policy::limits::{self, Refusal, Request as Asked};
use crate::settings::OwnerSettings;
use crate::spec::{BoxName, Cpu, Memory};
use crate::wire::{Refused, TRASH_ROOM, Why, in_trash};

/// What the name is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Reserved for a box that is being made.
    New,
    /// A box that was in the trash.
    Back,
}

impl Desk {
    pub(super) fn admit(
        &mut self,
        ledger: &Ledger<'_>,
        caller: &Caller,
        wanted: Wanted,
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
        let others: Vec<Held> = ledger.boxes_of(caller.uid)?.into_iter().filter(|h| h.name != name.as_str()).collect();
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
        let is_trashed = before.as_ref().is_some_and(|h| h.trashed.is_some());
        if is_trashed && wanted == Wanted::New {
            return Ok(Err(owners(
                &Refusal::Trashed(name),
                self.rules.settings.owner(&user),
                caller.uid,
                &others,
                seen,
            )));
        }
        let mut promised = ledger.promised()?;
        if let Some(own) = before.as_ref().filter(|h| h.trashed.is_none()) {
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
        let expires = match (&before, wanted) {
            (Some(Held { expires: None, .. }), _) | (_, Wanted::Back) => None,
            _ => Some(seen.now + RESERVED_FOR),
        };
        let (since, trashed) = (seen.now, None);
        let (cpu, memory) = (cpu.millis(), memory.bytes());
        ledger.put(&Held { name: name.to_string(), uid: caller.uid, cpu, memory, since, expires, trashed })?;
        Ok(Ok(Answer::Done))
    }

    /// The name stays its owner's, and everything else of it is given back. One that is not known was made while there
    /// was no broker.
    pub(super) fn trash(
        &mut self,
        ledger: &Ledger<'_>,
        caller: &Caller,
        name: &str,
        seen: &Seen,
    ) -> rusqlite::Result<Verdict> {
        ledger.expire(seen.now)?;
        let before = ledger.holder(name)?;
        let Ok(parsed) = name.parse::<BoxName>() else { return Ok(Err(no_such(name))) };
        match &before {
            Some(held) if held.uid != caller.uid => return Ok(Err(no_such(name))),
            Some(Held { trashed: Some(_), .. }) => return Ok(Ok(Answer::Done)),
            _ => {}
        }
        let user = self.names.of(caller.uid);
        let limit = self.rules.settings.owner(&user);
        let may_have_names = limit.allowed && self.names.fresh(caller.uid).is_some();
        if before.is_none() && !may_have_names {
            return Ok(Err(no_such(name)));
        }
        let (others, held) = trash_of(ledger, caller.uid)?;
        if let Err(refusal) = limits::admit_to_trash(&user, &parsed, &held, &self.rules.settings) {
            return Ok(Err(owners(&refusal, limit, caller.uid, &others, seen)));
        }
        let unknown = Held {
            name: parsed.to_string(),
            uid: caller.uid,
            cpu: 0,
            memory: 0,
            since: seen.now,
            expires: None,
            trashed: None,
        };
        ledger.put(&Held { expires: None, trashed: Some(seen.now), ..before.unwrap_or(unknown) })?;
        ledger.depart(name, seen.now)?;
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

/// What is in an owner's trash.
pub(in crate::broker) fn trash_of(ledger: &Ledger<'_>, uid: u32) -> rusqlite::Result<(Vec<Held>, Vec<BoxName>)> {
    let held: Vec<Held> = ledger.of_owner(uid)?.into_iter().filter(|h| h.trashed.is_some()).collect();
    let names = held.iter().filter_map(|h| h.name.parse().ok()).collect();
    Ok((held, names))
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
        Refusal::Exists(_) | Refusal::Trashed(_) => Why::Exists,
        Refusal::OwnerLimit { .. } | Refusal::TrashLimit { .. } => Why::OwnerLimit,
        Refusal::Cpu { .. } | Refusal::Memory { .. } => Why::InvalidInput,
    };
    let refused = Refused::new(why, refusal.to_string());
    match refusal {
        Refusal::OwnerLimit { .. } => with_own(refused, uid, own, seen, "ask an administrator for a higher limit"),
        Refusal::NotAllowed(_) => refused.hint("ask an administrator of this host"),
        Refusal::Trashed(name) => refused.hint(in_trash(name)),
        Refusal::TrashLimit { .. } => {
            let names: Vec<&str> = own.iter().map(|h| h.name.as_str()).collect();
            let refused =
                if names.is_empty() { refused } else { refused.fact(format!("in the trash: {}", names.join(", "))) };
            refused.hint(TRASH_ROOM)
        }
        _ => refused.hint(format!("ask for `--cpu {} --memory {}` or less", limit.max_cpu, limit.max_memory)),
    }
}

/// The caller's own boxes, and the one that would make room: one that does not run anyway.
fn with_own(refused: Refused, uid: u32, own: &[Held], seen: &Seen, otherwise: &str) -> Refused {
    let runs = |h: &&Held| seen.runs(uid, &h.name);
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
