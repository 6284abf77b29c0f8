//! Whose turn it is to start a box, while the boxes of many owners start at once.
//!
//! At most so many turns are out at a time, and a free one goes to the owner who holds the fewest, in turn where that is
//! equal: one box of one owner is not behind ninety of another. Nobody holds more than half, however long the others stay
//! away, and all whose turns had to be ended lately hold no more than half together: whoever comes next finds some free.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

/// Seconds after which a turn is over, whatever becomes of the box: what takes longer does not wait for processors.
pub const LONGEST: u64 = 30;
/// The same for an owner whose turns had to be ended lately, while one waits who had fewer ended.
const SHORTER: u64 = 5;
/// Seconds after the last one until that is forgotten: what was slow once need not be again.
const FORGIVEN: u64 = 300;
/// In line or with a turn: of one owner in line, and of all.
const MOST_WAITING: usize = 64;
const MOST: usize = 512;
/// Fewer leave no half to hold.
pub const LEAST: usize = 2;

/// The line. `id`: who waits or has a turn; never used twice.
#[derive(Debug, Default)]
pub struct Turns {
    waiting: BTreeMap<u32, VecDeque<u64>>,
    /// Whose, and since when.
    held: BTreeMap<u64, (u32, u64)>,
    /// Who had the last turn.
    last: u32,
    /// Those who had some that did not end by themselves: how many, and the last.
    slow: BTreeMap<u32, (u32, u64)>,
}

impl Turns {
    /// Puts it in line; who is to go for that: itself where its owner has no place, and where the line is full the
    /// youngest of an owner who has more.
    pub fn wait(&mut self, id: u64, uid: u32) -> Option<u64> {
        let of = |owner: u32| self.waiting.get(&owner).map_or(0, VecDeque::len) + self.holds(owner);
        let mut goes = None;
        if self.waiting.get(&uid).is_some_and(|line| line.len() >= MOST_WAITING) {
            return Some(id);
        }
        if self.waiting.values().map(VecDeque::len).sum::<usize>() + self.held.len() >= MOST {
            let most = self.waiting.keys().copied().max_by_key(|owner| of(*owner));
            let Some(most) = most.filter(|most| of(*most) > of(uid) + 1) else { return Some(id) };
            goes = self.waiting.get(&most).and_then(|line| line.back().copied());
        }
        if let Some(goes) = goes {
            self.leave(goes);
        }
        self.waiting.entry(uid).or_default().push_back(id);
        goes
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
        self.slow.retain(|_, (_, last)| now.saturating_sub(*last) < FORGIVEN);
        let fewest = self.waiting.keys().map(|uid| self.strikes(*uid)).min();
        let over = |uid: u32, since: u64| {
            let is_shorter = fewest.is_some_and(|fewest| fewest < self.strikes(uid));
            now.saturating_sub(since) >= if is_shorter { SHORTER } else { LONGEST }
        };
        let ended: BTreeMap<u64, u32> =
            self.held.iter().filter(|(_, (uid, since))| over(*uid, *since)).map(|(id, (uid, _))| (*id, *uid)).collect();
        for (id, uid) in &ended {
            self.held.remove(id);
            let (strikes, last) = self.slow.entry(*uid).or_default();
            (*strikes, *last) = (strikes.saturating_add(1), now);
        }
        ended.into_keys().collect()
    }

