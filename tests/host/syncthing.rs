//! Syncthing in a box and on its owner's other machine: real ones, over a real tailnet.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::{Value, json};
use testbed::daemon::{Daemon, Life};
use testbed::lab::Netns;
use testbed::tailnet::Device;
use testbed::{paths, run};

use super::editor::reachable;
use super::login::text;
use super::prelude::*;

tests! { Host:
    files_go_to_another_machine_and_back,
    only_where_it_was_asked_for,
}

/// One of the two; asked by its REST API.
pub(super) trait Syncthing {
    /// curl beside it, and how it is let in.
    fn curl(&self, arguments: &[&str]) -> Result<String, Failed>;

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failed> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut arguments = vec!["--silent", "--show-error", "--fail-with-body", "--max-time", "90", "--noproxy", "*"];
        arguments.extend(["--request", method]);
        if !body.is_empty() {
            arguments.extend(["--header", "Content-Type: application/json", "--data", &body]);
        }
        let said = self.curl(&[&arguments[..], &[path]].concat())?;
        if said.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&said).map_err(|e| format!("{method} {path}: {e}: {said}").into())
    }

    fn id(&self) -> Result<String, Failed> {
        let id = self.ask("GET", "/rest/system/status", None)?["myID"].take();
        Ok(id.as_str().ok_or("no id")?.to_owned())
    }

    /// Keeps its folder with that one too, which is at that address where it is for us to begin.
    fn pair(&self, own: &str, other: &str, address: &str) -> Outcome {
        let device = json!({ "deviceID": other, "addresses": [address] });
        self.ask("PUT", &format!("/rest/config/devices/{other}"), Some(&device))?;
        let with = json!({ "devices": [{ "deviceID": own }, { "deviceID": other }] });
        self.ask("PATCH", "/rest/config/folders/default", Some(&with)).map(drop)
    }

    fn scan(&self) -> Outcome {
        self.ask("POST", "/rest/db/scan?folder=default", None).map(drop)
    }

    /// Has it keep what happens from now on: of a kind that nobody has asked for yet it keeps nothing.
    fn listen(&self) -> Outcome {
        self.ask("GET", "/rest/events?events=ItemFinished&since=0&timeout=0", None).map(drop)
    }

    /// Waits until it has that file from the other, since [`Self::listen`].
    fn await_file(&self, name: &str) -> Outcome {
        let (mut since, begun) = (0, Instant::now());
        while begun.elapsed() < Duration::from_mins(5) {
            let path = format!("/rest/events?events=ItemFinished&since={since}&timeout=60");
            let events = self.ask("GET", &path, None)?;
            let events = events.as_array().ok_or("no list of events")?;
            if let Some(event) = events.iter().find(|event| event["data"]["item"] == name) {
                return ensure(event["data"]["error"].is_null(), &event.to_string());
            }
            // None in all that time: asked again, of the same ones.
            since = events.last().map_or(Some(since), |event| event["id"].as_u64()).ok_or("an event without an id")?;
        }
        Err(format!("{name} does not come").into())
    }
}

pub(super) struct InBox<'a>(pub(super) &'a World);

impl Syncthing for InBox<'_> {
    fn curl(&self, arguments: &[&str]) -> Result<String, Failed> {
        // Its key is nothing that the test has to know.
        let script = "key=$(sed -n 's|.*<apikey>\\(.*\\)</apikey>.*|\\1|p' ~/.config/syncthing/config.xml); \
                      path=$1; shift; exec curl --header \"X-API-Key: $key\" \"$@\" --url \"http://127.0.0.1:8384$path\"";
        let (path, options) = arguments.split_last().ok_or("no path")?;
        let argv = [&["exec", "abc", "--", "sh", "-c", script, "sh", path], options].concat();
        Ok(self.0.ctl(&argv).expect(0)?.out)
    }
}

/// On this machine, as a program of a device of the tailnet.
struct Outside {
    daemon: Daemon,
    netns: Netns,
    home: PathBuf,
    port: u16,
}

const KEY: &str = "of-a-test";

