//! `trash`: what is in it, and emptying it.

use jiff::Timestamp;

use super::ask;
use super::error::{Failure, Kind};
use super::output::{self, Output};
use super::session::{Session, half_destroyed};
use super::view::{State, View};
use crate::host::life;
use crate::host::podman::Podman;
use crate::host::systemd::Systemd;
use crate::host::{self, Account, Entry, Held, Pending, trashed_entries, trashed_entry};
use crate::plan::{self, Place, TrashedBy};
use crate::policy::life::{Act, Work};
use crate::quadlet::names;
use crate::settings::OwnerSettings;
use crate::spec::BoxName;

/// Show destroyed boxes, how big they are and until when they stay
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  devbox-ctl trash\n  devbox-ctl restore my-project\n  devbox-ctl trash --empty old-api scratch"
)]
pub(super) struct Args {
    /// Delete what is in the trash for good, or only these of it
    #[arg(long)]
    empty: bool,
    /// Do not ask
    #[arg(short, long, requires = "empty")]
    yes: bool,
    /// What to delete, where not all of it
    #[arg(value_name = "NAME", requires = "empty")]
    names: Vec<String>,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    if args.empty {
        return empty(args, out);
    }
    let account = Account::current()?;
    let entries = trashed_entries(&account)?;
    let mut views: Vec<View> = entries.iter().map(|entry| view(&account, entry)).collect();
    measure(&account, &mut views, out);
    if out.json {
        output::json(&views);
        return Ok(());
    }
    if views.is_empty() {
        out.remark("the trash is empty");
        return Ok(());
    }
    output::raw(&text(&views, Timestamp::now()));
    for view in &views {
        if let Some(trouble) = &view.trouble {
            out.warning(&format!("{}: {trouble}", view.name));
        }
    }
    Ok(())
}

/// Its sizes, as far as they can be had while a person waits; they are not worth an error.
fn measure(account: &Account, views: &mut [View], out: Output) {
    if views.is_empty() {
        return;
    }
    let volumes: Vec<Vec<String>> = views
        .iter()
        .map(|view| view.name.parse::<BoxName>().map_or_else(|_| Vec::new(), |name| names::volumes(&name).to_vec()))
        .collect();
    let measured =
        Systemd::connect(account).and_then(|systemd| Podman::of(account, &systemd)?.volume_bytes(&volumes.concat()));
    let measured = match measured {
        Ok(measured) => measured,
        Err(why) => return out.warning(&format!("their sizes are not known: {}", Failure::from(why).message)),
    };
    for (view, volumes) in views.iter_mut().zip(volumes) {
        view.size_bytes = volumes.iter().map(|volume| measured.get(volume).copied()).sum();
    }
}

/// One in the trash, for scripts and for `status`.
pub(super) fn view(account: &Account, entry: &Entry) -> View {
    // Where the settings cannot be read, nobody deletes anything either.
    let owner = host::settings().ok().map(|settings| settings.owner(&account.user).clone());
    let emptied_at = entry.trashed.as_ref().zip(owner).and_then(|(mark, owner)| match mark.by {
        Some(TrashedBy::Timer) => reclaimed_at(account, entry, &owner),
        _ => mark.ends(owner.trash_days),
    });
    View { emptied_at, ..View::new(&account.user, entry, &[].into()) }
}

/// What holds work stays for as long as it does.
fn reclaimed_at(account: &Account, entry: &Entry, owner: &OwnerSettings) -> Option<Timestamp> {
    let outlook = life::outlook(&life::read(account), entry, owner, false);
    let (_, left) = outlook.decision.next.filter(|(act, _)| *act == Act::Reclaim)?;
    let has_work = outlook.record.is_some_and(|record| record.found.work == Work::Some);
    if has_work || outlook.decision.is_held_up() { None } else { life::in_seconds(left) }
}

pub(super) fn by(who: Option<TrashedBy>) -> &'static str {
    match who {
        Some(TrashedBy::Owner) => "by you",
        Some(TrashedBy::Timer) => "by the timer",
        Some(TrashedBy::Administrator) => "by an administrator",
        None => "by whom is not known",
    }
}

