//! Runs the jailer directly, with a plan of the test's own, so that a test sees
//! what a job could do and, with a jailer built for it, what it could do if one
//! wall were missing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs::{self, File};
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use assay_jailer::attempts::{Host, Record};
use assay_jailer::plan::{Ids, Logs, PLAN_VERSION, Plan, Rlimits};
use assay_jailer::report::Report;
use assay_jailer::ring;
use assay_jailer::wall::Wall;
use assay_sandbox::new_network;

pub mod cgroup;
pub mod image;
pub mod residue;

/// Programs that the tests call in a job.
const APPLETS: &str = "sh cat ls id true sleep kill mount ln mkdir mv rm yes dd setsid nohup head stat touch \
                       chmod mknod env grep wc echo test seq printf readlink od cp tr ip";

/// A place for jobs of one image.
pub struct Cell {
    pub dir: tempfile::TempDir,
    jailer: PathBuf,
    runs: AtomicU32,
    base: u32,
}

/// What came of one job.
#[derive(Debug)]
pub struct Done {
    pub report: Report,
    pub stdout: String,
    pub stderr: String,
}

/// A jailer at work; dropping it kills it.
pub struct Running {
    pub child: Child,
    pub control: UnixStream,
    pub plan: Plan,
}

/// The jailer under test.
pub fn jailer() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/jailer");
    std::env::var_os("ASSAY_JAILER").map_or_else(|| built.join("assay-jailer"), PathBuf::from)
}

/// The jailer that leaves walls out, in a place where it can be told which; nothing without one.
pub fn broken_jailer(place: &Path) -> Option<PathBuf> {
    let Some(broken) = std::env::var_os("ASSAY_JAILER_BROKEN").map(PathBuf::from) else {
        eprintln!("SKIPPED: no ASSAY_JAILER_BROKEN (make broken)");
        return None;
    };
    for name in ["assay-jailer", "assay-probe"] {
        fs::copy(broken.with_file_name(name), place.join(name)).unwrap();
    }
    Some(place.join("assay-jailer"))
}

/// Tells that jailer, in its own place, what to leave out of every plan.
pub fn leave_out(jailer: &Path, walls: &[Wall]) {
    fs::write(jailer.with_extension("without"), serde_json::to_vec(walls).unwrap()).unwrap();
}

/// An id range that no other test of this machine has at the same time.
fn next_base() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let slot = (std::process::id() * 61 + NEXT.fetch_add(1, Ordering::Relaxed)) % 8192;
    0x5000_0000 + slot * 65_536
}

/// First id of a supervisor's jobs: with up to four slots, nobody else's.
pub fn id_base() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let place = (std::process::id() * 7 + NEXT.fetch_add(1, Ordering::Relaxed)) % 1024;
    0x6000_0000 + place * 4 * 65_536
}

