//! code-server in a box, as its owner's other machines have it: over a real tailnet, with a real browser; and the ssh
//! that Zed works over.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::json;
use testbed::tailnet::{Device, Tailnet, own_boxes, tag_of};
use testbed::tools;

use super::browser::Browser;
use super::login::{install, text};
use super::prelude::*;

tests! { Host:
    code_server_is_its_owners_alone,
    a_browser_edits_a_file,
    ends_when_nobody_is_there,
    #[slow] little_at_rest,
    ssh_as_zed_does,
    out_to_other_devices,
}

/// Long enough for a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// alice's box on a tailnet, and her device, which have heard of each other.
pub(super) fn reachable(world: &World, options: &[&str]) -> Result<(Tailnet, Device), Failed> {
    tools::ensure_users().map_err(text)?;
    let tailnet = world.tailnet()?;
    install(world, &tailnet)?;
    let create = [&["create", "abc", "--wait-tailnet"], options].concat();
    world.ctl(&create).expect(0)?.says("http://abc:8080 (code-server)")?;
    let alice = tailnet.device("alice", "alice-laptop").map_err(text)?;
    alice.await_peer("abc", PATIENCE).map_err(text)?;
    Ok((tailnet, alice))
}

/// The status and the text of a page.
///
/// Asks again where the device's proxy could not connect (curl 97). A port of the device that was used for a connection
/// which the box closed is refused by the box's tailscaled for the next minute, and the device picks its ports at random:
/// of 1200 requests in half a minute 5 to 20 failed so, and none where the device closed its connections first.
pub(super) fn page(device: &Device, options: &[&str]) -> Result<(i32, String), Failed> {
    const NOT_CONNECTED: i32 = 97;
    let ask = || -> Result<(i32, String), Failed> {
        let output = device.curl().args(["--location", "--write-out", "\n%{http_code}"]).args(options).output()?;
        let said = [output.stderr, output.stdout].concat();
        Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned()))
    };
    let first = ask()?;
    if first.0 == NOT_CONNECTED { ask() } else { Ok(first) }
}

fn expect_page(device: &Device) -> Outcome {
    let (_, said) = page(device, &["http://abc:8080/"])?;
    ensure(said.ends_with("\n200") && said.contains("vscode"), &format!("the page: {said}"))
}

/// From here on bob may reach the ssh of alice's boxes, and has heard of hers.
pub(super) fn let_to_ssh(tailnet: &Tailnet, bob: &Device) -> Outcome {
    let mut policy = own_boxes(&["alice", "bob"]);
    let also = json!({ "action": "accept", "src": ["bob@"], "dst": [format!("{}:22", tag_of("alice"))] });
    policy["acls"].as_array_mut().ok_or("no rules")?.push(also);
    tailnet.set_policy(&policy).map_err(text)?;
    Ok(bob.await_peer("abc", PATIENCE).map_err(text)?)
}

