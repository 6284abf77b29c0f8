//! `admin check [FILE]`.

use std::path::PathBuf;

use crate::cli::error::{Failure, Kind};
use crate::cli::output::{self, Output};
use crate::host::{self, Broker, HostError, hook};
use crate::settings::Settings;
use crate::wire::Why;

/// Check the settings, or an edit of users.toml before it goes live
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  devbox-ctl admin check\n  devbox-ctl admin check ./users.toml && sudo install -m644 ./users.toml /etc/devbox/"
)]
pub(super) struct Args {
    /// Take this file in the place of /etc/devbox/users.toml
    file: Option<PathBuf>,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let settings = match &args.file {
        Some(file) => host::settings_with(file)?,
        None => host::settings()?,
    };
    if !settings.warnings.is_empty()
        && let Err(why) = hook::check(&settings.warnings)
    {
        let text = format!("[warnings] command: {why}");
        // It need not be for everybody to see.
        if nix::unistd::Uid::effective().is_root() {
            return Err(Failure::new(Kind::InvalidInput, text)
                .hint("it and all folders on its way have to be root's, and writable by nobody else"));
        }
        out.warning(&text);
    }
    // Only an edit that is live is the broker's concern.
    let broker = if args.file.is_none() { status()? } else { None };
    if let Some((false, text)) = &broker {
        return Err(Failure::new(Kind::InvalidInput, format!("devboxd: {text}"))
            .hint("can the user devboxd read /etc/devbox, its files and those of users.toml.d?"));
    }
    // One that is told of warnings and fails is no fault of the settings.
    let hook = match &broker {
        Some(_) if !settings.warnings.is_empty() => super::broker()?.hook(false)?,
        _ => (true, String::new()),
    };
    if out.json {
        let said = Some(&hook.1).filter(|text| !text.is_empty());
        output::json(
            &serde_json::json!({ "good": true, "broker": broker.map(|(_, text)| text), "warnings": said, "warningsArrive": hook.0 }),
        );
        return Ok(());
    }
    out.remark(&summary(&settings));
    for name in settings.named_owners().map(|(name, _)| name) {
        if let Ok(None) = nix::unistd::User::from_name(name) {
            out.warning(&format!("there is no user {name}; the section holds from when there is one"));
        }
    }
    if let Some((_, text)) = broker {
        out.remark(&format!("devboxd: {text}"));
    }
    match hook {
        (_, text) if text.is_empty() => {}
        (true, text) => out.remark(&text),
        (false, text) => out.warning(&format!("{text}; `devbox-ctl admin warn --test` tries it")),
    }
    Ok(())
}

/// What devboxd says; nothing where there is none, or where the caller is no administrator.
fn status() -> Result<Option<(bool, String)>, Failure> {
    let Some(broker) = Broker::connect()? else { return Ok(None) };
    match broker.status() {
        Ok(status) => Ok(Some(status)),
        Err(HostError::Refused(refused)) if refused.why == Why::NotAllowed => Ok(None),
        Err(other) => Err(other.into()),
    }
}

fn summary(settings: &Settings) -> String {
    let named: Vec<&str> = settings.named_owners().map(|(name, _)| name).collect();
    let everybody = settings.everybody();
    let named = if named.is_empty() { "nobody".to_owned() } else { named.join(", ") };
    format!(
        "the settings are good\n  host     {} boxes at most\n  default  {} boxes at most, of {} cpu and {}\n  named    {named}",
        settings.host_max_boxes, everybody.max_boxes, everybody.cpu, everybody.memory
    )
}