impl Outside {
    fn start(home: &Path, device: &Device) -> Result<Self, Failed> {
        // What a box begins with does for this one too.
        let mut config = Command::new("sh");
        config.arg(paths::workspace().join("image/libexec/syncthing-config")).env("HOME", home);
        run::output(&mut config).map_err(text)?;
        let netns = device.netns().clone();
        let port = netns.run(|| TcpListener::bind(("127.0.0.1", 0))?.local_addr()).map_err(text)??.port();
        let daemon = Daemon::within(home.join("daemon"), &netns);
        let folder = home.join(".config/syncthing");
        // Nobody begins with this one, and this machine's port 22000 may be another's.
        let file = folder.join("config.xml");
        let own = std::fs::read_to_string(&file)?.replace("127.0.0.1:22000", "127.0.0.1:0");
        std::fs::write(&file, own)?;
        let arguments: Vec<OsString> = vec![
            "serve".into(),
            format!("--home={}", folder.display()).into(),
            "--no-browser".into(),
            "--no-restart".into(),
            format!("--gui-address=127.0.0.1:{port}").into(),
            format!("--gui-apikey={KEY}").into(),
            // By which it is known again.
            format!("--logfile={}", daemon.file("syncthing.log").display()).into(),
        ];
        let environment = [
            ("HOME", home.as_os_str().to_owned()),
            ("STNOUPGRADE", "1".into()),
            ("all_proxy", format!("socks5://{}", device.proxy()).into()),
            ("ALL_PROXY_NO_FALLBACK", "1".into()),
        ];
        daemon.start(Path::new("/usr/bin/syncthing"), &arguments, &environment, Life::Ours).map_err(text)?;
        let outside = Self { daemon, netns, home: home.to_owned(), port };
        outside.daemon.await_ready(Duration::from_mins(2), || outside.id().is_ok()).map_err(text)?;
        Ok(outside)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.join("sync").join(name)
    }
}

impl Syncthing for Outside {
    fn curl(&self, arguments: &[&str]) -> Result<String, Failed> {
        let (path, options) = arguments.split_last().ok_or("no path")?;
        let mut curl = self.netns.command("curl");
        curl.arg("--disable").args(options).args(["--header", &format!("X-API-Key: {KEY}")]);
        curl.arg(format!("http://127.0.0.1:{}{path}", self.port)).stdin(Stdio::null());
        Ok(run::output(&mut curl).map_err(text)?)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if let Err(e) = self.daemon.end() {
            eprintln!("warning: {e:#}");
        }
    }
}

fn files_go_to_another_machine_and_back(world: &World) -> Outcome {
    let (_tailnet, alice) = reachable(world, &["--with-syncthing"])?;
    exchanges(world, &alice)?;
    alone(&InBox(world))
}

/// A file from alice's box to her machine, and one back.
pub(super) fn exchanges(world: &World, alice: &Device) -> Outcome {
    world.ctl(&["exec", "--root", "abc", "--", "s6-svwait", "-U", "-t", "60000", "/run/s6/syncthing"]).expect(0)?;
    let home = tempfile::tempdir()?;
    let (inside, outside) = (InBox(world), Outside::start(home.path(), alice)?);
    let (in_id, out_id) = (inside.id()?, outside.id()?);
    inside.listen()?;
    outside.listen()?;
    inside.pair(&in_id, &out_id, "dynamic")?;
    outside.pair(&out_id, &in_id, "tcp://abc:22000")?;

    world.ctl(&["exec", "abc", "--", "sh", "-c", "echo from the box >sync/there"]).expect(0)?;
    inside.scan()?;
    outside.await_file("there")?;
    same(&std::fs::read_to_string(outside.file("there"))?, &"from the box\n", "as it was written")?;
    std::fs::write(outside.file("back"), "from afar\n")?;
    outside.scan()?;
    inside.await_file("back")?;
    let back = world.ctl(&["exec", "abc", "--", "stat", "-c", "%U %s", "sync/back"]).expect(0)?;
    same(&back.out, &"dev 10\n", &back.out)
}

fn alone(inside: &InBox<'_>) -> Outcome {
    // It tells nobody of itself.
    let options = inside.ask("GET", "/rest/config/options", None)?;
    let off = ["globalAnnounceEnabled", "localAnnounceEnabled", "relaysEnabled", "natEnabled", "crashReportingEnabled"];
    ensure(off.iter().all(|name| options[name] == false) && options["urAccepted"] == -1, &options.to_string())?;
    same(&options["listenAddresses"], &json!(["tcp://127.0.0.1:22000"]), &options.to_string())
}

fn only_where_it_was_asked_for(world: &World) -> Outcome {
    world.ctl(&["create", "abc"]).expect(0)?;
    let runs = ["exec", "--root", "abc", "--", "s6-svstat", "-o", "up", "/run/s6/syncthing"];
    same(&world.ctl(&runs).expect(0)?.out, &"false\n", "it does not run unasked")?;
    world.ctl(&["exec", "abc", "--", "test", "-e", "sync"]).expect(1)?;
    same(&world.ctl(&["status", "abc", "--json"]).expect(0)?.json()?["withSyncthing"], &false, "nor is it said")?;
    world.ctl(&["create", "synced", "--with-syncthing"]).expect(0)?;
    same(&world.ctl(&["status", "synced", "--json"]).expect(0)?.json()?["withSyncthing"], &true, "said")?;
    world.ctl(&["status", "synced"]).expect(0)?.says("syncthing")?;
    let wait = ["exec", "--root", "synced", "--", "s6-svwait", "-U", "-t", "60000", "/run/s6/syncthing"];
    world.ctl(&wait).expect(0).map(drop)
}
