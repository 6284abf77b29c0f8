//! A box on a tailnet beside the same done by hand: the same image, `podman run`, tailscaled, `tailscale up`.

use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use testbed::artifacts::image::TAG;
use testbed::daemon::Life;
use testbed::lab::Host;
use testbed::tailnet::{Device, KeyRequest, Tailnet, own_boxes, tag_of};
use testbed::{install, progress};

use super::{limit, word};

/// Nobody whose folder has three hundred boxes.
const USER: &str = "bob";
const PATIENCE: Duration = Duration::from_mins(1);
const REST: Duration = Duration::from_secs(20);

struct Bench<'a> {
    host: &'a Host,
    tailnet: Tailnet,
    device: Device,
}

pub(super) fn measure(host: &Host, programs: &Path, runs: u32) -> Result<usize> {
    progress::step("a box on a tailnet");
    let tailnet = Tailnet::up(host, Life::Ours)?;
    tailnet.set_policy(&own_boxes(&["alice", USER]))?;
    let etc = host.root().join("etc");
    std::fs::create_dir_all(etc.join("credstore")).context("no /etc/credstore")?;
    std::fs::write(etc.join("credstore/devbox.tailnet"), tailnet.api_key()).context("no credential")?;
    std::fs::copy(tailnet.ca(), etc.join("devbox/ca.pem")).context("no certificate")?;
    let settings =
        format!("[tailnet]\nprovider = \"headscale\"\nurl = \"{}\"\nca = \"/etc/devbox/ca.pem\"\n", tailnet.url());
    std::fs::write(etc.join("devbox/users.toml"), settings).context("no users.toml")?;
    install::into(host.root(), programs)?;
    for command in install::ACTIVATE {
        ensure!(host.command("root").args(*command).output().context("no host")?.status.success(), "{command:?}");
    }
    let device = tailnet.device(USER, "bobs-laptop")?;
    let bench = Bench { host, tailnet, device };
    bench.by_hand()?;
    bench.away_by_hand()?;
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..runs.min(7) {
        ours.push(bench.timed("bench", || bench.run("exec devbox-ctl create --quiet bench"))?);
        bench.run("exec devbox-ctl destroy --now --quiet --yes bench")?;
        theirs.push(bench.timed("hand", || bench.by_hand())?);
        bench.away_by_hand()?;
    }
    let mut broken = pair("create until `tailscale ssh` answers", "podman run, tailscale up", ours, theirs, 1.2);

    bench.run("exec devbox-ctl create --quiet bench")?;
    bench.by_hand()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for name in ["bench", "hand"] {
        bench.timed(name, || Ok(()))?;
    }
    for _ in 0..runs.max(15) {
        ours.push(bench.connect("bench")?);
        theirs.push(bench.connect("hand")?);
    }
    broken += pair("tailscale ssh, connect and `true`", "the same to a tailscaled by hand", ours, theirs, 1.2);
    bench.away_by_hand()?;

    let mut again = Vec::new();
    for _ in 0..runs.min(7) {
        again.push(bench.timed("bench", || bench.run("exec devbox-ctl restart --quiet bench"))?);
    }
    broken += limit("restart until `tailscale ssh` answers", median(again).as_secs_f64(), "s", 3.0);
    broken += bench.at_rest()?;
    bench.run("exec devbox-ctl destroy --now --quiet --yes bench")?;
    ensure!(host.command("root").args(["systemctl", "stop", "devboxd"]).status()?.success(), "devboxd does not stop");
    Ok(broken)
}

