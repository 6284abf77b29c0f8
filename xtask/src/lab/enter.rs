//! Running a command in a host as one of its users.

use std::path::Path;
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
pub(super) fn as_root(leader: u32) -> Command {
    nsenter(leader, "/")
}

fn nsenter(leader: u32, directory: &str) -> Command {
    let mut command = Command::new("/usr/bin/nsenter");
    command.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8");
    command.arg(format!("--target={leader}")).args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]);
    command.arg(format!("--wdns={directory}"));
    command
}

/// The same as a user, as after a login.
///
/// In a scope of the user's slice, where a login session would be: podman moves processes between cgroups, and can
/// only do so from one that the host's systemd knows. Killing the command kills what it runs.
pub(super) fn as_user(root: &Path, leader: u32, user: &str) -> Command {
    // A user the host does not know is left for setpriv to complain about.
    let account = account(root, user).unwrap_or_else(|| Account {
        uid: "65534".to_owned(),
        home: "/".to_owned(),
        shell: "/bin/sh".to_owned(),
    });
    let mut command = nsenter(leader, &account.home);
    command.env("HOME", &account.home).env("SHELL", &account.shell).env("USER", user).env("LOGNAME", user);
    if let Some(term) = std::env::var_os("TERM") {
        command.env("TERM", term);
    }
    // As for `su`, there is no runtime directory to name for someone who has no user manager. And their own slice comes
    // and goes with each command, which systemd refuses when a second one follows too soon.
    let manager = root.join("var/lib/systemd/linger").join(user).exists();
    let slice = match account.uid.as_str() {
        "0" => "system.slice".to_owned(),
        uid if manager => format!("user-{uid}.slice"),
        _ => "user.slice".to_owned(),
    };
    if manager {
        let runtime = format!("/run/user/{}", account.uid);
        command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={runtime}/bus")).env("XDG_RUNTIME_DIR", runtime);
    }
    command.args(["systemd-run", "--scope", "--quiet", "--collect"]);
    command.arg(format!("--slice={slice}")).arg("--");
    // A service would have this one, a login has not; podman looks at it.
    command.args(["env", "--unset=INVOCATION_ID"]);
    command.arg("setpriv").arg(format!("--reuid={user}")).arg(format!("--regid={user}"));
    command.args(["--init-groups", "--inh-caps=-all", "--pdeathsig=KILL", "--"]);
    command
}

fn account(root: &Path, user: &str) -> Option<Account> {
    let text = std::fs::read_to_string(root.join("etc/passwd")).ok()?;
    let fields = text.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f.first() == Some(&user))?;
    let field = |n: usize| fields.get(n).map(|f| (*f).to_owned());
    Some(Account { uid: field(2)?, home: field(5)?, shell: field(6)? })
}
