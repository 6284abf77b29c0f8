//! `backup NAME`.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde::Serialize;

use super::error::{Failure, Kind};
use super::output::{self, Output};
use super::progress::Meter;
use super::session::{Session, refuse_half};
use super::start::whole;
use crate::backup::{Checksums, Consistency, Priority};
use crate::host::backup::{BackedUp, BackupRequest, Saved, Summed};
use crate::host::{self, BackupFile, Held};
use crate::spec::{BoxName, BoxSpec};

/// Write a box and its data into one file
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  devbox-ctl backup my-project\n  devbox-ctl backup my-project -o /mnt/usb/my-project.devbox.tar.zst\n  ssh HOST devbox-ctl backup my-project -o - > my-project.devbox.tar.zst\n\nA box that runs is backed up as it is at that moment, file by file: as after a power cut. `devbox-ctl stop` it before for one that is all of one moment. Who can read the file has the box's SSH host key, its variables and all of its home."
)]
pub(super) struct Args {
    name: String,
    /// Where to; `-` is standard output [default: NAME-DATE-TIME.devbox.tar.zst here]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only volumes of this backup priority and of more important ones: 1 is the home, 2 what its services keep too
    #[arg(long, value_name = "N")]
    priority: Option<String>,
    /// Print what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Where the backup goes.
enum To {
    File(PathBuf),
    StandardOutput,
}

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let name: BoxName = args.name.parse()?;
    let least = args.priority.as_deref().map(str::parse).transpose()?.unwrap_or(Priority::LEAST);
    let to = destination(args, &name, out)?;
    let session = if args.dry_run { Session::look(out)? } else { Session::begin(out, None)? };
    let held = session.hold(&name)?;
    refuse_half(&held)?;
    let spec = whole(&session, &held)?.spec.as_ref().map_err(|_| Failure::no_such_box(&name))?;
    let volumes = session.host.volumes_to_save(&name, least)?;
    if volumes.is_empty() && least < Priority::LEAST {
        out.warning(&format!("{name} has no volume of priority {least}: only its settings are in the backup"));
    }
    if !session.host.podman.has_image(&spec.image)? {
        return Err(super::create::no_image(spec));
    }
    let request = BackupRequest { spec, volumes, consistency: session.host.consistency(&name)? };
    if args.dry_run {
        show_dry(&request, &to, out);
        return Ok(());
    }
    let begun = std::time::Instant::now();
    let done = match &to {
        To::File(path) => {
            let file = BufWriter::with_capacity(1 << 20, BackupFile::begin(path)?);
            let (file, done) = write(&session, &held, &request, file)?;
            let file = file.into_inner().map_err(|e| full(path, e.into_error()))?;
            (Some(file.finish()?), done)
        }
        To::StandardOutput => {
            let (mut to, done) = write(&session, &held, &request, BufWriter::new(io::stdout().lock()))?;
            to.flush().map_err(|e| full(Path::new("standard output"), e))?;
            (None, done)
        }
    };
    show(spec, &request, done, begun.elapsed().as_secs_f64(), out);
    Ok(())
}

fn destination(args: &Args, name: &BoxName, out: Output) -> Result<To, Failure> {
    let path = match &args.output {
        Some(path) if path.as_os_str() == "-" => {
            if out.json {
                return Err(Failure::new(Kind::InvalidInput, "standard output is asked for the backup and for JSON")
                    .hint("`-o FILE` with `--json`"));
            }
            if io::stdout().is_terminal() && !args.dry_run {
                return Err(Failure::new(Kind::InvalidInput, "a backup is not for a terminal")
                    .hint("`-o FILE`, or `-o - > FILE`"));
            }
            return Ok(To::StandardOutput);
        }
        Some(path) => path.clone(),
        None => {
            let now = host::now().to_zoned(TimeZone::system());
            PathBuf::from(format!("{name}-{}.devbox.tar.zst", now.strftime("%Y%m%d-%H%M%S")))
        }
    };
    // Told before anything is read; it is looked for again when the file gets its name.
    if path.symlink_metadata().is_ok() {
        return Err(host::HostError::FileThere(path).into());
    }
    Ok(To::File(path))
}

struct Done {
    bytes: u64,
    sha256: String,
    backed_up: BackedUp,
}

