//! The rules of a job file, value by value.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding as _};

use crate::file::{Checkpoint, ImageRef, Input, JobError, JobFile, Resources, Restart, Sealed};
use crate::raw::{RawInput, RawJob, RawResources, RawRestart, RestartOn};
use crate::registry_ref::RegistryRef;
use crate::seal::{OVERHEAD, is_secret_name};
use crate::units::{parse_bytes, parse_millicpu, parse_millis};

/// Largest quantity of bytes.
const BYTES_MAX: u64 = 1 << 46;

fn rule(ok: bool, field: &'static str, rule: &'static str) -> Result<(), JobError> {
    if ok { Ok(()) } else { Err(JobError::Field { field, rule }) }
}

fn ranged(
    value: Option<u64>,
    range: std::ops::RangeInclusive<u64>,
    field: &'static str,
    what: &'static str,
) -> Result<u64, JobError> {
    value.filter(|v| range.contains(v)).ok_or(JobError::Field { field, rule: what })
}

/// Checks a whole job.
pub(crate) fn job(raw: RawJob) -> Result<JobFile, JobError> {
    let timeout = parse_millis(&raw.timeout);
    let timeout_ms = ranged(timeout, 100..=604_800_000, "job.timeout", "must be \"100ms\" to \"168h\"")?;
    command(&raw.command)?;
    env(&raw.env)?;
    let resources = resources(&raw.resources)?;
    let disk = resources.disk_bytes;
    let job = JobFile {
        image: image(&raw.image)?,
        command: raw.command,
        env: raw.env,
        timeout_ms,
        network: raw.network,
        inputs: inputs(raw.inputs)?,
        outputs: raw.outputs,
        output_bytes: cap(raw.output_bytes.as_deref(), disk, "job.output_bytes")?,
        restart: raw.restart.map(|raw| restart(&raw)).transpose()?,
        checkpoint: checkpoint(raw.checkpoint, raw.checkpoint_bytes.as_deref(), disk)?,
        secrets: secrets(&raw.secrets)?,
        resources,
    };
    places(&job)?;
    Ok(job)
}

fn image(text: &str) -> Result<ImageRef, JobError> {
    const FIELD: &str = "job.image";
    let Some(rest) = text.strip_prefix("oci:") else {
        return RegistryRef::parse(text).map(ImageRef::Registry).map_err(JobError::Image);
    };
    let (path, tag) = rest.rsplit_once(':').unwrap_or((rest, "latest"));
    rule(path.starts_with('/') && !path.contains('\0'), FIELD, "needs an absolute layout path")?;
    // Characters of `org.opencontainers.image.ref.name`, OCI image-spec 1.1 annotations.md.
    let ok = !tag.is_empty()
        && tag.len() <= 128
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    rule(ok, FIELD, "has a tag of other than letters, digits, '.', '_' and '-'")?;
    Ok(ImageRef::Layout { path: path.into(), tag: tag.to_owned() })
}

fn command(command: &[String]) -> Result<(), JobError> {
    rule(command.len() <= 256, "job.command", "must have at most 256 parts")?;
    rule(command.iter().all(|c| !c.contains('\0')), "job.command", "must hold no NUL")?;
    rule(command.first().is_none_or(|c| !c.is_empty()), "job.command", "must start with a program")
}

fn env(env: &BTreeMap<String, String>) -> Result<(), JobError> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    rule(env.len() <= 256, "job.env", "must have at most 256 entries")?;
    rule(env.keys().all(|k| is_name(k)), "job.env", "must have names of letters, digits and '_'")?;
    rule(
        !env.keys().any(|k| k.starts_with("ASSAY_")),
        "job.env",
        "must have no name that starts with ASSAY_",
    )?;
    rule(env.values().all(|v| !v.contains('\0')), "job.env", "must hold no NUL")
}

/// True for `/a/b`: absolute, no empty, `.` or `..` component, not the root.
fn is_plain_absolute(path: &str) -> bool {
    path.strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(|c| !matches!(c, "" | "." | "..") && !c.contains('\0')))
}

