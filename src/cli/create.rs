//! `create NAME`.

use std::path::PathBuf;
use std::time::Instant;

use super::error::{Failure, Kind};
use super::output::{self, Output};
use super::session::Session;
use super::{from_backup, progress, ssh_config, tailnet, variables};
use crate::backup::Manifest;
use crate::host::{self, Hold, Keeper, entries, health, observe};
use crate::plan::{self, CreateRequest, Plan};
use crate::policy::limits::{self, Refusal, Request};
use crate::quadlet::{self, names};
use crate::settings::Settings;
use crate::spec::{BoxName, BoxSpec, DevIs, EnvVar, FORMAT, ImageRef, Mount, Tailnet};
use crate::wire::OnTailnet;

/// Create a box and start it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  devbox-ctl create my-project\n  devbox-ctl create api --cpu 0.5 --memory 512M --env EDITOR=nvim\n  devbox-ctl create docs --mount $HOME/docs:/docs:ro --dry-run\n  devbox-ctl create again --from-backup my-project-20260102-030405.devbox.tar.zst"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Args {
    name: String,
    /// Image to run [default: localhost/devbox:latest]
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    /// Processors, 0.1 to 64
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    cpu: Option<String>,
    /// Memory: 512M, 4G
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory: Option<String>,
    /// Set a variable in the box; K alone takes yours, which no `ps` shows; may be repeated
    #[arg(long, value_name = "K[=V]")]
    env: Vec<String>,
    /// Set the variables of a file: K=V or K a line, # for remarks
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Show a folder of yours in the box: SRC:DST[:ro]; may be repeated
    #[arg(long, value_name = "SRC:DST[:ro]")]
    mount: Vec<String>,
    /// With Syncthing in it, which keeps ~/sync the same as on other devices of the tailnet
    #[arg(long)]
    with_syncthing: bool,
    /// Stop it when nobody has used it for so many days; longer than usual only where an administrator lets it
    #[arg(long, value_name = "DAYS")]
    idle_stop_days: Option<u32>,
    /// Move it to the trash when it has been stopped for so many days
    #[arg(long, value_name = "DAYS")]
    stopped_destroy_days: Option<u32>,
    #[command(flatten)]
    backup: from_backup::FromBackup,
    /// Fail with status 8 if it is not on the tailnet in the end
    #[arg(long, conflicts_with = "no_start")]
    wait_tailnet: bool,
    /// Create it, but do not start it
    #[arg(long)]
    no_start: bool,
    /// Print what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let begun = Instant::now();
    // What was typed is judged before the host is looked at.
    let asked = Asked::parse(args)?;
    let session = Session::look(out)?;
    if !args.dry_run {
        session.recover(None)?;
    }
    let settings = host::settings()?;
    let host = &session.host;
    let made = Keeper::of_new_boxes(&host.account, host.broker()?)?;
    let spec = |manifest: Option<&Manifest>| asked.spec(&settings, &host.account.user, made, manifest.map(|m| &m.spec));
    let restore = match &asked.backup {
        Some(backup) => {
            let manifest = backup.peek()?;
            decide(&session, &settings, spec(Some(&manifest)).masked(), Some(&manifest), args, When::Early)?;
            Some(backup.verify(&session)?)
        }
        None => None,
    };
    let manifest = restore.as_ref().map(|restore| &restore.verified().manifest);
    let spec = spec(manifest);
    if args.dry_run {
        print_plan(&decide(&session, &settings, spec.masked(), manifest, args, When::Early)?, out);
        return Ok(());
    }
    let admission = session.host.admission(&spec.name)?;
    let plan = decide(&session, &settings, spec.clone(), manifest, args, When::Now)?;
    if let Some(restore) = &restore {
        from_backup::say(restore, &spec, out);
    }
    if !args.no_start && !spec.mounts.is_empty() && session.host.podman.copies_image(&spec.image) {
        progress::tell(
            out,
            "your first box with --mount: podman copies the image for it, once; that can take half a minute",
        );
    }
    session.apply(&plan, Hold::from(admission).with(restore))?;
    ssh_config::refresh(&session.host);
    let stands = if args.no_start { None } else { tailnet::settle(&session.host, &spec.name, made, out)? };
    show(&session, &spec, begun, args.no_start, stands.as_ref())?;
    if !health::lingers(&session.host.account) {
        let user = &session.host.account.user;
        out.warning(&format!(
            "{} ends with your last session on this host; `sudo loginctl enable-linger {user}` lets it run on",
            spec.name
        ));
    }
    let Some(stands) = stands.filter(|s| !tailnet::is_on(s)) else { return Ok(()) };
    let failure = tailnet::off(&spec.name, &stands);
    if args.wait_tailnet {
        return Err(Failure { kind: Kind::Tailnet, ..failure });
    }
    out.warning(&failure.text());
    Ok(())
}