fn write<W: Write>(session: &Session, held: &Held, request: &BackupRequest<'_>, to: W) -> Result<(W, Done), Failure> {
    let meter = Meter::counting(session.out);
    let about = if meter.is_shown() { session.host.bytes_to_save(&request.volumes) } else { None };
    let passed = |volume: &str, bytes: u64, files: u64| {
        let text = format!("{volume}: {files} files");
        match about {
            // What a tar says beside the files is not in the estimate.
            Some(about) => meter.of(bytes, about.max(bytes), &text),
            None => meter.at(bytes, &text),
        }
    };
    let (summed, backed_up) = session.host.back_up(held, request, Summed::new(to), &passed)?;
    let (bytes, sha256) = (summed.bytes, summed.sha256());
    Ok((summed.to, Done { bytes, sha256, backed_up }))
}

fn full(path: &Path, source: io::Error) -> Failure {
    host::HostError::Io { doing: "writing", path: path.to_owned(), source }.into()
}

/// What was written, for scripts.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    name: &'a BoxName,
    /// `None` on standard output, and in a dry run of it.
    file: Option<String>,
    size_bytes: Option<u64>,
    sha256: Option<String>,
    consistency: Consistency,
    volumes: Vec<VolumeView<'a>>,
    skipped_sockets: Option<u64>,
    skipped_files: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VolumeView<'a> {
    name: &'a str,
    part: &'static str,
    priority: Priority,
    size_bytes: Option<u64>,
    sha256: Option<String>,
}

fn volumes<'a>(saved: &'a [Saved], sums: Option<&Checksums>) -> Vec<VolumeView<'a>> {
    let view = |saved: &'a Saved| {
        let sum = sums.and_then(|sums| sums.of(saved.volume.part));
        VolumeView {
            name: &saved.name,
            part: saved.volume.part.word(),
            priority: saved.volume.priority,
            size_bytes: sum.map(|s| s.bytes),
            sha256: sum.map(|s| s.sha256.clone()),
        }
    };
    saved.iter().map(view).collect()
}

fn show_dry(request: &BackupRequest<'_>, to: &To, out: Output) {
    let file = match to {
        To::File(path) => Some(path.display().to_string()),
        To::StandardOutput => None,
    };
    if out.json {
        return output::json(&View {
            name: &request.spec.name,
            file,
            size_bytes: None,
            sha256: None,
            consistency: request.consistency,
            volumes: volumes(&request.volumes, None),
            skipped_sockets: None,
            skipped_files: None,
        });
    }
    for saved in &request.volumes {
        output::line(&format!("read {} (priority {})", saved.name, saved.volume.priority));
    }
    let target = file.unwrap_or_else(|| "standard output".to_owned());
    output::line(&format!("write {target} ({})", request.consistency.word()));
}

fn show(spec: &BoxSpec, request: &BackupRequest<'_>, (file, done): (Option<PathBuf>, Done), seconds: f64, out: Output) {
    let name = &spec.name;
    let Done { bytes, sha256, backed_up } = done;
    if backed_up.sockets > 0 {
        out.warning(&format!("{} sockets are left out: no archive can hold one", backed_up.sockets));
    }
    let left_out = &backed_up.left_out;
    if left_out.count > 0 {
        let more = if left_out.count > left_out.names.len() as u64 { ", …" } else { "" };
        out.warning(&format!(
            "{} files are left out, since no backup can bring them back: {}{more}",
            left_out.count,
            left_out.names.join(", ")
        ));
    }
    if request.consistency == Consistency::CrashConsistent {
        out.warning(&format!(
            "{name} ran meanwhile: the backup is crash-consistent, as after a power cut; `devbox-ctl stop {name}` before for one of one moment"
        ));
    }
    let Some(file) = file else { return };
    if out.json {
        return output::json(&View {
            name,
            file: Some(file.display().to_string()),
            size_bytes: Some(bytes),
            sha256: Some(sha256),
            consistency: request.consistency,
            volumes: volumes(&request.volumes, Some(&backed_up.sums)),
            skipped_sockets: Some(backed_up.sockets),
            skipped_files: Some(backed_up.left_out.count),
        });
    }
    out.remark(&format!(
        "{name} is in {} ({}, {seconds:.1} s)\n  sha256   {sha256}\n  restore  devbox-ctl create NAME --from-backup {}",
        file.display(),
        output::size(bytes),
        file.display(),
    ));
}
