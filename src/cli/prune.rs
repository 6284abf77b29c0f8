//! `prune`: images that nobody needs any more.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::ask;
use super::error::{Failure, Kind};
use super::output::{self, Output};
use super::session::Session;
use crate::host::{self, AccountLock, images};
use crate::policy::prune::{self, Image, Scope};
use crate::shown::printable;

/// Remove images and build leftovers that no box needs; never a volume
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What a box was made with stays, also of one that is stopped or in the trash; so does what any container has.\n\nExamples:\n  devbox-ctl prune --dry-run\n  devbox-ctl prune\n  devbox-ctl prune --all"
)]
pub(super) struct Args {
    /// Images that have a name too, whoever brought them
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(short, long, requires = "all")]
    yes: bool,
    /// Print what would be removed, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Between two removals, for others of the account's: longer than they sleep between two looks at the lock.
const UNLOCKED: Duration = Duration::from_millis(50);

/// What goes, decided from all that is known at one moment.
#[derive(Debug)]
struct Decided {
    images: Vec<Image>,
    builds: Vec<String>,
    freed: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    images: Vec<ImageView>,
    freed_bytes: Option<u64>,
    unfinished_builds: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageView {
    id: String,
    names: Vec<String>,
    created_at: Option<Timestamp>,
    /// With what it shares with others.
    size_bytes: u64,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let scope = if args.all { Scope::All } else { Scope::Leftovers };
    if args.dry_run {
        let decided = decide(&Session::look(out)?, scope).map_err(unread)?;
        show(&decided, out);
        return Ok(());
    }
    let session = Session::begin(out, None).map_err(unread)?;
    let mut decided = decide(&session, scope).map_err(unread)?;
    if args.all && !args.yes && !decided.images.is_empty() {
        confirm(&decided)?;
    }
    let asked = std::mem::take(&mut decided.images);
    decided.freed = Some(0);
    match remove(&session, scope, &asked, &mut decided) {
        Ok(()) => {
            show_removed(&decided, out);
            Ok(())
        }
        Err(failure) => Err(cut_short(failure, &decided)),
    }
}

fn decide(session: &Session, scope: Scope) -> Result<Decided, Failure> {
    let podman = &session.host.podman;
    let seen = podman.images(&images::of_boxes(&session.host.account)?)?;
    let images = prune::prune(&seen.facts, scope, host::now().as_second());
    let freed = podman.layers().and_then(|layers| prune::freed(&layers, &images));
    Ok(Decided { images, builds: seen.builds, freed })
}

/// The error says what is gone by then.
fn cut_short(failure: Failure, removed: &Decided) -> Failure {
    if removed.images.is_empty() {
        return if matches!(failure.kind, Kind::Interrupted) { failure } else { unread(failure) };
    }
    removed.images.iter().fold(failure, |failure, image| failure.fact(format!("removed before that: {}", word(image))))
}

/// What is not known is not guessed.
fn unread(failure: Failure) -> Failure {
    if failure.hint.is_some() { failure } else { failure.hint("nothing was removed: nobody knows what is needed") }
}

/// One at a time, each decided again under the account's lock: a box that was made or brought back meanwhile keeps its
/// image, and nobody's `create` waits for all of them.
fn remove(session: &Session, scope: Scope, asked: &[Image], removed: &mut Decided) -> Result<(), Failure> {
    for (at, image) in asked.iter().enumerate() {
        // Those who wait for the lock look every few milliseconds.
        if at > 0 {
            std::thread::sleep(UNLOCKED);
        }
        session.host.interrupts.check()?;
        let freed = session.host.podman.layers().and_then(|l| prune::freed(&l, std::slice::from_ref(image)));
        let _admission = AccountLock::take(&session.host.account, &session.host.interrupts)?;
        let now = decide(session, scope)?;
        if !now.images.contains(image) {
            continue;
        }
        if !session.host.podman.remove_image(image)? {
            session.out.warning(&format!("{} stays: a container has it", word(image)));
            continue;
        }
        session.out.remark(&format!("removed {}", word(image)));
        removed.freed = removed.freed.zip(freed).map(|(sum, more)| sum + more);
        removed.images.push(image.clone());
    }
    Ok(())
}

fn confirm(decided: &Decided) -> Result<(), Failure> {
    output::error_text(&text(decided, Timestamp::now()));
    match ask::yes("Remove these images?") {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::new(Kind::Interrupted, "nothing was removed")),
        None => Err(Failure::new(Kind::InvalidInput, "`prune --all` asks first, and there is no terminal to ask on")
            .hint("`devbox-ctl prune --all --dry-run` shows what it removes, `devbox-ctl prune --all --yes` does it")),
    }
}

