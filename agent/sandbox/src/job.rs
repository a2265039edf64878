//! Job files: what a tenant wants run.
//!
//! TOML or JSON under one schema; unknown keys are refused, every quantity has
//! a range, and nothing in it can loosen the sandbox. The schema is in
//! [`JobFile`]; the text comes from strangers and is parsed as such.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use assay_jailer::plan::is_plain_absolute;

use crate::error::SandboxError;
use crate::registry_ref::{RefError, RegistryRef};
use crate::units::{parse_bytes, parse_millicpu, parse_millis};

/// Most bytes in a job file.
pub const JOB_FILE_MAX: usize = 64 << 10;
/// Separates this hash from every other in the system.
const DIGEST_TAG: &[u8] = b"assay job file v1\0";

/// Why bytes are not a job file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// Longer than [`JOB_FILE_MAX`].
    #[error("longer than 65536 bytes")]
    TooLong,
    /// Not TOML or JSON of this schema.
    #[error("at byte {offset}: {message}")]
    Syntax {
        /// Where the parser stopped, counted from 0.
        offset: usize,
        /// What it expected, naming the key.
        message: String,
    },
    /// The image is neither a layout nor a registry's.
    #[error("job.image: neither oci:/path/to/layout:tag nor a registry's image: {0}")]
    Image(RefError),
    /// A value outside of its range.
    #[error("{field}: {rule}")]
    Field {
        /// Dotted path of the key.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

/// Where the image is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageRef {
    /// An OCI image layout directory and a tag in its index: `oci:/path:tag`.
    Layout {
        /// The directory.
        path: PathBuf,
        /// `org.opencontainers.image.ref.name` of the manifest.
        tag: String,
    },
    /// An image in a registry: `HOST[:PORT]/NAME@sha256:DIGEST`.
    Registry(RegistryRef),
}

/// What may be reached over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nothing but the job's own loopback interface.
    #[default]
    None,
    /// The internet, but no private address. Refused for now.
    Egress,
}

/// How limits are enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limits {
    /// By a cgroup around the whole job.
    #[default]
    Cgroup,
    /// By `setrlimit(2)` on each process, for development: a job of many
    /// processes can exceed them together, and `cpu` is not enforced at all.
    Rlimit,
}

/// What the job may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Processor time, thousandths of a processor.
    pub cpu_milli: u64,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Writable space, bytes; in memory for now, and charged to it.
    pub disk_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
    /// GPUs.
    pub gpus: u32,
    /// How all this is enforced.
    pub limits: Limits,
}

/// A job, every default filled in and every quantity in its base unit.
///
/// ```toml
/// [job]
/// image = "oci:/path/to/layout:tag"
/// command = ["/bin/sh", "-c", "..."]   # else the image's own
/// env = { KEY = "value" }
/// timeout = "10m"                      # 100ms to 168h
/// network = "none"
/// outputs = ["/out"]                   # directories, made for the job
/// [job.resources]
/// cpu = "500m"                         # 10m to 1024
/// memory = "512Mi"                     # 16Mi to 64Ti
/// disk = "1Gi"                         # 1Mi to 64Ti
/// pids = 128                           # 1 to 65536
/// gpus = 0
/// limits = "cgroup"                    # or "rlimit"
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobFile {
    /// The image.
    pub image: ImageRef,
    /// Program and arguments; empty for the image's own.
    pub command: Vec<String>,
    /// Environment on top of the image's.
    pub env: BTreeMap<String, String>,
    /// Wall clock, milliseconds.
    pub timeout_ms: u64,
    /// Network.
    pub network: Network,
    /// Directories whose regular files are the job's results.
    pub outputs: Vec<String>,
    /// Limits.
    pub resources: Resources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    job: RawJob,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJob {
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default, deserialize_with = "unique_keys")]
    env: BTreeMap<String, String>,
    #[serde(default = "default_timeout")]
    timeout: String,
    #[serde(default)]
    network: Network,
    #[serde(default)]
    outputs: Vec<String>,
    #[serde(default)]
    resources: RawResources,
}

