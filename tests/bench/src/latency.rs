//! `true` from plan to exit: ours, a plain spawn, and two sandboxes of the distribution, in turns.

use std::cell::Cell;
use std::fs;
use std::io::{self, BufRead as _, BufReader, IoSlice, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use assay_jailer::plan::{ID_RANGE, Ids, Logs, PLAN_VERSION, Plan, Rlimits};
use assay_jailer::report::{End, Report};
use assay_sandbox::new_network;

use crate::row;

/// Turns of each contender.
const ROUNDS: usize = 200;
/// First of the ids of the job's range; a running sandbox starts lower.
const ID_BASE: u32 = 0x7800_0000;
/// Where Debian puts its static busybox.
const BUSYBOX: &str = "/bin/busybox";

/// Everything that takes turns, on one root file system of one static program.
struct Ring {
    dir: tempfile::TempDir,
    jailer: PathBuf,
    network: Cell<Option<OwnedFd>>,
}

/// Median and 99th percentile of each contender, as multiples of a plain spawn's median.
///
/// # Errors
/// Where our own job cannot be run; contenders that are missing or fail are left out and named.
pub(crate) fn spawn_to_exit(jailer: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        unify_cgroups()?;
    }
    let ring = Ring::new(jailer)?;
    let contenders: [(&str, Turn); 6] = [
        ("plain spawn", |ring| timed(|| ring.plain())),
        ("assay-jailer", Ring::ours),
        ("with its network", |ring| ring.ours_in(None)),
        ("a network alone", |ring| timed(|| new_network(&ring.jailer).map(drop))),
        ("bwrap --unshare-all", |ring| timed(|| ring.bwrap())),
        ("crun run", |ring| timed(|| ring.crun())),
    ];
    ring.ours()?;
    let able: Vec<_> = contenders.into_iter().filter(|(name, turn)| is_able(&ring, name, *turn)).collect();
    let mut times: Vec<Vec<Duration>> = able.iter().map(|_| Vec::with_capacity(ROUNDS)).collect();
    for round in 0..ROUNDS {
        // Nobody always follows the same one.
        for nth in 0..able.len() {
            let place = (nth + round) % able.len();
            if let (Some((_, turn)), Some(times)) = (able.get(place), times.get_mut(place)) {
                times.push(turn(&ring)?);
            }
        }
    }
    let plain = times.first_mut().map_or(Duration::ZERO, |times| at(times, 50));
    for ((name, _), times) in able.iter().zip(&mut times) {
        let (median, late) = (at(times, 50), at(times, 99));
        row(&format!("true: {name}, {ROUNDS} runs"), millis(median), millis(plain), "ms");
        println!("  {:<32} {:>11.1} ms at the 99th percentile", "", millis(late));
    }
    Ok(())
}