/// True for a path that is `parent` or below it.
fn is_within(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn inputs(raw: Vec<RawInput>) -> Result<Vec<Input>, JobError> {
    rule(raw.len() <= 32, "job.inputs", "must be at most 32")?;
    raw.into_iter().map(input).collect()
}

fn input(raw: RawInput) -> Result<Input, JobError> {
    const SOURCE: &str = "job.inputs.source";
    rule(
        is_plain_absolute(&raw.source) && raw.source.len() <= 4095,
        SOURCE,
        "must be a plain absolute path",
    )?;
    let system = ["/proc", "/sys", "/dev"].iter().any(|top| is_within(&raw.source, top));
    rule(!system, SOURCE, "must be outside of /proc, /sys and /dev")?;
    let mut sha256 = [0; 32];
    let lower = raw.sha256.bytes().all(|b| !b.is_ascii_uppercase());
    let read = lower && hex::decode_to_slice(&raw.sha256, &mut sha256).is_ok();
    rule(read, "job.inputs.sha256", "must be 64 lower-case hexadecimal digits")?;
    Ok(Input { source: raw.source, sha256, target: raw.target })
}

fn cap(text: Option<&str>, default: u64, field: &'static str) -> Result<u64, JobError> {
    match text {
        Some(text) => ranged(parse_bytes(text), 0..=BYTES_MAX, field, "must be \"0\" to \"64Ti\""),
        None => Ok(default),
    }
}

fn restart(raw: &RawRestart) -> Result<Restart, JobError> {
    let RestartOn::Failure = raw.on;
    rule((1..=100).contains(&raw.max), "job.restart.max", "must be 1 to 100")?;
    let (backoff, most) = (parse_millis(&raw.backoff), Restart::BACKOFF_MAX_MS);
    let backoff_ms = ranged(backoff, 0..=most, "job.restart.backoff", "must be \"0s\" to \"10m\"")?;
    Ok(Restart { max: raw.max, backoff_ms })
}

fn checkpoint(
    target: Option<String>,
    bytes: Option<&str>,
    disk: u64,
) -> Result<Option<Checkpoint>, JobError> {
    const FIELD: &str = "job.checkpoint_bytes";
    let Some(target) = target else {
        return rule(bytes.is_none(), FIELD, "needs job.checkpoint").map(|()| None);
    };
    let bytes = match bytes {
        Some(text) => ranged(parse_bytes(text), 1 << 12..=BYTES_MAX, FIELD, "must be \"4Ki\" to \"64Ti\"")?,
        None => disk,
    };
    Ok(Some(Checkpoint { target, bytes }))
}

fn secrets(raw: &BTreeMap<String, String>) -> Result<BTreeMap<String, Sealed>, JobError> {
    const FIELD: &str = "job.secrets";
    rule(raw.len() <= 64, FIELD, "must have at most 64 entries")?;
    let read = |(name, text): (&String, &String)| {
        rule(is_secret_name(name), FIELD, "must have names of letters, digits, '_', '-' and '.'")?;
        let sealed = Base64::decode_vec(text).ok().filter(|sealed| sealed.len() >= OVERHEAD);
        let sealed = sealed.ok_or(JobError::Field { field: FIELD, rule: "must be base64 as sealed" })?;
        Ok((name.clone(), Sealed(sealed)))
    };
    raw.iter().map(read).collect()
}

/// Where things appear in the job: plain, outside of what is the sandbox's own, none inside another.
fn places(job: &JobFile) -> Result<(), JobError> {
    let (outputs, inputs) = (job.outputs.iter(), job.inputs.iter());
    rule(job.outputs.len() <= 16, "job.outputs", "must be at most 16")?;
    let outputs = outputs.map(|o| ("job.outputs", o));
    let inputs = inputs.map(|i| ("job.inputs.target", &i.target));
    let checkpoint = job.checkpoint.iter().map(|c| ("job.checkpoint", &c.target));
    let all: Vec<_> = outputs.chain(inputs).chain(checkpoint).collect();
    for (n, (field, path)) in all.iter().enumerate() {
        rule(is_plain_absolute(path) && path.len() <= 255, field, "must be a plain absolute path")?;
        let reserved = ["/proc", "/dev", "/sys", "/run/secrets"].iter();
        let apart = |other: &str| !is_within(path, other) && !is_within(other, path);
        let ours = reserved.copied().all(apart);
        rule(ours, field, "must be outside of /proc, /dev, /sys and /run/secrets")?;
        let earlier = all.iter().take(n).all(|(_, other)| apart(other));
        rule(earlier, field, "must not contain, or be in, another input, output or checkpoint")?;
    }
    Ok(())
}

fn resources(raw: &RawResources) -> Result<Resources, JobError> {
    let bytes =
        |text: &str, least: u64, field, what| ranged(parse_bytes(text), least..=BYTES_MAX, field, what);
    rule((1..=65_536).contains(&raw.pids), "job.resources.pids", "must be 1 to 65536")?;
    rule(raw.gpus <= 64, "job.resources.gpus", "must be at most 64")?;
    let cpu = parse_millicpu(&raw.cpu);
    Ok(Resources {
        cpu_milli: ranged(cpu, 10..=1_024_000, "job.resources.cpu", "must be \"10m\" to \"1024\"")?,
        memory_bytes: bytes(&raw.memory, 16 << 20, "job.resources.memory", "must be \"16Mi\" to \"64Ti\"")?,
        disk_bytes: bytes(&raw.disk, 1 << 20, "job.resources.disk", "must be \"1Mi\" to \"64Ti\"")?,
        pids: raw.pids,
        gpus: raw.gpus,
        limits: raw.limits,
    })
}

#[cfg(test)]
mod tests;