fn default_timeout() -> String {
    "10m".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawResources {
    cpu: String,
    memory: String,
    disk: String,
    pids: u32,
    gpus: u32,
    limits: Limits,
}

impl Default for RawResources {
    fn default() -> Self {
        let [cpu, memory, disk] = ["1", "512Mi", "256Mi"].map(str::to_owned);
        Self { cpu, memory, disk, pids: 128, gpus: 0, limits: Limits::Cgroup }
    }
}

/// JSON lets a key come twice; the last would win silently.
fn unique_keys<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Unique;
    impl<'de> Visitor<'de> for Unique {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table of strings")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = access.next_entry::<String, String>()? {
                if map.insert(key, value).is_some() {
                    return Err(A::Error::custom("duplicate key in env"));
                }
            }
            Ok(map)
        }
    }
    input.deserialize_map(Unique)
}

fn rule(ok: bool, field: &'static str, rule: &'static str) -> Result<(), JobError> {
    if ok { Ok(()) } else { Err(JobError::Field { field, rule }) }
}

fn ranged(
    value: Option<u64>,
    range: std::ops::RangeInclusive<u64>,
    field: &'static str,
    what: &'static str,
) -> Result<u64, JobError> {
    value.filter(|v| range.contains(v)).ok_or(JobError::Field { field, rule: what })
}

impl JobFile {
    /// Reads a job file: JSON if it starts with `{`, else TOML.
    ///
    /// # Errors
    /// [`SandboxError::ParseJob`], naming the key or the offset.
    pub fn parse(bytes: &[u8]) -> Result<Self, SandboxError> {
        Ok(Self::check(parse_raw(bytes)?)?)
    }

    /// Hash over the canonical form, equal for the TOML and the JSON text of
    /// one job, whatever their layout.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(DIGEST_TAG);
        // Fields in declaration order, maps sorted, integers in base units: one
        // form per value. Serializing to memory cannot fail for such types.
        hash.update(serde_json::to_vec(self).unwrap_or_default());
        hash.finalize().into()
    }

    /// Refuses what a later version will do.
    ///
    /// # Errors
    /// [`SandboxError::Unsupported`].
    pub fn check_supported(&self) -> Result<(), SandboxError> {
        let unsupported = |what, advice| Err(SandboxError::Unsupported { what, advice });
        if self.resources.gpus != 0 {
            return unsupported(
                "a GPU job",
                "GPU jobs need device grants, which this sandbox lacks; set gpus = 0",
            );
        }
        if self.network != Network::None {
            return unsupported("network = \"egress\"", "set network = \"none\"");
        }
        Ok(())
    }

    fn check(raw: RawJob) -> Result<Self, JobError> {
        let timeout_ms = ranged(
            parse_millis(&raw.timeout),
            100..=604_800_000,
            "job.timeout",
            "must be \"100ms\" to \"168h\"",
        )?;
        check_command(&raw.command)?;
        check_env(&raw.env)?;
        check_outputs(&raw.outputs)?;
        Ok(Self {
            image: parse_image(&raw.image)?,
            command: raw.command,
            env: raw.env,
            timeout_ms,
            network: raw.network,
            outputs: raw.outputs,
            resources: check_resources(&raw.resources)?,
        })
    }
}

fn parse_raw(bytes: &[u8]) -> Result<RawJob, JobError> {
    if bytes.len() > JOB_FILE_MAX {
        return Err(JobError::TooLong);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| JobError::Syntax { offset: e.valid_up_to(), message: "not UTF-8".to_owned() })?;
    let file: RawFile = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(text).map_err(|e| json_error(text, &e))?,
        false => toml::from_str(text).map_err(|e| JobError::Syntax {
            offset: e.span().map_or(0, |s| s.start),
            message: e.message().to_owned(),
        })?,
    };
    Ok(file.job)
}

fn json_error(text: &str, error: &serde_json::Error) -> JobError {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let offset = before.saturating_add(error.column().saturating_sub(1));
    JobError::Syntax { offset, message: error.to_string() }
}

fn parse_image(text: &str) -> Result<ImageRef, JobError> {
    const FIELD: &str = "job.image";
    let Some(rest) = text.strip_prefix("oci:") else {
        let reference = RegistryRef::parse(text);
        return reference.map(ImageRef::Registry).map_err(JobError::Image);
    };
    let (path, tag) = rest.rsplit_once(':').unwrap_or((rest, "latest"));
    rule(path.starts_with('/') && !path.contains('\0'), FIELD, "needs an absolute layout path")?;
    // Characters of `org.opencontainers.image.ref.name`, OCI image-spec 1.1 annotations.md.
    let ok = !tag.is_empty()
        && tag.len() <= 128
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    rule(ok, FIELD, "has a tag of other than letters, digits, '.', '_' and '-'")?;
    Ok(ImageRef::Layout { path: path.into(), tag: tag.to_owned() })
}