impl Cell {
    /// Nothing where this machine cannot run jobs.
    pub fn new() -> Option<Self> {
        let jailer = jailer();
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: id ranges need root");
            return None;
        }
        if !jailer.is_file() || !Path::new("/bin/busybox").is_file() {
            eprintln!("SKIPPED: no jailer ({}) or no /bin/busybox", jailer.display());
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let cell = Self { dir, jailer, runs: AtomicU32::new(0), base: next_base() };
        let bin = cell.layer().join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(cell.layer().join("tmp")).unwrap();
        fs::set_permissions(cell.layer().join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        fs::copy(cell.jailer.with_file_name("assay-probe"), bin.join("probe")).unwrap();
        for applet in APPLETS.split_whitespace() {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        Some(cell)
    }

    /// The image's one layer, to be changed before a run.
    pub fn layer(&self) -> PathBuf {
        self.dir.path().join("layer")
    }

    /// A plan that runs a shell script.
    pub fn script(&self, script: &str) -> Plan {
        self.plan(&["/bin/sh", "-c", script])
    }

    /// A plan that runs the probe's attempts.
    pub fn attempts(&self, host: &Host) -> Plan {
        let mut plan = self.plan(&[]);
        plan.argv = host.command("/bin/probe");
        plan
    }

    pub fn plan(&self, argv: &[&str]) -> Plan {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        Plan {
            version: PLAN_VERSION,
            supervisor: std::process::id(),
            layers: vec![self.layer()],
            ids: Ids::Range { base: self.base },
            uid: 0,
            gid: 0,
            argv: argv.iter().map(|&a| a.to_owned()).collect(),
            env: vec!["PATH=/bin".to_owned()],
            cwd: "/".to_owned(),
            hostname: "job".to_owned(),
            outputs: vec![],
            scratch_bytes: 16 << 20,
            scratch_inodes: 1000,
            timeout_ms: 120_000,
            logs: Logs {
                stdout: self.dir.path().join(format!("stdout-{run}")),
                stderr: self.dir.path().join(format!("stderr-{run}")),
                limit_bytes: 1 << 20,
            },
            rlimits: Rlimits {
                processes: 64,
                open_files: 256,
                file_bytes: 16 << 20,
                cpu_seconds: 60,
                data_bytes: Some(128 << 20),
                address_space_bytes: None,
            },
            cgroup: None,
            binds: vec![],
            secrets: vec![],
        }
    }

    pub fn run(&self, plan: &Plan) -> Done {
        self.start(plan).finish()
    }

    pub fn sh(&self, script: &str) -> Done {
        self.run(&self.script(script))
    }

    /// As a supervisor most often does, in a network namespace that was made ahead.
    pub fn start(&self, plan: &Plan) -> Running {
        self.start_in(Some(&new_network(&self.jailer).unwrap()), plan)
    }

    /// In this network namespace, or in one that the jailer makes on the way.
    pub fn start_in(&self, network: Option<&OwnedFd>, plan: &Plan) -> Running {
        start(&self.jailer, plan, &serde_json::to_vec(plan).unwrap(), network)
    }

    /// First of the ids that jobs here have outside.
    pub fn base(&self) -> u32 {
        self.base
    }

    /// Processes whose user is in the range of this cell's jobs.
    pub fn processes(&self) -> Vec<u32> {
        residue::processes(&self.ids())
    }

    /// The ids that jobs here have outside.
    pub fn ids(&self) -> Range<u32> {
        self.base..self.base + 65_536
    }

    /// Runs a plan with one more member than there is.
    pub fn run_raw(&self, plan: &Plan, member: &str, value: &[&str]) -> Done {
        let mut json = serde_json::to_value(plan).unwrap();
        json[member] = serde_json::to_value(value).unwrap();
        start(&self.jailer, plan, &serde_json::to_vec(&json).unwrap(), None).finish()
    }

    /// Runs behind all walls but these; nothing without the jailer that can.
    pub fn run_without(&self, plan: &Plan, walls: &[Wall]) -> Option<Done> {
        self.start_without(plan, walls, None).map(Running::finish)
    }

    pub fn start_without(&self, plan: &Plan, walls: &[Wall], network: Option<&OwnedFd>) -> Option<Running> {
        let Some(jailer) = std::env::var_os("ASSAY_JAILER_BROKEN") else {
            eprintln!("SKIPPED: no ASSAY_JAILER_BROKEN (make broken)");
            return None;
        };
        let mut value = serde_json::to_value(plan).unwrap();
        value["without"] = serde_json::to_value(walls).unwrap();
        Some(start(Path::new(&jailer), plan, &serde_json::to_vec(&value).unwrap(), network))
    }
}

fn start(jailer: &Path, plan: &Plan, text: &[u8], network: Option<&OwnedFd>) -> Running {
    let (mut control, theirs) = UnixStream::pair().unwrap();
    let child =
        Command::new(jailer).env_clear().stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).spawn().unwrap();
    let network: Vec<_> = network.into_iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    assert!(network.is_empty() || rights.push(SendAncillaryMessage::ScmRights(&network)));
    let length = u32::try_from(text.len()).unwrap().to_le_bytes();
    sendmsg(&control, &[IoSlice::new(&length)], &mut rights, SendFlags::NOSIGNAL).unwrap();
    // A jailer that refuses early closes its end.
    let _ = control.write_all(text);
    Running { child, control, plan: plan.clone() }
}

impl Running {
    pub fn finish(mut self) -> Done {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.child.wait().unwrap();
        let report = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        Done { report, stdout: log(&self.plan.logs.stdout), stderr: log(&self.plan.logs.stderr) }
    }

    /// Waits until the job has said this on its standard output.
    pub fn wait_for(&self, word: &str) {
        for _ in 0..6000 {
            if log(&self.plan.logs.stdout).contains(word) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the job never said {word}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail harmlessly once it has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a ring holds; nothing where there is none.
pub fn log(path: &Path) -> String {
    let tail = File::open(path).and_then(|file| ring::read(&file));
    tail.map(|t| String::from_utf8_lossy(&t.bytes).into_owned()).unwrap_or_default()
}

/// The probe's lines.
pub fn records(text: &str) -> Vec<Record> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Processes of this machine whose command line holds `mark`.
pub fn processes_with(mark: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|e| fs::read(e.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(mark))
        .collect()
}

/// Waits, generously, for a condition.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("never: {what}");
}
