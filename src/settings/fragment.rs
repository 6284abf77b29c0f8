//! One settings file as written: everything optional, nothing checked against anything else yet.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::keys;
use super::{OwnerSettings, Provider, Settings, SettingsError, TailnetSettings};
use crate::policy::turns::LEAST;
use crate::spec::{Cpu, Memory};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Fragment {
    host: Host,
    defaults: Owner,
    tailnet: Tailnet,
    warnings: Warnings,
    users: BTreeMap<String, Owner>,
    // The original devbox-ctl had these at the top.
    #[serde(rename = "maxPerUser")]
    max_per_user: Option<u32>,
    #[serde(rename = "maxGlobal")]
    max_global: Option<u32>,
    #[serde(rename = "opVault")]
    op_vault: Option<String>,
    #[serde(rename = "defaultCpu")]
    default_cpu: Option<Cpu>,
    #[serde(rename = "defaultMemory")]
    default_memory: Option<Memory>,
    #[serde(rename = "idleStopDays")]
    idle_stop_days: Option<u32>,
    #[serde(rename = "stoppedDestroyDays")]
    stopped_destroy_days: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Host {
    #[serde(alias = "maxGlobal")]
    max_boxes: Option<u32>,
    total_cpu: Option<f64>,
    total_memory: Option<Memory>,
    max_starting: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Owner {
    allowed: Option<bool>,
    admin: Option<bool>,
    #[serde(alias = "maxPerUser")]
    max_boxes: Option<u32>,
    #[serde(alias = "defaultCpu")]
    cpu: Option<Cpu>,
    #[serde(alias = "defaultMemory")]
    memory: Option<Memory>,
    max_cpu: Option<Cpu>,
    max_memory: Option<Memory>,
    #[serde(alias = "idleStopDays")]
    idle_stop_days: Option<u32>,
    #[serde(alias = "stoppedDestroyDays")]
    stopped_destroy_days: Option<u32>,
    warn_days: Option<Vec<u32>>,
    trash_days: Option<u32>,
    reclaim_days: Option<u32>,
    max_idle_stop_days: Option<u32>,
    max_stopped_destroy_days: Option<u32>,
    keep_awake_hours: Option<u32>,
    owner_cpu: Option<f64>,
    owner_memory: Option<Memory>,
    owner_tasks: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Tailnet {
    provider: Option<Provider>,
    #[serde(alias = "opVault")]
    op_vault: Option<String>,
    tags: Option<Vec<String>>,
    url: Option<String>,
    credential: Option<String>,
    path: Option<String>,
    command: Option<Vec<String>>,
    ca: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Warnings {
    command: Option<Vec<String>>,
}

/// Each named field of `$later` that is set wins.
macro_rules! later_wins {
    ($ours:expr, $later:expr, $($field:ident)+) => {
        $( if $later.$field.is_some() { $ours.$field = $later.$field; } )+
    };
}

impl Fragment {
    /// Reads one file's text; `file` is only for messages.
    pub fn parse(file: &str, text: &str) -> Result<Self, SettingsError> {
        keys::check(file, text)?;
        Self::read(file, text)
    }

    /// Reads an owner's own file.
    pub fn parse_own(file: &str, text: &str) -> Result<Self, SettingsError> {
        keys::check_own(file, text)?;
        Self::read(file, text)
    }

    fn read(file: &str, text: &str) -> Result<Self, SettingsError> {
        toml::from_str(text).map_err(|e| SettingsError {
            file: file.to_owned(),
            line: e.span().map(|span| keys::line_of(text, span.start)),
            message: e.message().replace('\n', ", "),
            nearest: None,
        })
    }

    /// Lays a later file over this one.
    pub fn merge(&mut self, later: Self) {
        later_wins!(self, later, max_per_user max_global op_vault default_cpu default_memory idle_stop_days stopped_destroy_days);
        later_wins!(self.host, later.host, max_boxes total_cpu total_memory max_starting);
        later_wins!(self.tailnet, later.tailnet, provider op_vault tags url credential path command ca);
        later_wins!(self.warnings, later.warnings, command);
        self.defaults.merge(later.defaults);
        for (user, owner) in later.users {
            self.users.entry(user).or_default().merge(owner);
        }
    }

    /// The whole, checked against itself. `file` is the one that had the last word.
    pub fn validate(self, file: &str) -> Result<Settings, SettingsError> {
        // Only root can put a program there; what a tenant could write must not run as the broker.
        self.validate_with(file, "/etc/")
    }

    /// The same for an owner's own file: nothing in it but [tailnet], whose programs may be anywhere.
    pub fn validate_own(self, file: &str) -> Result<TailnetSettings, SettingsError> {
        let fail = |message: &str| SettingsError {
            file: file.to_owned(),
            line: None,
            message: message.to_owned(),
            nearest: None,
        };
        if self.tailnet.credential.is_some() {
            return Err(fail("[tailnet] credential: your own is ~/.config/devbox/tailnet-credential"));
        }
        Ok(self.validate_with(file, "/")?.tailnet)
    }

    fn validate_with(self, file: &str, commands: &str) -> Result<Settings, SettingsError> {
        let fail = |message: String| SettingsError { file: file.to_owned(), line: None, message, nearest: None };
        let mut settings = Settings::default();

        let mut base = Owner {
            max_boxes: self.max_per_user,
            cpu: self.default_cpu,
            memory: self.default_memory,
            idle_stop_days: self.idle_stop_days,
            stopped_destroy_days: self.stopped_destroy_days,
            ..Owner::default()
        };
        base.merge(self.defaults);
        settings.defaults = base.over(&settings.defaults, "defaults").map_err(fail)?;
        for (user, owner) in self.users {
            let merged = owner.over(&settings.defaults, &format!("users.{user}")).map_err(fail)?;
            settings.owners.insert(user, merged);
        }

        if let Some(max) = self.host.max_boxes.or(self.max_global) {
            settings.host_max_boxes = max;
        }
        settings.host_total_cpu =
            self.host.total_cpu.map(|n| millis("host", "total_cpu", n)).transpose().map_err(fail)?;
        settings.host_total_memory = self.host.total_memory;
        // Of one there is no half: whoever has it has all.
        if self.host.max_starting.is_some_and(|most| (most as usize) < LEAST) {
            return Err(fail(format!("[host] max_starting: {LEAST} is the least")));
        }
        settings.host_max_starting = self.host.max_starting;

        let tailnet = &mut settings.tailnet;
        tailnet.url = self.tailnet.url;
        tailnet.credential = self.tailnet.credential;
        if let Some(path) = self.tailnet.path.as_ref().filter(|path| !path.starts_with('/')) {
            return Err(fail(format!("[tailnet] path: {path:?} does not begin with /")));
        }
        tailnet.path = self.tailnet.path;
        tailnet.ca = self.tailnet.ca;
        if let Some(provider) = self.tailnet.provider {
            tailnet.provider = provider;
        }
        if let Some(vault) = self.tailnet.op_vault.or(self.op_vault) {
            tailnet.op_vault = vault;
        }
        if let Some(tags) = self.tailnet.tags {
            // One that cannot be would keep every box off the tailnet.
            if let Some(tag) = tags.iter().find(|t| !is_tag(t)) {
                return Err(fail(format!(
                    "[tailnet] tags: {tag:?} is no tag: after `tag:` it has lowercase letters, digits, hyphens and {{username}}, and begins with a letter"
                )));
            }
            if let Some((_, tag)) = tags.iter().enumerate().find(|(n, tag)| tags[..*n].contains(tag)) {
                return Err(fail(format!("[tailnet] tags: {tag:?} is there twice")));
            }
            // Of two such patterns, one user's tag could be another's.
            if tags.iter().filter(|t| t.contains("{username}")).count() > 1 {
                return Err(fail("[tailnet] tags: only one tag may have {username} in it".to_owned()));
            }
            tailnet.tags = tags;
        }
        if let Some(command) = self.tailnet.command {
            if !command.first().is_some_and(|c| c.starts_with(commands) && !c.contains("/../")) {
                return Err(fail(format!("[tailnet] command: only a program below {commands} is run")));
            }
            tailnet.command = command;
        }
        settings.warnings = self.warnings.command.unwrap_or_default();
        if !settings.warnings.is_empty() {
            check_hook(&settings.warnings).map_err(|why| fail(format!("[warnings] command: {why}")))?;
        }
        Ok(settings)
    }
}

impl Owner {
    fn merge(&mut self, later: Self) {
        later_wins!(self, later, allowed admin max_boxes cpu memory max_cpu max_memory idle_stop_days stopped_destroy_days
            warn_days trash_days reclaim_days max_idle_stop_days max_stopped_destroy_days keep_awake_hours
            owner_cpu owner_memory owner_tasks);
    }

    fn over(self, base: &OwnerSettings, table: &str) -> Result<OwnerSettings, String> {
        let base = base.clone();
        let merged = OwnerSettings {
            allowed: self.allowed.unwrap_or(base.allowed),
            admin: self.admin.unwrap_or(base.admin),
            max_boxes: self.max_boxes.unwrap_or(base.max_boxes),
            cpu: self.cpu.unwrap_or(base.cpu),
            memory: self.memory.unwrap_or(base.memory),
            max_cpu: self.max_cpu.unwrap_or(base.max_cpu),
            max_memory: self.max_memory.unwrap_or(base.max_memory),
            idle_stop_days: self.idle_stop_days.unwrap_or(base.idle_stop_days),
            stopped_destroy_days: self.stopped_destroy_days.unwrap_or(base.stopped_destroy_days),
            warn_days: self.warn_days.unwrap_or(base.warn_days),
            trash_days: self.trash_days.unwrap_or(base.trash_days),
            reclaim_days: self.reclaim_days.or(base.reclaim_days),
            max_idle_stop_days: self.max_idle_stop_days.or(base.max_idle_stop_days),
            max_stopped_destroy_days: self.max_stopped_destroy_days.or(base.max_stopped_destroy_days),
            keep_awake_hours: self.keep_awake_hours.unwrap_or(base.keep_awake_hours),
            owner_cpu: match self.owner_cpu {
                Some(n) => Some(millis(table, "owner_cpu", n)?),
                None => base.owner_cpu,
            },
            owner_memory: self.owner_memory.or(base.owner_memory),
            owner_tasks: self.owner_tasks.or(base.owner_tasks),
        };
        if merged.cpu > merged.max_cpu {
            return Err(format!("[{table}] cpu = {} is more than max_cpu = {}", merged.cpu, merged.max_cpu));
        }
        if merged.memory > merged.max_memory {
            return Err(format!(
                "[{table}] memory = {} is more than max_memory = {}",
                merged.memory, merged.max_memory
            ));
        }
        Ok(merged)
    }
}

/// Whether it can be a program and its arguments: no shell reads it.
fn check_hook(argv: &[String]) -> Result<(), String> {
    let program = argv.first().map(String::as_str).unwrap_or_default();
    if !program.starts_with('/') || program.split('/').any(|part| part == "..") {
        return Err(format!("{program:?} is no absolute path of a program"));
    }
    match argv.iter().find(|word| word.chars().any(char::is_control)) {
        Some(word) => Err(format!("{word:?} has control characters in it")),
        None => Ok(()),
    }
}

/// Whether a pattern is a tag with a user's name in it that can be.
fn is_tag(pattern: &str) -> bool {
    let tag = pattern.replace("{username}", "a");
    tag.strip_prefix("tag:").is_some_and(|name| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

/// Processors of a host or an owner, in thousandths; unlike a box's they may be more than 64.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the range is checked first
fn millis(table: &str, key: &str, processors: f64) -> Result<u32, String> {
    if (0.1..=100_000.0).contains(&processors) {
        Ok((processors * 1000.0).round() as u32)
    } else {
        Err(format!("[{table}] {key} = {processors} is outside 0.1 to 100000"))
    }
}