fn check_command(command: &[String]) -> Result<(), JobError> {
    rule(command.len() <= 256, "job.command", "must have at most 256 parts")?;
    rule(command.iter().all(|c| !c.contains('\0')), "job.command", "must hold no NUL")?;
    rule(command.first().is_none_or(|c| !c.is_empty()), "job.command", "must start with a program")
}

fn check_env(env: &BTreeMap<String, String>) -> Result<(), JobError> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    rule(env.len() <= 256, "job.env", "must have at most 256 entries")?;
    rule(env.keys().all(|k| is_name(k)), "job.env", "must have names of letters, digits and '_'")?;
    rule(env.values().all(|v| !v.contains('\0')), "job.env", "must hold no NUL")
}

fn check_outputs(outputs: &[String]) -> Result<(), JobError> {
    const FIELD: &str = "job.outputs";
    let reserved = |path: &str| ["/proc", "/dev", "/sys"].iter().any(|r| is_within(path, r));
    rule(outputs.len() <= 16, FIELD, "must be at most 16")?;
    rule(
        outputs.iter().all(|o| is_plain_absolute(o) && o.len() <= 255),
        FIELD,
        "must be plain absolute paths",
    )?;
    rule(!outputs.iter().any(|o| reserved(o)), FIELD, "must be outside of /proc, /dev and /sys")?;
    let nested =
        |(i, a): (usize, &String)| outputs.iter().enumerate().any(|(j, b)| i != j && is_within(a, b));
    rule(!outputs.iter().enumerate().any(nested), FIELD, "must not contain one another")
}

