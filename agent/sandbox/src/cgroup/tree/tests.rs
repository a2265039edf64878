//! On made-up trees of plain files.

use super::*;

#[test]
fn finds_the_unified_hierarchy() {
    let v1 = "48 47 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu";
    let line = "57 47 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
    let mount = Mount { point: "/sys/fs/cgroup/unified".into(), root: "/".into() };
    assert_eq!(hierarchy(&format!("{v1}\n{line}\n")), Some(mount));
    assert_eq!(hierarchy(v1), None);
}

#[test]
fn finds_its_own_cgroup_below_what_is_mounted() {
    let mount = |root: &str| Mount { point: "/cg".into(), root: root.into() };
    let own = |root, groups: &str| mount(root).own(groups);
    assert_eq!(own("/", "1:cpu:/x\n0::/\n"), Some("/cg".into()));
    assert_eq!(own("/", "0::/system.slice/a.service\n"), Some("/cg/system.slice/a.service".into()));
    assert_eq!(own("/pod", "0::/pod/a\n"), Some("/cg/a".into()));
    assert_eq!(own("/pod", "0::/other\n"), None);
    assert_eq!(own("/", "0::/../x\n"), None);
    assert_eq!(own("/", "1:cpu:/x\n"), None);
}

#[test]
fn an_undelegated_cgroup_is_no_place() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("session.scope");
    fs::create_dir(&own).unwrap();
    assert_eq!(Place::of(&own), Some(Place::Root(own.clone())));
    fs::write(own.join("cgroup.type"), "domain\n").unwrap();
    assert_eq!(Place::of(&own), None);
}

#[test]
fn a_delegated_cgroup_is_one_from_itself_and_from_its_leaf() {
    let Some(unit) = delegated("1") else { return };
    assert_eq!(Place::of(unit.path()), Some(Place::Delegated(unit.path().to_owned())));
    let leaf = unit.path().join(SUPERVISOR);
    fs::create_dir(&leaf).unwrap();
    fs::write(leaf.join("cgroup.type"), "domain\n").unwrap();
    assert_eq!(Place::of(&leaf), Some(Place::Delegated(unit.path().to_owned())));
    let other = unit.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("cgroup.type"), "domain\n").unwrap();
    assert_eq!(Place::of(&other), None);
    let Some(undelegated) = delegated("0") else { return };
    assert_eq!(Place::of(undelegated.path()), None);
}

fn delegated(mark: &str) -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup.type"), "domain\n").unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    let set =
        MARKS.into_iter().any(|name| rustix::fs::setxattr(dir.path(), name, mark.as_bytes(), flags).is_ok());
    if !set {
        eprintln!("SKIPPED: no extended attributes in {}", dir.path().display());
    }
    set.then_some(dir)
}

#[test]
fn a_machine_without_controllers_is_told_which() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup.controllers"), "hugetlb pids cpuset\n").unwrap();
    let tree = Tree::at(Place::Given(dir.path().to_owned()), dir.path()).unwrap();
    let refusal = tree.hand_on_controllers().unwrap_err();
    let SandboxError::NoControllers { missing, .. } = &refusal else { panic!("{refusal}") };
    assert_eq!(missing, "cpu, io, memory");
    assert!(refusal.to_string().contains("limits = \"rlimit\""));
}

#[test]
fn controllers_are_handed_on_from_the_top() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu io memory hugetlb pids\n").unwrap();
    let tree = Tree::at(Place::Root(dir.path().to_owned()), dir.path()).unwrap();
    fs::create_dir(&tree.jobs).unwrap();
    for step in [dir.path(), &tree.jobs] {
        fs::write(step.join("cgroup.subtree_control"), "").unwrap();
    }
    tree.hand_on_controllers().unwrap();
    for step in [dir.path(), &tree.jobs] {
        // In a plain file each word is written over the last.
        assert_eq!(fs::read_to_string(step.join("cgroup.subtree_control")).unwrap(), "+hugetlb");
    }
}

#[test]
fn what_another_has_handed_on_hides_no_further_controller() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu io memory hugetlb pids\n").unwrap();
    let control = dir.path().join("cgroup.subtree_control");
    let handed = "cpuset cpu io memory pids";
    fs::write(&control, handed).unwrap();
    let tree = Tree::at(Place::Given(dir.path().to_owned()), dir.path()).unwrap();
    tree.hand_on_controllers().unwrap();
    assert!(fs::read_to_string(&control).unwrap().starts_with("+hugetlb"));
    // A kernel that did not take it is not asked again for each job.
    fs::write(&control, handed).unwrap();
    tree.hand_on_controllers().unwrap();
    assert_eq!(fs::read_to_string(&control).unwrap(), handed);
}

#[test]
fn reserved_processors_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let tree = Tree::at(Place::Given(dir.path().to_owned()), dir.path()).unwrap();
    assert!(matches!(tree.cpus(&[].into()), Err(SandboxError::Cgroup { .. })));
    fs::write(dir.path().join("cpuset.cpus.effective"), "0-3\n").unwrap();
    assert_eq!(tree.cpus(&[].into()).unwrap(), [0, 1, 2, 3].into());
    assert_eq!(tree.cpus(&[0, 9].into()).unwrap(), [1, 2, 3].into());
    assert!(matches!(tree.cpus(&[0, 1, 2, 3].into()), Err(SandboxError::NoCpus)));
}

#[test]
fn cgroups_are_known_by_state_directory_and_slot() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tree = Tree::at(Place::Given(dir.path().to_owned()), dir.path()).unwrap();
    let stranger = Tree::at(Place::Given(dir.path().to_owned()), other.path()).unwrap();
    for name in [format!("{}-3-9-0", tree.tag), format!("{}-4-9-1", stranger.tag), "x-5-1-1".into()] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    assert_eq!((tree.slots().unwrap(), stranger.slots().unwrap()), (vec![3], vec![4]));
    assert!(tree.clear(4));
    assert_eq!(stranger.slots().unwrap(), [4]);
}

#[test]
fn a_place_that_cannot_be_listed_is_not_empty() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| Tree::at(Place::Given(dir.path().join(name)), dir.path()).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    assert!(at("missing").clear(0) && at("missing").slots().unwrap().is_empty());
    assert!(!at("file").clear(0) && at("file").slots().is_err());
}

#[test]
fn a_delegated_cgroup_is_vacated() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cgroup.procs"), "").unwrap();
    vacate(dir.path()).unwrap();
    assert!(!dir.path().join(SUPERVISOR).exists());
    // A plain file never gets empty, as a cgroup that somebody keeps filling.
    fs::write(dir.path().join("cgroup.procs"), "1\n2\n").unwrap();
    fs::create_dir(dir.path().join(SUPERVISOR)).unwrap();
    fs::write(dir.path().join("core/cgroup.procs"), "").unwrap();
    assert!(matches!(vacate(dir.path()), Err(SandboxError::Cgroup { .. })));
    assert_eq!(fs::read_to_string(dir.path().join("core/cgroup.procs")).unwrap(), "2");
}
