//! Job files as the sandbox takes them: [`assay_job`]'s, less what it does not do yet.

pub use assay_job::file::{
    Checkpoint, ImageRef, Input, JOB_FILE_MAX, JobError, JobFile, Limits, Network, Resources, Restart,
};

use crate::error::SandboxError;

/// Refuses what a later version will do.
///
/// # Errors
/// [`SandboxError::Unsupported`].
pub fn check_supported(job: &JobFile) -> Result<(), SandboxError> {
    let unsupported = |what, advice| Err(SandboxError::Unsupported { what, advice });
    if job.resources.gpus != 0 {
        return unsupported(
            "a GPU job",
            "GPU jobs need device grants, which this sandbox lacks; set gpus = 0",
        );
    }
    if job.network != Network::None {
        return unsupported("network = \"egress\"", "set network = \"none\"");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(extra: &str) -> Option<&'static str> {
        let job = JobFile::parse(format!("[job]\nimage = \"oci:/l\"\n{extra}").as_bytes()).unwrap();
        match check_supported(&job) {
            Err(SandboxError::Unsupported { what, .. }) => Some(what),
            other => other.map(|()| None).unwrap(),
        }
    }

    #[test]
    fn refuses_what_comes_later() {
        assert_eq!(refusal(""), None);
        assert_eq!(refusal("[job.resources]\ngpus = 1"), Some("a GPU job"));
        assert_eq!(refusal("network = \"egress\""), Some("network = \"egress\""));
    }
}
