//! The shape of a job file as it is written, before any value is checked.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::file::{JOB_FILE_MAX, JobError, Limits, Network};

/// A job file: one table `job`.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(title = "Assay job file"))]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFile {
    /// The job.
    pub(crate) job: RawJob,
}

/// What is run, on what, and what is kept.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RawJob {
    /// `oci:/path/to/layout:tag`, an OCI image layout on the node, or `HOST/NAME@sha256:DIGEST`, an
    /// image in a registry.
    pub(crate) image: String,
    /// Program and arguments; the image's own if empty.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(max = 256)))]
    pub(crate) command: Vec<String>,
    /// Environment on top of the image's. Names that start with `ASSAY_` are the agent's.
    #[serde(default, deserialize_with = "unique_keys")]
    pub(crate) env: BTreeMap<String, String>,
    /// Wall clock of all starts and pauses together: `100ms` to `168h`.
    #[serde(default = "default_timeout")]
    #[cfg_attr(test, schemars(regex(pattern = r"^[0-9]+(ms|s|m|h)$")))]
    pub(crate) timeout: String,
    /// What it may reach.
    #[serde(default)]
    pub(crate) network: Network,
    /// Files and directories of the node that it reads.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(max = 32)))]
    pub(crate) inputs: Vec<RawInput>,
    /// Directories that are made for its results.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(max = 16)))]
    pub(crate) outputs: Vec<String>,
    /// Most bytes of all results together, such as `256Mi`; as many as `disk` without it.
    #[serde(default)]
    #[cfg_attr(test, schemars(regex(pattern = r"^[0-9]+(Ki|Mi|Gi|Ti)?$")))]
    pub(crate) output_bytes: Option<String>,
    /// What follows a failure.
    #[serde(default)]
    pub(crate) restart: Option<RawRestart>,
    /// A writable directory that is kept between the runs of this job until one succeeds.
    #[serde(default)]
    pub(crate) checkpoint: Option<String>,
    /// Most bytes in it, such as `1Gi`; as many as `disk` without it.
    #[serde(default)]
    #[cfg_attr(test, schemars(regex(pattern = r"^[0-9]+(Ki|Mi|Gi|Ti)?$")))]
    pub(crate) checkpoint_bytes: Option<String>,
    /// Secrets as `assay-validator seal` writes them, in base64. The job reads /run/secrets/NAME.
    #[serde(default, deserialize_with = "unique_keys")]
    pub(crate) secrets: BTreeMap<String, String>,
    /// What it may use.
    #[serde(default)]
    pub(crate) resources: RawResources,
}

fn default_timeout() -> String {
    "10m".to_owned()
}

/// A file or directory of the node.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RawInput {
    /// Where it is: a plain absolute path.
    pub(crate) source: String,
    /// SHA-256 of a file, tree hash of a directory, as `assay-agent job hash` prints it.
    #[cfg_attr(test, schemars(regex(pattern = r"^[0-9a-f]{64}$")))]
    pub(crate) sha256: String,
    /// Where the job sees it: a plain absolute path.
    pub(crate) target: String,
}

/// When a job is started again.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRestart {
    /// After what.
    pub(crate) on: RestartOn,
    /// Most starts after the first.
    #[cfg_attr(test, schemars(range(min = 1, max = 100)))]
    pub(crate) max: u32,
    /// Pause before the first restart, `0s` to `10m`; twice as long before each further one.
    #[serde(default = "default_backoff")]
    #[cfg_attr(test, schemars(regex(pattern = r"^[0-9]+(ms|s|m|h)$")))]
    pub(crate) backoff: String,
}

fn default_backoff() -> String {
    "1s".to_owned()
}

/// What a job is started again after.
#[derive(Clone, Copy, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum RestartOn {
    /// An exit code other than 0, a signal, or the memory limit.
    Failure,
}

/// What a job may use.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawResources {
    /// Processors, `10m` (thousandths) to `1024`.
    #[cfg_attr(test, schemars(regex(pattern = r"^[0-9]+m?$")))]
    pub(crate) cpu: String,
    /// Memory, `16Mi` to `64Ti`.
    #[cfg_attr(test, schemars(regex(pattern = r"^[0-9]+(Ki|Mi|Gi|Ti)?$")))]
    pub(crate) memory: String,
    /// Writable space, `1Mi` to `64Ti`.
    #[cfg_attr(test, schemars(regex(pattern = r"^[0-9]+(Ki|Mi|Gi|Ti)?$")))]
    pub(crate) disk: String,
    /// Processes and threads.
    #[cfg_attr(test, schemars(range(min = 1, max = 65536)))]
    pub(crate) pids: u32,
    /// GPUs.
    #[cfg_attr(test, schemars(range(min = 0, max = 64)))]
    pub(crate) gpus: u32,
    /// How limits are enforced.
    pub(crate) limits: Limits,
}

impl Default for RawResources {
    fn default() -> Self {
        let [cpu, memory, disk] = ["1", "512Mi", "256Mi"].map(str::to_owned);
        Self { cpu, memory, disk, pids: 128, gpus: 0, limits: Limits::Cgroup }
    }
}

#[cfg(test)]
impl serde::Serialize for RawResources {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { cpu, memory, disk, pids, gpus, limits } = self;
        serde_json::json!({ "cpu": cpu, "memory": memory, "disk": disk, "pids": pids, "gpus": gpus,
                            "limits": limits })
        .serialize(to)
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
                    return Err(A::Error::custom("duplicate key"));
                }
            }
            Ok(map)
        }
    }
    input.deserialize_map(Unique)
}

/// Reads the text without judging its values.
pub(crate) fn parse(bytes: &[u8]) -> Result<RawJob, JobError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes the file anew where `ASSAY_WRITE_SCHEMA` is set.
    #[test]
    fn the_schema_is_that_of_the_code() {
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(RawFile)).unwrap() + "\n";
        if std::env::var_os("ASSAY_WRITE_SCHEMA").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/job.schema.json"), &schema).unwrap();
        }
        assert!(crate::SCHEMA == schema, "run this test with ASSAY_WRITE_SCHEMA=1");
    }
}
