//! `run`: core and link as children of one process, and what fetches images.
//!
//! Core's end is the end; link is started again when it dies. Both die with us,
//! even when we are killed: each asks the kernel for that itself and then looks
//! whether we are still there, because we may have died before it asked.
//!
//! Children sit in process groups of their own, so that Ctrl-C reaches us alone
//! and they end in order: core first, which tells its validators through link.

use std::{
    ffi::OsString,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::{Duration, Instant},
};

use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
    },
    unistd::{Pid, getppid},
};
use tokio::{
    net::UnixDatagram,
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use self::pull::PullService;
use super::error::CliError;
use crate::config::Config;

mod pull;

/// Link's first wait after a death; it doubles to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A link that lived this long starts from [`FIRST_WAIT`] again.
const HEALTHY: Duration = Duration::from_secs(60);
/// How long core may take to end in order; jobs are stopped and the session is closed meanwhile.
const CORE_GRACE: Duration = Duration::from_secs(20);
const LINK_GRACE: Duration = Duration::from_secs(5);
/// Name of the socket on which core says that it is ready.
const NOTIFY_SOCKET: &str = "notify.sock";

/// In a child: dies when its parent does. False when `parent` is gone already.
pub(super) fn die_with_parent(parent: i32) -> io::Result<bool> {
    // KILL: whoever lost its supervisor to SIGKILL must not overlap with the next one.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    Ok(getppid() == Pid::from_raw(parent))
}

/// Runs core and link until core ends or a signal asks for the end. Returns the exit code.
pub(super) fn run(config: &Config, config_file: Option<&Path>, verbose: u8) -> Result<u8, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CliError::Supervise)?;
    let exe = std::env::current_exe().map_err(CliError::Supervise)?;
    let pull_arguments = config.sandbox.images.pull_arguments();
    let starter = Starter { exe, config_file: config_file.map(Path::to_owned), verbose, pull_arguments };
    let supervised = async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        supervise(&starter, &config.node.runtime_dir, stop).await
    };
    runtime.block_on(supervised).map_err(CliError::Supervise)
}

/// How children are started.
struct Starter {
    exe: PathBuf,
    config_file: Option<PathBuf>,
    verbose: u8,
    pull_arguments: Vec<OsString>,
}

impl Starter {
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.exe);
        command.arg(name).arg("--die-with-parent").arg(std::process::id().to_string());
        if let Some(file) = &self.config_file {
            command.arg("--config").arg(file);
        }
        command.args((0..self.verbose).map(|_| "-v"));
        // The watchdog names us; children speak through our socket or not at all.
        command.env_remove("WATCHDOG_PID").env_remove("NOTIFY_SOCKET");
        command.process_group(0).kill_on_drop(true).stdin(std::process::Stdio::null());
        command
    }
}

/// Returns when core has ended, by itself or because `stop` came.
async fn supervise(starter: &Starter, runtime_dir: &Path, stop: impl Future<Output = ()>) -> io::Result<u8> {
    let notify = Relay::bind(runtime_dir)?;
    let mut pulls = PullService::bind(runtime_dir, &starter.exe, starter.pull_arguments.clone())?;
    let mut core = starter.command("core").env("NOTIFY_SOCKET", &notify.path).spawn()?;
    let mut link = Link::start(starter)?;
    let mut stop = std::pin::pin!(stop);
    let status = loop {
        tokio::select! {
            status = core.wait() => break status?,
            () = link.keep(starter) => {}
            () = notify.relay() => {}
            () = pulls.keep() => {}
            () = &mut stop => break end(&mut core, CORE_GRACE).await?,
        }
    };
    if let Some(child) = &mut link.child {
        end(child, LINK_GRACE).await?;
    }
    Ok(code(status))
}

/// Core's own code; 3 when a signal ended it.
fn code(status: ExitStatus) -> u8 {
    if let Some(code) = status.code() {
        return u8::try_from(code).unwrap_or(3);
    }
    log::error!("core was ended by a signal: {status}");
    3
}

/// Asks a child to end, and makes it when it takes longer than `grace`.
async fn end(child: &mut Child, grace: Duration) -> io::Result<ExitStatus> {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // Not yet waited for, so the id is still this child's.
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
    }
    match tokio::time::timeout(grace, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            log::warn!("a process did not end within {} s and was killed", grace.as_secs());
            child.kill().await?;
            child.wait().await
        }
    }
}

/// The link process and when to start it again.
struct Link {
    child: Option<Child>,
    started: Instant,
    wait: Duration,
}

impl Link {
    fn start(starter: &Starter) -> io::Result<Self> {
        let child = Some(starter.command("link").spawn()?);
        Ok(Self { child, started: Instant::now(), wait: FIRST_WAIT })
    }