fn code_server_is_its_owners_alone(world: &World) -> Outcome {
    let (tailnet, alice) = reachable(world, &[])?;
    let begun = Instant::now();
    expect_page(&alice)?;
    eprintln!("      the first page: {:.2} s", begun.elapsed().as_secs_f32());
    let begun = Instant::now();
    expect_page(&alice)?;
    eprintln!("      the second: {:.2} s", begun.elapsed().as_secs_f32());

    let address = tailnet.node("abc").map_err(text)?.ok_or("no node")?["ipAddresses"][0].clone();
    let by_address = format!("http://{}:8080/", address.as_str().ok_or("no address")?);
    ensure(page(&alice, &[&by_address])?.1.ends_with("\n200"), "alice by its address")?;
    // For bob there is no such box; and where he may reach its ssh, that is all.
    let bob = tailnet.device("bob", "bob-laptop").map_err(text)?;
    ensure(!bob.sees("abc").map_err(text)?, "bob sees it")?;
    let_to_ssh(&tailnet, &bob)?;
    let stranger = page(&bob, &["--max-time", "5", "http://abc:8080/"])?;
    ensure(stranger.0 != 0 && stranger.1.ends_with("\n000"), &format!("bob has {stranger:?}"))?;
    expect_page(&alice)?;

    // A page of elsewhere's whose name was made to lead here; and the box's own name in full.
    let elsewhere = page(&alice, &["--header", "Host: abc.example.com:8080", "http://abc:8080/"])?;
    ensure(elsewhere.1.ends_with("\n403"), &format!("by another name: {elsewhere:?}"))?;
    let elsewhere = page(&alice, &["--header", "Origin: http://example.com", "http://abc:8080/"])?;
    ensure(elsewhere.1.ends_with("\n403"), &format!("for another's page: {elsewhere:?}"))?;
    ensure(page(&alice, &["http://abc.tailnet.test:8080/"])?.1.ends_with("\n200"), "by its full name")?;

    // It is listened for on the box's own loopback and nowhere else, and the host's is another.
    let listening = "awk '$4 == \"0A\" && $2 ~ /:1F90$/ { print $2 }' /proc/net/tcp /proc/net/tcp6";
    let listening = world.ctl(&["exec", "abc", "--", "sh", "-c", listening]).expect(0)?.out;
    same(&listening, &"0100007F:1F90\n", &format!("listens on {listening}"))?;
    let addresses = world.ok("bob", &["hostname", "-I"])?;
    for address in addresses.split_whitespace().chain(["127.0.0.1", "[::1]"]) {
        world.run("bob", &["curl", "--silent", "--max-time", "5", &format!("http://{address}:8080/")]).expect(7)?;
    }

    // Killed it is back, and who works in the box goes on.
    let shell = world.spawn("alice", &["podman", "exec", "devbox-abc", "sleep", "infinity"]);
    let killed = "s6-svlisten1 -R /run/s6/code-server pkill -KILL -f '[c]ode-server.js'";
    world.ctl(&["exec", "--root", "abc", "--", "sh", "-c", killed]).expect(0)?;
    expect_page(&alice)?;
    world.ok("alice", &["podman", "exec", "devbox-abc", "pgrep", "-x", "sleep"])?;
    drop(shell);
    let seen = "tr '\\0' '\\n' </proc/$(pgrep -f '[c]ode-server.js' | head -1)/environ";
    let seen = world.ctl(&["exec", "abc", "--", "sh", "-c", seen]).expect(0)?.out;
    ensure(seen.contains("HOME=/home/dev\n"), &seen)?;
    ensure(!["NOTIFY_SOCKET", "CREDENTIALS"].iter().any(|name| seen.contains(name)), &seen)?;
    let status = world.ctl(&["status", "abc", "--json"]).expect(0)?.json()?;
    same(&status["restarts"], &0, "the box itself was not restarted")
}

/// A file that is opened, read, changed and saved in alice's browser.
pub(super) fn edits(world: &World, alice: &Device) -> Result<Browser, Failed> {
    // Saved when it is asked to: else it would do so by itself after a second.
    let settings = "mkdir -p .local/share/code-server/User && echo '{\"files.autoSave\": \"off\"}' >.local/share/code-server/User/settings.json";
    let prepare = format!("{settings} && echo written in the box >note.txt");
    world.ctl(&["exec", "abc", "--", "sh", "-c", &prepare]).expect(0)?;
    let mut browser = Browser::on(alice)?;
    let begun = Instant::now();
    let open = "[[%22openFile%22,%22vscode-remote://abc:8080/home/dev/note.txt%22]]";
    browser.go(&format!("http://abc:8080/?folder=/home/dev&payload={open}"))?;
    // It asks once whether what is in the folder may run.
    let trust = "[...document.querySelectorAll('.monaco-dialog-box a.monaco-button, .monaco-dialog-box button')]\
                 .find((b) => b.textContent.startsWith('Yes'))";
    browser.until(&format!("({trust})?.click() === undefined && {trust} && true"))?;
    let lines = "[...document.querySelectorAll('.editor-instance .view-line')].map((l) => l.textContent).join('\\n').replaceAll('\\u00a0', ' ')";
    let shown = browser.until(&format!("({lines}).includes('written in the box') && {lines}"))?;
    ensure(shown.as_str().is_some_and(|s| s.starts_with("written in the box")), &format!("the page shows {shown}"))?;
    eprintln!("      the file is on the page: {:.2} s", begun.elapsed().as_secs_f32());

    // The question takes the focus, and gives it back as it goes.
    browser.until("!document.querySelector('.monaco-dialog-box')")?;
    let input = "document.querySelector('.editor-instance textarea.inputarea, .editor-instance .native-edit-context')";
    browser.until(&format!("({input}?.focus(), document.activeElement === {input})"))?;
    browser.type_text("typed from afar, ")?;
    browser.until("document.querySelector('.tab.active.dirty') && true")?;
    browser.press_ctrl("s", "KeyS", 83)?;
    browser.until("document.querySelector('.tab.active:not(.dirty)') && true")?;
    let now = world.ctl(&["exec", "abc", "--", "cat", "note.txt"]).expect(0)?.out;
    same(&now, &"typed from afar, written in the box\n", &format!("the file is {now:?}"))?;
    Ok(browser)
}

