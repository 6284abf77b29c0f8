//! Values through templates, into the files of a box's folder.

use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, Value, context};

use super::{escape, names};
use crate::spec::{BoxSpec, DevIs, Tailnet};
use crate::wire;

/// The template texts; an administrator's copies replace single ones.
#[derive(Debug, Clone)]
pub struct Templates {
    pub container: String,
    pub home: String,
    pub state: String,
    pub containers_conf: String,
}

impl Default for Templates {
    fn default() -> Self {
        Self {
            container: include_str!("../../quadlet-templates/box.container").to_owned(),
            home: include_str!("../../quadlet-templates/home.volume").to_owned(),
            state: include_str!("../../quadlet-templates/state.volume").to_owned(),
            containers_conf: include_str!("../../quadlet-templates/containers.conf").to_owned(),
        }
    }
}

/// One file of a box's folder.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UnitFile {
    pub name: String,
    pub text: String,
}

#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error("the template of {file} does not work: {message}")]
    Template { file: String, message: String },
    #[error("box.toml could not be written as text")]
    Spec(#[from] toml::ser::Error),
}

/// What a box may keep of root's powers inside its user namespace: what sudo, sshd and apt need.
/// docs/hardening.md has a reason for each.
const CAPABILITIES: &str = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETFCAP NET_BIND_SERVICE SYS_CHROOT";

/// Podman's own default for a container; the unit's covers conmon and pasta too.
const TASKS_MAX: u32 = 2048;

/// All files of the box's folder, in the order of their names. `program`: where devbox-ctl will be when the box starts.
pub fn render(spec: &BoxSpec, templates: &Templates, program: &str) -> Result<Vec<UnitFile>, RenderError> {
    // What its owner wishes for it is no unit's business.
    let BoxSpec { format: _, created_at: _, idle_stop_days: _, stopped_destroy_days: _, name, .. } = spec;
    let BoxSpec { image, cpu, memory, dev, tailnet, with_syncthing, env, mounts, .. } = spec;
    let mounts: Vec<Value> = mounts
        .iter()
        .enumerate()
        .map(|(number, m)| {
            // `devbox-ctl pre-start` puts it there; its `%t` is systemd's to fill in.
            let source = format!("%t/{}/{number}", names::mounts_folder(name));
            context! { source => Value::from_safe_string(source), target => m.target().to_string_lossy(),
            mode => if m.read_only() { "ro" } else { "rw" } }
        })
        .collect();
    let values = context! {
        name => name.as_str(),
        unit => names::container(name),
        program,
        // A name is [a-z0-9-], and the rest is ours.
        looked_at => Value::from_safe_string(names::looked_at_file(name)),
        image => image.as_str(),
        home_volume => names::home_volume(name),
        state_volume => names::state_volume(name),
        // systemd reads Slice= without unescaping, and the name holds only [a-z0-9\-].
        slice => Value::from_safe_string(names::slice(name)),
        memory_max => memory.bytes(),
        // For an administrator's template, and not in ours: without swap the kernel does not get from here to
        // memory_max, it slows every process of the box down for good instead of ending one (tests/vm).
        memory_high => memory.bytes() / 10 * 9,
        shm_size => memory.bytes() / 2,
        cpu_percent => cpu.millis().div_ceil(10),
        tasks_max => TASKS_MAX,
        capabilities => CAPABILITIES,
        with_syncthing,
        has_env => !env.is_empty(),
        login_socket => login_socket(*tailnet),
        // Then a box starts where nobody listens, and is not on the tailnet.
        dev => dev.word(),
        user_namespace => if *dev == DevIs::Owner { names::OWNER_MAPPING } else { names::DEFAULT_MAPPING },
        mounts,
    };

    let [container, home, state] = names::unit_files(name);
    let mut files = vec![UnitFile { name: names::SPEC_FILE.to_owned(), text: spec.to_toml()? }];
    if !env.is_empty() {
        let text = env.iter().map(|v| format!("{v}\n")).collect();
        files.push(UnitFile { name: names::ENV_FILE.to_owned(), text });
    }
    let conf = names::CONTAINERS_CONF_FILE.to_owned();
    for (file, template) in [
        (container, &templates.container),
        (home, &templates.home),
        (state, &templates.state),
        (conf, &templates.containers_conf),
    ] {
        let text = fill(template, &values)
            .map_err(|e| RenderError::Template { file: file.clone(), message: described(&e) })?;
        files.push(UnitFile { name: file, text });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

fn login_socket(tailnet: Tailnet) -> Option<Value> {
    match tailnet {
        Tailnet::None => None,
        Tailnet::Broker => Some(Value::from(wire::LOGIN_SOCKET)),
        // Its `%t` is systemd's to fill in; there is nothing of anybody's in it.
        Tailnet::Own => Some(Value::from_safe_string(wire::OWN_LOGIN_SOCKET.to_owned())),
    }
}

fn fill(template: &str, values: &Value) -> Result<String, Error> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(escaping);
    environment.add_filter("word", |value: String| {
        escape::word(&value).map(Value::from_safe_string).map_err(|e| unescapable(&e))
    });
    // One final line break is taken off by the template engine.
    environment.render_str(template, values).map(|text| text + "\n")
}

/// The escape is how values are written at all: a template cannot forget it.
fn escaping(out: &mut Output<'_>, _: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let text = value.to_string();
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "a name that is not there"));
    }
    let text = if value.is_safe() { text } else { escape::line(&text).map_err(|e| unescapable(&e))? };
    out.write_str(&text).map_err(Error::from)
}