/// The day, which is what a person wants to know.
pub(super) fn until(emptied_at: Option<Timestamp>) -> String {
    emptied_at.map_or_else(|| "you say so".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
}

fn text(views: &[View], now: Timestamp) -> String {
    let row = |view: &View| {
        let ago = view.trashed_at.map(|at| output::ago(now.as_second(), at.as_second()) + ", ");
        let mut until = until(view.emptied_at);
        if view.state != State::Trashed {
            view.state.word().clone_into(&mut until);
        }
        vec![
            view.name.clone(),
            view.size_bytes.map_or_else(|| "-".to_owned(), output::size),
            format!("{}{}", ago.unwrap_or_default(), by(view.trashed_by)),
            until,
        ]
    };
    output::table(&["NAME", "SIZE", "DESTROYED", "UNTIL"], views.iter().map(row).collect())
}

/// `--empty`. What was in the trash when it was asked is deleted, and nothing that came later.
fn empty(args: &Args, out: Output) -> Result<(), Failure> {
    let typed: Vec<BoxName> = args.names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
    let account = Account::current()?;
    if let Some(other) = typed.iter().find(|name| trashed_entry(&account, name).is_none()) {
        return Err(Failure::new(Kind::NoSuchBox, format!("there is no {other} in your trash"))
            .hint("`devbox-ctl trash` shows what is in it"));
    }
    let mut asked = trashed_entries(&account)?;
    asked.retain(|entry| typed.is_empty() || typed.contains(&entry.name));
    if asked.is_empty() {
        out.remark("the trash is empty");
        return Ok(());
    }
    let listed = asked.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>().join(", ");
    if !args.yes {
        match ask::yes(&format!("Delete {listed} and all their data for good?")) {
            Some(true) => {}
            Some(false) => return Err(Failure::new(Kind::Interrupted, "nothing was deleted")),
            None => {
                let typed = if args.names.is_empty() { String::new() } else { format!(" {}", args.names.join(" ")) };
                return Err(Failure::new(
                    Kind::InvalidInput,
                    "emptying the trash asks first, and there is no terminal to ask on",
                )
                .hint(format!("`devbox-ctl trash --empty --yes{typed}`")));
            }
        }
    }
    let session = Session::begin(out, None)?;
    session.all(&asked, |entry| {
        let name = &entry.name;
        match session.hold_trashed(name) {
            // Back, or gone for good: another command was quicker. One that came again was not asked about.
            Err(failure) if failure.kind == Kind::NoSuchBox => return Ok(()),
            Ok(held) if held.entry.trashed != entry.trashed => return Ok(()),
            held => delete(&session, held?, &[])?,
        }
        out.remark(&format!("{name} is deleted"));
        Ok(())
    })
}

/// Deletes one that is in the trash, for good.
pub(super) fn delete(session: &Session, held: Held, keep: &[String]) -> Result<(), Failure> {
    let name = held.entry.name.clone();
    if let Some(Pending::Trash) = held.entry.pending {
        return Err(half_destroyed(&name));
    }
    // Made by hand: its volumes are that box's.
    if host::entry(&session.host.account, &name).is_some() {
        return Err(Failure::new(Kind::Exists, format!("there is a box {name} beside the one in the trash"))
            .fact(format!("its folder is {}", held.entry.folder.display()))
            .hint("nothing was changed; the data is of both, so that one of the folders has to be moved by hand"));
    }
    let keep = kept(&held.entry, keep);
    let plan = plan::destroy(&name, Place::Trash, &keep, session.host.broker()?.is_some());
    session.apply(&plan, held.into())
}

/// What an earlier command, cut short, had said to keep stays kept.
pub(super) fn kept(entry: &Entry, keep: &[String]) -> Vec<String> {
    let before = match &entry.pending {
        Some(Pending::Destroy { keep_volumes }) => keep_volumes.clone(),
        _ => Vec::new(),
    };
    let more = before.into_iter().filter(|volume| !keep.contains(volume));
    keep.iter().cloned().chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{TrashMark, Trouble};

    #[test]
    fn a_table_of_the_trash() {
        let entry = |name: &str, mark: &str| Entry {
            name: name.parse().unwrap(),
            folder: "/nonexistent".into(),
            spec: Err(Trouble::Missing { file: "box.toml".to_owned() }),
            stopped: None,
            pending: None,
            gone: Vec::new(),
            trashed: Some(toml::from_str::<TrashMark>(mark).unwrap()),
        };
        let at = "at = \"2026-01-03T03:04:05Z\"\n";
        let entries = [
            entry("mine", &format!("{at}by = \"owner\"\n")),
            entry("idle", &format!("{at}by = \"timer\"\nwhy = \"stopped for 14 days\"\n")),
            entry("taken", &format!("{at}by = \"administrator\"\n")),
            // On a full disk there was no room for more than its name.
            entry("full", ""),
        ];
        let view = |entry: &Entry| {
            let emptied_at = entry.trashed.as_ref().and_then(|mark| mark.ends(14));
            View { emptied_at, ..View::new("alice", entry, &[].into()) }
        };
        let mut views: Vec<View> = entries.iter().map(view).collect();
        views[0].size_bytes = Some(3 << 30);
        // Only what is wrong with its spec is unknown here: it is in the trash all the same.
        assert!(views.iter().all(|view| view.state == State::Trashed));
        insta::assert_snapshot!("trash", text(&views, "2026-01-04T03:04:05Z".parse().unwrap()));
    }
}
