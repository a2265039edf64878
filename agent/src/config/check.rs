//! The range of every value.

use std::{fmt::Debug, path::Path};

use assay_attester::Backend;
use assay_sandbox::cgroup::is_cpu_list;
use assay_sandbox::registry_ref::RegistryRef;

use super::{Config, ConfigError, ImageSettings, SandboxSettings, Validator};

type Checked = Result<(), ConfigError>;

/// Host ids below this belong to people and services.
const FIRST_ID: u32 = 65_536;
/// Leaves 16,384 ranges of 65,536 ids above it.
const LAST_ID: u32 = 3_000_000_000;

/// Checks every value; the first that is out of range is the error.
pub(super) fn check(config: &Config) -> Checked {
    places(config)?;
    network(config)?;
    validators(&config.validator)?;
    tpm_and_boot(config)?;
    cadence(config)?;
    rest(config)
}

fn places(config: &Config) -> Checked {
    let node = &config.node;
    absolute("node.state_dir", &node.state_dir)?;
    absolute("node.runtime_dir", &node.runtime_dir)?;
    node.transfer.iter().try_for_each(|path| absolute("node.transfer", path))?;
    let owned = node.transfer.is_none() || node.owner.is_some();
    demand(owned, "node.transfer", &node.transfer, "left out without node.owner, to whom it goes")?;
    absolute("boot.firmware_log", &config.boot.firmware_log)?;
    absolute("boot.userspace_log", &config.boot.userspace_log)?;
    config.boot.ima_log.iter().try_for_each(|path| absolute("boot.ima_log", path))?;
    // `sun_path` has 108 bytes (unix(7)); the longest socket name of ours has 12 and a slash.
    let room = node.runtime_dir.as_os_str().len() <= 90;
    demand(room, "node.runtime_dir", &node.runtime_dir, "at most 90 bytes long, for sockets to fit in")
}

fn network(config: &Config) -> Checked {
    let network = &config.network;
    demand(is_name(&network.id), "network.id", &network.id, NAME)?;
    let slots = (1..=1000).contains(&network.anchor_per_mille);
    demand(slots, "network.anchor_per_mille", network.anchor_per_mille, "from 1 to 1000")
}

const NAME: &str = "1 to 64 letters, digits, '-', '_' or '.'";

fn validators(all: &[Validator]) -> Checked {
    demand(all.len() <= Config::MAX_VALIDATORS, "validator", all.len(), "at most 16 entries")?;
    for (at, one) in all.iter().enumerate() {
        let key = |field| format!("validator[{at}].{field}");
        demand(is_name(&one.name), &key("name"), &one.name, NAME)?;
        demand(authority(&one.url).is_some(), &key("url"), &one.url, "https://HOST[:PORT] without a path")?;
        let earlier = all.get(..at).unwrap_or_default();
        let name_is_new = !earlier.iter().any(|other| other.name == one.name);
        demand(name_is_new, &key("name"), &one.name, "a name that no other validator has")?;
        let key_is_new = !earlier.iter().any(|other| other.key == one.key);
        demand(key_is_new, &key("key"), one.key, "a key that no other validator has")?;
    }
    Ok(())
}

fn tpm_and_boot(config: &Config) -> Checked {
    let backend = &config.tpm.backend;
    let parsed = Backend::parse(backend);
    let known = parsed.is_ok() && is_plain(backend);
    demand(known, "tpm.backend", backend, "an absolute device path or swtpm:host=ADDRESS,port=PORT")?;
    config.tpm.ek_certificate.iter().try_for_each(|path| absolute("tpm.ek_certificate", path))?;
    let service = config.tpm.ek_certificate_service.as_deref();
    let fetchable = service.is_none_or(|url| is_plain(url) && url.ends_with('/') && split(url).is_some());
    demand(fetchable, "tpm.ek_certificate_service", service, "https://HOST[:PORT]/PATH/ that ends in '/'")?;
    let simulated = config.tpm.simulated;
    let honest = simulated || !matches!(parsed, Ok(Backend::Tcti(_)));
    demand(honest, "tpm.simulated", simulated, "true with a swtpm backend")?;
    // A generated log never replays to what a real TPM holds.
    let harmless = simulated || !config.boot.simulated;
    demand(harmless, "boot.simulated", config.boot.simulated, "false unless tpm.simulated is true")
}

fn cadence(config: &Config) -> Checked {
    let cadence = &config.cadence;
    demand(
        (100..=600_000).contains(&cadence.beat_ms),
        "cadence.beat_ms",
        cadence.beat_ms,
        "from 100 to 600000",
    )?;
    let in_a_beat = (10..=60_000).contains(&cadence.sample_ms) && cadence.sample_ms <= cadence.beat_ms;
    demand(in_a_beat, "cadence.sample_ms", cadence.sample_ms, "from 10 to 60000, and at most cadence.beat_ms")
}

