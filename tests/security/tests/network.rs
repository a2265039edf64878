//! A network namespace that was made ahead of its job is as good a wall as one that the job begins with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use assay_jailer::wall::Wall;
use assay_sandbox::{JobFile, Sandbox, SandboxConfig, new_network};
use assay_security::{Cell, eventually, id_base, image, jailer};

/// `net:[4026531840]` and the like.
fn name(network: &OwnedFd) -> String {
    fs::read_link(format!("/proc/self/fd/{}", network.as_raw_fd())).unwrap().display().to_string()
}

#[test]
fn the_job_is_in_it_with_loopback_and_nothing_else() {
    let Some(cell) = Cell::new() else { return };
    let network = new_network(&jailer()).unwrap();
    let script = "readlink /proc/self/ns/net; ip -o link";
    let done = cell.start_in(Some(&network), &cell.script(script)).finish();
    let (inside, links) = done.stdout.split_once('\n').unwrap();
    assert_eq!(inside, name(&network), "{done:?}");
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains("lo:") && links.contains("UP"), "{links}");
    let own = cell.start_in(None, &cell.script(script)).finish().stdout;
    let (own, own_links) = own.split_once('\n').unwrap();
    assert!(own.starts_with("net:[") && own != inside);
    assert_eq!(own_links.lines().count(), 1, "{own_links}");
}

/// Names of the network namespaces that this process holds.
fn held() -> BTreeSet<String> {
    let links =
        fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    links.map(|link| link.display().to_string()).filter(|link| link.starts_with("net:[")).collect()
}

#[test]
fn a_supervisor_that_keeps_one_ready_gives_it_to_the_next_job() {
    if Cell::new().is_none() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    image::write(&place.path().join("image"));
    let config = SandboxConfig {
        jailer: Some(jailer()),
        id_base: id_base(),
        network_ahead: true,
        ..SandboxConfig::new(place.path().join("state"))
    };
    let text = format!(
        "[job]\nimage = \"oci:{}:test\"\ncommand = [\"/bin/busybox\", \"readlink\", \"/proc/self/ns/net\"]\n\
         [job.resources]\nlimits = \"rlimit\"\n",
        place.path().join("image").display()
    );
    let job = JobFile::parse(text.as_bytes()).unwrap();
    let sandbox = Sandbox::new(config).unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        // Other tests hold some for a moment; what stays is the sandbox's.
        let ready = || held().into_iter().filter(|name| !seen.contains(name)).collect::<BTreeSet<_>>();
        eventually("a namespace is ready", || !ready().is_empty());
        std::thread::sleep(Duration::from_millis(200));
        let ready = ready();
        let outcome = sandbox.run(&job, &[], &AtomicBool::new(false), &|_| {}).unwrap();
        let inside = outcome.stdout.tail.trim().to_owned();
        assert!(ready.contains(&inside), "{inside} is none of {ready:?}");
        assert!(seen.insert(inside));
    }
}

/// Its owner is another user namespace: root of the job's own cannot change it, whatever it could do.
#[test]
fn not_even_root_inside_has_a_right_over_it() {
    let Some(cell) = Cell::new() else { return };
    let network = new_network(&jailer()).unwrap();
    let down = || cell.script("ip link set lo down && echo down");
    let walls = [Wall::Capabilities, Wall::Seccomp];
    let Some(own) = cell.run_without(&down(), &walls) else { return };
    assert_eq!(own.stdout, "down\n", "{own:?}");
    let given = cell.start_without(&down(), &walls, Some(&network)).unwrap().finish();
    assert!(given.stdout.is_empty() && given.stderr.contains("not permitted"), "{given:?}");
}

#[test]
fn without_the_wall_nothing_is_joined() {
    let Some(cell) = Cell::new() else { return };
    let network = new_network(&jailer()).unwrap();
    let plan = cell.script("readlink /proc/self/ns/net");
    let Some(running) = cell.start_without(&plan, &[Wall::NetworkNamespace], Some(&network)) else { return };
    let host = fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    assert_eq!(running.finish().stdout.trim(), host);
}
