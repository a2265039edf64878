//! One TPM behind two nodes at once, and one GPU.
//!
//! A TPM has one EK per template, so its owner can enrol it under several node ids. The index
//! of keys ([`super::keys`]) sees that when certificates tell; this is for when they don't.
//!
//! What two sessions on one TPM can't hide is its power cycle. `resetCount` and
//! `firmwareVersion` are the TPM's. `time` in a GetTime counts from power-on and nothing sets
//! it (`clock` can be set forward), so the validator's receipt time less `time` is an upper
//! bound of the power-on instant: the network can only add. The least bound over a cycle's
//! GetTimes is the tightest. Because TPM clocks run up to 0.5 % off, bounds drift apart over
//! days; sessions are therefore also compared by their newest bounds, again at each anchor.
//!
//! Equal counters and instants alone may be a rack of equal machines switched on together:
//! that is a warning. They are one TPM when
//!
//! - the EKs are of different kinds or templates: machines bought together use the same one,
//!   and a TPM gives two ids only with two templates; or
//! - `clock` less `time`, all that the TPM ran before this cycle, is equal within 5 ms: nobody's
//!   machines have run equally long to the millisecond, unless they are fresh copies.
//!
//! Both are rejected. But a software TPM says what it likes, a stranger's public counters too:
//! whoever has the lower identity is rejected alone, or anybody could end anybody's session.
//!
//! A GPU's UUID is the node's word, so one in two live sessions is a warning on both. So is a device that
//! signed for two: that its maker certified it says which device it is, not which machine it is in. The
//! identifier that a node's table has for a GPU is its word too, and is held against both kinds.

use assay_appraisal::DeviceFacts;
use assay_gpu::GpuIdentity;
use assay_gpu::device::Pdi;
use assay_ledger::enrolment::EnrolmentRecord;
use assay_tpm::{Attest, KeyKind, Public};
use assay_wire::Digest;

use super::{Engine, Refused};
use crate::store::{Power, Running, StoreError};

/// The most that `clock` less `time` may differ for it to be one TPM's, in ms.
const CLOCK_TOLERANCE_MS: u64 = 5;

/// What identifiers of certified devices begin with where they are kept beside UUIDs.
const PDI: &str = "PDI-";

/// The same for identifiers that only a node's table has.
const SAID: &str = "SAID-PDI-";

/// What UUIDs of a form that no library gives begin with.
const UUID: &str = "UUID-";

/// A UUID as it is kept: no node can pass off its word as what a certificate says.
fn uuid(gpu: &GpuIdentity) -> String {
    match gpu.uuid.starts_with("GPU-") {
        true => gpu.uuid.clone(),
        false => format!("{UUID}{}", gpu.uuid),
    }
}

/// Which of two sessions on one TPM are rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Twin {
    /// The one that was being looked at.
    pub(super) this: bool,
}

/// What the TPM says of its power cycle in a GetTime that was checked, received at `now_ms`.
///
/// `last` is what was known of the same TPM; its bound is kept while the cycle is the same.
pub(super) fn power(time_attest: &[u8], now_ms: u64, last: Option<&Power>) -> Option<Power> {
    let attest = Attest::parse(time_attest).ok()?;
    let time = attest.time().ok()?;
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let (clock, counter) = (signed(time.clock_info.clock), signed(time.time));
    let on_ms = signed(now_ms).saturating_sub(counter);
    let (reset_count, restart_count) = (time.clock_info.reset_count, time.clock_info.restart_count);
    let same_cycle = last.filter(|last| last.reset_count == reset_count);
    Some(Power {
        reset_count,
        restart_count,
        firmware_version: time.firmware_version,
        template: last.map(|last| last.template.clone()).unwrap_or_default(),
        identity: last.map_or(0, |last| last.identity),
        first_on_ms: same_cycle.map_or(on_ms, |last| last.first_on_ms.min(on_ms)),
        last_on_ms: on_ms,
        clock_lead_ms: clock.saturating_sub(counter),
    })
}