fn a_browser_edits_a_file(world: &World) -> Outcome {
    let (_tailnet, alice) = reachable(world, &["--env", "DEVBOX_EDITOR_IDLE=1"])?;
    let mut browser = edits(world, &alice)?;
    world.ctl(&["exec", "abc", "--", "test", "-e", ".local/share/code-server/heartbeat"]).expect(0)?;

    // A terminal is somebody's work, though its window is gone.
    browser.press_ctrl("`", "Backquote", 192)?;
    browser.until("document.querySelector('.terminal-wrapper.active .xterm') && [...document.querySelectorAll('.single-terminal-tab')].some((tab) => tab.textContent.includes('bash'))")?;
    drop(browser);
    let kept =
        "pid=$(pgrep -f '[c]ode-server.js' | head -1); sleep 4; test -d /proc/$pid && tr '\\0' ' ' </proc/$pid/cmdline";
    world.ctl(&["exec", "abc", "--", "sh", "-c", kept]).expect(0)?.says("code-server.js")
}

fn ends_when_nobody_is_there(world: &World) -> Outcome {
    world.ctl(&["create", "abc", "--env", "DEVBOX_EDITOR_IDLE=1"]).expect(0)?;
    let listens = ["exec", "--root", "abc", "--", "s6-svwait", "-U", "-t", "60000", "/run/s6/code-server"];
    world.ctl(&listens).expect(0)?;
    let is = |program: &str| world.ctl(&["exec", "abc", "--", "pgrep", "-f", program]).code == 0;
    ensure(is("on-connect 8080"), "only what waits for somebody")?;
    // Ready again is what it says when it has ended and waits anew.
    let once = "s6-svlisten1 -R /run/s6/code-server curl -sSfL -o /dev/null http://127.0.0.1:8080/ && echo again";
    world.ctl(&["exec", "--root", "abc", "--", "timeout", "120", "sh", "-c", once]).expect(0)?.says("again")?;
    ensure(is("on-connect 8080"), "waits again")
}

/// What every process of a unit has of the memory, shared pages in parts, and the processor's time they have used.
const USED: &str = "for pid in $(find /sys/fs/cgroup$1 -name cgroup.procs -exec cat {} +); do \
                      cat /proc/$pid/smaps_rollup 2>/dev/null | awk '/^Pss:/ { print \"kib\", $2 }'; \
                      sed 's/.*) //' /proc/$pid/stat 2>/dev/null | awk '{ print \"ticks\", $12 + $13 }'; \
                    done | awk '{ sum[$1] += $2 } END { print sum[\"kib\"], sum[\"ticks\"] }'";

/// Of conmon and pasta too, which are there for the box.
fn used(world: &World) -> Result<(u32, u32), Failed> {
    let show = ["systemctl", "--user", "show", "--property=ControlGroup", "--value", "devbox-abc.service"];
    let group = world.ok("alice", &show)?;
    let said = world.ok("root", &["sh", "-c", USED, "sh", group.trim()])?;
    match said.split_whitespace().map(str::parse).collect::<Vec<_>>()[..] {
        [Ok(kib), Ok(ticks)] => Ok((kib, ticks)),
        _ => Err(format!("no numbers: {said}").into()),
    }
}

