//! Whose turn it is to start a box, while the boxes of many owners start at once.
//!
//! At most so many turns are out at a time, and they are dealt to owners in turn, so that one box of one owner is not
//! behind ninety of another. Nobody holds more than half, however long the others stay away, and all whose turns had to
//! be ended together hold no more than half: whoever comes next finds some free.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

/// Seconds after which a turn is over, whatever becomes of the box: what takes longer does not wait for processors.
pub const LONGEST: u64 = 30;
/// Of one owner, in line.
const MOST_WAITING: usize = 64;

/// The line. `id`: who waits or has a turn; never used twice.
#[derive(Debug, Default)]
pub struct Turns {
    waiting: BTreeMap<u32, VecDeque<u64>>,
    /// Whose, and since when.
    held: BTreeMap<u64, (u32, u64)>,
    /// Who had the last turn.
    last: u32,
    /// Those who had one that did not end by itself.
    slow: BTreeSet<u32>,
}

impl Turns {
    /// Whether there was a place in the owner's line.
    pub fn wait(&mut self, id: u64, uid: u32) -> bool {
        let line = self.waiting.entry(uid).or_default();
        let has_room = line.len() < MOST_WAITING;
        if has_room {
            line.push_back(id);
        }
        has_room
    }

    /// Its box has started, or it is gone.
    pub fn leave(&mut self, id: u64) {
        self.held.remove(&id);
        for line in self.waiting.values_mut() {
            line.retain(|waiting| *waiting != id);
        }
        self.waiting.retain(|_, line| !line.is_empty());
    }

    /// Ends turns that were too long; who had them.
    pub fn end(&mut self, now: u64) -> Vec<u64> {
        let over = |since: u64| now.saturating_sub(since) >= LONGEST;
        let (ended, held) = self.held.iter().partition::<BTreeMap<u64, _>, _>(|(_, (_, since))| over(*since));
        self.held = held;
        self.slow.extend(ended.values().map(|(uid, _)| *uid));
        ended.into_keys().collect()
    }

    /// Gives out what is free of `most` turns; to whom.
    pub fn grant(&mut self, most: usize, now: u64) -> Vec<u64> {
        let mut granted = Vec::new();
        while self.held.len() < most {
            let (lines, held, slow) = (&self.waiting, &self.held, &self.slow);
            let of_slow = held.values().filter(|(of, _)| slow.contains(of)).count();
            let may = |uid: u32| {
                held.values().filter(|(of, _)| *of == uid).count() < share(most)
                    && (!slow.contains(&uid) || of_slow < share(most))
            };
            let after = lines.range((Bound::Excluded(self.last), Bound::Unbounded));
            let Some(uid) = after.chain(lines).map(|(uid, _)| *uid).find(|uid| may(*uid)) else { break };
            self.last = uid;
            let Some(line) = self.waiting.get_mut(&uid) else { break };
            if let Some(id) = line.pop_front() {
                self.held.insert(id, (uid, now));
                granted.push(id);
            }
            if line.is_empty() {
                self.waiting.remove(&uid);
            }
        }
        granted
    }

    /// Whether somebody waits, or has a turn that will end.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.held.is_empty()
    }

    /// Those who wait.
    pub fn waiting(&self) -> impl Iterator<Item = u64> {
        self.waiting.values().flatten().copied()
    }
}

/// Of so many turns, an owner's.
pub fn share(most: usize) -> usize {
    (most / 2).max(1)
}