/// True for a path that is `parent` or below it.
fn is_within(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn check_resources(raw: &RawResources) -> Result<Resources, JobError> {
    let bytes = |text: &str, least: u64, field, what| ranged(parse_bytes(text), least..=1 << 46, field, what);
    rule((1..=65_536).contains(&raw.pids), "job.resources.pids", "must be 1 to 65536")?;
    rule(raw.gpus <= 64, "job.resources.gpus", "must be at most 64")?;
    let cpu = parse_millicpu(&raw.cpu);
    Ok(Resources {
        cpu_milli: ranged(cpu, 10..=1_024_000, "job.resources.cpu", "must be \"10m\" to \"1024\"")?,
        memory_bytes: bytes(&raw.memory, 16 << 20, "job.resources.memory", "must be \"16Mi\" to \"64Ti\"")?,
        disk_bytes: bytes(&raw.disk, 1 << 20, "job.resources.disk", "must be \"1Mi\" to \"64Ti\"")?,
        pids: raw.pids,
        gpus: raw.gpus,
        limits: raw.limits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
        [job]
        image = "oci:/layout:v1"
        command = ["/bin/sh", "-c", "true"]
        env = { B = "2", A = "1" }
        timeout = "30s"
        outputs = ["/out"]
        [job.resources]
        cpu = "500m"
        memory = "512Mi"
        disk = "1Gi"
        pids = 16
        limits = "rlimit"
    "#;
    const JSON: &str = r#"{"job": {"outputs": ["/out"], "timeout": "30s", "image": "oci:/layout:v1",
        "env": {"A": "1", "B": "2"}, "command": ["/bin/sh", "-c", "true"],
        "resources": {"cpu": "500m", "memory": "512Mi", "disk": "1Gi", "pids": 16, "limits": "rlimit"}}}"#;

    fn error(text: &str) -> JobError {
        match JobFile::parse(text.as_bytes()).unwrap_err() {
            SandboxError::ParseJob(error) => error,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn toml_and_json_are_one_job() {
        let toml = JobFile::parse(TOML.as_bytes()).unwrap();
        let json = JobFile::parse(JSON.as_bytes()).unwrap();
        assert_eq!(toml, json);
        assert_eq!(toml.digest(), json.digest());
        assert_eq!(toml.resources.cpu_milli, 500);
        assert_eq!(toml.timeout_ms, 30_000);
    }

    #[test]
    fn the_digest_covers_every_field() {
        let job = JobFile::parse(TOML.as_bytes()).unwrap();
        let changes = [
            ("v1", "v2"),
            ("true", "false"),
            ("B = \"2\"", "B = \"3\""),
            ("30s", "31s"),
            ("/out", "/res"),
            ("500m", "501m"),
            ("512Mi", "513Mi"),
            ("1Gi", "2Gi"),
            ("pids = 16", "pids = 17"),
            ("limits = \"rlimit\"", "limits = \"cgroup\""),
            ("limits = \"rlimit\"", "limits = \"rlimit\"\ngpus = 1"),
            ("timeout", "network = \"egress\"\ntimeout"),
        ];
        for (from, to) in changes {
            let other = JobFile::parse(TOML.replace(from, to).as_bytes()).unwrap();
            assert_ne!(job.digest(), other.digest(), "{to}");
        }
    }

    #[test]
    fn refuses_unknown_and_duplicate_keys() {
        for text in [
            TOML.replace("timeout", "hooks = []\ntimeout"),
            TOML.replace("pids", "swap = \"1Gi\"\npids"),
            format!("{TOML}\n[other]"),
            JSON.replacen("\"A\": \"1\"", "\"A\": \"1\", \"A\": \"3\"", 1),
            JSON.replacen("\"timeout\"", "\"timeout\": \"1s\", \"timeout\"", 1),
            format!("{JSON} {{}}"),
        ] {
            assert!(matches!(error(&text), JobError::Syntax { .. }), "{text}");
        }
    }

    #[test]
    fn syntax_errors_name_the_offset() {
        let JobError::Syntax { offset, .. } = error("[job]\nimage = 5\n") else { panic!() };
        assert_eq!(offset, 14);
        let JobError::Syntax { offset, .. } = error("{\"job\":\n{\"image\": 5}}") else { panic!() };
        assert!((17..=19).contains(&offset), "{offset}");
    }

    #[test]
    fn ranges_name_the_field() {
        let cases = [
            ("oci:/layout:v1", "oci:relative:v1", "job.image"),
            ("oci:/layout:v1", "oci:/layout:../x", "job.image"),
            ("30s", "30", "job.timeout"),
            ("30s", "1ms", "job.timeout"),
            ("30s", "999h", "job.timeout"),
            ("\"/bin/sh\"", "\"\"", "job.command"),
            ("B = ", "\"B=C\" = ", "job.env"),
            ("\"/out\"", "\"out\"", "job.outputs"),
            ("\"/out\"", "\"/a/../out\"", "job.outputs"),
            ("\"/out\"", "\"/proc/x\"", "job.outputs"),
            ("\"/out\"", "\"/out\", \"/out/more\"", "job.outputs"),
            ("500m", "0", "job.resources.cpu"),
            ("512Mi", "1Mi", "job.resources.memory"),
            ("1Gi", "10", "job.resources.disk"),
            ("pids = 16", "pids = 0", "job.resources.pids"),
        ];
        for (from, to, expected) in cases {
            let JobError::Field { field, .. } = error(&TOML.replace(from, to)) else { panic!("{to}") };
            assert_eq!(field, expected, "{to}");
        }
    }

    #[test]
    fn images_may_be_in_registries() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let text = TOML.replace("oci:/layout:v1", &format!("registry.example/a/b@{digest}"));
        let ImageRef::Registry(image) = JobFile::parse(text.as_bytes()).unwrap().image else { panic!() };
        assert_eq!(image.repository(), "a/b");
        let refused = error(&TOML.replace("oci:/layout:v1", "registry.example/image"));
        assert_eq!(refused, JobError::Image(RefError::Unversioned));
    }

    #[test]
    fn refuses_what_comes_later() {
        for change in ["limits = \"cgroup\"\ngpus = 1", "limits = \"cgroup\""] {
            let text = TOML.replace("limits = \"rlimit\"", change);
            let job = JobFile::parse(text.as_bytes()).unwrap();
            assert_eq!(job.check_supported().is_err(), job.resources.gpus > 0);
        }
        let text = TOML.replace("timeout", "network = \"egress\"\ntimeout");
        let refusal = JobFile::parse(text.as_bytes()).unwrap().check_supported().unwrap_err();
        assert!(matches!(refusal, SandboxError::Unsupported { what: "network = \"egress\"", .. }));
    }

    #[test]
    fn refuses_long_and_non_utf8_text() {
        assert_eq!(error(&" ".repeat(JOB_FILE_MAX + 1)), JobError::TooLong);
        let Err(SandboxError::ParseJob(JobError::Syntax { offset: 5, .. })) = JobFile::parse(b"[job]\xff")
        else {
            panic!()
        };
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, at in 0..TOML.len(), byte: u8) {
            let _ = JobFile::parse(&bytes);
            let mut text = TOML.as_bytes().to_vec();
            text[at] = byte;
            let _ = JobFile::parse(&text);
        }
    }
}
