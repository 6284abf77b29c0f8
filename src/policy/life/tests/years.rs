//! Years of boxes in milliseconds.

use super::*;

/// A few numbers that are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// One owner with one box, a look every quarter of an hour, for years.
struct Life {
    book: Book,
    terms: Terms,
    look: Look,
    tick: Tick,
    /// What the wall's clock says, right or wrong.
    wall: Timestamp,
    /// Awake seconds since the box was really used last, or since it came into this phase.
    since: u64,
    told: Option<u64>,
    history: Vec<(Timestamp, String)>,
}

impl Life {
    fn new(text: &str) -> Self {
        let made: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let seen = Seen { cpu: Some(0), terminals: Some([].into()), ..Seen::default() };
        let look = Look {
            name: "abc".parse().unwrap(),
            made,
            phase: Phase::Running,
            key: "0".to_owned(),
            seen: Some(seen),
            busy: Some(false),
        };
        let tick = Tick { boot: "0".to_owned(), seconds: 0 };
        let (book, terms, history) = (Book::default(), terms(text), Vec::new());
        Self { book, terms, look, tick, wall: made, since: 0, told: None, history }
    }

    fn say(&mut self, what: &str) {
        self.history.push((self.wall, what.to_owned()));
    }

    /// `asleep`: seconds for which the host slept before this look.
    fn step(&mut self, seconds: u64, asleep: u64, used: bool) {
        self.tick.seconds += seconds;
        let wall = SignedDuration::from_secs(i64::try_from(seconds + asleep).unwrap());
        self.wall = self.wall.checked_add(wall).unwrap_or(self.wall);
        self.since += seconds;
        if used {
            let seen = self.look.seen.as_mut().unwrap();
            seen.cpu = seen.cpu.map(|cpu| cpu + seconds * CPU_IN_USE);
            (self.since, self.told) = (0, None);
        }
        let step = self.book.advance(self.tick.clone());
        self.book.note(self.look.clone(), step, self.wall);
        self.obey();
    }

    fn obey(&mut self) {
        let clock = self.book.clock(&self.tick);
        let name = self.look.name.clone();
        let record = self.book.record_mut(&name).unwrap();
        let decision = decide(record.facts(self.look.phase, clock, false), &self.terms);
        let Some((act, left)) = decision.next else { return };
        match decision.now {
            Now::Nothing => {}
            Now::Warn { stage, goes_on } => {
                record.warned(act, stage, goes_on);
                self.told = self.told.or(Some(self.since));
                self.say(&format!("warned: {act:?} in {} days", left.div_ceil(DAY)));
            }
            Now::Do => {
                let term = match act {
                    Act::Stop => self.terms.stop,
                    Act::Trash => self.terms.trash,
                    Act::Empty | Act::Reclaim => panic!("nobody destroyed it, and nothing reclaims"),
                };
                assert!(self.since >= term.unwrap(), "{act:?} after {} s of {term:?}: {:?}", self.since, self.history);
                assert!(self.since - self.told.unwrap() >= DAY, "warned a day before: {:?}", self.history);
                self.say(&format!("{act:?}"));
                self.enter(if act == Act::Stop { Phase::Stopped } else { Phase::Trashed });
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.look.phase = phase;
        self.look.key += "+";
        (self.since, self.told) = (0, None);
    }
}

/// Microseconds a second of a box that somebody works in.
const CPU_IN_USE: u64 = 100_000;

/// The mark says stopped and the box runs on: it rests as before, and is stopped when that is over; unless it is used.
#[test]
fn a_stop_that_came_to_nothing() {
    let quarter = 15 * 60;
    let of = |used: bool| {
        let mut life = Life::new("[defaults]\nidle_stop_days = 2\n");
        (0..DAY / quarter).for_each(|_| life.step(quarter, 0, false));
        life.look.phase = Phase::RunsOn;
        life.step(quarter, 0, used);
        (0..DAY / quarter).for_each(|_| life.step(quarter, 0, false));
        life.look.phase
    };
    assert_eq!((of(false), of(true)), (Phase::Stopped, Phase::RunsOn));
}

#[test]
fn a_year_of_one_box() {
    let mut life = Life::new("");
    for quarter in 0..365 * 96 {
        // Its owner works for ten days, and then has something else to do.
        life.step(900, 0, quarter < 960 && quarter % 96 < 20);
    }
    let text: String = life.history.iter().map(|(when, what)| format!("{when} {what}\n")).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn a_thousand_owners_with_odd_habits() {
    let mut acts = 0;
    for owner in 0..1000 {
        let mut dice = Dice(owner);
        let mut life =
            Life::new(if owner % 3 == 0 { "" } else { "[defaults]\nidle_stop_days = 2\nstopped_destroy_days = 3\n" });
        // Some come daily, some weekly, some never again.
        let habit = [96, 96 * 7, 96 * 5, 96 * 30, u64::MAX][usize::try_from(dice.roll(5)).unwrap()];
        let mut quarter = 0_u64;
        while quarter < 96 * 120 && life.look.phase != Phase::Trashed {
            quarter += 1;
            let used = life.look.phase == Phase::Running && quarter.is_multiple_of(habit);
            match dice.roll(400) {
                // The host sleeps over the weekend; a clock is wrong by years, and is set right again.
                0 => life.step(900, 200_000, used),
                1 => life.wall = Timestamp::from_second(i64::try_from(dice.roll(4_000_000_000)).unwrap()).unwrap(),
                // A reboot; a timer that did not run for a month; a look that saw nothing.
                2 => {
                    life.tick = Tick { boot: quarter.to_string(), seconds: dice.roll(90_000) };
                    if life.look.phase == Phase::Running {
                        life.enter(Phase::Running);
                    }
                }
                3 => life.step(30 * DAY, 0, used),
                4 if life.look.phase == Phase::Running => {
                    let seen = life.look.seen.take();
                    life.step(900, 0, false);
                    life.look.seen = seen;
                }
                // Its owner needs it again.
                5 if life.look.phase == Phase::Stopped => life.enter(Phase::Running),
                _ => life.step(900.min(LONGEST_STEP), 0, used),
            }
        }
        acts += life.history.len();
        if habit == 96 && owner % 3 == 0 {
            assert!(life.history.iter().all(|(_, what)| what != "Trash"), "used daily: {:?}", life.history);
        }
    }
    assert!(acts > 2000, "{acts} warnings, stops and moves to the trash");
}