/// The command line, every value checked.
struct Asked {
    name: BoxName,
    image: Option<ImageRef>,
    cpu: Option<crate::spec::Cpu>,
    memory: Option<crate::spec::Memory>,
    env: Vec<EnvVar>,
    mounts: Vec<Mount>,
    with_syncthing: bool,
    idle_stop_days: Option<u32>,
    stopped_destroy_days: Option<u32>,
    backup: Option<from_backup::Asked>,
}

impl Asked {
    fn parse(args: &Args) -> Result<Self, Failure> {
        let asked = Self {
            name: args.name.parse()?,
            image: args.image.as_deref().map(str::parse).transpose()?,
            cpu: args.cpu.as_deref().map(str::parse).transpose()?,
            memory: args.memory.as_deref().map(str::parse).transpose()?,
            env: variables::given(&args.env, &args.env_file)?,
            mounts: args.mount.iter().map(|m| m.parse()).collect::<Result<_, _>>()?,
            with_syncthing: args.with_syncthing,
            idle_stop_days: args.idle_stop_days,
            stopped_destroy_days: args.stopped_destroy_days,
            backup: args.backup.parse()?,
        };
        let mut targets: Vec<_> = asked.mounts.iter().map(Mount::target).collect();
        targets.sort_unstable();
        if let Some(twice) = targets.windows(2).find(|two| two[0] == two[1]) {
            return Err(Failure::new(Kind::InvalidInput, format!("{} is mounted twice", twice[0].display())));
        }
        Ok(asked)
    }

    /// What was not typed is as in the backup, or as the settings say.
    fn spec(&self, settings: &Settings, user: &str, tailnet: Tailnet, backup: Option<&BoxSpec>) -> BoxSpec {
        let owner = settings.owner(user);
        BoxSpec {
            format: FORMAT,
            name: self.name.clone(),
            image: self.image.clone().or_else(|| backup.map(|b| b.image.clone())).unwrap_or_default(),
            cpu: self.cpu.or(backup.map(|b| b.cpu)).unwrap_or(owner.cpu),
            memory: self.memory.or(backup.map(|b| b.memory)).unwrap_or(owner.memory),
            created_at: host::now(),
            dev: DevIs::Subordinate,
            tailnet,
            with_syncthing: self.with_syncthing || backup.is_some_and(|b| b.with_syncthing),
            idle_stop_days: self.idle_stop_days.or(backup.and_then(|b| b.idle_stop_days)),
            stopped_destroy_days: self.stopped_destroy_days.or(backup.and_then(|b| b.stopped_destroy_days)),
            env: match backup {
                Some(backup) => from_backup::merged(backup, &self.env),
                None => self.env.clone(),
            },
            mounts: self.mounts.clone(),
        }
    }
}

/// When a decision is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// To be told before anything else is done.
    Early,
    /// To be carried out, under the account's lock.
    Now,
}

/// Everything that can refuse does so here, before anything is written.
fn decide(
    session: &Session,
    settings: &Settings,
    mut spec: BoxSpec,
    backup: Option<&Manifest>,
    args: &Args,
    when: When,
) -> Result<Plan, Failure> {
    let account = &session.host.account;
    let held = host::box_names(account)?;
    let has_broker = session.host.broker()?.is_some();
    // Looked at after the boxes: one that is being destroyed meanwhile is in one of them.
    if host::trashed_entry(account, &spec.name).is_some() && !held.contains(&spec.name) {
        return Err(Refusal::Trashed(spec.name).into());
    }
    let request = Request { owner: &account.user, name: &spec.name, cpu: spec.cpu, memory: spec.memory };
    match limits::admit(request, &held, settings) {
        // The plan's first step asks the broker, which writes into the audit trail what it refuses.
        Err(refusal) if !has_broker || when == When::Early || matches!(refusal, Refusal::Exists(_)) => {
            return Err(refused(session, refusal));
        }
        _ => {}
    }
    for mount in &mut spec.mounts {
        *mount = observe::mount(account, mount).map_err(|trouble| {
            Failure::new(Kind::InvalidInput, trouble).hint("`--mount` takes a folder of yours on this host")
        })?;
    }
    let observed = observe::observe(&session.host, &spec)?;
    if let Some(clash) = observed.clash {
        return Err(Failure::new(Kind::Exists, format!("there is already {clash}"))
            .hint("nothing was changed; remove or rename that, or choose another name"));
    }
    if !observed.image {
        let failure = no_image(&spec);
        let is_the_backups = backup.is_some_and(|manifest| manifest.spec.image == spec.image);
        return Err(if is_the_backups {
            failure.fact("the backup names it, which says nothing of who made either; `--image` takes another")
        } else {
            failure
        });
    }
    if backup.is_some() && !observed.own_volumes.is_empty() {
        return Err(from_backup::kept(&spec.name, &observed.own_volumes));
    }
    spec.dev =
        plan::dev_is(!spec.mounts.is_empty(), observed.kept_dev).ok_or_else(|| kept_without_mounts(&spec.name))?;
    let files = quadlet::render(&spec, &host::templates()?, &host::program()?)?;
    Ok(plan::create(CreateRequest {
        name: &spec.name,
        files,
        start: !args.no_start,
        reserve: has_broker.then_some((spec.cpu, spec.memory)),
        volumes_there: &observed.own_volumes,
        fill: backup.map(|manifest| from_backup::fills(&spec, manifest)),
    }))
}

