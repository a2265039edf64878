//! GPU counters in beats: doctored, doubled, or of GPUs that the session does not have.

use assay_gpu::{Energy, Flags, GpuBeat, Pcie};
use assay_tests::{Lab, Session, accepted, fatal, gpu, warned};

/// A line of a GPU that draws 500 W, in the `second` second of its counter.
fn line(index: u8, second: u64) -> GpuBeat {
    GpuBeat {
        energy: Some(Energy { end_mj: second * 500_000, delta_mj: 500_000 }),
        utilization_per_mille: Some(950),
        memory_per_mille: Some(400),
        power_w: Some(500),
        pcie: Some(Pcie { rx_mib: 3, tx_mib: 7 }),
        ..GpuBeat::empty(index, Flags::default())
    }
}

/// A session with two GPUs and four beats, whose lines are changed on the way.
fn run(change: impl Fn(u64, &mut Vec<GpuBeat>)) -> (Lab, Session) {
    let mut lab = Lab::new();
    let mut node = lab.paper(3);
    let mut session = lab.open_with(&mut node, |start| start.gpus = vec![gpu(0), gpu(1)], |_, _| {});
    for second in 1..=4 {
        lab.advance(1_000);
        lab.beat_with(&mut session, |beat| {
            beat.gpus = vec![line(0, second), line(1, second)];
            change(second, &mut beat.gpus);
        });
    }
    (lab, session)
}

fn verdict(change: impl Fn(u64, &mut Vec<GpuBeat>)) -> assay_appraisal::Appraisal {
    let (lab, session) = run(change);
    lab.appraise(&lab.export(&[&session]))
}

#[test]
fn honest_counters_add_up() {
    let appraisal = verdict(|_, _| {});
    accepted(&appraisal);
    assert_eq!(appraisal.facts.gpus.len(), 2);
    assert_eq!(appraisal.facts.gpus[0].energy_mj, 2_000_000);
    assert_eq!(appraisal.facts.gpus[1].utilization_per_mille, 950);
    assert!(appraisal.findings.iter().any(|f| f.id == "gpu.telemetry"));
}

#[test]
fn counters_that_break_the_rules_are_warnings() {
    let at_three = |id: &str, change: &dyn Fn(&mut GpuBeat)| {
        let appraisal = verdict(|second, lines| {
            if second == 3 {
                change(&mut lines[0]);
            }
        });
        warned(&appraisal, id);
    };
    at_three("gpu.telemetry.energy-chain", &|l| l.energy = Some(Energy { end_mj: 2_000_000, delta_mj: 1 }));
    at_three("gpu.telemetry.energy-backwards", &|l| l.energy = Some(Energy { end_mj: 1, delta_mj: 1 }));
    at_three("gpu.telemetry.energy-stopped", &|l| l.energy = Some(Energy { end_mj: 1_000_000, delta_mj: 0 }));
    at_three("gpu.telemetry.energy-vanished", &|l| l.energy = None);
    at_three("gpu.telemetry.load-without-power", &|l| l.power_w = Some(1));
    at_three("gpu.telemetry.energy-against-power", &|l| l.power_w = Some(80));
    at_three("gpu.telemetry.pcie-backwards", &|l| l.pcie = Some(Pcie { rx_mib: 2, tx_mib: 7 }));
    at_three("gpu.telemetry.pcie-too-fast", &|l| l.pcie = Some(Pcie { rx_mib: 1 << 30, tx_mib: 7 }));
    at_three("gpu.telemetry.values-without-data", &|l| l.flags.no_data = true);
}

/// A line with none before it has no counter to be held against.
#[test]
fn energy_that_comes_from_nowhere_is_a_warning() {
    let huge = |line: &mut GpuBeat| line.energy = Some(Energy { end_mj: 1 << 40, delta_mj: 1 << 40 });
    let first = verdict(|second, lines| {
        huge(&mut lines[0]);
        if second > 1 {
            lines.remove(0);
        }
    });
    warned(&first, "gpu.telemetry.energy-above-limit");
    let back = verdict(|second, lines| match second {
        2 => drop(lines.remove(1)),
        3 => huge(&mut lines[1]),
        _ => {}
    });
    warned(&back, "gpu.telemetry.energy-above-limit");
}

#[test]
fn a_line_told_twice_or_out_of_order_is_refused() {
    fatal(&verdict(|_, lines| lines.push(lines[1].clone())), "gpu.table");
    fatal(&verdict(|_, lines| lines.swap(0, 1)), "gpu.table");
    // One that is absent is only absent.
    accepted(&verdict(|_, lines| lines.truncate(1)));
}

#[test]
fn lines_of_gpus_that_the_session_does_not_have_are_refused() {
    fatal(&verdict(|second, lines| lines.push(line(2, second))), "gpu.table");
}
