//! What can go wrong before, around and after a job, by the operation that failed.

use std::io;
use std::path::PathBuf;

use assay_jailer::report::Refusal;

use crate::job::JobError;
use crate::pull::PullError;
use crate::unpack::UnpackError;

/// Why a job was not run, or could not be accounted for.
///
/// A job that ran and failed is not an error but an
/// [`Exit`](crate::outcome::Exit).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The job file is not one.
    #[error("job file")]
    ParseJob(#[from] JobError),
    /// The job asks for something that this sandbox does not do yet.
    #[error("{what} is not supported: {advice}")]
    Unsupported {
        /// What the job asks for.
        what: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
    /// The job wants cgroup limits and this machine cannot give them.
    #[error(
        "no cgroup v2 controllers ({missing}) below {parent}: set limits = \"rlimit\" in [job.resources] \
         for development, or delegate them to the agent"
    )]
    NoControllers {
        /// Names of the missing controllers.
        missing: String,
        /// Where they were looked for.
        parent: PathBuf,
    },
    /// The job wants cgroup limits and no cgroup is ours to divide.
    #[error(
        "{reason}: set limits = \"rlimit\" in [job.resources] for development, or run it in a cgroup of \
         its own, as the systemd unit does (systemd-run --scope --property=Delegate=yes ...)"
    )]
    NoPlace {
        /// Why, in words.
        reason: &'static str,
    },
    /// Every processor is reserved.
    #[error("no processor is left for jobs: reserve fewer")]
    NoCpus,
    /// A list of processors is not one.
    #[error("reserved processors {0:?} are not a list like \"0-1,4\"")]
    ReservedCpus(String),
    /// A cgroup file could not be read or written.
    #[error("cgroup {path}")]
    Cgroup {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The image layout breaks a rule.
    #[error("image {part}: {rule}")]
    Image {
        /// Which part of the layout.
        part: String,
        /// The rule, in words.
        rule: String,
    },
    /// A file of the image layout could not be read.
    #[error("image file {path}")]
    ReadImage {
        /// The file, relative to the layout.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// JSON in the image layout is not what its media type says.
    #[error("image {part} is not valid JSON of its type")]
    DecodeImage {
        /// Which part of the layout.
        part: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// Bytes do not have the digest under which they were asked for.
    #[error("{what} has digest {found}, expected {expected}")]
    Digest {
        /// Which bytes.
        what: String,
        /// Lower-case hexadecimal SHA-256 that was expected.
        expected: String,
        /// Lower-case hexadecimal SHA-256 that was found.
        found: String,
    },
    /// A registry reference names no digest, and the configuration demands one.
    #[error(
        "{reference} names no digest, and a tag can be moved: add @sha256:... of its manifest, or set \
         tags = true in [sandbox.images]"
    )]
    TagOnly {
        /// The reference.
        reference: String,
    },
    /// The image is in a registry, and nothing here fetches from registries.
    #[error("images from registries are not set up here: use oci:/path/to/layout:tag")]
    NoPuller,
    /// A registry did not give a part of the image.
    #[error("pull {what}")]
    Pull {
        /// The part.
        what: String,
        /// The cause.
        source: PullError,
    },
    /// The image was not there within its time.
    #[error("the image was not fetched and unpacked within its time")]
    ImageTimeout,
    /// The job was stopped before it started.
    #[error("cancelled before the job started")]
    Cancelled,
    /// A layer could not be unpacked.
    #[error("layer {layer}")]
    Unpack {
        /// The layer's digest.
        layer: String,
        /// The cause.
        source: UnpackError,
    },
    /// The state directory could not be used.
    #[error("state {path}: {action}")]
    State {
        /// The path.
        path: PathBuf,
        /// What was being done to it.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// Every slot, and so every id range, is taken by a running job.
    #[error("all {slots} job slots are in use")]
    Busy {
        /// How many there are.
        slots: u32,
    },
    /// The jailer is nowhere to be found.
    #[error("assay-jailer is neither at {0:?} nor in /usr/lib/assay")]
    FindJailer(PathBuf),
    /// The probe is not beside the jailer.
    #[error("no assay-probe beside the jailer, at {0:?}: install it there")]
    FindProbe(PathBuf),
    /// The jailer could not be started, spoken to, or understood.
    #[error("jailer: {action}")]
    Jailer {
        /// What was being done.
        action: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The jailer refused: this machine cannot confine the job.
    #[error("the job could not be confined")]
    Confine(#[source] Refusal),
    /// An input is not what the job file says, or not one that it may name.
    #[error("input {path} {rule}")]
    Input {
        /// Its path on the node.
        path: PathBuf,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// An input could not be read.
    #[error("input {path}")]
    ReadInput {
        /// Its path on the node.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The secrets that were opened are not those of the job.
    #[error("the job's secrets were not opened: they are sealed to a running session of this node")]
    Secrets,
    /// Another run of the same job uses its checkpoint.
    #[error("another run of this job has its checkpoint")]
    CheckpointBusy,
    /// The checkpoints of running jobs leave less than this one may hold.
    #[error(
        "the job's checkpoint may hold {wanted} bytes, and {left} are left for checkpoints: ask for fewer \
         in checkpoint_bytes, or raise checkpoints_gib in the node's [sandbox]"
    )]
    CheckpointRoom {
        /// The job's `checkpoint_bytes`.
        wanted: u64,
        /// What running jobs leave of the node's own limit.
        left: u64,
    },
    /// The disk lacks what the job may fill.
    #[error("{what} needs {needed} bytes on the disk and {left} are left")]
    NoRoom {
        /// Which part of the job.
        what: &'static str,
        /// Bytes that have to be free, the agent's reserve included.
        needed: u64,
        /// Bytes that are.
        left: u64,
    },
}

impl SandboxError {
    pub(crate) fn state(path: impl Into<PathBuf>, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::State { path, action, source }
    }

    pub(crate) fn jailer(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Jailer { action, source }
    }

    pub(crate) fn image(part: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Image { part: part.into(), rule: rule.into() }
    }
}