/// The whole box, all that it can have in it, with nobody there.
fn little_at_rest(world: &World) -> Outcome {
    let (_tailnet, _alice) = reachable(world, &["--with-syncthing"])?;
    world.ctl(&["exec", "--root", "abc", "--", "s6-svwait", "-U", "-t", "60000", "/run/s6/syncthing"]).expect(0)?;
    // What it does to begin with is no rest.
    super::life_use::settled(world)?;
    let (_, before) = used(world)?;
    // Long enough that one tick of the clock is not what is measured.
    std::thread::sleep(Duration::from_secs(30));
    let (kib, after) = used(world)?;
    // A hundred ticks a second, so this is in hundredths of a core.
    let share = f64::from(after.saturating_sub(before)) / 30.0;
    eprintln!("      at rest: {} MiB, {share:.2} % of a core", kib / 1024);
    ensure(kib <= 150 * 1_000_000 / 1024, &format!("{kib} KiB at rest"))?;
    ensure(share <= 1.0, &format!("{share} % of a core at rest"))
}

fn ssh_as_zed_does(world: &World) -> Outcome {
    let (_tailnet, alice) = reachable(world, &[])?;
    // How it ended is not asked: of some the word of that is lost, though tailscaled's log has the session as complete
    // (docs/tailnet.md). What arrived is what counts.
    let said = |command: &mut Command| -> Result<String, Failed> {
        let output = command.stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // One connection, which all that follows goes through.
    let folder = tempfile::tempdir()?;
    let control = format!("ControlPath={}/control", folder.path().display());
    // It goes to the background when it is through, and would keep a pipe open.
    let quiet = |command: &mut Command| -> Outcome {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        ensure(status.success(), &format!("{command:?}: {status}"))
    };
    quiet(&mut alice.plain_ssh(&["-fN", "-o", "ControlMaster=yes", "-o", &control], "dev", "abc"))?;
    let through = ["-o", "ControlMaster=no", "-o", &control];
    let uname = said(alice.plain_ssh(&through, "dev", "abc").arg("uname -sm"))?;
    ensure(uname.starts_with("Linux "), &uname)?;
    said(alice.plain_ssh(&through, "dev", "abc").arg("mkdir -p .zed_server"))?;
    let server = folder.path().join("server");
    std::fs::write(&server, "#!/bin/sh\necho runs\n")?;
    said(alice.openssh("scp").args(through).arg("-C").arg(&server).arg("dev@abc:.zed_server/by-scp"))?;
    let batch = folder.path().join("batch");
    std::fs::write(&batch, format!("put {} .zed_server/by-sftp\n", server.display()))?;
    said(alice.openssh("sftp").args(through).arg("-b").arg(&batch).arg("dev@abc"))?;
    for name in ["by-scp", "by-sftp"] {
        let run = format!("chmod 755 .zed_server/{name} && .zed_server/{name}");
        same(&said(alice.plain_ssh(&through, "dev", "abc").arg(run))?, &"runs\n", name)?;
    }
    quiet(&mut alice.plain_ssh(&["-O", "exit", "-o", &control], "dev", "abc"))
}

/// Where the policy lets it, through tailscaled's proxy: there is no interface for it.
fn out_to_other_devices(world: &World) -> Outcome {
    let (tailnet, alice) = reachable(world, &[])?;
    let mut policy = own_boxes(&["alice", "bob"]);
    let also = json!({ "action": "accept", "src": [tag_of("alice")], "dst": ["alice@:*"] });
    policy["acls"].as_array_mut().ok_or("no rules")?.push(also);
    tailnet.set_policy(&policy).map_err(text)?;
    // The device's tailscaled hands it on to the loopback that it has itself.
    let server = alice.netns().run(|| TcpListener::bind(("127.0.0.1", 0))).map_err(text)??;
    let url = format!("http://alice-laptop:{}/", server.local_addr()?.port());
    std::thread::spawn(move || {
        for connection in server.incoming().flatten() {
            let mut lines = BufReader::new(&connection).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let _ = (&connection).write_all(b"HTTP/1.0 200 OK\r\n\r\nof the laptop");
        }
    });
    for proxy in ["ALL_PROXY=socks5h://127.0.0.1:1055", "http_proxy=http://127.0.0.1:1055"] {
        let argv = ["exec", "abc", "--", "env", proxy, "curl", "-sS", "--max-time", "20", "--retry", "5", &url];
        same(&world.ctl(&argv).expect(0)?.out, &"of the laptop", proxy)?;
    }
    Ok(())
}