impl Bench<'_> {
    fn run(&self, script: &str) -> Result<()> {
        self.run_with(script, "")
    }

    fn run_with(&self, script: &str, input: &str) -> Result<()> {
        let mut command = self.host.command(USER);
        command.args(["sh", "-euc", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot enter the host")?;
        std::io::Write::write_all(&mut child.stdin.take().context("a pipe")?, input.as_bytes()).context("no input")?;
        let output = child.wait_with_output().context("no end")?;
        ensure!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn by_hand(&self) -> Result<()> {
        let tags = tag_of(USER);
        let key = self.tailnet.preauth_key(&KeyRequest { tags: &[&tags], ..KeyRequest::default() })?;
        let ca = std::fs::read_to_string(self.tailnet.ca()).context("no certificate")?;
        let script = format!(
            "podman run --detach --quiet --name hand --volume hand-state:/var/lib/devbox {TAG} >/dev/null\n\
             podman exec --interactive --user root hand sh -c 'umask 077; cat >/dev/shm/ca.pem'"
        );
        self.run_with(&script, &ca)?;
        let script = format!(
            "podman exec --interactive --user root hand sh -c 'umask 077; cat >/dev/shm/key'\n\
             podman exec --detach --user root --env SSL_CERT_FILE=/dev/shm/ca.pem --env TS_NO_LOGS_NO_SUPPORT=true hand \
             tailscaled --tun=userspace-networking --statedir=/var/lib/devbox/tailscale\n\
             podman exec --user root hand sh -c 'until tailscale status --json >/dev/null 2>&1; do sleep 0.02; done; \
             tailscale up --ssh --accept-dns=false --hostname=hand --login-server={} --auth-key=file:/dev/shm/key'",
            self.tailnet.url()
        );
        self.run_with(&script, &key)
    }

    fn away_by_hand(&self) -> Result<()> {
        self.run("podman rm --force --time 0 hand >/dev/null; podman volume rm hand-state >/dev/null")?;
        let node = self.tailnet.node("hand")?.context("no node")?;
        self.tailnet.delete_node(node["id"].as_str().context("no id")?)
    }

    /// How long it takes until that box answers.
    fn timed(&self, name: &str, doing: impl FnOnce() -> Result<()>) -> Result<Duration> {
        let begun = Instant::now();
        doing()?;
        loop {
            match self.connect(name) {
                Ok(_) => return Ok(begun.elapsed()),
                Err(e) if begun.elapsed() > PATIENCE => return Err(e),
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn connect(&self, name: &str) -> Result<Duration> {
        let begun = Instant::now();
        let output = self.device.ssh("dev", name, &["true"]).stdin(Stdio::null()).output().context("no ssh")?;
        ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(begun.elapsed())
    }

    /// Memory and processor of a box that nobody uses.
    fn at_rest(&self) -> Result<usize> {
        let figures = || -> Result<(f64, f64)> {
            // Proportional: what its processes share with each other or with others' counts once.
            let script = "cg=/sys/fs/cgroup$(systemctl --user --machine=bob@ show -P ControlGroup devbox-bench.service); \
                          find $cg -name cgroup.procs -exec cat {} + | while read pid; do cat /proc/$pid/smaps_rollup 2>/dev/null; done \
                          | awk '/^Pss:/ { sum += $2 } END { print sum }'; awk '/^usage_usec/ { print $2 }' $cg/cpu.stat";
            let output = self.host.command("root").args(["sh", "-c", script]).output().context("no host")?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut numbers = text.split_whitespace().map(str::parse::<f64>);
            let mut next = || numbers.next().and_then(Result::ok).with_context(|| format!("no figures: {output:?}"));
            Ok((next()?, next()?))
        };
        // What a start leaves to do is not rest.
        thread::sleep(REST);
        let (_, before) = figures()?;
        thread::sleep(REST);
        let (kibibytes, after) = figures()?;
        let share = (after - before) / 1e6 / REST.as_secs_f64() * 100.0;
        Ok(limit("a box at rest, all services: memory", kibibytes * 1024.0 / 1e6, "MB", 150.0)
            + limit("a box at rest: of one core", share.max(0.01), "%", 1.0))
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn pair(what: &str, hand: &str, ours: Vec<Duration>, theirs: Vec<Duration>, at_most: f64) -> usize {
    let (ours, theirs) = (median(ours).as_secs_f64(), median(theirs).as_secs_f64());
    let ratio = ours / theirs;
    println!("| {what} | {ours:.2} s | {hand} {theirs:.2} s | {ratio:.3} | ≤ {at_most} | {} |", word(ratio <= at_most));
    usize::from(ratio > at_most)
}
