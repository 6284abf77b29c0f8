//! A backup beside `podman volume export | zstd` of the same volume, and what it takes of memory.

use anyhow::Result;
use testbed::lab::Host;
use testbed::progress;

use super::{Case, Pair, compare, limit, peak_memory, shell};

/// Files of many sizes, half of each text and half of it not to be compressed, like a home with sources and packages.
/// FILES of them, of 50 kB in the mean.
const FILL: &str = r#"
set -eu
devbox-ctl create --quiet bench
devbox-ctl exec bench -- perl -e '
  open(my $random, "<", "/dev/urandom"); read($random, my $noise, 64 << 20);
  my $text = join(" ", map { "line $_ of a file that somebody has written" } 1 .. 3000);
  srand(7);
  for my $n (0 .. FILES - 1) {
    my $folder = "many/" . int($n / 200);
    if ($n % 200 == 0) { mkdir "many"; mkdir $folder; }
    my $half = int(rand(50_000));
    open(my $file, ">", "$folder/$n") or die;
    print $file substr($text, 0, $half), substr($noise, int(rand((64 << 20) - 50_000)), $half);
  }'
devbox-ctl stop --quiet bench
printf '%s\n' '#!/bin/sh' 'rm -f /tmp/by-hand.tar.zst' 'podman volume export bench-data | zstd --quiet -o /tmp/by-hand.tar.zst' > /tmp/backup-by-hand
printf '%s\n' '#!/bin/sh' 'rm -f /home/alice/bench.zst; sync' > /tmp/before-backup
chmod +x /tmp/backup-by-hand /tmp/before-backup
"#;

const BACKUP: Pair = Pair {
    what: "backup",
    ours: Case { prepare: "/tmp/before-backup", command: "devbox-ctl backup bench --priority 1 -o bench.zst" },
    by_hand: ("podman volume export | zstd", Case { prepare: "/tmp/before-backup", command: "/tmp/backup-by-hand" }),
    at_most: 1.3,
};

/// `files`: 100,000 are 5 GB.
pub(super) fn measure(host: &Host, runs: u32, files: u32) -> Result<usize> {
    progress::step(&format!("a box with {files} files"));
    shell(host, &FILL.replace("FILES", &files.to_string()))?;
    let mut broken = compare(host, &BACKUP, runs.min(3))?;
    shell(host, "rm -f bench.zst /tmp/by-hand.tar.zst")?;
    let backup = ["backup", "bench", "-o", "bench.zst"];
    broken += limit("peak memory of backup", peak_memory(host, &backup)?, "MB", 64.0);
    let create = ["create", "again", "--from-backup", "bench.zst"];
    broken += limit("peak memory of create --from-backup", peak_memory(host, &create)?, "MB", 64.0);
    shell(host, "devbox-ctl destroy --now --yes -q bench; devbox-ctl destroy --now --yes -q again; rm -f bench.zst")?;
    Ok(broken)
}
