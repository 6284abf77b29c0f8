//! The administrator's `users.toml`: fragments → merged → validated [`Settings`].
//!
//! A fragment is one file as written; keys of a later fragment win; only the merged whole is validated, since a
//! limit in one file and a default in another can contradict each other.

mod fragment;
mod keys;

use std::collections::BTreeMap;

use crate::spec::{Cpu, Memory};
pub use fragment::Fragment;

/// What is wrong with a settings file, for the administrator who edits it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {message}", line.map(|l| format!(":{l}")).unwrap_or_default())]
pub struct SettingsError {
    pub file: String,
    pub line: Option<usize>,
    pub message: String,
    /// The nearest valid key, where one was misspelt.
    pub nearest: Option<String>,
}

/// Limits and terms that hold for one owner, the defaults overridden by `[users.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnerSettings {
    pub allowed: bool,
    pub admin: bool,
    pub max_boxes: u32,
    pub cpu: Cpu,
    pub memory: Memory,
    pub max_cpu: Cpu,
    pub max_memory: Memory,
    pub idle_stop_days: u32,
    pub stopped_destroy_days: u32,
    pub warn_days: Vec<u32>,
    pub trash_days: u32,
    pub reclaim_days: Option<u32>,
    /// The longest that an owner may set for a box of theirs, where that is longer than the usual; 0 is never.
    pub max_idle_stop_days: Option<u32>,
    pub max_stopped_destroy_days: Option<u32>,
    /// The longest lease of `keep-awake`.
    pub keep_awake_hours: u32,
    /// Thousandths of a processor.
    pub owner_cpu: Option<u32>,
    pub owner_memory: Option<Memory>,
    pub owner_tasks: Option<u32>,
}

/// Where tailnet keys come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    OnePassword,
    Tailscale,
    Headscale,
    File,
    Command,
    None,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TailnetSettings {
    pub provider: Provider,
    pub op_vault: String,
    pub tags: Vec<String>,
    pub url: Option<String>,
    pub credential: Option<String>,
    pub path: Option<String>,
    pub command: Vec<String>,
    /// A file of certificates that are trusted beside the system's.
    pub ca: Option<String>,
}

impl TailnetSettings {
    /// An owner's own, where there is no broker: the same table, and nothing else.
    pub fn read_own(file: &str, text: &str) -> Result<Self, SettingsError> {
        Fragment::parse_own(file, text)?.validate_own(file)
    }

    /// Which tailnet they mean: what is known of a device holds only there, whoever gave its key.
    pub fn identity(&self) -> String {
        self.url.as_deref().map_or("tailscale", |url| url.trim_end_matches('/')).to_owned()
    }
}

/// The whole, validated. `Settings::default()` is what holds with no file at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub host_max_boxes: u32,
    /// Thousandths of a processor.
    pub host_total_cpu: Option<u32>,
    pub host_total_memory: Option<Memory>,
    /// Boxes that start at once while all do; none: by the processors.
    pub host_max_starting: Option<u32>,
    pub tailnet: TailnetSettings,
    /// The program that is told of warnings, and its arguments; empty: none.
    pub warnings: Vec<String>,
    defaults: OwnerSettings,
    owners: BTreeMap<String, OwnerSettings>,
}

