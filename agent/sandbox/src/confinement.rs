//! The policy hash of a receipt: over what the plan confined and the jailer reported.

use assay_jailer::plan::{Bind, Ids, Plan, Rlimits, Secret};
use assay_jailer::report::Report;
use assay_job::confinement::{Confinement, Limit, Mount, Wall};

use crate::job::JobFile;

/// What the job was confined by.
pub(crate) fn of(job: &JobFile, plan: &Plan, report: &Report) -> Confinement {
    let resources = &job.resources;
    Confinement {
        cpu_milli: resources.cpu_milli,
        memory_bytes: resources.memory_bytes,
        disk_bytes: resources.disk_bytes,
        pids: resources.pids,
        limits: resources.limits.name().to_owned(),
        ids: match plan.ids {
            Ids::Range { .. } => "range",
            Ids::Single {} => "single",
        }
        .to_owned(),
        network: job.network.name().to_owned(),
        timeout_ms: job.timeout_ms,
        mounts: mounts(plan),
        rlimits: rlimits(&plan.rlimits),
        walls: walls(report),
    }
}

fn mounts(plan: &Plan) -> Vec<Mount> {
    let mount = |kind: &str, target: &str, writable| Mount {
        kind: kind.to_owned(),
        target: target.to_owned(),
        writable,
    };
    let bind = |bind: &Bind| match bind.writable {
        true => mount("checkpoint", &bind.target, true),
        false => mount("input", &bind.target, false),
    };
    let binds = plan.binds.iter().map(bind);
    let outputs = plan.outputs.iter().map(|output| mount("output", output, true));
    let secrets = (!plan.secrets.is_empty()).then(|| mount("secrets", Secret::DIR, false));
    binds.chain(outputs).chain(secrets).collect()
}

fn rlimits(limits: &Rlimits) -> Vec<Limit> {
    let all = [
        ("processes", Some(limits.processes)),
        ("open_files", Some(limits.open_files)),
        ("file_bytes", Some(limits.file_bytes)),
        ("cpu_seconds", Some(limits.cpu_seconds)),
        ("data_bytes", limits.data_bytes),
        ("address_space_bytes", limits.address_space_bytes),
    ];
    let limit = |(name, value): (&str, Option<u64>)| Some(Limit { name: name.to_owned(), value: value? });
    all.into_iter().filter_map(limit).collect()
}

/// Every fact of the report's `walls`, by name.
fn walls(report: &Report) -> Vec<Wall> {
    let report = serde_json::to_value(report).unwrap_or_default();
    let walls = report.get("walls").and_then(|walls| walls.as_object());
    let wall = |(name, value): (&String, &serde_json::Value)| Wall {
        name: name.clone(),
        value: value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    };
    let mut walls: Vec<_> = walls.into_iter().flatten().map(wall).collect();
    walls.sort_by(|a, b| a.name.cmp(&b.name));
    walls
}
