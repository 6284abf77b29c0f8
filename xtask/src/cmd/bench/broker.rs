//! devboxd beside the same transactions made directly, on the same disk.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use rusqlite::{Connection, TransactionBehavior, params};
use testbed::lab::Host;
use testbed::{install, progress};

use super::{Case, limit, peak_of, time_as};

const CLIENTS: usize = 100;
/// Pairs of a reserve and a commit of each client.
const ROUNDS: usize = 10;

pub(super) fn measure(host: &Host, programs: &Path, runs: u32) -> Result<usize> {
    progress::step("the broker");
    install::into(host.root(), programs)?;
    std::fs::write(
        host.root().join("etc/devbox/users.toml"),
        "[defaults]\nmax_boxes = 100000\n[host]\nmax_boxes = 100000\n",
    )
    .context("no users.toml")?;
    for command in &install::ACTIVATE[..3] {
        ensure!(host.command("root").args(*command).output().context("no host")?.status.success(), "{command:?}");
    }
    let bus = format!("unix:path=/proc/{}/root/run/dbus/system_bus_socket", host.leader());
    let mut broken = 0;

    // One after the other, so that neither waits for the other's fsync.
    let direct = Direct::open(&host.root().join("var/lib/direct.sqlite"))?;
    let by_hand = direct.together()?;
    let ours = zbus::block_on(together(&bus))?;
    let ratio = ours.as_secs_f64() / by_hand.as_secs_f64();
    println!(
        "| reserve + commit, {CLIENTS} clients at once, {} in all | {:.0} ms | SQLite itself {:.0} ms | {ratio:.2} | ≤ 2 | {} |",
        CLIENTS * ROUNDS,
        ours.as_secs_f64() * 1000.0,
        by_hand.as_secs_f64() * 1000.0,
        super::word(ratio <= 2.0)
    );
    broken += usize::from(ratio > 2.0);

    let alone = direct.alone()?;
    let (one, first) = zbus::block_on(alone_by_bus(&bus))?;
    println!("| reserve + commit, one client | {:.2} ms | SQLite itself {:.2} ms | | | |", ms(one), ms(alone));
    broken += limit("the bus's part of that", ms(one.saturating_sub(alone)).max(0.01), "ms", 5.0);
    broken += limit("admission's share of a create: connect, reserve, commit", ms(first), "ms", 10.0);

    let cold = zbus::block_on(cold(host, &bus, runs))?;
    broken += limit("first call to a devboxd that is not there", ms(cold), "ms", 60.0);

    progress::step("ten thousand boxes in the ledger");
    ensure!(host.command("root").args(["systemctl", "stop", "devboxd"]).status()?.success(), "devboxd does not stop");
    fill(&host.root().join("var/lib/devboxd/ledger.sqlite"))?;
    zbus::block_on(alone_by_bus(&bus))?;
    broken += limit("devboxd's peak memory, 10,000 boxes", peak_of(host, "devboxd")?, "MB", 12.0);
    let (one, _) = zbus::block_on(alone_by_bus(&bus))?;
    println!("| reserve + commit, one client, 10,000 boxes | {:.2} ms | | | | |", ms(one));
    let all = Case { prepare: "true", command: "devbox-ctl list --all" };
    println!("| list --all, 10,000 boxes | {:.0} ms | | | | |", time_as(host, "root", &all, runs)?.median * 1000.0);
    println!("| devboxd's peak memory after that | {:.1} MB | | | | |", peak_of(host, "devboxd")?);
    Ok(broken)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

async fn client(bus: &str) -> Result<zbus::Connection> {
    Ok(zbus::connection::Builder::address(bus).build().await?)
}

async fn admit(connection: &zbus::Connection, name: &str) -> Result<()> {
    let broker = Some("io.devbox.Broker1");
    let body = (name, 1000_u32, 1_u64 << 30, false);
    connection.call_method(broker, "/io/devbox/Broker1", broker, "Reserve", &body).await?;
    connection.call_method(broker, "/io/devbox/Broker1", broker, "Commit", &(name)).await?;
    Ok(())
}

async fn release(connection: &zbus::Connection, name: &str) -> Result<()> {
    let broker = Some("io.devbox.Broker1");
    connection.call_method(broker, "/io/devbox/Broker1", broker, "Release", &(name)).await?;
    Ok(())
}

async fn together(bus: &str) -> Result<Duration> {
    let clients = try_join_all((0..CLIENTS).map(|_| client(bus))).await?;
    admit(&clients[0], "warm-up").await?;
    let begun = Instant::now();
    try_join_all(clients.iter().enumerate().map(|(n, connection)| async move {
        for round in 0..ROUNDS {
            admit(connection, &format!("c{n}-{round}")).await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(begun.elapsed())
}

/// Medians of one client's pair, and of a pair with the connection it needs.
async fn alone_by_bus(bus: &str) -> Result<(Duration, Duration)> {
    let connection = client(bus).await?;
    let (mut pairs, mut fresh) = (Vec::new(), Vec::new());
    for n in 0..100 {
        let name = format!("one-{n}");
        let begun = Instant::now();
        admit(&connection, &name).await?;
        pairs.push(begun.elapsed());
        release(&connection, &name).await?;
        let begun = Instant::now();
        admit(&client(bus).await?, &name).await?;
        fresh.push(begun.elapsed());
        release(&connection, &name).await?;
    }
    Ok((median(pairs), median(fresh)))
}

/// From a call to its answer, where systemd has to start devboxd first.
async fn cold(host: &Host, bus: &str, runs: u32) -> Result<Duration> {
    let connection = client(bus).await?;
    let broker = Some("io.devbox.Broker1");
    let mut times = Vec::new();
    for _ in 0..runs.max(10) {
        ensure!(
            host.command("root").args(["systemctl", "stop", "devboxd"]).status()?.success(),
            "devboxd does not stop"
        );
        let begun = Instant::now();
        connection.call_method(broker, "/io/devbox/Broker1", broker, "Boxes", &(false, "")).await?;
        times.push(begun.elapsed());
    }
    Ok(median(times))
}

/// What devboxd's ledger does for a reserve and a commit, by a program that has the file for itself.
struct Direct(PathBuf);

impl Direct {
    fn open(path: &Path) -> Result<Self> {
        let direct = Self(path.to_owned());
        direct.connect()?.execute_batch(
            "CREATE TABLE boxes (name TEXT PRIMARY KEY, uid INTEGER NOT NULL, cpu INTEGER NOT NULL, memory INTEGER NOT NULL, \
             since INTEGER NOT NULL, expires INTEGER) STRICT, WITHOUT ROWID; CREATE INDEX boxes_of ON boxes (uid); \
             CREATE TABLE audit (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, uid INTEGER NOT NULL, pid INTEGER NOT NULL, \
             program TEXT NOT NULL, verb TEXT NOT NULL, owner INTEGER NOT NULL, name TEXT NOT NULL, outcome TEXT NOT NULL) STRICT; \
             CREATE INDEX audit_of ON audit (uid, at); CREATE INDEX audit_at ON audit (at);",
        )?;
        Ok(direct)
    }

    fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(&self.0)?;
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 60000;")?;
        Ok(connection)
    }

    fn admit(connection: &mut Connection, uid: u32, name: &str) -> Result<()> {
        const HELD: &str = "SELECT name, uid, cpu, memory, since, expires FROM boxes";
        let audit = "INSERT INTO audit (at, uid, pid, program, verb, owner, name, outcome) VALUES (1, ?1, 1, 'bench', ?2, ?1, ?3, 'allowed')";
        for commit in [false, true] {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            tx.prepare_cached(&format!("{HELD} WHERE name = ?1"))?.exists([name])?;
            if commit {
                tx.prepare_cached("UPDATE boxes SET expires = NULL WHERE name = ?1")?.execute([name])?;
            } else {
                tx.prepare_cached("DELETE FROM boxes WHERE expires <= 1")?.execute([])?;
                tx.prepare_cached(&format!("{HELD} WHERE uid = ?1"))?
                    .query_map([uid], |r| r.get::<_, String>(0))?
                    .count();
                tx.prepare_cached("SELECT count(*), total(cpu), total(memory) FROM boxes")?
                    .query_row([], |r| r.get::<_, i64>(0))?;
                let values = params![name, uid, 1000, 1 << 30, 1, 600];
                tx.prepare_cached("INSERT OR REPLACE INTO boxes VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(values)?;
            }
            tx.prepare_cached(audit)?.execute(params![uid, if commit { "create" } else { "reserve" }, name])?;
            tx.prepare_cached("DELETE FROM audit WHERE at < 0")?.execute([])?;
            tx.commit()?;
        }
        Ok(())
    }

    fn together(&self) -> Result<Duration> {
        let connections = (0..CLIENTS).map(|_| self.connect()).collect::<Result<Vec<_>>>()?;
        let begun = Instant::now();
        thread::scope(|scope| {
            let work: Vec<_> = connections
                .into_iter()
                .enumerate()
                .map(|(n, mut connection)| {
                    scope.spawn(move || {
                        (0..ROUNDS).try_for_each(|round| Self::admit(&mut connection, 0, &format!("c{n}-{round}")))
                    })
                })
                .collect();
            work.into_iter().try_for_each(|w| w.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a client died"))))
        })?;
        Ok(begun.elapsed())
    }

    fn alone(&self) -> Result<Duration> {
        let mut connection = self.connect()?;
        let mut times = Vec::new();
        for n in 0..100 {
            let begun = Instant::now();
            Self::admit(&mut connection, 0, &format!("one-{n}"))?;
            times.push(begun.elapsed());
        }
        Ok(median(times))
    }
}

/// Ten thousand boxes of many owners.
fn fill(ledger: &Path) -> Result<()> {
    let mut connection = Connection::open(ledger)?;
    let tx = connection.transaction()?;
    for n in 0..10_000 {
        tx.prepare_cached("INSERT INTO boxes VALUES (?1, ?2, 2000, 4294967296, 1, NULL)")?
            .execute(params![format!("full-{n}"), 2000 + n / 5])?;
    }
    Ok(tx.commit()?)
}
