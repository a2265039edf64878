//! What a tenant writes, and what the jailer is told because of it.

use assay_jailer::plan::Plan;
use assay_job::JobFile;
use assay_job::file::Restart;

/// A jailer's plan: what is taken breaks no rule of its own and says the same when it is written again.
pub fn plan(data: &[u8]) {
    let Ok(plan) = serde_json::from_slice::<Plan>(data) else { return };
    let again = serde_json::to_vec(&plan).unwrap();
    assert_eq!(serde_json::from_slice::<Plan>(&again).unwrap(), plan);
    if plan.validate().is_ok() {
        assert!(!plan.argv.is_empty() && plan.cwd.starts_with('/') && plan.timeout_ms > 0);
        let texts = plan.argv.iter().chain(&plan.env).chain([&plan.cwd]).chain(&plan.outputs);
        assert!(texts.chain(plan.binds.iter().map(|bind| &bind.target)).all(|text| !text.contains('\0')));
        assert!(
            plan.secrets.iter().all(|secret| !secret.name.contains('/') && !secret.name.starts_with('.'))
        );
    }
}

/// A job file: what is read is within its ranges, and means the same in JSON as in TOML.
pub fn job(data: &[u8]) {
    let Ok(job) = JobFile::parse(data) else { return };
    assert!((100..=604_800_000).contains(&job.timeout_ms));
    assert!((16 << 20..=1 << 46).contains(&job.resources.memory_bytes));
    assert!(
        job.restart.is_none_or(|r| r.backoff_ms <= Restart::BACKOFF_MAX_MS && (1..=100).contains(&r.max))
    );
    let targets = job.inputs.iter().map(|input| &input.target).chain(&job.outputs);
    for target in targets.chain(job.checkpoint.iter().map(|checkpoint| &checkpoint.target)) {
        assert!(target.starts_with('/') && !target.split('/').any(|part| part == ".."), "{target:?}");
        assert!(!target.starts_with("/run/secrets") && !target.starts_with("/proc/"), "{target:?}");
    }
    let text = std::str::from_utf8(data).unwrap();
    if let Ok(table) = text.parse::<toml::Table>() {
        let json = serde_json::to_vec(&table).unwrap();
        // JSON may be longer than a job file may be.
        if json.len() <= assay_job::file::JOB_FILE_MAX {
            let again = JobFile::parse(&json).unwrap();
            assert_eq!((again.digest(), &again), (job.digest(), &job));
        }
    }
    let mut renamed = job.clone();
    renamed.secrets.insert("fuzz".to_owned(), assay_job::file::Sealed(vec![]));
    assert!(job.secrets.contains_key("fuzz") || renamed.digest() != job.digest());
}
