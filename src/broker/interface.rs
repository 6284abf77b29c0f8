//! The methods of `io.devbox.Broker1`: each hands its arguments and its caller to the queue.

use std::sync::Arc;

use zbus::message::Header;
use zbus::{Connection, interface};

use super::activity::Activity;
use super::caller::Callers;
use super::courier::Courier;
use super::desk::warn::{Told, WarnRequest};
use super::desk::{Answer, Caller, Request};
use super::login::{AtWork, Giver};
use super::queue::Queue;
use crate::spec::BoxName;
use crate::wire::{AuditLine, Finding, LedgerBox, OnTailnet, OwnerUse, Refused, Why};

#[derive(Debug)]
pub(super) struct Broker {
    pub(super) queue: Arc<Queue>,
    pub(super) activity: Arc<Activity>,
    pub(super) callers: Callers,
    pub(super) giver: Arc<Giver>,
    /// Calls that wait for the provider.
    pub(super) asking: Arc<AtWork>,
    pub(super) courier: Courier,
}

impl Broker {
    async fn ask(&self, connection: &Connection, header: &Header<'_>, request: Request) -> Result<Answer, Refused> {
        small(header)?;
        let _at_work = self.activity.begin();
        let mut caller = self.callers.of(connection, header).await?;
        if request.is_for_administrators() && caller.uid != 0 {
            caller.authorized = Callers::may_administer(connection, header).await;
        }
        self.queue.ask(caller, request).await
    }

    /// What is asked of somebody outside, such as the tailnet's provider: in one of its caller's few places.
    async fn beside<T: Send + 'static>(
        &self,
        connection: &Connection,
        header: &Header<'_>,
        work: impl FnOnce(&Caller) -> T + Send + 'static,
    ) -> Result<T, Refused> {
        small(header)?;
        let _at_work = self.activity.begin();
        let caller = self.callers.of(connection, header).await?;
        let too_many = || Refused::new(Why::TooMany, "too many such calls of yours wait");
        let place = self.asking.take_now(caller.uid).ok_or_else(too_many)?;
        aside(move || {
            let _place = place;
            work(&caller)
        })
        .await
    }
}

/// Refuses what is larger than any request is, before it is kept anywhere: the bus lets 32 MB through.
fn small(header: &Header<'_>) -> Result<(), Refused> {
    if header.primary().body_len() > MOST_BYTES {
        return Err(Refused::new(Why::InvalidInput, format!("a request has at most {MOST_BYTES} bytes")));
    }
    Ok(())
}

/// Runs what may take long in a thread of its own, while the bus goes on.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    let (done, outcome) = futures_channel::oneshot::channel();
    let spawned = std::thread::Builder::new().name("aside".to_owned()).spawn(move || {
        let _ = done.send(work());
    });
    let too_many = |_| Refused::new(Why::TooMany, "devboxd has too much to do; try again");
    spawned.map_err(too_many)?;
    outcome.await.map_err(|_| Refused::new(Why::Ledger, "devboxd is ending"))
}

/// A report of a thousand boxes has less.
const MOST_BYTES: u32 = 128 << 10;

fn odd<T>() -> Result<T, Refused> {
    Err(Refused::new(Why::Ledger, "devboxd answered another question"))
}

#[interface(name = "io.devbox.Broker1")]
impl Broker {
    /// Holds a name for the caller for ten minutes, if limits allow it; with `start`, if there is room now too.
    async fn reserve(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        cpu_millis: u32,
        memory_bytes: u64,
        start: bool,
    ) -> Result<(), Refused> {
        self.ask(connection, &header, Request::Reserve { name, cpu_millis, memory_bytes, start }).await.map(drop)
    }

    /// Makes a reservation a box.
    async fn commit(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
    ) -> Result<(), Refused> {
        self.ask(connection, &header, Request::Commit { name }).await.map(drop)
    }

    /// Gives a name back. One that is not held is no error.
    async fn release(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
    ) -> Result<(), Refused> {
        self.ask(connection, &header, Request::Release { name }).await.map(drop)
    }

    /// Holds a name as one in the trash: it stays the caller's, and counts against the limit of the trash instead. Its
    /// device leaves the tailnet.
    async fn trash(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
    ) -> Result<(), Refused> {
        self.ask(connection, &header, Request::Trash { name }).await.map(drop)
    }

    /// Makes a name in the trash a box again, if limits allow it; with `start`, if there is room now too.
    async fn restore(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        cpu_millis: u32,
        memory_bytes: u64,
        start: bool,
    ) -> Result<(), Refused> {
        self.ask(connection, &header, Request::Restore { name, cpu_millis, memory_bytes, start }).await.map(drop)
    }

    /// Whether a box of the caller's can be started now; the size is for one that the ledger does not know.
    async fn start(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        memory_bytes: u64,
    ) -> Result<(), Refused> {
        self.ask(connection, &header, Request::Start { name, memory_bytes }).await.map(drop)
    }

    /// The boxes (name, thousandths of a processor, bytes of memory, whether it is in the trash) and the disk that the
    /// caller has, when their boxes were last looked at, and when their cleanup last ran (seconds since 1970, 0 for
    /// never, less for not known), as they say.
    async fn report(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        boxes: Vec<(String, u32, u64, bool)>,
        disk_bytes: u64,
        sampled: i64,
        cleaned: i64,
    ) -> Result<(), Refused> {
        self.ask(connection, &header, Request::Report { boxes, disk_bytes, sampled, cleaned }).await.map(drop)
    }