/// Gives this process a view of cgroups without version 1, the only one that crun takes beside version 2.
/// What is outside of its mount namespace stays as it is.
fn unify_cgroups() -> io::Result<()> {
    const CGROUPS: &str = "/sys/fs/cgroup";
    if Path::new(CGROUPS).join("cgroup.controllers").exists() {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let below: Vec<&str> =
        mounts.lines().filter_map(|l| l.split(' ').nth(4)).filter(|m| m.starts_with(CGROUPS)).collect();
    below.iter().rev().try_for_each(|point| umount(*point))?;
    Ok(mount(Some("cgroup2"), CGROUPS, Some("cgroup2"), MsFlags::empty(), None::<&str>)?)
}

/// One run, and what it took.
type Turn = fn(&Ring) -> io::Result<Duration>;

fn timed(turn: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    let began = Instant::now();
    turn().map(|()| began.elapsed())
}

fn is_able(ring: &Ring, name: &str, turn: Turn) -> bool {
    turn(ring).inspect_err(|error| println!("  left out: {name}: {error}")).is_ok()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn at(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

impl Ring {
    fn new(jailer: &Path) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        // Ids of the job have to get through.
        fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let root = dir.path().join("root");
        for name in ["bin", "dev", "proc", "tmp"] {
            fs::create_dir_all(root.join(name))?;
        }
        fs::copy(BUSYBOX, root.join("bin/true"))?;
        let config = serde_json::to_vec(&crun_config()).map_err(io::Error::other)?;
        fs::create_dir(dir.path().join("bundle"))?;
        fs::write(dir.path().join("bundle/config.json"), config)?;
        std::os::unix::fs::symlink(&root, dir.path().join("bundle/root"))?;
        Ok(Self { dir, jailer: jailer.to_owned(), network: Cell::default() })
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn plain(&self) -> io::Result<()> {
        succeed(&mut Command::new(self.root().join("bin/true")))
    }

    fn bwrap(&self) -> io::Result<()> {
        let root = self.root();
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--cap-drop", "ALL", "--ro-bind"]).arg(root).arg("/");
        succeed(command.args(["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "/bin/true"]))
    }

    fn crun(&self) -> io::Result<()> {
        let mut command = Command::new("crun");
        command.args(["--cgroup-manager=disabled", "run", "--bundle"]).arg(self.dir.path().join("bundle"));
        succeed(command.arg(format!("assay-bench-{}", std::process::id())))
    }

    /// One job as the supervisor runs it, in a network namespace that was made after the job before it.
    fn ours(&self) -> io::Result<Duration> {
        let took = self.ours_in(self.network.take())?;
        // For root alone, like the supervisor.
        if rustix::process::geteuid().is_root() {
            self.network.set(Some(new_network(&self.jailer)?));
        }
        Ok(took)
    }

    /// From starting the jailer to knowing how the job ended.
    fn ours_in(&self, network: Option<OwnedFd>) -> io::Result<Duration> {
        let logs = [self.dir.path().join("stdout"), self.dir.path().join("stderr")];
        let plan = self.plan(&logs);
        let began = Instant::now();
        let (mut control, theirs) = UnixStream::pair()?;
        let mut child = Command::new(&self.jailer)
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .spawn()?;
        let text = serde_json::to_vec(&plan)?;
        let length = u32::try_from(text.len()).map_err(io::Error::other)?.to_le_bytes();
        let fds: Vec<_> = network.iter().map(|fd| fd.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let rights = if fds.is_empty() { &[] } else { &rights[..] };
        sendmsg::<()>(control.as_raw_fd(), &[IoSlice::new(&length)], rights, MsgFlags::empty(), None)?;
        control.write_all(&text)?;
        let mut report = String::new();
        BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).read_line(&mut report)?;
        let took = began.elapsed();
        child.wait()?;
        logs.iter().try_for_each(fs::remove_file)?;
        let report: Report = serde_json::from_str(&report)?;
        match report.end {
            End::Exited(0) => Ok(took),
            other => Err(io::Error::other(format!("the job ended as {other:?}"))),
        }
    }

    fn plan(&self, [stdout, stderr]: &[PathBuf; 2]) -> Plan {
        let root = rustix::process::geteuid().is_root();
        Plan {
            version: PLAN_VERSION,
            supervisor: std::process::id(),
            layers: vec![self.root()],
            ids: if root { Ids::Range { base: ID_BASE / ID_RANGE * ID_RANGE } } else { Ids::Single {} },
            uid: 0,
            gid: 0,
            argv: vec!["/bin/true".to_owned()],
            env: vec!["PATH=/bin".to_owned()],
            cwd: "/".to_owned(),
            hostname: "job".to_owned(),
            outputs: vec![],
            scratch_bytes: 16 << 20,
            scratch_inodes: 4096,
            timeout_ms: 60_000,
            logs: Logs { stdout: stdout.clone(), stderr: stderr.clone(), limit_bytes: 64 << 10 },
            rlimits: Rlimits {
                processes: 64,
                open_files: 1024,
                file_bytes: 16 << 20,
                cpu_seconds: 60,
                data_bytes: None,
                address_space_bytes: None,
            },
            cgroup: None,
            binds: vec![],
            secrets: vec![],
        }
    }
}

fn succeed(command: &mut Command) -> io::Result<()> {
    // Pipes: a sandbox may give its descriptors to the job's ids, and /dev/null is everybody's.
    let done = command.stdin(Stdio::piped()).output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    if done.status.success() { Ok(()) } else { Err(io::Error::other(said.trim().to_owned())) }
}

/// An OCI runtime configuration with the same namespaces, a read-only root and no capabilities.
fn crun_config() -> serde_json::Value {
    let spaces = ["pid", "network", "ipc", "uts", "mount", "cgroup", "user"];
    let map = serde_json::json!([{ "containerID": 0, "hostID": ID_BASE, "size": ID_RANGE }]);
    serde_json::json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"], "env": ["PATH=/bin"],
            "cwd": "/", "noNewPrivileges": true,
            "capabilities": { "bounding": [], "effective": [], "inheritable": [], "permitted": [], "ambient": [] },
        },
        "root": { "path": "root", "readonly": true },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
            { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" },
        ],
        "linux": {
            "namespaces": spaces.map(|kind| serde_json::json!({ "type": kind })),
            "uidMappings": map, "gidMappings": map,
        },
    })
}
