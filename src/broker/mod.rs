//! devboxd: names, limits and the audit trail, for all owners of a host. Started by the bus, gone when idle.
//!
//! It believes the kernel (bus credentials, cgroups), its ledger and the administrator's settings; everything else a
//! tenant may have written. It opens no file in a tenant's folder.

mod accounts;
mod activity;
mod caller;
mod courier;
mod desk;
mod interface;
mod ledger;
mod login;
mod probe;
mod queue;
mod reconcile;
mod rules;
mod turns;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_signal::{Signal, Signals};
use clap::Parser;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use listenfd::ListenFd;
use zbus::fdo::RequestNameFlags;

use crate::tailnet::Credentials;
use crate::wire;
use accounts::Accounts;
use activity::Activity;
use courier::Courier;
use interface::Broker;
use login::{Giver, Serving};
use queue::Queue;

/// The broker of devbox-ctl: started by systemd when somebody calls it on the system bus.
#[derive(Debug, Parser)]
#[command(name = "devboxd", version)]
struct Args {
    /// Where the ledger is [default: $STATE_DIRECTORY]
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// End after so many seconds without a call
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    idle: f64,
    /// Serve on this bus instead of the system's
    #[arg(long, value_name = "ADDRESS", hide = true)]
    bus: Option<String>,
}

/// For the bus and for polkit.
const PATIENCE: Duration = Duration::from_secs(5);
/// Messages that are read ahead.
const MOST_QUEUED: NonZeroUsize = NonZeroUsize::new(4).unwrap();
/// Between giving the name back and ending: what was sent to us before is on its way still.
const DRAIN: Duration = Duration::from_millis(200);

pub fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("devboxd cannot serve: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let state = args.state.clone().or_else(|| std::env::var_os("STATE_DIRECTORY").map(PathBuf::from));
    let ledger = ledger::open(&state.ok_or("no --state and no $STATE_DIRECTORY")?.join("ledger.sqlite"))?;
    let queue = Arc::new(Queue::default());
    let worker = {
        let queue = Arc::clone(&queue);
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || queue.serve(ledger, desk::Desk::default()))?
    };
    let activity = Arc::new(Activity::new());
    let credentials = Credentials::Given(std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from));
    let giver = Arc::new(Giver::new(Arc::clone(&queue), credentials));
    let accounts = Arc::new(Accounts::default());
    let mut sockets = ListenFd::from_env();
    let serving = match sockets.take_unix_listener(0) {
        Ok(Some(listener)) => {
            Some(login::serve(listener, Arc::clone(&giver), Arc::clone(&activity), Arc::clone(&accounts))?)
        }
        // Started by hand, or by the bus where the socket is not enabled.
        _ => None,
    };
    let courier = Courier::start(Arc::clone(&queue), Arc::clone(&activity))?;
    let turns = match sockets.take_unix_listener(1) {
        Ok(Some(listener)) => {
            Some(turns::serve(listener, Arc::clone(&queue), Arc::clone(&activity), Arc::clone(&accounts))?)
        }
        _ => None,
    };
    let broker = Broker {
        queue: Arc::clone(&queue),
        activity: Arc::clone(&activity),
        callers: caller::Callers::new(accounts),
        giver,
        asking: Arc::default(),
        courier,
    };
    let idle = Duration::try_from_secs_f64(args.idle)?;
    let served = zbus::block_on(serve(args.bus.as_deref(), broker, &activity, idle, (serving, turns)));
    queue.close();
    let _ = worker.join();
    Ok(served?)
}

/// Serves until nobody has called for a while, or until it is told to end.
async fn serve(
    bus: Option<&str>,
    broker: Broker,
    activity: &Activity,
    idle: Duration,
    serving: (Option<Serving>, Option<Serving>),
) -> zbus::Result<()> {
    let mut signals = Signals::new([Signal::Term, Signal::Int]).map_err(zbus::Error::from)?;
    let builder = match bus {
        Some(address) => zbus::connection::Builder::address(address),
        None => zbus::connection::Builder::system(),
    };
    // The bus drops what it answers to somebody with a full queue, and whoever floods us fills ours: no wait of ours is
    // without an end, and little of what is large is read ahead.
    let builder = builder.method_timeout(PATIENCE).max_queued(MOST_QUEUED);
    let connection = builder.serve_at(wire::PATH, broker).build().await?;
    connection.request_name_with_flags(wire::BUS_NAME, RequestNameFlags::DO_NOT_QUEUE).await?;
    loop {
        let quiet = activity.idle();
        if quiet >= idle {
            break;
        }
        let timer = async_io::Timer::after(idle.saturating_sub(quiet).max(Duration::from_millis(10)));
        if let Either::Left(_) = select(signals.next(), timer).await {
            break;
        }
    }
    // From here on the bus starts another devboxd for new calls; systemd starts it once this one has ended.
    connection.release_name(wire::BUS_NAME).await?;
    drop(serving);
    async_io::Timer::after(DRAIN).await;
    let end = std::time::Instant::now() + PATIENCE * 3;
    while activity.idle() < DRAIN && std::time::Instant::now() < end {
        async_io::Timer::after(Duration::from_millis(20)).await;
    }
    Ok(())
}
