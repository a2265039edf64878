//! Each kind of message as names and values.

use assay_gpu::device::DeviceEvidence;
use assay_gpu::rim::{Rim, RimRow};
use assay_ledger::ByteVec;
use assay_ledger::anchor::Anchor;
use assay_ledger::beacon::Beacon;
use assay_ledger::beat::{Beat, flags};
use assay_ledger::claim::{Claim, SessionRecords};
use assay_ledger::enrolment::EnrolmentRecord;
use assay_ledger::firmware::FirmwareTable;
use assay_ledger::job::{JobExit, JobReceipt, ReceiptBundle};
use assay_ledger::owner::OwnerTransfer;
use assay_ledger::receipt::{BeatReceipt, Subject};
use assay_ledger::revocation::{RevocationList, RevokedKind};
use assay_ledger::session::{Attested, Evidence, SessionEnd, SessionStart};
use assay_tpm::{Attest, AttestBody, KeyKind, Public};
use assay_wire::{Envelope, Kind, WireError};
use serde_json::{Value, json};

use crate::civil;

/// The payload of an envelope.
pub(super) fn message(envelope: &Envelope) -> Result<Value, WireError> {
    Ok(match envelope.kind {
        Kind::Enrolment => enrolment(&envelope.message()?),
        Kind::Evidence => evidence(&envelope.message()?),
        Kind::Beat => beat(&envelope.message()?),
        Kind::Anchor => anchor(&envelope.message()?),
        Kind::SessionEnd => session_end(&envelope.message()?),
        Kind::JobReceipt => job(&envelope.message()?),
        Kind::Beacon => beacon(&envelope.message()?),
        Kind::BeatReceipt => receipt(&envelope.message()?),
        Kind::Claim => claim(&envelope.message()?),
        Kind::Receipt => bundle(&envelope.message()?),
        Kind::Revocations => revocations(&envelope.message()?),
        Kind::OwnerTransfer => transfer(&envelope.message()?),
        Kind::Firmware => firmware(&envelope.message()?),
        Kind::Release => super::manifest::release_json(&envelope.message()?),
        Kind::GpuRim => gpu_rim(&envelope.message()?),
    })
}

fn revocations(list: &RevocationList) -> Value {
    let kind = |kind| match kind {
        RevokedKind::Node => "node",
        RevokedKind::Record => "record",
    };
    let entry = |one: &assay_ledger::revocation::Revocation| {
        let at = civil::format(one.at_ms);
        json!({ "kind": kind(one.kind), "digest": one.digest.to_string(), "at": at, "reason": one.reason })
    };
    let entries: Vec<_> = list.entries.iter().map(entry).collect();
    json!({ "number": list.number, "issued": civil::format(list.issued_ms), "entries": entries })
}

fn transfer(transfer: &OwnerTransfer) -> Value {
    let key = |key: &assay_wire::VerifyingKey| hex::encode(key.0);
    json!({
        "node": transfer.node.to_string(),
        "from": key(&transfer.from),
        "to": key(&transfer.to),
        "at": civil::format(transfer.at_ms),
    })
}

fn firmware(table: &FirmwareTable) -> Value {
    let set = |set: &assay_ledger::firmware::FirmwareSet| {
        let (pcr0, first) = (set.pcr0.to_string(), civil::format(set.first_ms));
        json!({ "pcr0": pcr0, "owners": set.owners, "first_seen": first, "name": set.name })
    };
    let sets: Vec<_> = table.sets.iter().map(set).collect();
    json!({ "issued": civil::format(table.issued_ms), "sets": sets })
}

fn gpu_rim(rim: &Rim) -> Value {
    let row = |row: &RimRow| {
        let values: Vec<_> = row.values.iter().map(|value| hex::encode(value.as_slice())).collect();
        json!({ "index": row.index, "name": row.name, "values": values })
    };
    json!({
        "id": rim.id(),
        "kind": rim.kind.name(),
        "product": rim.product,
        "version": rim.version,
        "tag": rim.tag,
        "board": rim.board.as_ref().map(ToString::to_string),
        "source": rim.source.to_string(),
        "signer": rim.signer.to_string(),
        "not_before": civil::format(u64::try_from(rim.not_before).unwrap_or_default().saturating_mul(1000)),
        "not_after": civil::format(u64::try_from(rim.not_after).unwrap_or_default().saturating_mul(1000)),
        "rows": rim.rows.iter().map(row).collect::<Vec<_>>(),
    })
}

/// An envelope inside another; one that doesn't decode is shown as that.
fn nested(bytes: &[u8]) -> Value {
    let shown = Envelope::decode(bytes).and_then(|envelope| {
        Ok(json!({
            "kind": envelope.kind.name(),
            "kid": envelope.kid.to_string(),
            "bytes": bytes.len(),
            "message": message(&envelope)?,
        }))
    });
    shown.unwrap_or_else(|error| json!({ "bytes": bytes.len(), "undecodable": error.to_string() }))
}

