//! A network namespace that was made ahead of its job is as good a wall as one that the job begins with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use assay_jailer::wall::Wall;
use assay_sandbox::new_network;
use assay_security::{Cell, jailer};

/// `net:[4026531840]` and the like.
fn name(network: &OwnedFd) -> String {
    fs::read_link(format!("/proc/self/fd/{}", network.as_raw_fd())).unwrap().display().to_string()
}

#[test]
fn the_job_is_in_it_with_loopback_and_nothing_else() {
    let Some(cell) = Cell::new() else { return };
    let network = new_network(&jailer()).unwrap();
    let script = "readlink /proc/self/ns/net; ip -o link";
    let done = cell.run_in(&network, &cell.script(script));
    let (inside, links) = done.stdout.split_once('\n').unwrap();
    assert_eq!(inside, name(&network), "{done:?}");
    assert_eq!(links.lines().count(), 1, "{links}");
    assert!(links.contains("lo:") && links.contains("UP"), "{links}");
    let own = cell.sh(script).stdout;
    let (own, _) = own.split_once('\n').unwrap();
    assert!(own.starts_with("net:[") && own != inside);
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
