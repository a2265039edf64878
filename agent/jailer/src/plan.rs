//! The plan: everything the jailer needs to know about one job.
//!
//! On the wire: a little-endian `u32` with the length of the JSON text that
//! follows, at most [`PLAN_MAX`] bytes, on standard input, a stream socket. A
//! descriptor may ride along with the length: a network namespace for this job
//! alone. The same socket then stays open: its end means that the supervisor
//! is gone or has changed its mind, and the job dies.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ring::CAPACITY_MAX;
use crate::wall::Wall;

/// The only version of the plan that this jailer accepts.
pub const PLAN_VERSION: u32 = 2;
/// Most bytes of JSON in one plan.
pub const PLAN_MAX: usize = 12 << 20;
/// Most image layers: `lowerdir=` of so many one- and two-digit names fits the
/// 255 bytes that `fsconfig(2)` takes as one string.
pub const LAYERS_MAX: usize = 64;
/// Ids in one job's range.
pub const ID_RANGE: u32 = 65_536;
/// Most files and directories of the host in one job.
pub const BINDS_MAX: usize = 64;
/// Most secrets in one job.
pub const SECRETS_MAX: usize = 64;
/// Most bytes of one secret.
pub const SECRET_MAX: usize = 64 << 10;

/// Whose ids the job gets outside of its user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ids {
    /// [`ID_RANGE`] ids from `base` on; needs root outside. Layers are
    /// id-mapped, so that their owner 0 is the job's root.
    Range {
        /// First id outside.
        base: u32,
    },
    /// The caller's own id and no other.
    Single {},
}

/// Where the job's standard output and error go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logs {
    /// File for standard output; must not exist.
    pub stdout: PathBuf,
    /// File for standard error; must not exist.
    pub stderr: PathBuf,
    /// Bytes kept of each, the last ([`crate::ring`]), so that a chatty job
    /// neither fills the disk nor blocks.
    pub limit_bytes: u64,
}

/// Resource limits of `setrlimit(2)`; each is lowered to the hard limit in
/// force where that is smaller, because raising one needs `CAP_SYS_RESOURCE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimits {
    /// `RLIMIT_NPROC`, the job's first process included.
    pub processes: u64,
    /// `RLIMIT_NOFILE`.
    pub open_files: u64,
    /// `RLIMIT_FSIZE`, bytes.
    pub file_bytes: u64,
    /// `RLIMIT_CPU`, seconds per process.
    pub cpu_seconds: u64,
    /// `RLIMIT_DATA`, bytes per process, where no cgroup limits memory.
    pub data_bytes: Option<u64>,
    /// `RLIMIT_AS`, bytes per process, where no cgroup limits memory.
    pub address_space_bytes: Option<u64>,
}

/// A file or directory of the host that the job sees: an input, or the place of its checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// What is shown, absolute; opened before the image is visible, through no link.
    pub source: PathBuf,
    /// Where the job sees it: a plain absolute path outside of /dev, /proc and /sys.
    pub target: String,
    /// False: read-only. True: the source must lie below a directory that is closed to others, because
    /// what the job writes belongs on disk to the ids that it has inside. Either way no set-user-id program and no device works in it.
    pub writable: bool,
}

/// A secret, shown as a file of [`Secret::DIR`] in the job's memory. It is never written to a file system on
/// a disk, nor to swap space where a range of ids goes with a kernel since 6.4, or a cgroup forbids it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// Name of the file: letters, digits, `_`, `-` and `.`, not starting with a dot.
    pub name: String,
    /// Its content, in hexadecimal.
    pub value_hex: String,
}

impl Secret {
    /// The directory of secrets inside.
    pub const DIR: &str = "/run/secrets";

    /// True for a name that can be a file of [`Secret::DIR`].
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        (1..=64).contains(&name.len())
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One job's confinement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// Process id of the supervisor; the jailer refuses to be anybody else's
    /// child, because it would then outlive the one it must die with.
    pub supervisor: u32,
    /// Unpacked layer directories, absolute, bottom first.
    pub layers: Vec<PathBuf>,
    /// Ids outside.
    pub ids: Ids,
    /// User id inside.
    pub uid: u32,
    /// Group id inside.
    pub gid: u32,
    /// Program and arguments; a program without `/` is looked up in `PATH`.
    pub argv: Vec<String>,
    /// Whole environment, `KEY=value`.
    pub env: Vec<String>,
    /// Working directory inside.
    pub cwd: String,
    /// Host name inside.
    pub hostname: String,
    /// Absolute directories that are made for the job's results.
    pub outputs: Vec<String>,
    /// Size of the writable layer, bytes.
    pub scratch_bytes: u64,
    /// Files in the writable layer.
    pub scratch_inodes: u64,
    /// Wall clock from plan to end, milliseconds.
    pub timeout_ms: u64,
    /// Log files.
    pub logs: Logs,
    /// Resource limits.
    pub rlimits: Rlimits,
    /// Directory of the cgroup to start the job in.
    pub cgroup: Option<PathBuf>,
    /// Files and directories of the host, in the order in which they are attached.
    pub binds: Vec<Bind>,
    /// Secrets.
    pub secrets: Vec<Secret>,
    /// Walls that a test leaves out.
    #[cfg(feature = "broken-walls")]
    #[serde(default)]
    pub without: Vec<Wall>,
}

