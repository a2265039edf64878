//! The whole road on one machine: a TPM, a validator and an agent on loopback, in one directory.
//!
//! Where a real TPM or a real NVML is at hand it is used; what is not there is simulated and
//! says so in the evidence. State stays in the directory: the same TPM, node id and store come
//! back with the next [`World::start`].

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use assay_attester::{Backend, Tpm};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::swtpm::Swtpm;
use crate::{DemoError, simulated_boot};

/// The kernel's TPM, when there is one that this user may open.
const REAL_TPM: &str = "/dev/tpmrm0";
/// There when NVIDIA's kernel module is loaded.
const REAL_NVML: &str = "/proc/driver/nvidia/version";
const FIRMWARE_LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";
/// Of the state in a demo's directory; rises when records of before don't read back.
const FORMAT: &str = "3\n";
const POLL: Duration = Duration::from_millis(50);

/// How quickly a world lives.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Milliseconds between beats.
    pub beat_ms: u64,
    /// Milliseconds between GPU samples.
    pub sample_ms: u64,
    /// Length of a beacon round, which is an anchor slot.
    pub beacon_period_ms: u64,
    /// Chance that a slot asks for an anchor, in thousandths.
    pub anchor_per_mille: u32,
    /// Scenario of the simulated NVML; `None` switches GPUs off.
    pub scenario: Option<PathBuf>,
    /// Use the machine's own TPM and NVML where they are.
    pub real_parts: bool,
}

impl Pace {
    /// A beat a second, slots of five seconds with p = 1/4, eight simulated GPUs.
    pub fn demo() -> Self {
        Self {
            beat_ms: 1000,
            sample_ms: 1000,
            beacon_period_ms: 5000,
            anchor_per_mille: 250,
            scenario: Some(scenarios().join("h100x8.toml")),
            real_parts: true,
        }
    }
}

/// The folder of the simulated NVML's scenarios.
pub fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../nvml-sim/scenarios")
}

/// The product's programs, as built beside this one.
#[derive(Debug, Clone)]
pub struct Programs(PathBuf);

impl Programs {
    /// The folder of the running program, or of the profile when a test runs.
    ///
    /// # Errors
    /// [`DemoError::MissingBinary`] names the first that was not built.
    pub fn locate() -> Result<Self, DemoError> {
        let own = std::env::current_exe().unwrap_or_default();
        let folder =
            own.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).unwrap_or_else(|| Path::new("."));
        let programs = Self(folder.to_path_buf());
        for path in [programs.agent(), programs.validator(), programs.jailer(), programs.nvml_sim()] {
            if !path.exists() {
                return Err(DemoError::MissingBinary { path });
            }
        }
        Ok(programs)
    }

    /// `assay-agent`.
    pub fn agent(&self) -> PathBuf {
        self.0.join("assay-agent")
    }

    /// `assay-validator`.
    pub fn validator(&self) -> PathBuf {
        self.0.join("assay-validator")
    }

    /// `assay-jailer`, static: where `ASSAY_JAILER` says, or beside the others.
    pub fn jailer(&self) -> PathBuf {
        std::env::var_os("ASSAY_JAILER").map_or_else(|| self.0.join("assay-jailer"), PathBuf::from)
    }

    /// The simulated NVML.
    pub fn nvml_sim(&self) -> PathBuf {
        self.0.join("libnvidia_ml.so")
    }
}

/// A running validator and agent, with their TPM.
#[derive(Debug)]
pub struct World {
    dir: PathBuf,
    pace: Pace,
    programs: Programs,
    swtpm: Option<Swtpm>,
    validator: Option<Child>,
    agent: Option<Child>,
    listen: SocketAddr,
}

