//! The walls that a process builds around itself: limits, ids, capabilities.
//!
//! All of it is inherited across `fork` and `exec` and none can be undone, so
//! that the job's first process and the program it starts stand behind the same.

use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Gid, Resource, Rlimit, Signal, Uid, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, UnshareFlags, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use assay_jailer::plan::{Ids, Plan, Rlimits};
use assay_jailer::report::{Refusal, Stage};
use assay_jailer::wall::Wall;

use crate::sys;

/// Becomes root of the new user namespace, to whom the jail's files will belong.
pub(crate) fn become_namespace_root(plan: &Plan) -> Result<(), Refusal> {
    match plan.ids {
        Ids::Range { .. } => set_ids(0, 0, true),
        // The one mapped id is already ours, and `setgroups` is denied for good.
        Ids::Single {} => Ok(()),
    }
}

fn set_ids(uid: u32, gid: u32, clear_groups: bool) -> Result<(), Refusal> {
    let refuse = |what: &'static str| move |e: Errno| Refusal::new(Stage::Ids, what, e);
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if clear_groups {
        set_thread_groups(&[]).map_err(refuse("clear groups"))?;
    }
    set_thread_res_gid(gid, gid, gid).map_err(refuse("set group"))?;
    set_thread_res_uid(uid, uid, uid).map_err(refuse("set user"))
}

/// Dies with the parent. Has to be asked again after every change of ids,
/// because the kernel forgets it then.
pub(crate) fn die_with_parent(plan: &Plan, stage: Stage) -> Result<(), Refusal> {
    if !plan.keeps(Wall::DeathSignal) {
        return Ok(());
    }
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| Refusal::new(stage, "parent death signal", e))
}

/// Starts the job's monotonic clocks at zero. No secret is kept by that, as
/// `/proc/self/timens_offsets` tells the offset; it keeps results that hold
/// uptimes equal from run to run.
///
/// Takes effect for the next child. A kernel without time namespaces is tolerated: false.
pub(crate) fn zero_clocks(
    write_offsets: impl FnOnce(&str) -> rustix::io::Result<()>,
) -> Result<bool, Refusal> {
    match sys::unshare(UnshareFlags::NEWTIME) {
        Err(Errno::INVAL | Errno::NOSYS) => return Ok(false),
        other => other.map_err(|e| Refusal::new(Stage::Time, "unshare", e))?,
    }
    // The change of ids has given `/proc/self` to the host's root; nothing of
    // the tenant's runs yet, and `drop_privileges` takes it back.
    set_dumpable_behavior(DumpableBehavior::Dumpable)
        .map_err(|e| Refusal::new(Stage::Time, "dumpable", e))?;
    let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec;
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec;
    let offsets = format!("monotonic {} 0\nboottime {} 0\n", -monotonic, -boot);
    write_offsets(&offsets).map_err(|e| Refusal::new(Stage::Time, "write offsets", e))?;
    Ok(true)
}

/// Main thread's stack, and what threads get where they ask for nothing, bytes.
const STACK_BYTES: u64 = 8 << 20;

/// Moves to a session keyring that nobody else holds: keys of the supervisor's
/// session are not inherited. A kernel without keys is tolerated.
pub(crate) fn new_keyring() -> Result<(), Refusal> {
    match sys::new_session_keyring() {
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other.map_err(|e| Refusal::new(Stage::Privileges, "session keyring", e)),
    }
}

/// Applies the resource limits.
pub(crate) fn limit_resources(limits: &Rlimits) -> Result<(), Refusal> {
    lower(Resource::Core, 0)?;
    lower(Resource::Nproc, limits.processes)?;
    lower(Resource::Nofile, limits.open_files)?;
    lower(Resource::Fsize, limits.file_bytes)?;
    lower(Resource::Cpu, limits.cpu_seconds)?;
    lower(Resource::Stack, STACK_BYTES)?;
    lower(Resource::Sigpending, 4096)?;
    lower(Resource::Memlock, 64 << 10)?;
    lower(Resource::Msgqueue, 1 << 20)?;
    lower(Resource::Nice, 0)?;
    lower(Resource::Rtprio, 0)?;
    if let Some(bytes) = limits.data_bytes {
        lower(Resource::Data, bytes)?;
    }
    limits.address_space_bytes.map_or(Ok(()), |bytes| lower(Resource::As, bytes))
}

fn lower(resource: Resource, wanted: u64) -> Result<(), Refusal> {
    let ceiling = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let value = Some(wanted.min(ceiling));
    setrlimit(resource, Rlimit { current: value, maximum: value })
        .map_err(|e| Refusal::new(Stage::Limits, format!("{resource:?}"), e))
}

/// Gives up every capability in every set, takes the job's ids, and closes the
/// ways back: `no_new_privs`, locked secure bits, no tracing of this process.
pub(crate) fn drop_privileges(plan: &Plan) -> Result<(), Refusal> {
    let refuse = |what: &'static str| move |e: Errno| Refusal::new(Stage::Privileges, what, e);
    let lose_capabilities = plan.keeps(Wall::Capabilities);
    if lose_capabilities {
        set_capabilities_secure_bits(secure_bits()).map_err(refuse("secure bits"))?;
        empty_bounding_set()?;
    }
    if matches!(plan.ids, Ids::Range { .. }) {
        set_ids(plan.uid, plan.gid, true)?;
    }
    if lose_capabilities {
        clear_ambient_capability_set().map_err(refuse("ambient set"))?;
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        set_capabilities(None, sets).map_err(refuse("capability sets"))?;
    }
    if plan.keeps(Wall::NoNewPrivs) {
        set_no_new_privs(true).map_err(refuse("no_new_privs"))?;
    }
    if plan.keeps(Wall::NonDumpable) {
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refuse("not dumpable"))?;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    die_with_parent(plan, Stage::Privileges)
}

fn secure_bits() -> CapabilitiesSecureBits {
    use CapabilitiesSecureBits as Bit;
    // NO_SETUID_FIXUP is locked open: its fix-up takes capabilities away when
    // ids change, and nothing is left that it could give.
    Bit::NO_ROOT
        | Bit::NO_ROOT_LOCKED
        | Bit::NO_SETUID_FIXUP_LOCKED
        | Bit::KEEP_CAPS_LOCKED
        | Bit::NO_CAP_AMBIENT_RAISE
        | Bit::NO_CAP_AMBIENT_RAISE_LOCKED
}

fn empty_bounding_set() -> Result<(), Refusal> {
    for number in 0..64 {
        let Some(capability) = 1u64.checked_shl(number) else { break };
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(capability)) {
            // The first number that the kernel does not know.
            Err(Errno::INVAL) => break,
            other => other.map_err(|e| Refusal::new(Stage::Privileges, "bounding set", e))?,
        }
    }
    Ok(())
}
