//! Searches: what a job finds around itself.
//!
//! Finding something is done, and so is being unable to look. Finding nothing is the error that
//! the attempt's wall gives.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;

use crate::child::{Tried, errno};
use crate::forbidden::code;

/// The search of this name. `host`: name of an abstract socket of the host, then links of its namespaces.
pub(crate) fn search(name: &str, host: &[String]) -> Option<Tried> {
    Some(match name {
        "internet" => connect("1.1.1.1:443"),
        "lan" => connect("192.168.1.1:80"),
        "metadata" => connect("169.254.169.254:80"),
        "internet_6" => connect("[2606:4700:4700::1111]:443"),
        "host_socket" => host_socket(host),
        "in_user" => in_namespace("user", host),
        "in_mnt" => in_namespace("mnt", host),
        "in_pid" => in_namespace("pid", host),
        "in_net" => in_namespace("net", host),
        "in_ipc" => in_namespace("ipc", host),
        "in_uts" => in_namespace("uts", host),
        "in_cgroup" => in_namespace("cgroup", host),
        "in_time" => in_namespace("time", host),
        "host_root" => host_root(),
        "other_process" => other_process(),
        "old_root" => old_root(),
        "suid_mount" => mount(|_, options| !options.contains(&"nosuid")),
        // A device node that is mounted by itself is one of the five.
        "device_mount" => mount(|place, options| !place.starts_with("/dev/") && !options.contains(&"nodev")),
        "program_mount" => {
            mount(|place, options| ["/proc", "/dev", "/sys"].contains(&place) && !options.contains(&"noexec"))
        }
        "new_privileges" => new_privileges(),
        "descriptor" => descriptor(),
        "disk_bytes" => fill(128, 512 << 10),
        "disk_files" => fill(4096, 0),
        _ => return None,
    })
}

fn found(is_there: bool) -> Tried {
    if is_there { Ok(()) } else { Err(libc::ENOENT) }
}

/// A route is enough: nothing is sent.
fn connect(address: &str) -> Tried {
    let Ok(address) = address.parse::<SocketAddr>() else { return Ok(()) };
    let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    UdpSocket::bind(any).and_then(|socket| socket.connect(address)).map_err(|e| code(&e))
}

fn host_socket(host: &[String]) -> Tried {
    let Some(name) = host.first() else { return Ok(()) };
    let Ok(address) = std::os::unix::net::SocketAddr::from_abstract_name(name) else { return Ok(()) };
    UnixStream::connect_addr(&address).map(drop).map_err(|e| code(&e))
}

fn in_namespace(name: &str, host: &[String]) -> Tried {
    let theirs = host.iter().find(|link| link.starts_with(&format!("{name}:[")));
    match (fs::read_link(format!("/proc/self/ns/{name}")), theirs) {
        (Ok(own), Some(theirs)) => found(own.as_os_str() == theirs.as_str()),
        // Neither has one: the kernel does not.
        (Err(error), None) if error.kind() == io::ErrorKind::NotFound => found(false),
        _ => Ok(()),
    }
}

/// Lines of a file; nothing where it cannot be read.
fn lines(path: &str) -> Option<Vec<Vec<String>>> {
    let text = fs::read_to_string(path).ok()?;
    let lines: Vec<Vec<String>> =
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
    (!lines.is_empty()).then_some(lines)
}

/// Of each line: first id inside, first id outside, count.
fn host_root() -> Tried {
    let maps = ["/proc/self/uid_map", "/proc/self/gid_map"].map(lines);
    let is_root = |line: &Vec<String>| line.get(1).is_none_or(|outside| outside == "0");
    found(maps.into_iter().any(|map| map.is_none_or(|lines| lines.iter().any(is_root))))
}

/// This process is a child of the probe, and nobody else is to be seen.
fn other_process() -> Tried {
    let Ok(entries) = fs::read_dir("/proc") else { return Ok(()) };
    let own = [std::process::id(), std::os::unix::process::parent_id()];
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    found(pids.into_iter().any(|pid| !own.contains(&pid)))
}

/// `..` crosses what is mounted over the root.
fn old_root() -> Tried {
    match (fs::metadata("/"), fs::metadata("/..")) {
        (Ok(root), Ok(above)) => found((root.dev(), root.ino()) != (above.dev(), above.ino())),
        _ => Ok(()),
    }
}

/// A mount for whose place and options this is true (`proc_pid_mountinfo(5)`).
fn mount(is_it: impl Fn(&str, &[&str]) -> bool) -> Tried {
    let Some(mounts) = lines("/proc/self/mountinfo") else { return Ok(()) };
    found(mounts.iter().any(|fields| match (fields.get(4), fields.get(5)) {
        (Some(place), Some(options)) => is_it(place, &options.split(',').collect::<Vec<_>>()),
        _ => true,
    }))
}

fn new_privileges() -> Tried {
    // SAFETY: takes no pointer.
    let is_set = unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) };
    if is_set == 1 { Err(libc::EPERM) } else { Ok(()) }
}

/// Above the standard streams, as far as the limit of open files lets numbers go.
fn descriptor() -> Tried {
    // SAFETY: takes no pointer.
    let is_open = |number: i32| unsafe { libc::fcntl(number, libc::F_GETFD) } != -1 || errno() != libc::EBADF;
    if (3..4096).any(is_open) { Ok(()) } else { Err(libc::EBADF) }
}

/// Writes files until the layer is full, and removes them.
fn fill(count: u32, bytes: usize) -> Tried {
    const DIRECTORY: &str = "/tmp/assay-probe";
    fs::create_dir(DIRECTORY).map_err(|e| code(&e))?;
    let content = vec![1; bytes];
    let mut files = 0..count;
    let written = files.try_for_each(|number| fs::write(format!("{DIRECTORY}/{number}"), &content));
    let removed = fs::remove_dir_all(DIRECTORY);
    written.and(removed).map_err(|e| code(&e))
}

/// What the kernel says; 0 where it has no Landlock.
pub(crate) fn landlock_abi() -> i64 {
    // LANDLOCK_CREATE_RULESET_VERSION
    let version = 1usize;
    // SAFETY: with this flag the kernel takes no attributes and makes nothing.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0usize, 0usize, version) }.max(0)
}