impl World {
    /// Starts TPM and validator in `dir`; the agent is started by [`World::start_agent`].
    ///
    /// # Errors
    /// A [`DemoError`] saying which part failed.
    pub fn start(dir: &Path, pace: Pace) -> Result<Self, DemoError> {
        let programs = Programs::locate()?;
        make_dir(dir)?;
        let dir = dir.canonicalize().map_err(|source| DemoError::WriteFile { path: dir.into(), source })?;
        end_leftovers(&dir);
        keep_or_forget(&dir)?;
        let swtpm = match pace.real_parts && openable(REAL_TPM) {
            true => None,
            false => Some(Swtpm::start(&dir.join("tpm"))?),
        };
        let mut world =
            Self { dir, pace, programs, swtpm, validator: None, agent: None, listen: free_port()? };
        world.boot()?;
        world.init_validator()?;
        world.start_validator()?;
        world.write_agent_config()?;
        Ok(world)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The product's programs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The software TPM, unless a real one is used.
    pub fn swtpm(&mut self) -> Option<&mut Swtpm> {
        self.swtpm.as_mut()
    }

    /// Where the validator listens.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The trust file that the validator's users get.
    pub fn trust(&self) -> PathBuf {
        self.dir.join("trust.toml")
    }

    /// The agent's configuration.
    pub fn agent_config(&self) -> PathBuf {
        self.dir.join("agent.toml")
    }

    /// The validator's directory.
    pub fn validator_dir(&self) -> PathBuf {
        self.dir.join("validator")
    }

    /// Gives a software TPM the simulated boot that it has not had yet.
    ///
    /// # Errors
    /// As [`simulated_boot::install`].
    pub fn boot(&self) -> Result<(), DemoError> {
        let Some(swtpm) = &self.swtpm else { return Ok(()) };
        let backend = Backend::parse(&swtpm.tcti()).map_err(DemoError::OpenTpm)?;
        let mut tpm = Tpm::open(&backend).map_err(DemoError::OpenTpm)?;
        simulated_boot::install(&mut tpm, &self.dir.join("firmware.log"))
    }

    fn init_validator(&self) -> Result<(), DemoError> {
        let dir = self.validator_dir();
        if !dir.join("validator.toml").exists() {
            let mut init = Command::new(self.programs.validator());
            init.arg("init").arg(&dir).args(["--json", "--network", "assay-demo", "--operator", "demo"]);
            init.args(["--beacon-period-ms", &self.pace.beacon_period_ms.to_string()]);
            init.args(["--anchor-per-mille", &self.pace.anchor_per_mille.to_string()]);
            write(&self.dir.join("pins.json"), output(&mut init)?)?;
            self.pin_ca()?;
        }
        let copied = fs::copy(dir.join("trust.toml"), self.trust());
        copied.map(|_| ()).map_err(|source| DemoError::WriteFile { path: self.trust(), source })
    }

    /// Has the validator believe the test CA that certified the software TPM.
    fn pin_ca(&self) -> Result<(), DemoError> {
        let Some(swtpm) = &self.swtpm else { return Ok(()) };
        for (name, certificate) in ["swtpm test CA", "swtpm test root CA"].iter().zip(swtpm.ca_certificates())
        {
            let mut add = Command::new(self.programs.validator());
            add.args(["trust", "add-ca", "--class", "virtual", "--name", name]).arg("--trust");
            output(add.arg(self.validator_dir().join("trust.toml")).arg(certificate))?;
        }
        Ok(())
    }

    /// Starts the validator and waits until it listens.
    ///
    /// # Errors
    /// [`DemoError::Timeout`] with the end of its log.
    pub fn start_validator(&mut self) -> Result<(), DemoError> {
        let mut serve = Command::new(self.programs.validator());
        serve
            .arg("serve")
            .arg("--dir")
            .arg(self.validator_dir())
            .arg("--listen")
            .arg(self.listen.to_string());
        self.validator = Some(self.daemon(serve, "validator")?);
        let listen = self.listen;
        self.wait("the validator to listen", Duration::from_secs(20), |_| {
            Ok(TcpStream::connect(listen).is_ok())
        })
    }

    /// Stops the validator in order.
    pub fn stop_validator(&mut self) {
        stop(self.validator.take(), Signal::SIGTERM);
    }

    /// Kills the validator as a crash would.
    pub fn kill_validator(&mut self) {
        stop(self.validator.take(), Signal::SIGKILL);
    }

    fn write_agent_config(&self) -> Result<(), DemoError> {
        let pins = self.pins()?;
        let (backend, simulated) = match &self.swtpm {
            Some(swtpm) => (swtpm.tcti(), true),
            None => (REAL_TPM.to_owned(), false),
        };
        let log = if simulated { self.dir.join("firmware.log") } else { FIRMWARE_LOG.into() };
        let library = match self.pace.real_parts && Path::new(REAL_NVML).exists() {
            true => PathBuf::from("libnvidia-ml.so.1"),
            false => self.programs.nvml_sim(),
        };
        let mut text = String::new();
        let _ = write!(
            text,
            "[node]\nstate_dir = {dir:?}\nruntime_dir = {runtime:?}\n\n\
             [network]\nid = \"assay-demo\"\nanchor_per_mille = {per_mille}\n\n\
             [[validator]]\nname = \"demo\"\nurl = \"https://{listen}\"\nkey = \"{key}\"\ntls_spki = \"{pin}\"\n\n\
             [tpm]\nbackend = {backend:?}\nsimulated = {simulated}\n\n\
             [boot]\nfirmware_log = {log:?}\nsimulated = {simulated}\n\n\
             [cadence]\nbeat_ms = {beat}\nsample_ms = {sample}\n\n\
             [gpu]\nenabled = {gpu}\nlibrary = {library:?}\n\n\
             [sandbox]\njailer = {jailer:?}\n",
            dir = self.dir,
            runtime = self.dir.join("sock"),
            per_mille = self.pace.anchor_per_mille,
            listen = self.listen,
            key = pins.0,
            pin = pins.1,
            beat = self.pace.beat_ms,
            sample = self.pace.sample_ms,
            gpu = self.pace.scenario.is_some(),
            jailer = self.programs.jailer(),
        );
        write(&self.agent_config(), text)
    }

    /// The validator's signing key and TLS pin in hex, as `init` told them.
    fn pins(&self) -> Result<(String, String), DemoError> {
        let path = self.dir.join("pins.json");
        let text = fs::read(&path).map_err(|source| DemoError::ReadFile { path: path.clone(), source })?;
        let told: Value = serde_json::from_slice(&text).map_err(|source| DemoError::Json {
            line: path.display().to_string(),
            said: String::new(),
            source,
        })?;
        let field = |name: &'static str| {
            let value = told.get(name).and_then(Value::as_str);
            value.map(str::to_owned).ok_or(DemoError::MissingField { name })
        };
        Ok((field("key")?, field("pin")?))
    }

