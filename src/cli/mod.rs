//! The command line: a file a verb. The only room that prints.

mod admin;
mod ask;
mod backup;
mod cleanup;
mod completions;
mod create;
mod destroy;
mod doctor;
mod error;
mod exec;
mod from_backup;
mod keep_awake;
mod list;
mod logs;
mod man;
mod output;
mod pre_start;
mod progress;
mod prune;
mod report;
mod restart;
mod restore;
mod session;
mod ssh;
mod ssh_config;
mod start;
mod status;
mod stop;
mod tailnet;
mod trash;
mod turn;
mod variables;
mod view;
mod why;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};

use error::{Failure, Kind};
use output::Output;

/// A rootless Podman dev container for each of many people on one Linux host.
#[derive(Debug, Parser)]
#[command(name = "devbox-ctl", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(
    after_help = "Examples:\n  devbox-ctl create my-project\n  devbox-ctl ssh my-project\n  devbox-ctl list --json"
)]
pub struct Cli {
    /// Print data as JSON, errors too
    #[arg(long, global = true)]
    json: bool,
    /// Print nothing but errors and what was asked for
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Show the podman and systemd calls made
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Create(create::Args),
    #[command(visible_alias = "ls")]
    List(list::Args),
    Status(status::Args),
    Start(start::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    #[command(visible_alias = "rm")]
    Destroy(destroy::Args),
    Restore(restore::Args),
    Trash(trash::Args),
    Backup(backup::Args),
    Logs(logs::Args),
    Exec(exec::Args),
    Ssh(ssh::Args),
    #[command(hide = true)]
    SshProxy(ssh::ProxyArgs),
    SshConfig(ssh_config::Args),
    RotateKey(tailnet::RotateArgs),
    Why(why::Args),
    KeepAwake(keep_awake::Args),
    Prune(prune::Args),
    Cleanup(cleanup::Args),
    #[command(hide = true)]
    Sample(cleanup::SampleArgs),
    #[command(hide = true)]
    Notices(cleanup::NoticesArgs),
    Doctor(doctor::Args),
    Admin(admin::Args),
    #[command(hide = true)]
    Report(report::Args),
    #[command(hide = true)]
    Tend(tailnet::TendArgs),
    #[command(hide = true)]
    Turn(turn::Args),
    #[command(hide = true)]
    PreStart(pre_start::Args),
    #[command(hide = true)]
    VolumeMade(pre_start::MadeArgs),
    #[command(hide = true)]
    PostStop(pre_start::PostStopArgs),
    #[command(hide = true)]
    MountsWithin(pre_start::WithinArgs),
    #[command(hide = true)]
    LoginAnswer(tailnet::AnswerArgs),
    Completions(completions::Args),
    #[command(hide = true)]
    Man(man::Args),
}

/// The command line's definition, for completions and man pages.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Before parsing has failed or not, a script wants its errors in the form it asked for.
    let json = arguments.iter().take_while(|a| *a != "--").any(|a| a == "--json");
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => run(cli),
        Err(e) if matches!(e.kind(), clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion) => {
            let _ = e.print();
            ExitCode::SUCCESS
        }
        // Nothing was typed that could be wrong: the help, as it is, where errors go.
        Err(e) if e.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !json => {
            let _ = e.print();
            ExitCode::from(Kind::InvalidInput.code())
        }
        Err(e) => fail(&usage(&e), json, Kind::InvalidInput.code()),
    }
}

