//! The command line: reads arguments, calls one part of the agent, and turns the outcome
//! into text, JSON and an exit code.
//!
//! Trust boundary: arguments and configuration come from the machine's owner.
//! Texts of devices, validators and jobs pass through here to a terminal, so
//! control characters are taken out of all of them.
//!
//! Not here: anything that another program could want to call.

mod args;
mod client;
mod doctor;
mod enrol;
mod error;
mod export;
mod inventory;
mod job;
mod ledger;
mod logging;
mod owner;
mod print;
mod progress;
mod status;
mod supervise;
mod units;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser as _;
use serde::Serialize;

use self::{
    args::{Cli, Command},
    client::Client,
    error::CliError,
};
use crate::config::{Config, ConfigError, DEFAULT_PATH, ImageSettings};

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // Before anything could start a second thread: the namespaces that it makes are one thread's.
    if std::env::args_os().nth(1).is_some_and(|command| command == "unpack") {
        crate::nvml::close_inherited();
        return ExitCode::from(if assay_sandbox::unpack_child::main() { 0 } else { error::FAILED });
    }
    // Prints help and wrong arguments itself, with exit codes 0 and 2.
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(error::WRONG));
        }
    };
    let json = cli.command.as_ref().is_some_and(Command::json);
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error, json),
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    schema: u32,
    error: FailureText<'a>,
}

#[derive(Serialize)]
struct FailureText<'a> {
    code: &'a str,
    text: String,
    next: Option<String>,
}

/// One line for people on standard error; for programs the same as JSON on standard output.
fn fail(error: &CliError, json: bool) -> ExitCode {
    let (text, next) = (error.line(), error.hint());
    let mut lines = format!("assay-agent: {text}\n");
    if let Some(next) = &next {
        lines.push_str(&format!("next: {next}\n"));
    }
    // Nobody is left to tell when standard error is gone.
    let _ = std::io::stderr().lock().write_all(lines.as_bytes());
    if json {
        let error = FailureText { code: error.name(), text, next };
        let _ = print::json(&Failure { schema: print::SCHEMA, error });
    }
    ExitCode::from(error.code())
}

fn run(cli: &Cli) -> Result<u8, CliError> {
    let daemon = cli.command.as_ref().is_some_and(Command::is_daemon);
    if matches!(cli.command, Some(Command::Nvml { .. } | Command::Pull { .. })) {
        crate::nvml::close_inherited();
    }
    logging::start(logging::level(daemon, cli.verbose));
    let file = ConfigFile::of(cli);
    if cli.print_config {
        let text = file.load()?.render();
        return print::out(&text).map_err(CliError::Print).map(|()| 0);
    }
    match &cli.command {
        Some(command) => dispatch(command, &file, cli.verbose),
        None => Err(CliError::Usage("no command; see: assay-agent --help")),
    }
}

fn dispatch(command: &Command, file: &ConfigFile, verbose: u8) -> Result<u8, CliError> {
    match command {
        // Work without a configuration: children that get all they need as arguments, and what a
        // tenant asks on any machine.
        Command::Nvml { library } => return serve_gpus(Path::new(library)),
        Command::ProbeUserns => return probe_userns(),
        Command::Unpack => {
            return Err(CliError::Usage("unpack is a process of the agent's own, without options"));
        }
        Command::Pull { settings: Some(text) } => return pull(&image_settings(text)?),
        Command::Job(args::Job::Schema(_)) => return job::schema(),
        Command::Job(args::Job::Hash { path, json }) => return job::hash(path, json.json),
        _ => {}
    }
    let config = file.load()?;
    let client = Client::new(&config);
    match command {
        Command::Run => supervise::run(&config, file.named.as_deref(), verbose),
        Command::Core(child) => tied(child.die_with_parent, || crate::core::run(&config)),
        Command::Link(child) => tied(child.die_with_parent, || {
            ready();
            crate::link::run(&config)
        }),
        Command::Inventory(json) => inventory::show(&config.gpu, json.json),
        Command::Status(json) => status::show(&client, json.json),
        Command::Doctor(doctor) if doctor.sandbox => doctor::audit_sandbox(&config, doctor.json.json),
        Command::Doctor(doctor) => doctor::run(&config, file.source(), doctor.json.json),
        Command::Enrol(enrol) => enrol::run(&client, enrol),
        Command::Evidence(out) => {
            export::write(&client, crate::control::Export::Evidence, &out.output, out.json.json)
        }
        Command::Owner(command) => owner::run(command, &config.network.id),
        Command::Job(command) => job::run(command, &config, &client),
        Command::Ledger(command) => ledger::run(command, &config, &client),
        Command::Pull { .. } => pull(&config.sandbox.images),
        Command::Nvml { .. } | Command::Unpack | Command::ProbeUserns => Ok(0),
    }
}

/// Ties this process to its parent if it is asked to, then runs `part`.
fn tied<E>(parent: Option<i32>, part: impl FnOnce() -> Result<(), E>) -> Result<u8, CliError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    if let Some(parent) = parent {
        match supervise::die_with_parent(parent) {
            Ok(true) => {}
            Ok(false) => return Err(CliError::Orphan { parent, source: None }),
            Err(source) => return Err(CliError::Orphan { parent, source: Some(source) }),
        }
    }
    part().map_err(|error| CliError::part("the agent ended", error)).map(|()| 0)
}

/// Link is ready once its configuration is read: that core or a validator is away is everyday life for it.
fn ready() {
    if let Err(error) = sd_notify::notify(false, &[sd_notify::NotifyState::Ready]) {
        log::warn!("cannot notify the service manager: {error}");
    }
}

fn serve_gpus(library: &Path) -> Result<u8, CliError> {
    crate::nvml::serve(library)
        .map_err(|fault| CliError::part("the GPU library's process", fault))
        .map(|()| 0)
}

fn image_settings(text: &str) -> Result<ImageSettings, CliError> {
    serde_json::from_str(text).map_err(|_| CliError::Usage("--settings is no JSON of [sandbox.images]"))
}

fn pull(settings: &ImageSettings) -> Result<u8, CliError> {
    // A registry's credentials are in this memory.
    crate::no_dumps::start().map_err(|errno| CliError::part("a process without core dumps", errno))?;
    crate::pull::serve(settings).map_err(|error| CliError::part("the pull process", error)).map(|()| 0)
}

/// Makes the namespaces that every job gets; run in a process of its own by `doctor`.
fn probe_userns() -> Result<u8, CliError> {
    use nix::sched::{CloneFlags, unshare};
    let flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    unshare(flags).map_err(|errno| CliError::part("user namespaces", errno)).map(|()| 0)
}

/// Which configuration file is meant.
struct ConfigFile {
    /// As given with `--config`.
    named: Option<PathBuf>,
}

impl ConfigFile {
    fn of(cli: &Cli) -> Self {
        Self { named: cli.config.clone() }
    }

    fn path(&self) -> &Path {
        self.named.as_deref().unwrap_or_else(|| Path::new(DEFAULT_PATH))
    }

    fn source(&self) -> doctor::Source<'_> {
        doctor::Source { path: self.path(), found: self.path().exists() }
    }

    /// The file's configuration; the defaults when nobody named a file and the usual one is not there.
    fn load(&self) -> Result<Config, CliError> {
        match Config::load(self.path()) {
            Err(ConfigError::Read { source, .. })
                if self.named.is_none() && source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(Config::default())
            }
            loaded => loaded.map_err(|source| CliError::Config { path: self.path().to_owned(), source }),
        }
    }
}