    /// Starts `assay-agent run`.
    ///
    /// # Errors
    /// [`DemoError::RunProgram`].
    pub fn start_agent(&mut self) -> Result<(), DemoError> {
        make_dir(&self.dir.join("sock"))?;
        let mut run = clean_command(self.programs.agent());
        run.arg("--config").arg(self.agent_config()).arg("run");
        if let Some(scenario) = &self.pace.scenario {
            run.env("ASSAY_NVML_SCENARIO", scenario);
        }
        self.agent = Some(self.daemon(run, "agent")?);
        Ok(())
    }

    /// Kills the agent's supervisor with SIGKILL; its children die with it.
    pub fn kill_agent(&mut self) {
        stop(self.agent.take(), Signal::SIGKILL);
    }

    /// Stops the agent in order.
    pub fn stop_agent(&mut self) {
        stop(self.agent.take(), Signal::SIGTERM);
    }

    /// Process id of `assay-agent run`, while it runs.
    pub fn agent_pid(&self) -> Option<u32> {
        self.agent.as_ref().map(Child::id)
    }

    /// A command line of the agent, with its configuration.
    pub fn agent_command(&self) -> Command {
        let mut command = Command::new(self.programs.agent());
        command.arg("--config").arg(self.agent_config());
        command
    }

    /// What `assay-agent status --json` says; `None` while nobody answers.
    pub fn status(&self) -> Option<Value> {
        json(self.agent_command().args(["status", "--json"])).ok()
    }

    /// A number of the agent's status, 0 while there is none.
    pub fn status_number(&self, name: &str) -> u64 {
        self.status().and_then(|status| status.get(name)?.as_u64()).unwrap_or_default()
    }

    /// Waits until `done`, or says what did not come.
    ///
    /// # Errors
    /// [`DemoError::Timeout`], with the ends of the logs.
    pub fn wait(
        &self,
        what: &str,
        limit: Duration,
        mut done: impl FnMut(&Self) -> Result<bool, DemoError>,
    ) -> Result<(), DemoError> {
        let start = Instant::now();
        while !done(self)? {
            if start.elapsed() > limit {
                let logs = format!("{}{}", self.log_tail("agent"), self.log_tail("validator"));
                return Err(DemoError::Timeout { what: what.to_owned(), seconds: limit.as_secs(), logs });
            }
            sleep(POLL);
        }
        Ok(())
    }

    /// Waits until a session of the agent has `beats` beats.
    ///
    /// # Errors
    /// As [`World::wait`].
    pub fn wait_for_beats(&self, beats: u64, limit: Duration) -> Result<(), DemoError> {
        self.wait("beats", limit, |world| Ok(world.status_number("seq") >= beats))
    }

    /// Exports a file from the running agent.
    ///
    /// # Errors
    /// [`DemoError::CommandFailed`].
    pub fn export(&self, what: &str, path: &Path) -> Result<(), DemoError> {
        output(self.agent_command().args(["ledger", "export", what, "--output"]).arg(path)).map(|_| ())
    }

    /// What `assay-validator verify --json` says of a file; a reject is an answer too.
    ///
    /// # Errors
    /// [`DemoError::Json`] when it says nothing readable.
    pub fn verify(&self, path: &Path) -> Result<Value, DemoError> {
        let mut verify = Command::new(self.programs.validator());
        verify.arg("verify").arg("--trust").arg(self.trust()).arg("--json").arg(path);
        json(&mut verify)
    }