fn run(cli: Cli) -> ExitCode {
    if cli.verbose {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(std::io::stderr)
            .without_time()
            .with_target(false)
            .init();
    }
    let out = Output { json: cli.json, quiet: cli.quiet };
    // The contract: a failure of ours before the command ran.
    let before_it_ran = matches!(cli.verb, Verb::Exec(_) | Verb::Ssh(_) | Verb::SshProxy(_));
    let done = match cli.verb {
        Verb::Create(args) => create::run(&args, out),
        Verb::List(args) => list::run(&args, out),
        Verb::Status(args) => status::run(&args, out),
        Verb::Start(args) => start::run(&args, out),
        Verb::Stop(args) => stop::run(&args, out),
        Verb::Restart(args) => restart::run(&args, out),
        Verb::Destroy(args) => destroy::run(&args, out),
        Verb::Restore(args) => restore::run(&args, out),
        Verb::Trash(args) => trash::run(&args, out),
        Verb::Backup(args) => backup::run(&args, out),
        Verb::Logs(args) => logs::run(&args, out),
        Verb::Exec(args) => exec::run(&args, out),
        Verb::Ssh(args) => ssh::run(&args, out),
        Verb::SshProxy(args) => ssh::proxy(&args, out),
        Verb::SshConfig(args) => ssh_config::run(&args, out),
        Verb::RotateKey(args) => tailnet::rotate(&args, out),
        Verb::Why(args) => why::run(&args, out),
        Verb::KeepAwake(args) => keep_awake::run(&args, out),
        Verb::Prune(args) => prune::run(&args, out),
        Verb::Cleanup(args) => cleanup::run(&args, out),
        Verb::Sample(args) => cleanup::sample(&args, out),
        Verb::Notices(args) => cleanup::notices(&args, out),
        Verb::Doctor(args) => doctor::run(&args, out),
        Verb::Admin(args) => admin::run(&args, out),
        Verb::Report(args) => report::run(&args, out),
        Verb::Tend(args) => tailnet::tend(&args, out),
        Verb::Turn(args) => turn::run(&args, out),
        Verb::PreStart(args) => match pre_start::run(&args, out) {
            Ok(code) => return ExitCode::from(code),
            Err(failure) => return fail(&failure, out.json, pre_start::FAILED),
        },
        Verb::VolumeMade(args) => pre_start::volume_made(&args, out),
        Verb::PostStop(args) => pre_start::post_stop(&args, out),
        Verb::MountsWithin(args) => pre_start::within(&args, out),
        Verb::LoginAnswer(args) => tailnet::answer(&args, out),
        Verb::Completions(args) => completions::run(&args, out),
        Verb::Man(args) => man::run(&args, out),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure, out.json, if before_it_ran { 125 } else { failure.kind.code() }),
    }
}

fn fail(failure: &Failure, json: bool, code: u8) -> ExitCode {
    if failure.message.is_empty() {
        return ExitCode::from(code);
    }
    if json {
        let mut value = failure.json();
        value["error"]["code"] = code.into();
        output::line(&value.to_string());
    } else {
        output::error_text(&failure.text());
    }
    ExitCode::from(code)
}

/// Of the commands that the help shows; clap would name hidden ones too.
fn nearest_verb(typed: &str) -> Option<String> {
    let all = Cli::command();
    let words = |command: &clap::Command| {
        command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(|verb| verb.get_name().to_owned()).collect()
    };
    let mut verbs: Vec<String> = words(&all);
    let admin: Vec<String> = all.find_subcommand("admin").map(words).unwrap_or_default();
    verbs.extend(admin.iter().map(|verb| format!("admin {verb}")));
    let likeness = |verb: &str| strsim::jaro_winkler(typed, verb.trim_start_matches("admin "));
    let nearest = verbs.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&nearest) > 0.8).then_some(nearest)
}

/// Clap's message in our form.
fn usage(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let message = lines.next().unwrap_or("no such command").trim_start_matches("error: ").to_owned();
    let mut failure = Failure::new(Kind::InvalidInput, message);
    if error.kind() == clap::error::ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand)
    {
        return failure.hint(match nearest_verb(typed) {
            Some(verb) => format!("did you mean `devbox-ctl {verb}`?"),
            None => "`devbox-ctl --help` lists the commands".to_owned(),
        });
    }
    for line in lines {
        match line.strip_prefix("tip: ") {
            Some(tip) => failure.hint = Some(tip.to_owned()),
            None if line.starts_with("For more information") => {}
            None => failure.facts.push(line.to_owned()),
        }
    }
    if failure.hint.is_none() {
        failure.hint =
            Some("`devbox-ctl --help` lists the commands, `devbox-ctl VERB --help` their options".to_owned());
    }
    failure
}
