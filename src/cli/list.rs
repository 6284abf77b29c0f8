//! `list`.

use clap::ValueEnum;
use jiff::Timestamp;

use super::error::Failure;
use super::output::{self, Output};
use super::view::{State, View};
use super::why;
use crate::host::life::{self, Outlook};
use crate::host::systemd::Systemd;
use crate::host::{Account, Entry, entries, trashed_entries};
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
    let account = Account::current()?;
    let mut entries = entries(&account)?;
    let boxes = entries.len();
    // What is in the trash is not listed, but people are warned of it.
    if !out.json {
        entries.extend(trashed_entries(&account)?);
    }
    // Settings that cannot be read are told by what changes something.
    let outlooks = life::known(&account, &entries).unwrap_or_default();
    let views = views(&account, &entries[..boxes], &outlooks, args.state, out.json)?;
    if out.json {
        output::json(&views);
        return Ok(());
    }
    if views.is_empty() {
        out.remark("no boxes; `devbox-ctl create NAME` makes one");
    } else {
        output::raw(&text(&views, Timestamp::now()));
    }
    for notice in outlooks.iter().filter_map(notice) {
        out.warning(&notice);
    }
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
    let boxes: Vec<&LedgerBox> =
        boxes.iter().filter(|b| (b.running || b.expires == 0 && b.trashed == 0) && wanted.takes(state(b))).collect();
    let cpu = |b: &LedgerBox| Cpu::from_millis(b.cpu_millis).ok();
    let memory = |b: &LedgerBox| Memory::from_bytes(b.memory_bytes).ok().map(|m| m.to_string());
    if out.json {
        let views: Vec<View> = boxes.iter().filter_map(|b| View::of_ledger(b, state(b), cpu(b), memory(b))).collect();
        output::json(&views);
        return Ok(());
    }
    let unknown = || "-".to_owned();
    let now = Timestamp::now().as_second();
    let with_address = boxes.iter().any(|b| !b.address.is_empty());
    let rows = boxes
        .iter()
        .map(|b| {
            let mut row = vec![
                b.owner.clone(),
                b.name.clone(),
                state(b).word().to_owned(),
                cpu(b).map_or_else(unknown, |c| c.to_string()),
                memory(b).unwrap_or_else(unknown),
                output::ago(now, b.since),
            ];
            if with_address {
                row.insert(3, address(&b.name, &b.hostname, &b.address));
            }
            row
        })
        .collect();
    let mut heads = vec!["OWNER", "NAME", "STATE", "CPU", "MEMORY", "CREATED"];
    if with_address {
        heads.insert(3, "ADDRESS");
    }
    output::raw(&output::table(&heads, rows));
    Ok(())
}

/// A warning that still holds.
fn notice(outlook: &Outlook) -> Option<String> {
    let (act, left) = outlook.decision.next?;
    (outlook.decision.is_told && !outlook.decision.is_held_up()).then(|| why::notice(&outlook.name, act, left))
}

fn views(
    account: &Account,
    boxes: &[Entry],
    outlooks: &[Outlook],
    wanted: Wanted,
    with_details: bool,
) -> Result<Vec<View>, Failure> {
    let systemd = Systemd::connect(account)?;
    let units = systemd.states(names::UNIT_PATTERN)?;
    let mut views: Vec<View> = boxes
        .iter()
        .enumerate()
        .map(|(at, entry)| {
            let mut view = View::new(&account.user, entry, &units);
            outlooks.get(at).into_iter().for_each(|outlook| view.add_outlook(outlook));
            view
        })
        .filter(|view| wanted.takes(view.state))
        .collect();
    if !with_details {
        let told = |v: &&mut View| v.state == State::Running && v.has_tailnet;
        let mut told: Vec<&mut View> = views.iter_mut().filter(told).collect();
        let asked: Vec<String> = told.iter().map(|v| v.unit.clone()).collect();
        for (view, text) in told.iter_mut().zip(systemd.status_texts(&asked)?) {
            view.add_own_word(&text);
        }
    }
    // A unit that is not loaded has no more to tell, and asking would load it.
    let told = |v: &&mut View| units.contains_key(&v.unit) && (with_details || v.state == State::Failed);
    let mut told: Vec<&mut View> = views.iter_mut().filter(told).collect();
    let asked: Vec<String> = told.iter().map(|v| v.unit.clone()).collect();
    for (view, details) in told.iter_mut().zip(systemd.details(&asked)?) {
        view.add(&details);
    }
    Ok(views)
}

fn text(views: &[View], now: Timestamp) -> String {
    let unknown = || "-".to_owned();
    // A host without a tailnet has no addresses to show.
    let with_address = views.iter().any(|view| view.has_tailnet);
    let rows = views
        .iter()
        .map(|view| {
            let age = view.created_at.map(|t| output::ago(now.as_second(), t.as_second()));
            let mut row = vec![
                view.name.clone(),
                view.state.word().to_owned(),
                view.cpu_limit.map_or_else(unknown, |c| c.to_string()),
                view.memory_limit.clone().unwrap_or_else(unknown),
                age.unwrap_or_else(unknown),
                view.image.clone().unwrap_or_else(unknown),
            ];
            if with_address {
                let known = |text: &Option<String>| text.clone().unwrap_or_default();
                row.insert(2, address(&view.name, &known(&view.tailscale_hostname), &known(&view.tailscale_ip)));
            }
            row
        })
        .collect();
    let mut heads = vec!["NAME", "STATE", "CPU", "MEMORY", "CREATED", "IMAGE"];
    if with_address {
        heads.insert(2, "ADDRESS");
    }
    output::table(&heads, rows)
}

/// Its address on the tailnet; with a name only where that is not the box's own.
fn address(name: &str, hostname: &str, address: &str) -> String {
    match (address, hostname) {
        ("", _) => "-".to_owned(),
        (_, "") => address.to_owned(),
        _ if hostname == name => address.to_owned(),
        _ => format!("{address} ({hostname})"),
    }
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
            gone: Vec::new(),
            trashed: None,
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

        let mut views = views;
        views[0].has_tailnet = true;
        views[0].tailscale_ip = Some("100.64.0.3".to_owned());
        views[0].tailscale_hostname = Some("api".to_owned());
        views[1].tailscale_ip = Some("100.64.0.4".to_owned());
        views[1].tailscale_hostname = Some("docs-1".to_owned());
        insta::assert_snapshot!("list_on_a_tailnet", text(&views, "2026-01-04T03:04:05Z".parse().unwrap()));
    }
}