impl Default for OwnerSettings {
    fn default() -> Self {
        // The built-in values parse: tests::the_defaults_are_the_examples holds them to users.toml.
        let cpu = |millis: &str| millis.parse().unwrap_or_else(|_| unreachable!("{millis}"));
        let memory = |size: &str| size.parse().unwrap_or_else(|_| unreachable!("{size}"));
        Self {
            allowed: true,
            admin: false,
            max_boxes: 5,
            cpu: cpu("2"),
            memory: memory("4G"),
            max_cpu: cpu("8"),
            max_memory: memory("16G"),
            idle_stop_days: 7,
            stopped_destroy_days: 14,
            warn_days: vec![3, 1],
            trash_days: 14,
            reclaim_days: None,
            max_idle_stop_days: None,
            max_stopped_destroy_days: None,
            keep_awake_hours: 168,
            owner_cpu: None,
            owner_memory: None,
            owner_tasks: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host_max_boxes: 7,
            host_total_cpu: None,
            host_total_memory: None,
            host_max_starting: None,
            tailnet: TailnetSettings {
                provider: Provider::None,
                op_vault: "DevBox".to_owned(),
                tags: vec!["tag:devcontainer".to_owned(), "tag:{username}-container".to_owned()],
                url: None,
                credential: None,
                path: None,
                command: Vec::new(),
                ca: None,
            },
            warnings: Vec::new(),
            defaults: OwnerSettings::default(),
            owners: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Merges `(file name, text)` in order and validates the whole.
    pub fn read(files: &[(String, String)]) -> Result<Self, SettingsError> {
        let mut merged = Fragment::default();
        for (file, text) in files {
            merged.merge(Fragment::parse(file, text)?);
        }
        let last = files.last().map_or("users.toml", |(file, _)| file.as_str());
        merged.validate(last)
    }

    /// What holds for whoever has no section of their own.
    pub fn everybody(&self) -> &OwnerSettings {
        &self.defaults
    }

    /// Owners with a section of their own, by name.
    pub fn named_owners(&self) -> impl Iterator<Item = (&str, &OwnerSettings)> {
        self.owners.iter().map(|(name, owner)| (name.as_str(), owner))
    }

    /// What holds for the owner with this user name.
    pub fn owner(&self, user: &str) -> &OwnerSettings {
        self.owners.get(user).unwrap_or(&self.defaults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, SettingsError> {
        Settings::read(&[("users.toml".to_owned(), text.to_owned())])
    }

    #[test]
    fn two_may_start_at_once_at_the_least() {
        let starting = |most: u32| read(&format!("[host]\nmax_starting = {most}\n"));
        assert_eq!(starting(2).map(|s| s.host_max_starting), Ok(Some(2)));
        for few in [0, 1] {
            let why = starting(few).unwrap_err().to_string();
            assert!(why.contains("max_starting: 2 is the least"), "{why}");
        }
    }

    #[test]
    fn the_defaults_are_the_examples() {
        assert_eq!(read(include_str!("../../users.toml")), Ok(Settings::default()));
        assert_eq!(Settings::read(&[]), Ok(Settings::default()));
    }

    #[test]
    fn every_key_of_the_contract() {
        // The example with all that it comments out.
        let text: String = include_str!("../../users.toml")
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if key.starts_with('[') || key.contains(" = ") => key,
                _ => line,
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let all = read(&text).unwrap();
        assert_eq!(all.host_total_cpu, Some(16_000));
        assert_eq!(all.owner("bob").owner_tasks, Some(8192));
        assert_eq!(all.owner("bob").reclaim_days, Some(30));
        assert_eq!((all.owner("alice").admin, all.owner("alice").max_boxes), (true, 3));
        assert!(!all.owner("mallory").allowed);
        assert_eq!(all.warnings, ["/usr/local/libexec/devbox-warn-mail", "root"]);
    }

    #[test]
    fn later_fragments_win_key_by_key() {
        let files = [
            ("users.toml", "[defaults]\nmax_boxes = 2\ncpu = 1\n[users.alice]\nadmin = true\n"),
            ("10-more.toml", "[defaults]\nmax_boxes = 9\n[users.alice]\nmax_boxes = 3\n"),
        ]
        .map(|(f, t)| (f.to_owned(), t.to_owned()));
        let settings = Settings::read(&files).unwrap();
        assert_eq!((settings.owner("bob").max_boxes, settings.owner("bob").cpu.millis()), (9, 1000));
        assert_eq!((settings.owner("alice").max_boxes, settings.owner("alice").admin), (3, true));
    }

    #[test]
    fn the_keys_of_the_original() {
        let settings = read("[defaults]\nmaxPerUser = 3\ndefaultCpu = 4\ndefaultMemory = \"8G\"\nidleStopDays = 14\nstoppedDestroyDays = 30\n[host]\nmaxGlobal = 10\n[tailnet]\nopVault = \"V\"\n").unwrap();
        let owner = settings.owner("x");
        assert_eq!((owner.max_boxes, owner.cpu.millis(), owner.memory.to_string().as_str()), (3, 4000, "8G"));
        assert_eq!((owner.idle_stop_days, owner.stopped_destroy_days), (14, 30));
        assert_eq!((settings.host_max_boxes, settings.tailnet.op_vault.as_str()), (10, "V"));
        // The original had them flat, in one table.
        let flat = read("maxPerUser = 3\nmaxGlobal = 10\nopVault = \"V\"\n").unwrap();
        assert_eq!((flat.owner("x").max_boxes, flat.host_max_boxes), (3, 10));
    }

    #[test]
    fn an_error_names_file_line_and_nearest_key() {
        let error = read("[defaults]\ncpu = 2\nmax_boxs = 3\n").unwrap_err();
        assert_eq!((error.line, error.nearest.as_deref()), (Some(3), Some("max_boxes")));
        assert_eq!(error.to_string(), "users.toml:3: unknown key `max_boxs` in [defaults]");
        for (text, line) in [
            ("[defaults]\nmemory = \"5X\"\n", 2),
            ("[defaults]\ncpu = \"2\"\n", 2),
            ("[hosts]\n", 1),
            ("[users.alice]\nadmins = true\n", 2),
            ("[users.\"al ice\"]\nadmin = true\n", 1),
            ("[defaults\n", 1),
            ("[tailnet]\nprovider = \"vault\"\n", 2),
            ("[warnings]\ncommands = [\"/x\"]\n", 2),
            ("[warnings]\ncommand = \"/x\"\n", 2),
            ("[defaults]\ncpu = 2\ncpu = 3\n", 3),
        ] {
            assert_eq!(read(text).unwrap_err().line, Some(line), "{text}");
        }
        for contradiction in [
            "[defaults]\ncpu = 9\n",
            "[defaults]\nmemory = \"32G\"\n",
            "[users.al]\nmax_cpu = 1\n",
            "[tailnet]\nprovider = \"command\"\ncommand = [\"/home/x/key\"]\n",
            "[warnings]\ncommand = [\"mail\"]\n",
            "[warnings]\ncommand = [\"/usr/../home/x/hook\"]\n",
            "[warnings]\ncommand = [\"/usr/bin/hook\", \"a\\nb\"]\n",
            "[tailnet]\ntags = [\"tag:Dev_Box\"]\n",
            "[tailnet]\ntags = [\"tag:\"]\n",
            "[tailnet]\ntags = [\"tag:{user}\"]\n",
            "[tailnet]\ntags = [\"tag:a\", \"tag:a\"]\n",
            "[tailnet]\nprovider = \"file\"\npath = \"keys/{username}\"\n",
        ] {
            assert!(read(contradiction).is_err(), "{contradiction}");
        }
    }

    #[test]
    fn an_owners_own_is_the_tailnet_alone() {
        let own = |text: &str| TailnetSettings::read_own("tailnet.toml", text);
        let both = "[tailnet]\nprovider = \"headscale\"\nurl = \"https://example.com\"\ntags = [\"tag:{username}\"]\n";
        assert_eq!(own(both), Ok(read(both).unwrap().tailnet));
        assert_eq!(own(""), Ok(Settings::default().tailnet));
        assert_eq!(own("[tailnet]\ncommand = [\"/home/x/key\"]\n").unwrap().command, ["/home/x/key"]);
        for (text, line) in [
            ("[tailnet]\nurl = \"https://x\"\n[users.alice]\nadmin = true\n", 3),
            ("[defaults]\nmax_boxes = 99\n", 1),
            ("maxGlobal = 99\n", 1),
            ("opVault = \"V\"\n", 1),
            ("[tailnet]\nprovder = \"none\"\n", 2),
            ("[tailnet\n", 1),
        ] {
            assert_eq!(own(text).unwrap_err().line, Some(line), "{text}");
        }
        assert_eq!(own("[tailnets]\n").unwrap_err().nearest.as_deref(), Some("tailnet"));
        for text in [
            "[tailnet]\ncredential = \"other\"\n",
            "[tailnet]\ncommand = [\"key\"]\n",
            "[tailnet]\ncommand = [\"/home/x/../y\"]\n",
            "[tailnet]\ntags = [\"tag:Dev_Box\"]\n",
        ] {
            assert!(own(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "(\\[(defaults|host|users\\.[a-z]{1,3})\\]\n|[a-z_]{1,9} = (-?[0-9]{1,20}|\"[A-Z0-9]{0,4}\"|true)\n|\\PC){0,6}") {
            let _ = read(&text);
        }
    }
}
