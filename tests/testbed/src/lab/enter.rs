//! Running a command in a host as one of its users.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a login shell on Debian looks, and where `Host::install` puts things.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a host's /etc/passwd says of a user.
struct Account {
    uid: String,
    home: String,
    shell: String,
}

/// A command that enters the host as root, for what the lab itself does there. Append a program and its arguments.
pub(crate) fn as_root(leader: u32) -> Command {
    nsenter(leader, "/")
}

fn nsenter(leader: u32, directory: &str) -> Command {
    let mut command = Command::new("/usr/bin/nsenter");
    into(&mut command, leader, directory);
    command
}

/// Appends nsenter's options to it, and gives it the environment of the host.
fn into(command: &mut Command, leader: u32, directory: &str) {
    command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8");
    command.arg(format!("--target={leader}")).args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]);
    command.arg(format!("--wdns={directory}"));
}

/// The same as a user, as after a login. Killing the command kills what it runs.
///
/// In a cgroup of the user's slice, where a login session would be: podman moves processes between cgroups, and can
/// only do so from one that the host's systemd knows.
pub(crate) fn as_user(root: &Path, leader: u32, user: &str) -> Command {
    // A user the host does not know is left for setpriv to complain about.
    let account = account(root, user).unwrap_or_else(|| Account {
        uid: "65534".to_owned(),
        home: "/".to_owned(),
        shell: "/bin/sh".to_owned(),
    });
    let session = cgroup(leader).map(|top| top.join(session_path(root, user, &account.uid)));
    let session = session.filter(|session| session.is_dir());
    let mut command = match &session {
        Some(session) => {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(session.join("cgroup.procs"));
            command.arg("/usr/bin/nsenter");
            command
        }
        None => Command::new("/usr/bin/nsenter"),
    };
    into(&mut command, leader, &account.home);
    command.env("HOME", &account.home).env("SHELL", &account.shell).env("USER", user).env("LOGNAME", user);
    if let Some(term) = std::env::var_os("TERM") {
        command.env("TERM", term);
    }
    // As for `su`, there is no runtime directory to name for someone who has no user manager.
    if has_manager(root, user) {
        let runtime = format!("/run/user/{}", account.uid);
        command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={runtime}/bus")).env("XDG_RUNTIME_DIR", runtime);
    }
    if session.is_none() {
        // A test has ended the session: a scope of the command's own will do, and takes three times as long.
        command.args(["systemd-run", "--scope", "--quiet", "--collect"]);
        command.arg(format!("--slice={}", slice(root, user, &account.uid))).arg("--");
        // A service would have this one, a login has not; podman looks at it.
        command.args(["env", "--unset=INVOCATION_ID"]);
    }
    command.arg("setpriv").arg(format!("--reuid={user}")).arg(format!("--regid={user}"));
    command.args(["--init-groups", "--inh-caps=-all", "--pdeathsig=KILL", "--"]);
    command
}

/// A command that makes the cgroups of these users' sessions, each kept by a process that does nothing.
pub(crate) fn begin_sessions(root: &Path, leader: u32, users: &[&str]) -> Command {
    let begin = |user: &str| {
        let uid = account(root, user).map_or_else(|| "0".to_owned(), |account| account.uid);
        format!("systemd-run --quiet --unit={} --slice={} sleep infinity", unit(user), slice(root, user, &uid))
    };
    let mut command = as_root(leader);
    command.args(["sh", "-ec"]).arg(users.iter().map(|user| begin(user)).collect::<Vec<_>>().join("\n"));
    command
}

fn unit(user: &str) -> String {
    format!("lab-session-{user}.service")
}

fn has_manager(root: &Path, user: &str) -> bool {
    root.join("var/lib/systemd/linger").join(user).exists()
}

/// A user without a manager gets `user.slice`. Their own slice would stop after each command, and systemd refuses to start
/// a slice again too soon after it stopped.
fn slice(root: &Path, user: &str, uid: &str) -> String {
    match uid {
        "0" => "system.slice".to_owned(),
        uid if has_manager(root, user) => format!("user-{uid}.slice"),
        _ => "user.slice".to_owned(),
    }
}

fn session_path(root: &Path, user: &str, uid: &str) -> PathBuf {
    let slice = slice(root, user, uid);
    let parent = if slice.starts_with("user-") { Path::new("user.slice").join(slice) } else { slice.into() };
    parent.join(unit(user))
}

/// The top of the host's cgroup tree, as seen from outside.
fn cgroup(leader: u32) -> Option<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{leader}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?.strip_suffix("/init.scope")?.to_owned();
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = fields.filter(|f| f.get(2) == Some(&"cgroup2")).find_map(|f| f.get(1).copied())?.to_owned();
    Some(Path::new(&mount).join(path))
}

fn account(root: &Path, user: &str) -> Option<Account> {
    let text = std::fs::read_to_string(root.join("etc/passwd")).ok()?;
    let fields = text.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f.first() == Some(&user))?;
    let field = |n: usize| fields.get(n).map(|f| (*f).to_owned());
    Some(Account { uid: field(2)?, home: field(5)?, shell: field(6)? })
}