    fn daemon(&self, mut command: Command, name: &'static str) -> Result<Child, DemoError> {
        let path = self.dir.join(format!("{name}.log"));
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(|source| DemoError::WriteFile { path, source })?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().map_err(|source| DemoError::RunProgram { program: name, source })?;
        write(&self.dir.join(format!("{name}.pid")), child.id().to_string())?;
        Ok(child)
    }

    fn log_tail(&self, name: &str) -> String {
        let text = fs::read_to_string(self.dir.join(format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(8).collect();
        lines.iter().rev().fold(String::new(), |all, line| format!("{all}\n  {name}: {line}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop_agent();
        self.stop_validator();
    }
}

/// A program that starts without the files that this process has open, but the three standard ones.
///
/// libtss2 connects to the software TPM without close-on-exec, and swtpm serves one connection: a
/// process that is started at the wrong moment and lives on would hold it.
pub(crate) fn clean_command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    const CLOSE: &str = "for fd in /proc/$$/fd/*; do n=${fd##*/}; [ \"$n\" -gt 2 ] && [ \"$n\" != 255 ] && \
                         eval \"exec $n>&-\"; done; exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", CLOSE, "bash"]).arg(program);
    command
}

/// Runs a program to its end and gives its standard output; a failure holds its standard error.
///
/// # Errors
/// [`DemoError::CommandFailed`].
pub fn output(command: &mut Command) -> Result<Vec<u8>, DemoError> {
    let line = format!("{command:?}");
    let done = command.stdin(Stdio::null()).output();
    let done = done.map_err(|source| DemoError::StartCommand { line: line.clone(), source })?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(DemoError::CommandFailed { line, status: done.status, said })
}

/// Runs a program and reads what it printed as JSON, whatever its exit code.
///
/// # Errors
/// [`DemoError::Json`], with its standard error.
pub fn json(command: &mut Command) -> Result<Value, DemoError> {
    let line = format!("{command:?}");
    let done = command.stdin(Stdio::null()).output();
    let done = done.map_err(|source| DemoError::StartCommand { line: line.clone(), source })?;
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    serde_json::from_slice(&done.stdout).map_err(|source| DemoError::Json { line, said, source })
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), DemoError> {
    fs::write(path, content).map_err(|source| DemoError::WriteFile { path: path.into(), source })
}

fn make_dir(dir: &Path) -> Result<(), DemoError> {
    fs::create_dir_all(dir).map_err(|source| DemoError::WriteFile { path: dir.into(), source })
}

/// Records of an earlier format don't read back, so a demo's state from then is forgotten. Only a directory
/// that a demo made is touched.
fn keep_or_forget(dir: &Path) -> Result<(), DemoError> {
    let (marker, made) = (dir.join("format"), dir.join("pins.json").exists());
    if made && fs::read_to_string(&marker).ok().as_deref() != Some(FORMAT) {
        fs::remove_dir_all(dir).map_err(|source| DemoError::WriteFile { path: dir.into(), source })?;
        make_dir(dir)?;
    }
    write(&marker, FORMAT)
}

fn openable(path: &str) -> bool {
    File::options().read(true).write(true).open(path).is_ok()
}

fn free_port() -> Result<SocketAddr, DemoError> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    listener.map_err(|source| DemoError::RunProgram { program: "a listener on loopback", source })
}

fn stop(child: Option<Child>, signal: Signal) {
    let Some(mut child) = child else { return };
    if let Ok(pid) = i32::try_from(child.id()) {
        // The child is ours and not yet waited for, so the pid is still its own.
        let _ = kill(Pid::from_raw(pid), signal);
    }
    let asked = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if asked.elapsed() > Duration::from_secs(10) {
            let _ = child.kill();
        }
        sleep(Duration::from_millis(10));
    }
}

/// Ends what an earlier run of this directory left running after it was killed itself.
///
/// A pid file is believed only when the process still holds this directory on its command line.
fn end_leftovers(dir: &Path) {
    for name in ["agent.pid", "validator.pid", "tpm/swtpm.pid"] {
        let path = dir.join(name);
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let Ok(pid) = text.trim().parse::<i32>() else { continue };
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(&*dir.to_string_lossy()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            while Path::new(&format!("/proc/{pid}")).exists() {
                sleep(Duration::from_millis(10));
            }
        }
        let _ = fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_demos_own_state_of_before_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("mine.txt"), "x").unwrap();
        keep_or_forget(dir.path()).unwrap();
        assert!(at("mine.txt").exists() && at("format").exists(), "no demo was here");
        fs::write(at("pins.json"), "{}").unwrap();
        keep_or_forget(dir.path()).unwrap();
        assert!(at("mine.txt").exists(), "of this format");
        fs::write(at("format"), "1\n").unwrap();
        keep_or_forget(dir.path()).unwrap();
        assert!(!at("mine.txt").exists() && at("format").exists());
    }
}
