//! GPU counters over a chain: the rules they must obey, and what they add up to.

use std::collections::BTreeMap;

use assay_gpu::{Flags, GpuBeat, GpuIdentity, Limits, TelemetryFault, check};
use assay_ledger::beat::Beat;
use assay_ledger::chain::VerifiedBeat;
use assay_ledger::session::SessionStart;

use crate::facts::GpuUse;
use crate::finding::{Check, Finding, Findings, Severity};

const RULES: Check =
    Check { id: "gpu.telemetry", spec: "DESIGN 4.4", checked: "GPU counters obey the rules" };
const TABLE: Check = Check {
    id: "gpu.table",
    spec: "DESIGN 4.3",
    checked: "beats have one line for each of the session's GPUs",
};

/// Adds one session's beats to what each GPU did, and judges their counters.
pub(crate) fn appraise_telemetry(
    start: &SessionStart,
    beats: &[VerifiedBeat],
    totals: &mut BTreeMap<u8, Totals>,
    findings: &mut Findings,
) {
    let table = &start.gpus;
    let mut broken: BTreeMap<&'static str, (usize, String)> = BTreeMap::new();
    let mut before: Option<&Beat> = None;
    for VerifiedBeat { beat, .. } in beats {
        let dt = beat.mono_ms.saturating_sub(before.map_or(start.mono_ms, |before| before.mono_ms));
        for next in &beat.gpus {
            let prev = before.and_then(|before| before.gpus.iter().find(|prev| prev.index == next.index));
            let power_mw = table.iter().find(|g| g.index == next.index).and_then(|g| g.power_limit_mw);
            for fault in faults(prev, next, dt, Limits { power_mw }) {
                let entry = broken.entry(fault.id()).or_insert_with(|| (0, fault.to_string()));
                entry.0 += 1;
            }
        }
        before = Some(beat);
    }
    for (id, (count, first)) in &broken {
        let finding = Finding::new(id, Severity::Warning, RULES.spec, RULES.checked);
        findings.push(finding.saw(format!("{count} times, first: {first}")));
    }
    if broken.is_empty() && beats.iter().any(|b| !b.beat.gpus.is_empty()) {
        findings.pass(RULES, format!("{} beats", beats.len()));
    }
    sum(table, beats, totals, findings);
}

/// The rules that a line breaks. With no line before it only its own sum can be judged: a first line
/// may claim no more energy than the time since the session or the last beat has room for.
fn faults(prev: Option<&GpuBeat>, next: &GpuBeat, dt_ms: u64, limits: Limits) -> Vec<TelemetryFault> {
    if let Some(prev) = prev {
        return check(prev, next, dt_ms, limits);
    }
    let mut faults = check(&GpuBeat::empty(next.index, Flags::default()), next, dt_ms, limits);
    faults.retain(|fault| matches!(fault, TelemetryFault::EnergyAboveLimit { .. }));
    faults
}

/// Running sums of one GPU.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    name: String,
    energy_mj: u64,
    utilization: u64,
    utilization_beats: u64,
    memory_per_mille: u64,
    beats: u64,
}

fn sum(
    table: &[GpuIdentity],
    beats: &[VerifiedBeat],
    totals: &mut BTreeMap<u8, Totals>,
    findings: &mut Findings,
) {
    for identity in table {
        totals.entry(identity.index).or_default().name.clone_from(&identity.name);
    }
    let mut strangers = 0usize;
    for beat in beats {
        let mut last = None;
        for line in &beat.beat.gpus {
            let known = table.iter().any(|g| g.index == line.index);
            // A second line of one GPU would be counted twice.
            let ascends = last.replace(line.index).is_none_or(|last| last < line.index);
            match totals.get_mut(&line.index).filter(|_| known && ascends) {
                Some(total) => total.add(line),
                None => strangers += 1,
            }
        }
    }
    if strangers > 0 {
        findings.fail(
            TABLE,
            Severity::Fatal,
            format!("{} GPUs", table.len()),
            format!("{strangers} lines of others, doubled or out of order"),
        );
    }
}

impl Totals {
    fn add(&mut self, line: &GpuBeat) {
        let energy = line.energy.map_or(0, |e| e.delta_mj);
        self.energy_mj = self.energy_mj.saturating_add(energy);
        if let Some(utilization) = line.utilization_per_mille {
            self.utilization += u64::from(utilization);
            self.utilization_beats += 1;
        }
        self.memory_per_mille = self.memory_per_mille.max(line.memory_per_mille.map_or(0, u64::from));
        self.beats += u64::from(!line.flags.no_data);
    }

    pub(crate) fn facts(&self, index: u8) -> GpuUse {
        GpuUse {
            index,
            name: self.name.clone(),
            energy_mj: self.energy_mj,
            utilization_per_mille: self.utilization.checked_div(self.utilization_beats).unwrap_or_default(),
            memory_per_mille: self.memory_per_mille,
            beats: self.beats,
        }
    }
}