/// How many turns there are where nobody said: a box that starts waits about as long as it computes.
pub fn usual(processors: usize) -> usize {
    processors.saturating_mul(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_box_is_not_behind_anothers_ninety() {
        let mut turns = Turns::default();
        for id in 0..60 {
            assert!(turns.wait(id, 1000));
        }
        assert_eq!(turns.grant(4, 0), [0, 1], "half of them, though nobody else is there");
        turns.wait(100, 1001);
        assert_eq!(turns.grant(4, 0), [100]);
        turns.leave(0);
        turns.wait(101, 1002);
        turns.wait(102, 1002);
        assert_eq!(turns.grant(4, 0), [101, 2], "each in turn");
        turns.leave(100);
        assert_eq!(turns.grant(4, 0), [102]);
    }

    #[test]
    fn a_turn_that_does_not_end_is_ended() {
        let mut turns = Turns::default();
        for id in 0..10 {
            turns.wait(id, 1000);
        }
        assert_eq!(turns.grant(2, 5), [0]);
        assert!(turns.end(4 + LONGEST).is_empty());
        assert_eq!(turns.end(5 + LONGEST), [0]);
        turns.wait(50, 1001);
        assert_eq!(turns.grant(2, 40), [50, 1]);
        // Gone while it waited.
        turns.leave(2);
        turns.leave(1);
        assert_eq!(turns.grant(2, 41), [3]);
    }

    #[test]
    fn those_who_keep_theirs_do_not_hold_all_of_them_twice() {
        let mut turns = Turns::default();
        for (id, uid) in [(0, 1), (1, 1), (2, 2), (3, 2), (4, 1), (5, 1), (6, 2), (7, 2)] {
            turns.wait(id, uid);
        }
        assert_eq!(turns.grant(4, 0), [0, 2, 1, 3]);
        turns.wait(50, 3);
        assert!(turns.grant(4, 29).is_empty());
        assert_eq!(turns.end(30).len(), 4);
        assert_eq!(turns.grant(4, 30), [50, 4, 6]);
        turns.leave(50);
        assert!(turns.grant(4, 30).is_empty(), "there is room for whoever comes");
        turns.wait(51, 3);
        turns.wait(52, 3);
        assert_eq!(turns.grant(4, 30), [51, 52]);
    }

    #[test]
    fn a_line_has_an_end_and_one_turn_is_the_least() {
        let mut turns = Turns::default();
        assert_eq!((0..100).filter(|id| turns.wait(*id, 7)).count(), MOST_WAITING);
        assert!(turns.wait(100, 8));
        assert_eq!(turns.grant(1, 0), [0]);
        assert_eq!((share(1), share(2), share(3), share(8)), (1, 1, 1, 4));
        for id in 0..=100 {
            turns.leave(id);
        }
        assert!(turns.is_idle());
    }

    proptest! {
        /// Whatever comes and goes: never more than `most`, no owner more than their share, nobody who could is left.
        #[test]
        fn bounded_and_fair(most in 1_usize..9, steps in prop::collection::vec((0_u32..5, 0_u8..4), 1..200)) {
            let (mut turns, mut held, mut now) = (Turns::default(), Vec::<(u64, u32)>::new(), 0);
            let mut owners = BTreeMap::new();
            for (id, (uid, act)) in steps.into_iter().enumerate() {
                let id = id as u64;
                match act {
                    0 | 1 => { turns.wait(id, uid); owners.insert(id, uid); }
                    2 if !held.is_empty() => { let (gone, _) = held.remove(uid as usize % held.len()); turns.leave(gone); }
                    _ => now += 7,
                }
                let ended = turns.end(now);
                held.retain(|(id, _)| !ended.contains(id));
                held.extend(turns.grant(most, now).into_iter().map(|id| (id, owners[&id])));
                prop_assert!(held.len() <= most);
                for uid in 0..5 {
                    let of = held.iter().filter(|(_, owner)| *owner == uid).count();
                    prop_assert!(of <= share(most));
                    let waits = turns.waiting().any(|id| owners[&id] == uid);
                    let of_slow = held.iter().filter(|(_, owner)| turns.slow.contains(owner)).count();
                    let is_slow = turns.slow.contains(&uid) && of_slow >= share(most);
                    prop_assert!(!waits || of == share(most) || held.len() == most || is_slow);
                }
            }
        }
    }
}
