//! The self-audit of a node whose jailer lacks a wall: it must not pass.
//!
//! Needs the jailer that can leave walls out (`make broken`), which no package holds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs::File;
use std::path::Path;

use assay_jailer::wall::Wall;
use assay_sandbox::audit::Audit;
use assay_sandbox::{Sandbox, SandboxConfig, SandboxError};
use assay_security::{Cell, broken_jailer, id_base, leave_out};

/// What the audit sees of a wall that is missing.
enum Sight {
    /// One of these attempts fails.
    Of(&'static [&'static str]),
    /// The first fails, once the walls that the kernel gives to nobody without this one are left out, too.
    With(&'static [Wall], &'static str),
    /// Nothing, for this reason.
    No(&'static str),
}

fn sight(wall: Wall) -> Sight {
    use Sight::{No, Of, With};
    match wall {
        Wall::Seccomp => Of(&["personality"]),
        Wall::Landlock => Of(&["whiteout"]),
        Wall::Capabilities => Of(&["capset"]),
        Wall::NoNewPrivs => With(&[Wall::Seccomp, Wall::Landlock], "new_privileges"),
        Wall::Keyring => No("the filter keeps every key and keyring from a job, its own as well"),
        // Where the host's own limit is finite, it cannot be raised either.
        Wall::Rlimits => Of(&["unlimit_files", "unlimit_core", "unlimit_processes", "lock_memory"]),
        Wall::DeviceFilter => Of(&["device_program"]),
        Wall::SafeMounts => Of(&["suid_mount"]),
        Wall::ReadOnlyBinds => No("the probe has no inputs"),
        Wall::ReadOnlyTemplates => Of(&["dev_new"]),
        Wall::ProcSubset => Of(&["keys"]),
        Wall::HidePid | Wall::NonDumpable => Of(&["other_process"]),
        Wall::CloseDescriptors => Of(&["descriptor"]),
        Wall::DeathSignal => No("nothing dies during the audit, and a job cannot see its first process"),
        Wall::OomScore => No("what the kernel would kill first shows when memory runs out"),
        Wall::ScratchQuota => Of(&["disk_bytes"]),
        Wall::LogCapacity => No("the capacity is outside, and the probe does not fill it"),
        Wall::ConfinedPaths => {
            No("it holds before the job begins, against links that the probe's image has not")
        }
        Wall::IdRange => Of(&["host_root"]),
        Wall::NetworkNamespace => Of(&["in_net"]),
        Wall::IpcNamespace => Of(&["in_ipc"]),
        Wall::UtsNamespace => Of(&["in_uts"]),
        Wall::CgroupNamespace => Of(&["in_cgroup"]),
        Wall::TimeNamespace => Of(&["in_time"]),
        Wall::OldRoot => Of(&["old_root"]),
    }
}

fn audit(place: &Path, jailer: &Path, without: &[Wall]) -> Result<Audit, SandboxError> {
    leave_out(jailer, without);
    let config = SandboxConfig {
        jailer: Some(jailer.to_owned()),
        id_base: id_base(),
        slots: 2,
        ..SandboxConfig::new(place.join("state"))
    };
    Sandbox::new(config)?.audit()
}

#[test]
fn every_missing_wall_fails_the_audit() {
    if Cell::new().is_none() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let Some(jailer) = broken_jailer(place.path()) else { return };
    let whole = audit(place.path(), &jailer, &[]).unwrap();
    assert!(whole.passed(), "{:?}", whole.failures().collect::<Vec<_>>());
    // What a supervisor could pass on without meaning to.
    let leak = File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    for wall in Wall::ALL {
        let (expected, also): (&[&str], &[Wall]) = match &sight(wall) {
            Sight::Of(names) => (names, &[]),
            Sight::With(also, name) => (&[*name], also),
            Sight::No(reason) => {
                assert!(!reason.is_empty());
                continue;
            }
        };
        let is_tried = whole.attempts.iter().any(|a| expected.contains(&a.name));
        if !is_tried {
            eprintln!("SKIPPED: this kernel has no {wall:?}");
            continue;
        }
        if !also.is_empty() {
            // Alone, it keeps the job from being started at all.
            let alone = audit(place.path(), &jailer, &[wall]);
            assert!(!alone.is_ok_and(|audit| audit.passed()), "nobody noticed the lack of {wall:?}");
        }
        let broken = audit(place.path(), &jailer, &[&[wall], also].concat()).unwrap();
        let failures: Vec<_> = broken.failures().map(|a| a.name).collect();
        assert!(failures.iter().any(|f| expected.contains(f)), "{wall:?}: {failures:?}");
    }
}
