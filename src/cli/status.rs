//! `status NAME`.

use jiff::Timestamp;

use super::error::Failure;
use super::output::{self, Output};
use super::view::{State, View};
use super::{tailnet, trash};
use crate::host::life;
use crate::host::systemd::Systemd;
use crate::host::{Account, entry, trashed_entry};
use crate::policy::said::with_own_word;
use crate::quadlet::names;
use crate::spec::BoxName;

/// Show one box: state, limits and use, volume, unit
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  devbox-ctl status my-project --json | jq .state")]
pub(super) struct Args {
    name: String,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let name: BoxName = args.name.parse()?;
    let account = Account::current()?;
    let Some(entry) = entry(&account, &name) else {
        let trashed = trashed_entry(&account, &name).ok_or_else(|| Failure::no_such_box(&name))?;
        return show(&trash::view(&account, &trashed), out);
    };
    let systemd = Systemd::connect(&account)?;
    let mut view = view(&account, &systemd, &entry)?;
    let stands = tailnet::keeper(&account, tailnet::of(&entry))
        .and_then(|keeper| Ok(keeper.map(|keeper| keeper.stands(&name)).transpose()?))
        .transpose();
    match stands {
        Some(Ok(stands)) if view.state == State::Running => {
            view.add_tailnet(with_own_word(stands, &tailnet::says(&systemd, &name)?));
        }
        Some(Ok(stands)) => view.add_tailnet(stands),
        // The rest of it is known all the same.
        Some(Err(why)) => out.warning(&why.message),
        None => {}
    }
    show(&view, out)
}

#[allow(clippy::unnecessary_wraps)] // it is a verb's last word
fn show(view: &View, out: Output) -> Result<(), Failure> {
    if out.json {
        output::json(view);
    } else {
        output::raw(&text(view, Timestamp::now()));
    }
    Ok(())
}

/// The box with all that its unit tells.
pub(super) fn view(account: &Account, systemd: &Systemd, entry: &crate::host::Entry) -> Result<View, Failure> {
    let unit = names::service(&entry.name);
    let units = systemd.states(&unit)?;
    let mut view = View::new(&account.user, entry, &units);
    if let Some(details) = systemd.details(&[unit])?.first() {
        view.add(details);
    }
    if let Some(outlook) = life::known(account, std::slice::from_ref(entry)).unwrap_or_default().first() {
        view.add_outlook(outlook);
    }
    Ok(view)
}

fn text(view: &View, now: Timestamp) -> String {
    let ago = |t: Timestamp| format!("{t} ({})", output::ago(now.as_second(), t.as_second()));
    let mut lines = vec![("name", view.name.clone()), ("state", view.state.word().to_owned())];
    if let Some(trouble) = &view.trouble {
        lines.push(("trouble", trouble.clone()));
    }
    if let Some(since) = view.active_since {
        lines.push(("since", ago(since)));
    }
    if view.state == State::Stopped {
        let when = view.stopped_at.map(ago);
        let why = view.stopped_why.clone();
        if when.is_some() || why.is_some() {
            lines.push(("stopped", [why, when].into_iter().flatten().collect::<Vec<_>>().join(", ")));
        }
    }
    if let Some(used) = view.last_activity_at {
        lines.push(("used", ago(used)));
    }
    if let Some(stops) = view.stops_at {
        let left = output::ahead((stops.as_second() - now.as_second()).max(0).cast_unsigned());
        lines.push(("stops", format!("in {left} if nobody uses it; `devbox-ctl why {}`", view.name)));
    }
    if view.state == State::Trashed {
        let by = trash::by(view.trashed_by).to_owned();
        let parts = [Some(by), view.trashed_at.map(ago), view.trashed_why.clone()];
        lines.push(("destroyed", parts.into_iter().flatten().collect::<Vec<_>>().join(", ")));
        lines.push(("until", trash::until(view.emptied_at)));
    }
    if let Some(restarts) = view.restarts.filter(|n| *n > 0) {
        lines.push(("restarts", restarts.to_string()));
    }
    let used = |n: Option<String>| n.map(|n| format!(" ({n} used)")).unwrap_or_default();
    if let Some(cpu) = view.cpu_limit {
        lines.push(("cpu", format!("{cpu}{}", used(view.cpu_used_seconds.map(|s| format!("{s} s"))))));
    }
    if let Some(memory) = &view.memory_limit {
        lines.push(("memory", format!("{memory}{}", used(view.memory_used_bytes.map(output::size)))));
    }
    if let Some(image) = &view.image {
        lines.push(("image", image.clone()));
    }
    if let Some(tailnet) = &view.tailnet {
        let parts = [Some(tailnet.clone()), view.tailscale_hostname.clone(), view.tailscale_ip.clone()];
        lines.push(("tailnet", parts.into_iter().flatten().collect::<Vec<_>>().join(" ")));
    }
    if view.with_syncthing {
        lines.push(("with", "syncthing".to_owned()));
    }
    lines.push(("volume", view.volume_name.clone()));
    lines.push(("unit", view.unit.clone()));
    if let Some(created) = view.created_at {
        lines.push(("created", ago(created)));
    }
    let width = lines.iter().map(|(key, _)| key.len() + 1).max().unwrap_or(0).max(9);
    lines.into_iter().map(|(key, value)| format!("{key:<width$}{value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Entry;
    use crate::host::systemd::{UnitDetails, UnitState};

    #[test]
    fn running_and_stopped() {
        let toml = "format = 1\nname = \"my-project\"\nimage = \"localhost/devbox:latest\"\ncpu = 2\nmemory = \"4G\"\ncreated_at = \"2026-01-02T03:04:05Z\"\ndev = \"subordinate\"\nwith_syncthing = true\n";
        let entry = |stopped| Entry {
            name: "my-project".parse().unwrap(),
            folder: "/nonexistent".into(),
            spec: Ok(crate::spec::BoxSpec::from_toml(toml).unwrap()),
            stopped,
            pending: None,
            gone: Vec::new(),
            trashed: None,
        };
        let now = "2026-01-04T03:04:05Z".parse().unwrap();
        let active = UnitState { active: "active".to_owned(), sub: "running".to_owned() };
        let mut view = View::new("alice", &entry(None), &[("devbox-my-project.service".to_owned(), active)].into());
        view.add(&UnitDetails {
            sub: "running".to_owned(),
            active_since: 1_767_400_000_000_000,
            restarts: 1,
            memory_bytes: Some(90 << 20),
            cpu_nanoseconds: Some(7_100_000_000),
            ..UnitDetails::default()
        });
        insta::assert_snapshot!("status_running", text(&view, now));
        insta::assert_json_snapshot!("status_running_json", view);
        let mark = toml::from_str("at = \"2026-01-03T03:04:05Z\"\nwhy = \"by its owner\"\n").unwrap();
        insta::assert_snapshot!("status_stopped", text(&View::new("alice", &entry(Some(mark)), &[].into()), now));
        let mark: crate::host::TrashMark = toml::from_str("at = \"2026-01-03T03:04:05Z\"\nby = \"owner\"\n").unwrap();
        let trashed = Entry { trashed: Some(mark.clone()), ..entry(None) };
        let view = View::new("alice", &trashed, &[].into());
        let view = View { emptied_at: mark.ends(14), ..view };
        insta::assert_snapshot!("status_trashed", text(&view, now));
        insta::assert_json_snapshot!("status_trashed_json", view);
    }
}
