//! `list`.

use clap::ValueEnum;
use jiff::Timestamp;

use super::error::Failure;
use super::output::{self, Output};
use super::view::{State, View};
use crate::host::systemd::Systemd;
use crate::host::{Account, entries};
use crate::quadlet::names;
use crate::spec::{Cpu, Memory};
use crate::wire::LedgerBox;

/// List your boxes
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  devbox-ctl list\n  devbox-ctl list --state running --json | jq -r '.[].name'")]
pub(super) struct Args {
    /// Every owner's boxes, for administrators
    #[arg(long)]
    all: bool,
    /// Only boxes in this state
    #[arg(long, value_enum, default_value = "all")]
    state: Wanted,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Wanted {
    Running,
    Stopped,
    Failed,
    All,
}

impl Wanted {
    fn takes(self, state: State) -> bool {
        match self {
            Self::Running => state == State::Running,
            Self::Stopped => state == State::Stopped,
            Self::Failed => state == State::Failed,
            Self::All => true,
        }
    }
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    if args.all {
        return all(args.state, out);
    }
    let views = views(args.state, out.json)?;
    if out.json {
        output::json(&views);
        return Ok(());
    }
    if views.is_empty() {
        out.remark("no boxes; `devbox-ctl create NAME` makes one");
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

/// Every owner's, as the ledger and the cgroups have them: the broker looks into nobody's folder.
fn all(wanted: Wanted, out: Output) -> Result<(), Failure> {
    let mut boxes = super::admin::broker()?.boxes(true)?;
    boxes.sort_by(|a, b| (&a.owner, &a.name).cmp(&(&b.owner, &b.name)));
    let state = |b: &LedgerBox| if b.running { State::Running } else { State::Stopped };
    let boxes: Vec<&LedgerBox> = boxes.iter().filter(|b| b.expires == 0 && wanted.takes(state(b))).collect();
    let cpu = |b: &LedgerBox| Cpu::from_millis(b.cpu_millis).ok();
    let memory = |b: &LedgerBox| Memory::from_bytes(b.memory_bytes).ok().map(|m| m.to_string());
    if out.json {
        let views: Vec<View> = boxes.iter().filter_map(|b| View::of_ledger(b, state(b), cpu(b), memory(b))).collect();
        output::json(&views);
        return Ok(());
    }
    let unknown = || "-".to_owned();
    let now = Timestamp::now().as_second();
    let rows = boxes
        .iter()
        .map(|b| {
            vec![
                b.owner.clone(),
                b.name.clone(),
                state(b).word().to_owned(),
                cpu(b).map_or_else(unknown, |c| c.to_string()),
                memory(b).unwrap_or_else(unknown),
                output::span(now - b.since) + " ago",
            ]
        })
        .collect();
    output::raw(&output::table(&["OWNER", "NAME", "STATE", "CPU", "MEMORY", "CREATED"], rows));
    Ok(())
}

fn views(wanted: Wanted, with_details: bool) -> Result<Vec<View>, Failure> {
    let account = Account::current()?;
    let boxes = entries(&account)?;
    let systemd = Systemd::connect(&account)?;
    let units = systemd.states(names::UNIT_PATTERN)?;
    let mut views: Vec<View> = boxes
        .iter()
        .map(|entry| View::new(&account.user, entry, &units))
        .filter(|view| wanted.takes(view.state))
        .collect();
    if with_details {
        // A unit that is not loaded has no more to tell, and asking would load it.
        let mut loaded: Vec<&mut View> = views.iter_mut().filter(|v| units.contains_key(&v.unit)).collect();
        let asked: Vec<String> = loaded.iter().map(|v| v.unit.clone()).collect();
        for (view, details) in loaded.iter_mut().zip(systemd.details(&asked)?) {
            view.add(&details);
        }
    }
    Ok(views)
}

fn text(views: &[View], now: Timestamp) -> String {
    let unknown = || "-".to_owned();
    let rows = views
        .iter()
        .map(|view| {
            let age = view.created_at.map(|t| output::span(now.as_second() - t.as_second()) + " ago");
            vec![
                view.name.clone(),
                view.state.word().to_owned(),
                view.cpu_limit.map_or_else(unknown, |c| c.to_string()),
                view.memory_limit.clone().unwrap_or_else(unknown),
                age.unwrap_or_else(unknown),
                view.image.clone().unwrap_or_else(unknown),
            ]
        })
        .collect();
    output::table(&["NAME", "STATE", "CPU", "MEMORY", "CREATED", "IMAGE"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::systemd::UnitState;
    use crate::host::{Entry, Trouble};

    fn entry(name: &str, spec: Result<(), Trouble>) -> Entry {
        let toml = format!(
            "format = 1\nname = \"{name}\"\nimage = \"localhost/devbox:latest\"\ncpu = 1.5\nmemory = \"4G\"\ncreated_at = \"2026-01-02T03:04:05Z\"\ndev = \"subordinate\"\n"
        );
        Entry {
            name: name.parse().unwrap(),
            folder: "/nonexistent".into(),
            spec: spec.map(|()| crate::spec::BoxSpec::from_toml(&toml).unwrap()),
            stopped: None,
            pending: None,
        }
    }

    #[test]
    fn a_table_of_all_states() {
        let state = |active: &str| UnitState { active: active.to_owned(), sub: String::new() };
        let units =
            [("devbox-api.service", "active"), ("devbox-web.service", "failed"), ("devbox-docs.service", "activating")]
                .map(|(unit, active)| (unit.to_owned(), state(active)))
                .into();
        let broken = Err(Trouble::Missing { file: "box.toml".to_owned() });
        let boxes = [
            entry("api", Ok(())),
            entry("docs", Ok(())),
            entry("old-one", Ok(())),
            entry("web", Ok(())),
            entry("worn", broken),
        ];
        let views: Vec<View> = boxes.iter().map(|e| View::new("alice", e, &units)).collect();
        insta::assert_snapshot!("list", text(&views, "2026-01-04T03:04:05Z".parse().unwrap()));
        insta::assert_json_snapshot!("broken_box", views[4]);
    }
}