/// An EK's public area without its key.
pub(super) fn template(record: &EnrolmentRecord) -> String {
    let Ok(ek) = Public::parse(&record.ek_public) else { return String::new() };
    let kind = match ek.kind() {
        KeyKind::Rsa { bits, .. } => format!("RSA-{bits}"),
        KeyKind::Ecc { curve, .. } => format!("ECC {curve}"),
    };
    let policy = hex::encode(ek.auth_policy());
    format!("{kind} {} {:?} {:?} {:?} {policy}", ek.name_alg(), ek.attributes(), ek.symmetric(), ek.scheme())
}

/// How alike two TPMs are, given that their counters are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    Apart,
    /// Switched on together.
    Together,
    One,
}

fn likeness(a: &Power, b: &Power, tolerance_ms: u64) -> Likeness {
    let within = |x: i64, y: i64, ms: u64| x.abs_diff(y) <= ms;
    let together = within(a.first_on_ms, b.first_on_ms, tolerance_ms)
        || within(a.last_on_ms, b.last_on_ms, tolerance_ms);
    let one = a.template != b.template || within(a.clock_lead_ms, b.clock_lead_ms, CLOCK_TOLERANCE_MS);
    match (together, one) {
        (false, _) => Likeness::Apart,
        (true, false) => Likeness::Together,
        (true, true) => Likeness::One,
    }
}

impl Engine {
    /// Looks for other nodes' live sessions on this TPM, flags what it finds and closes what must be.
    ///
    /// The answer says whether the session at hand is to be rejected too.
    pub(super) fn find_twins(
        &self,
        node: &Digest,
        power: &Power,
        now_ms: u64,
    ) -> Result<Option<Twin>, StoreError> {
        let since_ms = now_ms.saturating_sub(self.parts.twins.live_s * 1000);
        let mut found = None;
        for other in self.parts.store.same_counters(node, power, since_ms)? {
            match likeness(power, &other.power, self.parts.twins.tolerance_ms) {
                Likeness::Apart => {}
                Likeness::Together => {
                    let detail = "switched on in the same moment, with equal counters";
                    self.flag_both(node, &other.node, ("session.twin", "warning"), detail, now_ms)?;
                }
                Likeness::One => {
                    let this = self.reject_twins(node, power, &other, now_ms)?;
                    found = Some(Twin { this: this || found.is_some_and(|twin: Twin| twin.this) });
                }
            }
        }
        Ok(found)
    }

    fn reject_twins(
        &self,
        node: &Digest,
        power: &Power,
        other: &Running,
        now_ms: u64,
    ) -> Result<bool, StoreError> {
        let detail = format!(
            "one TPM: resetCount {}, firmware {:016x}, on since {} and {}, EKs {} and {}",
            power.reset_count,
            power.firmware_version,
            power.first_on_ms,
            other.power.first_on_ms,
            power.template.split(' ').next().unwrap_or_default(),
            other.power.template.split(' ').next().unwrap_or_default(),
        );
        self.flag_both(node, &other.node, ("session.twin", "fatal"), &detail, now_ms)?;
        if other.power.identity <= power.identity {
            self.parts.store.close_session(other.number, "session.twin")?;
        }
        log::warn!("nodes {} and {} are one TPM", node.short(), other.node.short());
        Ok(power.identity <= other.power.identity)
    }

    fn flag_both(
        &self,
        a: &Digest,
        b: &Digest,
        code: (&str, &str),
        detail: &str,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        self.parts.store.insert_finding((a, b), code, detail, now_ms)?;
        self.parts.store.insert_finding((b, a), code, detail, now_ms)
    }

    /// Remembers a session's GPUs and flags those that are live at another node; simulated ones excepted.
    pub(super) fn place_gpus(
        &self,
        number: i64,
        node: &Digest,
        gpus: &[GpuIdentity],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        for gpu in gpus.iter().filter(|gpu| !gpu.simulated) {
            self.place(number, node, &uuid(gpu), now_ms)?;
            if let Some(pdi) = gpu.pdi.map(Pdi) {
                self.flag_elsewhere(node, &format!("{PDI}{pdi}"), now_ms)?;
                self.place(number, node, &format!("{SAID}{pdi}"), now_ms)?;
            }
        }
        Ok(())
    }

