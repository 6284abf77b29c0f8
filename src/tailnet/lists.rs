//! Lists of the tailnet's devices: asked for by one at a time, and shared by all who asked meanwhile. However often
//! somebody asks, the provider has one request of ours, and we one answer of it in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Provider, Trouble};
use crate::policy::login::Device;
use crate::settings::TailnetSettings;

/// How long a list holds for boxes that start together.
const LISTED_FOR: Duration = Duration::from_secs(15);

type Listed = Result<Option<Vec<Device>>, Trouble>;

#[derive(Debug)]
struct Kept {
    of: TailnetSettings,
    begun: Instant,
    listed: Listed,
}

#[derive(Debug, Default)]
pub(super) struct Lists {
    asking: Mutex<()>,
    kept: Mutex<Option<Kept>>,
    /// When we last changed something there.
    changed: Mutex<Option<Instant>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lists {
    /// The devices; `now`: as they are since this was called.
    pub(super) fn devices(&self, settings: &TailnetSettings, provider: &dyn Provider, now: bool) -> Listed {
        let called = Instant::now();
        if let Some(listed) = self.kept(settings, called, now) {
            return listed;
        }
        let _turn = locked(&self.asking);
        if let Some(listed) = self.kept(settings, called, now) {
            return listed;
        }
        let begun = Instant::now();
        let listed = provider.devices();
        *locked(&self.kept) = Some(Kept { of: settings.clone(), begun, listed: listed.clone() });
        listed
    }

    fn kept(&self, settings: &TailnetSettings, called: Instant, now: bool) -> Option<Listed> {
        let changed = *locked(&self.changed);
        let kept = locked(&self.kept);
        let kept = kept.as_ref().filter(|kept| kept.of == *settings && changed.is_none_or(|at| kept.begun > at))?;
        let holds = kept.listed.is_ok() && !now && kept.begun.elapsed() < LISTED_FOR;
        (kept.begun >= called || holds).then(|| kept.listed.clone())
    }

    /// What was listed is not so any more.
    pub(super) fn changed(&self) {
        *locked(&self.changed) = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::settings::Settings;
    use crate::tailnet::{AuthKey, Doing, Mend, Wanted};

    #[derive(Debug, Default)]
    struct Slow {
        asked: AtomicUsize,
        fails: bool,
    }

    impl Provider for Slow {
        fn key(&self, _: &Wanted<'_>) -> Result<AuthKey, Trouble> {
            unreachable!()
        }

        fn devices(&self) -> Listed {
            self.asked.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(100));
            let trouble = Trouble { doing: Doing::Listing, why: "away".to_owned(), mend: Mend::Wait };
            if self.fails { Err(trouble) } else { Ok(Some(Vec::new())) }
        }

        fn remove(&self, _: &str) -> Result<(), Trouble> {
            unreachable!()
        }
    }

    fn asked(provider: &Slow) -> usize {
        provider.asked.load(Ordering::SeqCst)
    }

    #[test]
    fn who_asks_meanwhile_has_the_same_answer() {
        for fails in [false, true] {
            let (lists, slow, settings) =
                (Lists::default(), Slow { fails, ..Slow::default() }, Settings::default().tailnet);
            std::thread::scope(|scope| {
                for _ in 0..32 {
                    scope.spawn(|| assert_eq!(lists.devices(&settings, &slow, true).is_err(), fails));
                }
            });
            // What was under way when they came may be of before, and the next one is everybody's.
            assert!((1..=3).contains(&asked(&slow)), "{}", asked(&slow));
        }
    }

    #[test]
    fn a_list_holds_for_starts_until_something_changes() {
        let (lists, slow, mut settings) = (Lists::default(), Slow::default(), Settings::default().tailnet);
        for (now, times) in [(false, 1), (false, 1), (true, 2), (false, 2)] {
            lists.devices(&settings, &slow, now).unwrap();
            assert_eq!(asked(&slow), times);
        }
        lists.changed();
        lists.devices(&settings, &slow, false).unwrap();
        assert_eq!(asked(&slow), 3);
        settings.url = Some("https://other.example.com".to_owned());
        lists.devices(&settings, &slow, false).unwrap();
        assert_eq!(asked(&slow), 4);
        // That it failed is told to nobody later.
        let broken = Slow { fails: true, ..Slow::default() };
        lists.changed();
        lists.devices(&settings, &broken, false).unwrap_err();
        lists.devices(&settings, &slow, false).unwrap();
    }
}
