//! Git work that is nowhere else, as the look through a box's home tells it. What is told is the box's own words.

use super::Work;
use super::book::Found;
use crate::shown::may_be_shown;

/// Runs in a throwaway container, where the box's own git settings can do no harm: no network, the home read-only.
pub const SCRIPT: &str = include_str!("work.sh");

/// Repositories that are named; of more there is the number.
const NAMED: usize = 5;
/// Longer is no path that helps.
const LONGEST_PATH: usize = 80;

/// A repository: what is changed in it, and commits and stashes that no remote has; none of one that git cannot read.
#[derive(Debug, PartialEq, Eq)]
struct Repository {
    path: String,
    counts: Option<[u64; 3]>,
}

/// What the script wrote: `CHANGED COMMITS STASHES PATH` with a zero byte after each, `done` at the end.
pub fn found(output: &[u8]) -> Found {
    let text = String::from_utf8_lossy(output);
    let mut records: Vec<&str> = text.split_terminator('\0').collect();
    // It was cut off: what it would have found is not known.
    let whole = records.last() == Some(&"done");
    if whole {
        records.pop();
    }
    let repositories: Option<Vec<Repository>> = records.into_iter().map(repository).collect();
    let Some(repositories) = repositories.filter(|_| whole) else {
        return Found { work: Work::Unknown, text: String::new(), when: None };
    };
    let with_work: Vec<&Repository> = repositories.iter().filter(|r| r.counts != Some([0, 0, 0])).collect();
    let mut words: Vec<String> = with_work.iter().take(NAMED).map(|r| words(r)).collect();
    if with_work.len() > NAMED {
        words.push(format!("and {} more", with_work.len() - NAMED));
    }
    let work = if with_work.is_empty() { Work::None } else { Work::Some };
    Found { work, text: words.join("; "), when: None }
}

fn repository(record: &str) -> Option<Repository> {
    let mut parts = record.splitn(4, ' ');
    let numbers = [parts.next()?, parts.next()?, parts.next()?];
    let path: String = parts.next()?.chars().filter(|c| may_be_shown(*c)).take(LONGEST_PATH).collect();
    let counts = match numbers {
        ["-", "-", "-"] => None,
        [a, b, c] => Some([a.parse().ok()?, b.parse().ok()?, c.parse().ok()?]),
    };
    Some(Repository { path, counts })
}

fn words(repository: &Repository) -> String {
    let path = &repository.path;
    let Some([changed, commits, stashes]) = repository.counts else {
        return format!("{path} cannot be read by git");
    };
    let count = |n: u64, what: &str| (n > 0).then(|| format!("{n} {what}{}", if n == 1 { "" } else { "s" }));
    let counts = [count(changed, "changed file"), count(commits, "commit"), count(stashes, "stash")];
    format!("{path}: {}", counts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(output: &str) -> (Work, String) {
        let found = found(output.as_bytes());
        (found.work, found.text)
    }

    #[test]
    fn what_is_told() {
        assert_eq!(of("done\0"), (Work::None, String::new()));
        assert_eq!(of("0 0 0 src/api\0done\0"), (Work::None, String::new()));
        let some = of("3 1 0 src/api\0- - - old\0done\0");
        assert_eq!(some, (Work::Some, "src/api: 3 changed files, 1 commit; old cannot be read by git".to_owned()));
        let many = "1 0 0 a\x1b[2J\0".repeat(7) + "done\0";
        assert_eq!(of(&many).1, "a[2J: 1 changed file; ".repeat(5) + "and 2 more");
    }

    #[test]
    fn what_is_cut_off_or_odd_is_not_taken_for_nothing() {
        for odd in
            ["", "0 0 0 a\0", "0 0 0 a\0don", "0 0 a\0done\0", "x 0 0 a\0done\0", "-1 0 0 a\0done\0", "garbage\0done\0"]
        {
            assert_eq!(of(odd), (Work::Unknown, String::new()), "{odd:?}");
        }
    }
}
