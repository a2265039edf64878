//! GPU counters over a chain: the rules they must obey, and what they add up to.

use std::collections::BTreeMap;

use assay_gpu::{GpuBeat, GpuIdentity, Limits, check};
use assay_ledger::chain::VerifiedBeat;

use crate::facts::GpuUse;
use crate::finding::{Check, Finding, Findings, Severity};

const RULES: Check =
    Check { id: "gpu.telemetry", spec: "DESIGN 4.4", checked: "GPU counters obey the rules" };
const TABLE: Check =
    Check { id: "gpu.table", spec: "DESIGN 4.3", checked: "beats speak of the session's GPUs only" };

/// Adds one session's beats to what each GPU did, and judges their counters.
pub(crate) fn appraise_telemetry(
    table: &[GpuIdentity],
    beats: &[VerifiedBeat],
    totals: &mut BTreeMap<u8, Totals>,
    findings: &mut Findings,
) {
    let mut broken: BTreeMap<&'static str, (usize, String)> = BTreeMap::new();
    for pair in beats.windows(2) {
        let [before, after] = pair else { continue };
        let dt = after.beat.mono_ms.saturating_sub(before.beat.mono_ms);
        for (prev, next) in lines(&before.beat.gpus, &after.beat.gpus) {
            let power_mw = table.iter().find(|g| g.index == next.index).and_then(|g| g.power_limit_mw);
            for fault in check(prev, next, dt, Limits { power_mw }) {
                let entry = broken.entry(fault.id()).or_insert_with(|| (0, fault.to_string()));
                entry.0 += 1;
            }
        }
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

fn lines<'a>(
    before: &'a [GpuBeat],
    after: &'a [GpuBeat],
) -> impl Iterator<Item = (&'a GpuBeat, &'a GpuBeat)> {
    after.iter().filter_map(|next| Some((before.iter().find(|prev| prev.index == next.index)?, next)))
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
    for line in beats.iter().flat_map(|b| &b.beat.gpus) {
        match totals.get_mut(&line.index).filter(|_| table.iter().any(|g| g.index == line.index)) {
            Some(total) => total.add(line),
            None => strangers += 1,
        }
    }
    if strangers > 0 {
        findings.fail(
            TABLE,
            Severity::Fatal,
            format!("{} GPUs", table.len()),
            format!("{strangers} lines of others"),
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
