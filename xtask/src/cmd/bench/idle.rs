//! What a look at a hundred running boxes costs, beside the look that podman has.

use anyhow::{Context, Result};
use testbed::lab::Host;
use testbed::progress;

use super::{Case, limit, shell, time, word};

const BOXES: u32 = 100;

/// Of processor time, since a look is taken every five minutes and nobody waits for it.
pub(super) fn measure(host: &Host, runs: u32) -> Result<usize> {
    std::fs::write(host.root().join("etc/devbox/users.toml"), "[defaults]\nmax_boxes = 400\n")
        .context("no users.toml")?;
    progress::step(&format!("{BOXES} running boxes"));
    // The owner's own timer would look at the same time.
    let timers = "systemctl --user stop devboxes-sample.timer devboxes-cleanup.timer 2> /dev/null";
    shell(host, &format!("{timers}; set -e; for n in $(seq {BOXES}); do devbox-ctl create -q idle-$n; done"))?;
    let cpu = |command| -> Result<f64> {
        let timing = time(host, &Case { prepare: "true", command }, runs)?;
        Ok((timing.user + timing.system) * 1000.0)
    };
    let (ours, theirs) = (cpu("devbox-ctl sample")?, cpu("podman stats --no-stream")?);
    let (ratio, most) = (ours / theirs, 1.0 / 5.0);
    println!(
        "| cpu of a look at {BOXES} boxes | {ours:.1} ms | podman stats {theirs:.1} ms | {ratio:.3} | ≤ {most:.3} | {} |",
        word(ratio <= most)
    );
    let broken = usize::from(ratio > most) + limit("the same", ours, "ms", 50.0);
    Ok(broken + list(host, runs)?)
}

/// Of boxes that run and are on a tailnet, as `list` sees it: each is asked for what it says of itself.
fn list(host: &Host, runs: u32) -> Result<usize> {
    let edit = "sed -i '/^tailnet = /d; 1i tailnet = \"broker\"' .config/containers/systemd/devbox/idle-*/box.toml";
    shell(host, edit)?;
    let mut broken = 0;
    for (boxes, most_ms) in [(BOXES, 25.0), (10, 10.0)] {
        if boxes < BOXES {
            shell(
                host,
                &format!(
                    "set -e; for n in $(seq {} {BOXES}); do devbox-ctl destroy --now --yes -q idle-$n; done",
                    boxes + 1
                ),
            )?;
        }
        let [ours, theirs] = ["devbox-ctl list", "podman ps"]
            .map(|command| time(host, &Case { prepare: "true", command }, runs).map(|timing| timing.median * 1000.0));
        let (ours, theirs) = (ours?, theirs?);
        let (ratio, most) = (ours / theirs, 1.0 / 20.0);
        println!(
            "| list, {boxes} running boxes on a tailnet | {ours:.1} ms | podman ps {theirs:.1} ms | {ratio:.3} | ≤ {most:.3} | {} |",
            word(ratio <= most)
        );
        broken += usize::from(ratio > most) + limit("the same", ours, "ms", most_ms);
    }
    Ok(broken)
}