    /// Waits for the next change: a death, or the time to start again. Safe to drop at any await.
    async fn keep(&mut self, starter: &Starter) {
        if let Some(child) = &mut self.child {
            let ended = child.wait().await;
            self.child = None;
            self.wait = next_wait(self.wait, self.started.elapsed());
            let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            log::warn!("link ended ({how}); starting it again in {} ms", self.wait.as_millis());
            self.started = Instant::now();
            return;
        }
        tokio::time::sleep(self.wait.saturating_sub(self.started.elapsed())).await;
        self.started = Instant::now();
        match starter.command("link").spawn() {
            Ok(child) => self.child = Some(child),
            Err(error) => log::error!("cannot start link: {error}"),
        }
    }
}

fn next_wait(last: Duration, lived: Duration) -> Duration {
    if lived >= HEALTHY { FIRST_WAIT } else { (last * 2).min(LONGEST_WAIT) }
}

/// Passes what core tells its service manager on to ours (sd_notify(3)).
struct Relay {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Relay {
    fn bind(runtime_dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(runtime_dir)?;
        let path = runtime_dir.join(NOTIFY_SOCKET);
        if std::os::unix::net::UnixDatagram::unbound()?.connect(&path).is_ok() {
            let text = format!("another agent is running in {}", runtime_dir.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { socket, path })
    }

    /// Waits for one message and passes it on.
    async fn relay(&self) {
        let mut message = [0; 4096];
        let Ok(length) = self.socket.recv(&mut message).await else { return };
        let text = String::from_utf8_lossy(message.get(..length).unwrap_or_default());
        let states: Vec<_> =
            text.lines().filter(|line| may_pass(line)).map(sd_notify::NotifyState::Custom).collect();
        if let Err(error) = sd_notify::notify(false, &states) {
            log::warn!("cannot notify the service manager: {error}");
        }
    }
}

/// What core may say in our name; `MAINPID=` and file descriptors are not among it.
fn may_pass(line: &str) -> bool {
    ["READY=", "STATUS=", "WATCHDOG=", "STOPPING=", "EXTEND_TIMEOUT_USEC="]
        .iter()
        .any(|key| line.starts_with(key))
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Left behind it would be removed at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that is core or link by its first argument, and writes down what it does.
    fn program(dir: &Path, core: &str, link: &str) -> Starter {
        let exe = dir.join("agent.sh");
        let log = dir.join("log");
        let script = format!(
            "#!/bin/sh\nsay() {{ echo \"$1\" >> {}; }}\nsay \"$1 start\"\ncase $1 in\ncore) {core} ;;\nlink) {link} ;;\nesac\n",
            log.display()
        );
        std::fs::write(&exe, script).unwrap();
        std::fs::set_permissions(&exe, std::fs::Permissions::from_mode(0o700)).unwrap();
        Starter { exe, config_file: None, verbose: 0, pull_arguments: vec![] }
    }

    fn run_program(core: &str, link: &str, stop_after: Duration) -> (u8, String) {
        let dir = tempfile::tempdir().unwrap();
        let starter = program(dir.path(), core, link);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stop = tokio::time::sleep;
        let code =
            runtime.block_on(async { supervise(&starter, &dir.path().join("run"), stop(stop_after)).await });
        (code.unwrap(), std::fs::read_to_string(dir.path().join("log")).unwrap())
    }

    const FOREVER: Duration = Duration::from_secs(3600);
    const UNTIL_TERM: &str = "trap 'say \"$1 end\"; exit 0' TERM; while :; do sleep 0.05; done";

    #[test]
    fn the_end_of_core_is_the_end_with_its_code() {
        let (code, log) = run_program("sleep 0.3; exit 7", UNTIL_TERM, FOREVER);
        assert_eq!(code, 7);
        assert!(log.contains("link end"), "{log}");
        assert_eq!(run_program("sleep 0.1; kill -KILL $$", UNTIL_TERM, FOREVER).0, 3);
    }

    #[test]
    fn link_is_started_again_and_core_is_not() {
        let (code, log) = run_program("sleep 2; exit 0", "exit 1", FOREVER);
        assert_eq!((code, log.matches("core start").count()), (0, 1));
        assert!((2..=3).contains(&log.matches("link start").count()), "{log}");
    }

    #[test]
    fn a_stop_ends_core_before_link() {
        let (code, log) = run_program(UNTIL_TERM, UNTIL_TERM, Duration::from_millis(500));
        assert_eq!(code, 0);
        assert!(log.find("core end").unwrap() < log.find("link end").unwrap(), "{log}");
    }

    #[test]
    fn link_waits_longer_each_time_and_forgives_after_a_good_run() {
        let short = Duration::from_secs(1);
        assert_eq!(next_wait(FIRST_WAIT, short), Duration::from_secs(1));
        assert_eq!(next_wait(Duration::from_secs(20), short), LONGEST_WAIT);
        assert_eq!(next_wait(LONGEST_WAIT, HEALTHY), FIRST_WAIT);
    }

    #[test]
    fn core_may_not_change_the_main_process() {
        assert!(may_pass("READY=1") && may_pass("STATUS=beat 7"));
        assert!(!may_pass("MAINPID=1") && !may_pass("FDSTORE=1"));
    }
}