    /// Gives out what is free of `most` turns; to whom.
    pub fn grant(&mut self, most: usize, now: u64) -> Vec<u64> {
        let mut granted = Vec::new();
        while self.held.len() < most {
            let of_slow = self.held.values().filter(|(of, _)| self.slow.contains_key(of)).count();
            let may =
                |uid: &u32| self.holds(*uid) < share(most) && (!self.slow.contains_key(uid) || of_slow < share(most));
            let after = self.waiting.range((Bound::Excluded(self.last), Bound::Unbounded));
            let in_turn = after.chain(self.waiting.range(..=self.last)).map(|(uid, _)| *uid);
            // The first of the least.
            let next = in_turn.filter(may).min_by_key(|uid| (self.holds(*uid), self.strikes(*uid)));
            let Some(uid) = next else { break };
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

    fn holds(&self, uid: u32) -> usize {
        self.held.values().filter(|(of, _)| *of == uid).count()
    }

    fn strikes(&self, uid: u32) -> u32 {
        self.slow.get(&uid).map_or(0, |(strikes, _)| *strikes)
    }
}

/// Of so many turns, an owner's.
pub fn share(most: usize) -> usize {
    (most / 2).max(1)
}

/// How many turns there are where nobody said: a box that starts waits about as long as it computes.
pub fn usual(processors: usize) -> usize {
    processors.saturating_mul(2).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_box_is_not_behind_anothers_ninety() {
        let mut turns = Turns::default();
        for id in 0..60 {
            assert_eq!(turns.wait(id, 1000), None);
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
        assert_eq!((0..100).filter(|id| turns.wait(*id, 7).is_none()).count(), MOST_WAITING);
        assert_eq!(turns.wait(100, 8), None);
        assert_eq!(turns.grant(1, 0), [0]);
        assert_eq!((share(1), share(2), share(3), share(8)), (1, 1, 1, 4));
        for id in 0..=100 {
            turns.leave(id);
        }
        assert!(turns.is_idle());
    }

    #[test]
    fn what_was_slow_is_forgiven_and_is_not_behind_who_holds_some() {
        let mut turns = Turns::default();
        for (id, uid) in [(0, 1), (1, 2), (2, 2)] {
            turns.wait(id, uid);
        }
        assert_eq!(turns.grant(4, 0), [0, 1, 2]);
        assert_eq!(turns.end(30).len(), 3);
        for (id, uid) in [(10, 2), (11, 2), (12, 2), (13, 1), (14, 1)] {
            turns.wait(id, uid);
        }
        // Half of four for both: one each, and fewer had to be ended of the first's.
        assert_eq!(turns.grant(4, 30), [13, 10]);
        assert!(turns.end(34).is_empty());
        // The other's end sooner, while the first waits.
        assert_eq!(turns.end(35), [10]);
        turns.leave(13);
        assert_eq!(turns.grant(4, 35), [14, 11]);
        turns.leave(14);
        assert!(turns.end(64).is_empty(), "nobody waits for it");
        assert_eq!(turns.end(65), [11]);
        assert_eq!((turns.strikes(1), turns.strikes(2)), (1, 4));
        turns.end(30 + FORGIVEN);
        assert_eq!((turns.strikes(1), turns.strikes(2)), (0, 4));
        turns.end(65 + FORGIVEN);
        assert!(turns.slow.is_empty());
    }

    #[test]
    fn whoever_gives_turns_back_just_in_time_does_not_come_twice_before_another() {
        let mut turns = Turns::default();
        for (id, uid) in [(0, 1), (1, 1), (2, 1), (3, 2), (4, 2), (5, 2)] {
            turns.wait(id, uid);
        }
        assert_eq!(turns.grant(4, 0), [0, 3, 1, 4]);
        turns.wait(50, 3);
        turns.leave(3);
        assert_eq!(turns.grant(4, 29), [50], "who holds the fewest");
    }

    #[test]
    fn a_full_line_has_a_place_for_who_has_fewer() {
        let mut turns = Turns::default();
        let mut id = 0;
        for uid in 1..=8 {
            for _ in 0..MOST_WAITING {
                assert_eq!(turns.wait(id, uid), None);
                id += 1;
            }
        }
        for n in 1..40 {
            let goes = turns.wait(id, 100);
            assert!(goes.is_some_and(|goes| goes != id), "{n}");
            id += 1;
        }
        let of = |turns: &Turns, uid| turns.waiting.get(&uid).map_or(0, VecDeque::len);
        assert_eq!(of(&turns, 100), 39);
        while turns.wait(id, 100) != Some(id) {
            id += 1;
        }
        assert!((1..=8).all(|uid| of(&turns, uid).abs_diff(of(&turns, 100)) <= 1), "each as many");
        assert_eq!(turns.waiting().count(), MOST);
        // None of them had to wait behind another.
        assert_eq!(turns.waiting().filter(|id| *id < 512).filter(|id| id % 64 == 0).count(), 8);
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
                    let of_slow = held.iter().filter(|(_, owner)| turns.slow.contains_key(owner)).count();
                    let is_slow = turns.slow.contains_key(&uid) && of_slow >= share(most);
                    prop_assert!(!waits || of == share(most) || held.len() == most || is_slow);
                }
            }
        }
    }
}