    /// Tells the administrator's command, where there is one, of a box of the caller's: `stop-ahead`, `trash-ahead` or
    /// `delete-ahead` in so many seconds, or `stopped`, `trashed` or `deleted` so many seconds ago; and what git work
    /// was found in it that is nowhere else.
    async fn warn(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
        event: String,
        seconds: u64,
        work: String,
    ) -> Result<(), Refused> {
        self.ask(connection, &header, Request::Warn(Told { name, event, seconds, work })).await?;
        self.courier.wake();
        Ok(())
    }

    /// Whether the administrator's command takes what it is told, and in words how that stands; with `test` it is told
    /// of a box that there is not. For administrators.
    #[zbus(out_args("good", "text"))]
    async fn hook(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        test: bool,
    ) -> Result<(bool, String), Refused> {
        let _at_work = self.activity.begin();
        let document = match self.ask(connection, &header, Request::Hook { test }).await? {
            Answer::Status(good, said) => return Ok((good, said)),
            Answer::Document(document) => document,
            _ => return odd(),
        };
        let courier = self.courier.clone();
        let taken = self.beside(connection, &header, move |_| courier.hand_over(&document));
        if let Err(why) = taken.await? {
            return Ok((false, why));
        }
        self.queue.ask(Caller::ourselves(), Request::Warnings(WarnRequest::Again)).await?;
        self.courier.wake();
        Ok((true, "the command took a test".to_owned()))
    }

    /// The caller's boxes, or everybody's for administrators: by name, the first thousand after that name.
    async fn boxes(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        all: bool,
        after: String,
    ) -> Result<Vec<LedgerBox>, Refused> {
        match self.ask(connection, &header, Request::Boxes { all, after }).await? {
            Answer::Boxes(boxes) => Ok(boxes),
            _ => odd(),
        }
    }

    /// What each owner has and may have; for administrators.
    async fn limits(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<OwnerUse>, Refused> {
        match self.ask(connection, &header, Request::Limits).await? {
            Answer::Uses(uses) => Ok(uses),
            _ => odd(),
        }
    }

    /// The audit trail, newest first, of one owner or of all; for administrators.
    async fn audit(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        since: i64,
        owner: String,
        most: u32,
    ) -> Result<Vec<AuditLine>, Refused> {
        match self.ask(connection, &header, Request::Audit { since, owner, most }).await? {
            Answer::Audit(lines) => Ok(lines),
            _ => odd(),
        }
    }

    /// What the ledger and the host disagree on, mended where asked; for administrators.
    async fn reconcile(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        fix: bool,
    ) -> Result<Vec<Finding>, Refused> {
        match self.ask(connection, &header, Request::Reconcile { fix }).await? {
            Answer::Findings(findings) => Ok(findings),
            _ => odd(),
        }
    }

    /// Notes what an administrator is about to do to an owner's box, and gives the owner's uid.
    async fn act(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        verb: String,
        owner: String,
        name: String,
    ) -> Result<u32, Refused> {
        match self.ask(connection, &header, Request::Act { verb, owner, name }).await? {
            Answer::Uid(uid) => Ok(uid),
            _ => odd(),
        }
    }

    /// How a box of the caller's stands on the tailnet, its provider asked.
    async fn tailnet(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        name: String,
    ) -> Result<OnTailnet, Refused> {
        let Ok(name) = name.parse::<BoxName>() else {
            return Err(Refused::new(Why::InvalidInput, "that is no name of a box"));
        };
        let giver = Arc::clone(&self.giver);
        self.beside(connection, &header, move |caller| giver.state(caller, &name)).await?
    }

    /// Takes devices of boxes that are gone off the tailnet, the caller's or, for root, all; how many are left.
    async fn tidy(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<u32, Refused> {
        let giver = Arc::clone(&self.giver);
        let tidied = self.beside(connection, &header, move |caller| giver.remove_departed(caller, caller.uid == 0));
        let left = tidied.await?;
        // The timer's call is the clock by which warnings are tried again.
        self.courier.wake();
        Ok(u32::try_from(left).unwrap_or(u32::MAX))
    }

    /// Takes a name from its owner, whatever they say; for administrators.
    async fn evict(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
        owner: String,
        name: String,
    ) -> Result<(), Refused> {
        self.ask(connection, &header, Request::Evict { owner, name }).await.map(drop)
    }

    /// Whether the settings are good, and in words what holds; for administrators.
    #[zbus(out_args("good", "text"))]
    async fn status(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(bool, String), Refused> {
        match self.ask(connection, &header, Request::Status).await? {
            Answer::Status(good, text) => Ok((good, text)),
            _ => odd(),
        }
    }
}

#[cfg(test)]
mod tests {
    use zbus::object_server::Interface;

    use super::*;

    /// `UPDATE_GOLDEN=1` writes it anew.
    #[test]
    fn the_introspection_data_is_as_documented() {
        let queue: Arc<Queue> = Arc::default();
        let giver = Arc::new(Giver::new(Arc::clone(&queue), crate::tailnet::Credentials::Given(None)));
        let (activity, asking) = (Arc::new(Activity::new()), Arc::default());
        let (callers, courier) = (Callers::new(Arc::default()), Courier::idle());
        let broker = Broker { queue, activity, callers, giver, asking, courier };
        let mut xml = String::from("<node name=\"/io/devbox/Broker1\">\n");
        broker.introspect_to_writer(&mut xml, 2);
        xml += "</node>\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/io.devbox.Broker1.xml");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &xml).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), xml);
        // The bus lets through exactly the methods that exist: devboxd would answer others out of turn.
        let names = |text: &str, attribute: &str| -> Vec<String> {
            let rest = text.split(attribute).skip(1).filter_map(|rest| rest.split('"').next());
            rest.map(str::to_owned).collect()
        };
        let policy = include_str!("../../systemd/io.devbox.Broker1.conf");
        assert_eq!(names(policy, "send_member=\""), names(&xml, "<method name=\""));
    }
}