/// Its names, or its id as podman shows it. Whoever made the image chose the names.
fn word(image: &Image) -> String {
    if image.names.is_empty() { image.id.chars().take(12).collect() } else { printable(&image.names.join(", ")) }
}

fn show(decided: &Decided, out: Output) {
    if out.json {
        return output::json(&view(decided));
    }
    if decided.images.is_empty() {
        out.remark("nothing is to be removed");
    } else {
        output::raw(&text(decided, Timestamp::now()));
    }
    unfinished(decided, out);
}

fn show_removed(removed: &Decided, out: Output) {
    if out.json {
        return output::json(&view(removed));
    }
    out.remark(&match (removed.images.len(), removed.freed) {
        (0, _) => "nothing was removed".to_owned(),
        (count, freed) => {
            let freed = freed.map(|bytes| format!(", {} freed", output::size(bytes))).unwrap_or_default();
            format!("{} removed{freed}", images_of(count))
        }
    });
    unfinished(removed, out);
}

fn images_of(count: usize) -> String {
    format!("{count} image{}", if count == 1 { "" } else { "s" })
}

/// They may be at work, or somebody's: nobody can tell.
fn unfinished(decided: &Decided, out: Output) {
    if let Some(first) = decided.builds.first() {
        let (all, first) = (printable(&decided.builds.join(", ")), printable(first));
        out.remark(&format!(
            "kept for builds that are not finished: {all}; if none is at work, `podman rm --force {first}`"
        ));
    }
}

fn view(decided: &Decided) -> View {
    let image = |image: &Image| ImageView {
        id: image.id.clone(),
        names: image.names.clone(),
        created_at: Timestamp::from_second(image.created).ok(),
        size_bytes: image.bytes,
    };
    View {
        images: decided.images.iter().map(image).collect(),
        freed_bytes: decided.freed,
        unfinished_builds: decided.builds.clone(),
    }
}

fn text(decided: &Decided, now: Timestamp) -> String {
    let row = |image: &Image| {
        let names = if image.names.is_empty() { "-".to_owned() } else { printable(&image.names.join(",")) };
        let ago = output::ago(now.as_second(), image.created);
        vec![image.id.chars().take(12).collect(), names, ago, output::size(image.bytes)]
    };
    let table = output::table(&["IMAGE", "NAMES", "CREATED", "SIZE"], decided.images.iter().map(row).collect());
    let frees = decided.freed.map(|bytes| format!(", which frees {}", output::size(bytes))).unwrap_or_default();
    format!("{table}{} to remove{frees}\n", images_of(decided.images.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_removed_before_it() {
        let failure = || Failure::new(Kind::Backend, "podman is gone");
        let mut removed = Decided { images: Vec::new(), builds: Vec::new(), freed: Some(0) };
        let none = cut_short(failure(), &removed);
        assert!(none.hint.is_some_and(|hint| hint.contains("nothing was removed")) && none.facts.is_empty());
        removed.images.push(Image { names: vec!["localhost/x:1".to_owned()], ..Image::default() });
        let some = cut_short(failure(), &removed);
        assert_eq!((some.hint, some.facts), (None, vec!["removed before that: localhost/x:1".to_owned()]));
    }

    #[test]
    fn as_it_is_shown() {
        let image = |id: char, names: &[&str], created| Image {
            id: id.to_string().repeat(64),
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            bytes: 670_462_050,
            created,
            ..Image::default()
        };
        let images = vec![
            image('2', &[], 1_800_000_000),
            image('a', &["localhost/x:1\u{1b}[2J", "localhost/y:1"], 1_799_000_000),
        ];
        let decided = Decided { images, builds: vec!["devbox-working-container".to_owned()], freed: Some(12_345_678) };
        insta::assert_snapshot!("prune", text(&decided, Timestamp::from_second(1_800_007_200).unwrap()));
        insta::assert_json_snapshot!("prune_json", view(&decided));
    }
}
