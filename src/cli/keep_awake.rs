//! `keep-awake NAME --for 8h`.

use super::error::{Failure, Kind};
use super::output::{self, Output};
use super::session::Session;
use crate::host;
use crate::host::life;
use crate::spec::BoxName;

/// Keep a running box from being stopped for a while, whether it is used or not
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  devbox-ctl keep-awake my-project --for 8h --reason 'training until tonight'\n  devbox-ctl keep-awake my-project --end"
)]
pub(super) struct Args {
    name: String,
    /// For how long: 90m, 8h, 3d
    #[arg(long = "for", value_name = "TIME", required_unless_present = "end")]
    length: Option<String>,
    /// What for; `why` shows it
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// End it
    #[arg(long, conflicts_with_all = ["length", "reason"])]
    end: bool,
}

/// A reason is a line, not a letter.
const LONGEST_REASON: usize = 200;

pub(super) fn run(args: &Args, out: Output) -> Result<(), Failure> {
    let name: BoxName = args.name.parse()?;
    let seconds = args.length.as_deref().map(parse).transpose()?;
    if args.reason.chars().count() > LONGEST_REASON || args.reason.chars().any(char::is_control) {
        return Err(Failure::new(
            Kind::InvalidInput,
            format!("a reason is one line of at most {LONGEST_REASON} characters"),
        ));
    }
    let session = Session::begin(out, None)?;
    // Nobody stops it meanwhile.
    let held = session.hold(&name)?;
    let account = &session.host.account;
    let hours = host::settings()?.owner(&account.user).keep_awake_hours;
    let most = u64::from(hours) * 3600;
    if let Some(asked) = seconds.filter(|asked| *asked > most) {
        return Err(Failure::new(
            Kind::NotAllowed,
            format!("{} is longer than the {hours} hours allowed", output::span(asked)),
        )
        .hint("ask for less, and again when it is over; an administrator can raise keep_awake_hours"));
    }
    let mut open = life::look_at(account, &held.entry)?;
    let runs = open.book.record(&name).is_some_and(|record| record.phase().runs());
    if !runs {
        return Err(Failure::new(
            Kind::AlreadySo,
            format!("{name} does not run, so that there is nothing to keep awake"),
        )
        .hint(format!("`devbox-ctl start {name}` starts it")));
    }
    open.book.lease(&name, seconds.map(|seconds| (seconds, args.reason.clone())));
    open.save()?;
    out.remark(&match seconds.and_then(life::in_seconds) {
        Some(until) => format!("{name} is kept awake until {}", until.strftime("%Y-%m-%d %H:%M UTC")),
        None => format!("{name} is not kept awake any more"),
    });
    Ok(())
}

/// `90m`, `8h`, `3d`.
fn parse(text: &str) -> Result<u64, Failure> {
    let units = [("m", 60), ("h", 3600), ("d", 86_400)];
    let parsed = units.into_iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(seconds)
    });
    parsed.filter(|seconds| *seconds > 0).ok_or_else(|| {
        Failure::new(Kind::InvalidInput, format!("{text:?} is no length of time"))
            .hint("`--for 90m`, `--for 8h` or `--for 3d`")
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lengths() {
        assert_eq!(["90m", "8h", "3d"].map(|t| parse(t).ok()), [Some(5400), Some(28_800), Some(259_200)]);
        for odd in ["", "8", "h", "-8h", "8 h", "0h", "8s", "1.5h", "99999999999999999999d", "9999999999999999d"] {
            assert!(parse(odd).is_err(), "{odd}");
        }
    }
}