/// A plan that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("plan field {field}: {rule}")]
pub struct PlanError {
    /// Name of the field.
    pub field: &'static str,
    /// What it must be.
    pub rule: &'static str,
}

fn check(ok: bool, field: &'static str, rule: &'static str) -> Result<(), PlanError> {
    if ok { Ok(()) } else { Err(PlanError { field, rule }) }
}

fn no_nul<'a>(field: &'static str, items: impl IntoIterator<Item = &'a String>) -> Result<(), PlanError> {
    check(items.into_iter().all(|s| !s.contains('\0')), field, "holds a NUL byte")
}

/// True for `/a/b`: absolute, no empty, `.` or `..` component, not the root.
#[must_use]
pub fn is_plain_absolute(path: &str) -> bool {
    path.strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(|c| !matches!(c, "" | "." | "..") && !c.contains('\0')))
}

impl Plan {
    /// True unless a test leaves this wall out.
    #[must_use]
    #[cfg(feature = "broken-walls")]
    pub fn keeps(&self, wall: Wall) -> bool {
        !self.without.contains(&wall)
    }

    /// True: every wall is put up.
    #[must_use]
    #[cfg(not(feature = "broken-walls"))]
    pub fn keeps(&self, _wall: Wall) -> bool {
        true
    }

    /// Checks every rule that the types cannot express.
    ///
    /// # Errors
    /// The first field that breaks one.
    pub fn validate(&self) -> Result<(), PlanError> {
        check(self.version == PLAN_VERSION, "version", "is not this jailer's")?;
        let layers = 1..=LAYERS_MAX;
        check(layers.contains(&self.layers.len()), "layers", "must be 1 to 64")?;
        check(self.layers.iter().all(|l| l.is_absolute()), "layers", "must be absolute")?;
        self.validate_ids()?;
        check(!self.argv.is_empty(), "argv", "is empty")?;
        no_nul("argv", &self.argv)?;
        no_nul("env", &self.env)?;
        no_nul("cwd", [&self.cwd])?;
        check(self.cwd.starts_with('/'), "cwd", "must be absolute")?;
        check(self.outputs.iter().all(|o| is_plain_absolute(o)), "outputs", "must be plain absolute paths")?;
        check(self.timeout_ms > 0, "timeout_ms", "must not be zero")?;
        check(self.logs.limit_bytes <= CAPACITY_MAX, "logs", "must keep at most 1 GiB")?;
        self.validate_binds()?;
        self.validate_secrets()
    }

    fn validate_binds(&self) -> Result<(), PlanError> {
        let reserved = ["/dev", "/proc", "/sys", Secret::DIR];
        let is_within = |path: &str, parent: &str| {
            path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        check(self.binds.len() <= BINDS_MAX, "binds", "must be at most 64")?;
        check(self.binds.iter().all(|b| b.source.is_absolute()), "binds", "must have absolute sources")?;
        check(
            self.binds.iter().all(|b| {
                is_plain_absolute(&b.target)
                    && !reserved.iter().any(|r| is_within(&b.target, r) || is_within(r, &b.target))
            }),
            "binds",
            "must have plain absolute targets outside of /dev, /proc, /sys and /run/secrets",
        )
    }

    fn validate_secrets(&self) -> Result<(), PlanError> {
        check(self.secrets.len() <= SECRETS_MAX, "secrets", "must be at most 64")?;
        check(self.secrets.iter().all(|s| Secret::is_name(&s.name)), "secrets", "must have plain names")?;
        let is_hex = |text: &str| {
            text.len() <= 2 * SECRET_MAX
                && text.len().is_multiple_of(2)
                && text.bytes().all(|b| b.is_ascii_hexdigit())
        };
        check(
            self.secrets.iter().all(|s| is_hex(&s.value_hex)),
            "secrets",
            "must be at most 65536 bytes in hexadecimal",
        )
    }

    fn validate_ids(&self) -> Result<(), PlanError> {
        let Ids::Range { base } = self.ids else { return Ok(()) };
        check(base >= ID_RANGE, "ids", "range reaches the host's own ids")?;
        check(base.checked_add(ID_RANGE).is_some(), "ids", "range overflows")?;
        check(self.uid < ID_RANGE && self.gid < ID_RANGE, "uid", "is outside the range")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            version: PLAN_VERSION,
            supervisor: 1,
            layers: vec!["/layer".into()],
            ids: Ids::Range { base: 1 << 20 },
            uid: 0,
            gid: 0,
            argv: vec!["/bin/true".into()],
            env: vec![],
            cwd: "/".into(),
            hostname: "job".into(),
            outputs: vec!["/out".into()],
            scratch_bytes: 1,
            scratch_inodes: 1,
            timeout_ms: 1,
            logs: Logs { stdout: "/o".into(), stderr: "/e".into(), limit_bytes: 1 },
            rlimits: Rlimits {
                processes: 1,
                open_files: 1,
                file_bytes: 1,
                cpu_seconds: 1,
                data_bytes: None,
                address_space_bytes: None,
            },
            cgroup: None,
            binds: vec![Bind { source: "/in".into(), target: "/in".into(), writable: false }],
            secrets: vec![Secret { name: "key".into(), value_hex: "00ff".into() }],
            #[cfg(feature = "broken-walls")]
            without: vec![],
        }
    }

