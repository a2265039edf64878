//! Opened secrets on their way into the plan, and out of memory.

use assay_jailer::plan::{self, Plan};
use assay_job::seal::Secret;
use zeroize::Zeroize;

use crate::error::SandboxError;
use crate::job::JobFile;

/// A plan that forgets its secrets when it is dropped.
pub(crate) struct Confidential(pub(crate) Plan);

impl Drop for Confidential {
    fn drop(&mut self) {
        self.0.secrets.iter_mut().for_each(|secret| secret.value_hex.zeroize());
    }
}

/// # Errors
/// [`SandboxError::Secrets`] where those that were opened are not those of the job.
pub(crate) fn check(job: &JobFile, secrets: &[Secret]) -> Result<(), SandboxError> {
    let are_its_own = job.secrets.keys().eq(secrets.iter().map(|secret| &secret.name));
    are_its_own.then_some(()).ok_or(SandboxError::Secrets)
}

/// The plan's form of a job's secrets. Nothing but a [`Confidential`] plan may hold it.
pub(crate) fn planned(secrets: &[Secret]) -> Vec<plan::Secret> {
    let planned = |secret: &Secret| plan::Secret {
        name: secret.name.clone(),
        value_hex: hex::encode(secret.value.as_slice()),
    };
    secrets.iter().map(planned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_gets_its_own_secrets_and_all_of_them() {
        let sealed = "A".repeat(64);
        let text = format!("[job]\nimage = \"oci:/l\"\n[job.secrets]\nA = \"{sealed}\"\nB = \"{sealed}\"\n");
        let job = JobFile::parse(text.as_bytes()).unwrap();
        let secret = |name: &str| Secret { name: name.into(), value: b"\x01\xff".to_vec().into() };
        let all = [secret("A"), secret("B")];
        check(&job, &all).unwrap();
        let good = planned(&all);
        assert_eq!((good.len(), good[1].name.as_str(), good[1].value_hex.as_str()), (2, "B", "01ff"));
        for wrong in [vec![], vec![secret("A")], vec![secret("A"), secret("C")]] {
            assert!(matches!(check(&job, &wrong), Err(SandboxError::Secrets)));
        }
    }
}