fn rest(config: &Config) -> Checked {
    let library = &config.gpu.library;
    // A relative path would be looked up from wherever the process happens to stand.
    let findable = is_plain(library) && (library.starts_with('/') || !library.contains('/'));
    demand(findable, "gpu.library", library, "a file name or an absolute path")?;
    let sandbox = &config.sandbox;
    sandbox.jailer.iter().try_for_each(|path| absolute("sandbox.jailer", path))?;
    let free = (FIRST_ID..=LAST_ID).contains(&sandbox.id_base);
    demand(free, "sandbox.id_base", sandbox.id_base, "from 65536 to 3000000000")?;
    let listed = is_cpu_list(&sandbox.reserved_cpus);
    demand(listed, "sandbox.reserved_cpus", &sandbox.reserved_cpus, "a list of processors like \"0-1,4\"")?;
    kept(sandbox)?;
    images(&sandbox.images)
}

fn kept(sandbox: &SandboxSettings) -> Checked {
    let range = |key: &str, value: u64, most: u64, expected| {
        demand((1..=most).contains(&value), &format!("sandbox.{key}"), value, expected)
    };
    range("jobs_kept", sandbox.jobs_kept.into(), 1 << 16, "from 1 to 65536")?;
    range("jobs_gib", sandbox.jobs_gib, 1 << 20, "from 1 to 1048576")?;
    range("checkpoints_kept", sandbox.checkpoints_kept.into(), 1 << 12, "from 1 to 4096")?;
    range("checkpoints_gib", sandbox.checkpoints_gib, 1 << 20, "from 1 to 1048576")
}

fn images(images: &ImageSettings) -> Checked {
    let range = |key: &str, value: u64, range: std::ops::RangeInclusive<u64>, expected| {
        demand(range.contains(&value), &format!("sandbox.images.{key}"), value, expected)
    };
    range("disk_gib", images.disk_gib, 1..=1 << 20, "from 1 to 1048576")?;
    range("reserve_mib", images.reserve_mib, 16..=1 << 30, "from 16 to 1073741824")?;
    range("layer_gib", images.layer_gib, 1..=1 << 14, "from 1 to 16384")?;
    range("minutes", images.minutes, 1..=10_080, "from 1 to 10080")?;
    let insecure = &images.insecure_registries;
    // What stands before the name in a reference.
    let named = |one: &String| RegistryRef::parse(&format!("{one}/a:b")).is_ok_and(|r| r.authority() == *one);
    let key = "sandbox.images.insecure_registries";
    demand(insecure.len() <= 64 && insecure.iter().all(named), key, insecure, "at most 64 of HOST[:PORT]")?;
    images.ca_file.iter().try_for_each(|path| absolute("sandbox.images.ca_file", path))?;
    images.credentials.iter().try_for_each(|path| absolute("sandbox.images.credentials", path))
}

fn absolute(key: &str, path: &Path) -> Checked {
    let fine = path.is_absolute() && path.to_str().is_some_and(is_plain);
    demand(fine, key, path, "an absolute path without control characters")
}

fn demand(holds: bool, key: &str, value: impl Debug, expected: &'static str) -> Checked {
    if holds {
        return Ok(());
    }
    Err(ConfigError::Value { key: key.to_owned(), value: format!("{value:?}"), expected })
}

/// Not empty, at most a path's length, and nothing that would break a line of the rendered file.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() < 4096 && !text.chars().any(char::is_control)
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// Authority as [`authority`] takes it, and path, of `https://HOST[:PORT]/PATH`.
pub(crate) fn split(url: &str) -> Option<(&str, &str)> {
    let slash = url.strip_prefix("https://")?.find('/')?;
    let (place, path) = url.split_at_checked("https://".len() + slash)?;
    let visible = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
    (visible && authority(place).is_some()).then_some((place, path))
}

/// Host and port of `https://HOST[:PORT]` (RFC 3986 3.2), the host without the brackets of IPv6.
pub(crate) fn authority(url: &str) -> Option<(&str, u16)> {
    let rest = url.strip_prefix("https://")?;
    let (host, port) = match rest.strip_prefix('[') {
        Some(v6) => {
            let (host, after) = v6.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let named = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:".contains(&b));
    let port = port.map_or(Some(443), |text| text.parse().ok())?;
    (named && host.len() <= 253 && port != 0).then_some((host, port))
}