    fn broken(change: impl FnOnce(&mut Plan)) -> &'static str {
        let mut plan = plan();
        change(&mut plan);
        plan.validate().unwrap_err().field
    }

    #[test]
    fn survives_its_own_encoding() {
        let text = serde_json::to_vec(&plan()).unwrap();
        assert_eq!(serde_json::from_slice::<Plan>(&text).unwrap(), plan());
        plan().validate().unwrap();
    }

    #[test]
    fn refuses_unknown_fields() {
        let text = serde_json::to_string(&plan()).unwrap().replacen('{', "{\"hooks\":[],", 1);
        assert!(serde_json::from_str::<Plan>(&text).is_err());
    }

    #[test]
    fn names_the_broken_field() {
        assert_eq!(broken(|p| p.version = 1), "version");
        assert_eq!(broken(|p| p.layers.clear()), "layers");
        assert_eq!(broken(|p| p.layers = vec!["relative".into()]), "layers");
        assert_eq!(broken(|p| p.layers = vec!["/l".into(); LAYERS_MAX + 1]), "layers");
        assert_eq!(broken(|p| p.ids = Ids::Range { base: 0 }), "ids");
        assert_eq!(broken(|p| p.ids = Ids::Range { base: u32::MAX - 1 }), "ids");
        assert_eq!(broken(|p| p.uid = ID_RANGE), "uid");
        assert_eq!(broken(|p| p.argv.clear()), "argv");
        assert_eq!(broken(|p| p.env.push("A=\0".into())), "env");
        assert_eq!(broken(|p| p.cwd = "tmp".into()), "cwd");
        assert_eq!(broken(|p| p.outputs.push("/a/../b".into())), "outputs");
        assert_eq!(broken(|p| p.timeout_ms = 0), "timeout_ms");
        assert_eq!(broken(|p| p.logs.limit_bytes = CAPACITY_MAX + 1), "logs");
        for target in ["/proc/x", "/dev", "/run", "/run/secrets/a", "relative", "/a/../b"] {
            assert_eq!(broken(|p| p.binds[0].target = target.into()), "binds", "{target}");
        }
        assert_eq!(broken(|p| p.binds[0].source = "in".into()), "binds");
        assert_eq!(broken(|p| p.binds = vec![p.binds[0].clone(); BINDS_MAX + 1]), "binds");
        for name in ["", ".key", "a/b", "..", "a b"] {
            assert_eq!(broken(|p| p.secrets[0].name = name.into()), "secrets", "{name}");
        }
        for value in ["0", "zz"] {
            assert_eq!(broken(|p| p.secrets[0].value_hex = value.into()), "secrets", "{value}");
        }
        assert_eq!(broken(|p| p.secrets[0].value_hex = "00".repeat(SECRET_MAX + 1)), "secrets");
        assert_eq!(broken(|p| p.secrets = vec![p.secrets[0].clone(); SECRETS_MAX + 1]), "secrets");
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", plan()).contains("00ff"));
    }

    #[test]
    fn plain_absolute_paths() {
        assert!(is_plain_absolute("/a") && is_plain_absolute("/a/b.c"));
        for path in ["", "/", "a", "//a", "/a/", "/./a", "/a/..", "/a\0b"] {
            assert!(!is_plain_absolute(path), "{path:?}");
        }
    }
}