    /// The same for devices that signed for this session, by what their certificates call them.
    pub(super) fn place_devices(
        &self,
        number: i64,
        node: &Digest,
        devices: &[DeviceFacts],
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let signed = |device: &&DeviceFacts| {
            let proof = [device.signature, device.chain, device.nonce];
            !device.simulated && proof.iter().all(|check| *check == Some(true))
        };
        for pdi in devices.iter().filter(signed).filter_map(|device| device.pdi.as_ref()) {
            self.flag_elsewhere(node, &format!("{SAID}{pdi}"), now_ms)?;
            self.place(number, node, &format!("{PDI}{pdi}"), now_ms)?;
        }
        Ok(())
    }

    fn place(&self, number: i64, node: &Digest, name: &str, now_ms: u64) -> Result<(), StoreError> {
        self.flag_elsewhere(node, name, now_ms)?;
        self.parts.store.insert_gpu(number, name)
    }

    /// Flags this node and others where a GPU of this name is live.
    fn flag_elsewhere(&self, node: &Digest, name: &str, now_ms: u64) -> Result<(), StoreError> {
        let since_ms = now_ms.saturating_sub(self.parts.twins.live_s * 1000);
        for other in self.parts.store.gpu_elsewhere(node, name, since_ms)? {
            let detail = format!("GPU {}", crate::text::plain(name));
            self.flag_both(node, &other, ("session.gpu-twin", "warning"), &detail, now_ms)?;
        }
        Ok(())
    }

    /// Counters that fell: a TPM's do not, but many things explain it, and no rule hangs on it.
    pub(super) fn note_counters(
        &self,
        node: &Digest,
        last: Option<&Power>,
        power: &Power,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let Some(last) = last else { return Ok(()) };
        let counts = |power: &Power| (power.reset_count, power.restart_count);
        if counts(power) >= counts(last) {
            return Ok(());
        }
        let detail = format!("resetCount/restartCount {:?}, after {:?}", counts(power), counts(last));
        self.parts.store.insert_finding((node, node), ("session.counters", "info"), &detail, now_ms)
    }
}

/// Why a session on a TPM that another node uses is not taken.
pub(super) fn twin() -> Refused {
    Refused::new(403, "session.twin", "another node runs on this TPM: one TPM is one node")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power() -> Power {
        Power {
            reset_count: 7,
            restart_count: 0,
            firmware_version: 9,
            template: "ECC P-256".to_owned(),
            identity: 0,
            first_on_ms: 1_000_000,
            last_on_ms: 1_000_400,
            clock_lead_ms: 55,
        }
    }

    #[test]
    fn a_rack_is_no_twin_and_one_tpm_is() {
        let rack = Power { clock_lead_ms: 61, ..power() };
        assert_eq!(likeness(&power(), &rack, 1000), Likeness::Together);
        assert_eq!(likeness(&power(), &Power { clock_lead_ms: 60, ..power() }, 1000), Likeness::One);
        assert_eq!(likeness(&power(), &Power { template: "RSA-2048".into(), ..rack }, 1000), Likeness::One);
        let later = Power { first_on_ms: 1_001_001, last_on_ms: 1_001_401, ..power() };
        assert_eq!(likeness(&power(), &later, 1000), Likeness::Apart);
        assert_eq!(likeness(&power(), &Power { first_on_ms: 1_001_000, ..later }, 1000), Likeness::One);
    }

    #[test]
    fn clocks_that_drifted_apart_still_agree_by_their_newest_bounds() {
        let drifted = Power { first_on_ms: 1_090_000, ..power() };
        assert_eq!(likeness(&power(), &drifted, 1000), Likeness::One);
    }
}