/// How many there are, and the first and last in full.
fn ends(envelopes: &[ByteVec]) -> Value {
    let bytes: usize = envelopes.iter().map(|envelope| envelope.len()).sum();
    let mut shown = json!({ "count": envelopes.len(), "bytes": bytes });
    if let (Some(first), Some(fields)) = (envelopes.first(), shown.as_object_mut()) {
        fields.insert("first".to_owned(), nested(first));
    }
    if let ([_, .., last], Some(fields)) = (envelopes, shown.as_object_mut()) {
        fields.insert("last".to_owned(), nested(last));
    }
    shown
}

fn enrolment(record: &EnrolmentRecord) -> Value {
    json!({
        "node": record.node.to_string(),
        "tpm_class": record.class.name(),
        "tpm_model": record.model,
        "tpm_firmware_version": format!("{:016x}", record.firmware_version),
        "reset_count": record.reset_count,
        "ek": public(&record.ek_public),
        "ek_certificates": record.ek_certificates.iter().map(|c| c.len()).collect::<Vec<_>>(),
        "ak": public(&record.ak_public),
        "issued": civil::format(record.issued_ms),
        "expires": civil::format(record.expires_ms),
    })
}

fn public(bytes: &[u8]) -> Value {
    match Public::parse(bytes) {
        Ok(public) => json!({
            "key": match public.kind() {
                KeyKind::Rsa { bits, .. } => format!("RSA-{bits}"),
                KeyKind::Ecc { curve, .. } => format!("ECC {curve}"),
            },
            "name": public.name().map(|name| hex::encode(name.as_bytes())).ok(),
        }),
        Err(error) => json!({ "undecodable": error.to_string() }),
    }
}

fn evidence(evidence: &Evidence) -> Value {
    let len = |log: &Option<ByteVec>| log.as_ref().map(|log| log.len());
    json!({
        "session": start(&evidence.session),
        "quote": attested(&evidence.quote),
        "time": attested(&evidence.time),
        "pcrs": evidence.pcrs.iter().map(|p| (p.pcr.to_string(), p.value.to_string().into()))
            .collect::<serde_json::Map<String, Value>>(),
        "log_bytes": {
            "firmware": len(&evidence.logs.firmware),
            "userspace": len(&evidence.logs.userspace),
            "ima": len(&evidence.logs.ima),
        },
        "enrolment": nested(&evidence.enrolment),
        "devices": evidence.devices.as_deref().unwrap_or_default().iter().map(device).collect::<Vec<_>>(),
    })
}

fn device(device: &DeviceEvidence) -> Value {
    json!({
        "gpu": device.gpu,
        "architecture": device.architecture.word(),
        "report_bytes": device.report.len(),
        "certificates": device.chain.len(),
        "ocsp_answers": device.ocsp.len(),
        "simulated": device.simulated,
    })
}

fn start(start: &SessionStart) -> Value {
    json!({
        "id": start.id().to_string(),
        "node": start.node.to_string(),
        "agent": start.agent,
        "mono_ms": start.mono_ms,
        "challenge": start.challenge.to_string(),
        "beacon": start.beacon.to_string(),
        "previous": start.previous.map(|head| json!({
            "session": head.session.to_string(), "seq": head.seq, "head": head.head.to_string(),
        })),
        "config": start.config.to_string(),
        "machine": {
            "cpu": start.machine.cpu,
            "cpus": start.machine.cpus,
            "memory_mib": start.machine.memory_mib,
            "kernel": start.machine.kernel,
            "virtualization": start.machine.virtualization,
        },
        "gpus": start.gpus,
        "simulated": start.simulated.iter().map(|part| part.name()).collect::<Vec<_>>(),
    })
}

fn attested(attested: &Attested) -> Value {
    let attest = match Attest::parse(&attested.attest) {
        Ok(attest) => attest,
        Err(error) => return json!({ "undecodable": error.to_string() }),
    };
    let (kind, about) = match &attest.body {
        AttestBody::Quote(quote) => ("quote", json!(hex::encode(&quote.pcr_digest))),
        AttestBody::Time(time) => ("time", json!(time.time)),
    };
    json!({
        "type": kind,
        (if kind == "quote" { "pcr_digest" } else { "time_ms" }): about,
        "signer": hex::encode(&attest.qualified_signer),
        "extra_data": hex::encode(&attest.extra_data),
        "reset_count": attest.clock_info.reset_count,
        "restart_count": attest.clock_info.restart_count,
    })
}