fn unescapable(cause: &escape::Unescapable) -> Error {
    Error::new(ErrorKind::BadEscape, cause.to_string())
}

fn described(error: &Error) -> String {
    let line = error.line().map(|l| format!(" (line {l})")).unwrap_or_default();
    format!("{}{line}", error.detail().map_or_else(|| error.to_string(), ToOwned::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(mounts: &[&str]) -> BoxSpec {
        let mut spec = BoxSpec::from_toml(
            "format = 1\nname = \"abc\"\nimage = \"localhost/devbox:latest\"\ncpu = 1.5\nmemory = \"1G\"\ncreated_at = \"2026-01-02T03:04:05Z\"\ndev = \"owner\"\n",
        )
        .unwrap();
        spec.mounts = mounts.iter().map(|m| m.parse().unwrap()).collect();
        spec
    }

    fn text<'a>(files: &'a [UnitFile], name: &str) -> &'a str {
        &files.iter().find(|f| f.name == name).unwrap().text
    }

    #[test]
    fn values_are_escaped_whatever_the_template_does() {
        let spec = spec(&["/src:/x/%h $HOME"]);
        let files = render(&spec, &Templates::default(), "/usr/bin/devbox-ctl").unwrap();
        let container = text(&files, "devbox-abc.container");
        assert!(container.contains("Volume=%t/devbox/mounts/abc/0:/x/%%h $$HOME:rw\n"), "{container}");
        assert!(container.contains("CPUQuota=150%\n") && container.contains("Slice=devbox-abc.slice\n"), "{container}");
        assert!(container.contains("UserNS=keep-id"));
        assert!(!container.contains("EnvironmentFile"));
    }

    #[test]
    fn a_broken_template_is_an_error_with_its_line() {
        for broken in ["[Container]\nImage={{ imgae }}\n", "{% if %}", "{{ image | safe }}"] {
            let templates = Templates { container: broken.to_owned(), ..Templates::default() };
            let error = render(&spec(&[]), &templates, "/usr/bin/devbox-ctl").unwrap_err().to_string();
            assert!(error.starts_with("the template of devbox-abc.container does not work"), "{error}");
        }
    }

    #[test]
    fn a_path_that_would_join_lines_is_refused() {
        let templates = Templates { container: "Volume={{ mounts[0].target }}\n".to_owned(), ..Templates::default() };
        assert!(render(&spec(&["/a:/b\\"]), &templates, "/usr/bin/devbox-ctl").is_err());
    }
}