fn kept_without_mounts(name: &BoxName) -> Failure {
    Failure::new(
        Kind::InvalidInput,
        format!("the kept data of {name} is of a box without mounts, and cannot be read in one with mounts"),
    )
    .hint(format!(
        "`devbox-ctl create {name}` without `--mount` has the data again; choose another name for a box with mounts"
    ))
}

pub(super) fn no_image(spec: &BoxSpec) -> Failure {
    let hint = if spec.image == ImageRef::default() {
        "`podman load -i devbox-image.oci.tar` loads it; an administrator has the file, or `cargo xtask image` builds it".to_owned()
    } else {
        format!("`podman pull {}` or `podman build` brings it; devbox-ctl pulls nothing unasked", spec.image)
    };
    Failure::new(Kind::Backend, format!("you have no image {}", spec.image)).hint(hint)
}

/// A refusal over the limit shows which boxes hold it, so that one can be chosen.
pub(super) fn refused(session: &Session, refusal: Refusal) -> Failure {
    let over = matches!(refusal, Refusal::OwnerLimit { .. });
    let failure = Failure::from(refusal);
    let (true, Ok(boxes), Ok(units)) =
        (over, entries(&session.host.account), session.host.systemd.states(names::UNIT_PATTERN))
    else {
        return failure;
    };
    let is_active = |e: &host::Entry| units.get(&names::service(&e.name)).is_some_and(|u| u.active == "active");
    let (running, stopped): (Vec<_>, Vec<_>) = boxes.iter().partition(|e| is_active(e));
    let words = |label: &str, list: &[&host::Entry]| {
        let names: Vec<&str> = list.iter().map(|e| e.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("{label}: {}", names.join(", ")))
    };
    let facts: Vec<String> = [words("running", &running), words("stopped", &stopped)].into_iter().flatten().collect();
    let failure = failure.fact(facts.join(" · "));
    match stopped.first() {
        Some(idle) => failure.hint(format!("`devbox-ctl destroy {}` makes room", idle.name)),
        None => failure,
    }
}

fn print_plan(plan: &Plan, out: Output) {
    if out.json {
        return output::json(plan);
    }
    for file in &plan.files {
        output::line(&format!("# {}", file.name));
        output::line(&file.text);
    }
    for (number, step) in plan.steps.iter().enumerate() {
        output::line(&format!("{}. {}", number + 1, step.describe(&plan.name)));
    }
}

pub(super) fn show(
    session: &Session,
    spec: &BoxSpec,
    begun: Instant,
    no_start: bool,
    stands: Option<&OnTailnet>,
) -> Result<(), Failure> {
    let name = &spec.name;
    if session.out.json {
        let entry = host::entry(&session.host.account, name).ok_or_else(|| Failure::no_such_box(name))?;
        output::json(&super::status::view(&session.host.account, &session.host.systemd, &entry)?);
    } else if no_start {
        session.out.remark(&format!("{name} is created, not started\n  start    devbox-ctl start {name}"));
    } else {
        session.out.remark(&format!(
            "{name} is ready ({:.1} s)\n  shell    devbox-ctl ssh {name}\n  command  devbox-ctl exec {name} -- CMD\n  editor   `devbox-ctl ssh-config --install`, then connect to host {name}{}\n  stop     devbox-ctl stop {name}",
            begun.elapsed().as_secs_f64(),
            stands.filter(|s| !s.addresses.is_empty()).map(|s| tailnet::lines(spec, s)).unwrap_or_default()
        ));
    }
    Ok(())
}