fn beat(beat: &Beat) -> Value {
    let names =
        [(flags::GPU_SILENT, "gpu-silent"), (flags::GPU_HUNG, "gpu-hung"), (flags::OFFLINE, "offline")];
    let set: Vec<_> = names.iter().filter(|(bit, _)| beat.flags & bit != 0).map(|(_, name)| *name).collect();
    json!({
        "seq": beat.seq,
        "prev": beat.prev.to_string(),
        "mono_ms": beat.mono_ms,
        "beacon": beat.beacon.to_string(),
        "samples": beat.samples.to_string(),
        "gpus": beat.gpus,
        "jobs": beat.jobs.iter().map(|job| hex::encode(job.as_slice())).collect::<Vec<_>>(),
        "flags": set,
    })
}

fn anchor(anchor: &Anchor) -> Value {
    json!({
        "seq": anchor.seq,
        "head": anchor.head.to_string(),
        "beacon": anchor.beacon.to_string(),
        "mono_ms": anchor.mono_ms,
        "time": attested(&anchor.time),
        "quote": attested(&anchor.quote),
    })
}

fn session_end(end: &SessionEnd) -> Value {
    json!({ "seq": end.seq, "head": end.head.to_string(), "mono_ms": end.mono_ms })
}

fn job(receipt: &JobReceipt) -> Value {
    json!({
        "job": receipt.job.to_string(),
        "image": receipt.image.to_string(),
        "exit": exit(receipt.exit),
        "started_mono_ms": receipt.started_mono_ms,
        "wall_ms": receipt.wall_ms,
        "cpu_us": receipt.cpu_us,
        "max_rss_kib": receipt.max_rss_kib,
        "limits": receipt.limits,
        "ids": receipt.ids,
        "network": receipt.network,
        "outputs": receipt.outputs.iter().map(|output| json!({
            "path": output.path, "size": output.size, "sha256": output.sha256.to_string(),
        })).collect::<Vec<_>>(),
        "stdout": receipt.stdout.to_string(),
        "stderr": receipt.stderr.to_string(),
        "seq": receipt.seq,
        "config": receipt.config.to_string(),
        "policy": receipt.policy.to_string(),
        "io_read": receipt.io_read,
        "io_write": receipt.io_write,
        "checkpoint": receipt.checkpoint.map(|hash| hash.to_string()),
        "restarts": receipt.restarts,
        "outputs_skipped": receipt.outputs_skipped,
    })
}

fn exit(exit: JobExit) -> String {
    match exit {
        JobExit::Code(code) => format!("code {code}"),
        JobExit::Signal(signal) => format!("signal {signal}"),
        JobExit::TimedOut => "timed out".to_owned(),
        JobExit::Cancelled => "cancelled".to_owned(),
        JobExit::NotStarted => "not started".to_owned(),
        JobExit::OutOfMemory => "out of memory".to_owned(),
        JobExit::Quota => "over a quota".to_owned(),
    }
}

fn beacon(beacon: &Beacon) -> Value {
    json!({
        "round": beacon.round,
        "time": civil::format(beacon.time_ms),
        "randomness": beacon.randomness.to_string(),
    })
}

fn receipt(receipt: &BeatReceipt) -> Value {
    let subject = match receipt.subject {
        Subject::Session => "session",
        Subject::Beats => "beats",
        Subject::Anchor => "anchor",
        Subject::Job => "job",
        Subject::End => "end",
    };
    json!({
        "session": receipt.session.to_string(),
        "subject": subject,
        "seq": receipt.seq,
        "hash": receipt.hash.to_string(),
        "at": civil::format(receipt.at_ms),
    })
}

fn claim(claim: &Claim) -> Value {
    json!({
        "node": claim.node.to_string(),
        "powered_s": claim.powered_s,
        "reachable_s": claim.reachable_s,
        "beacons": ends(&claim.beacons),
        "sessions": claim.sessions.iter().map(session_records).collect::<Vec<_>>(),
    })
}

fn session_records(records: &SessionRecords) -> Value {
    json!({
        "evidence": nested(&records.evidence),
        "beats": ends(&records.beats),
        "anchors": ends(&records.anchors),
        "receipts": ends(&records.receipts),
        "jobs": records.jobs.iter().map(|bytes| nested(bytes)).collect::<Vec<_>>(),
        "end": records.end.as_ref().map(|bytes| nested(bytes)),
    })
}

fn bundle(bundle: &ReceiptBundle) -> Value {
    json!({
        "receipt": nested(&bundle.receipt),
        "seen": bundle.seen.iter().map(|bytes| nested(bytes)).collect::<Vec<_>>(),
        "evidence": bundle.evidence.iter().map(|bytes| nested(bytes)).collect::<Vec<_>>(),
    })
}
