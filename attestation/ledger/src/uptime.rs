//! How many seconds a session proves, powered and reachable, and why not more.
//!
//! *Powered*: two TPM instants of one power cycle with the TPM's own time between
//! them; the owner cannot make it run. *Reachable*: a beat lies between its beacon
//! (not before) and its receipts (not after); a beat whose bounds are wider than
//! the window earns nothing, so a chain made later cannot fill a hole.
//! The two are different numbers and are never added.

/// One beat's place in time. Unix times in ms, `mono_ms` since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BeatTime {
    /// When the node says it was.
    pub mono_ms: u64,
    /// The time of the beacon it names.
    pub not_before_ms: u64,
    /// When enough validators had receipted it; `None` when they have not.
    pub not_after_ms: Option<u64>,
}

/// One TPM instant: the session's opening, or an anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorTime {
    /// When the node says it was.
    pub mono_ms: u64,
    /// The TPM's time since power-on, in ms.
    pub tpm_ms: u64,
    /// The time of the beacon it names.
    pub not_before_ms: u64,
    /// When enough validators had receipted it; `None` when they have not.
    pub not_after_ms: Option<u64>,
}

/// What a policy asks of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRules {
    /// Longest step between two beats that still counts as one stretch, in ms.
    pub max_gap_ms: u64,
    /// Widest distance between a beat's two bounds, in ms.
    pub window_ms: u64,
    /// Widest distance between an anchor's two bounds, in ms.
    pub anchor_delay_ms: u64,
}

/// Allowed disagreement of two clocks over `ms`: 0.5 % and 2 s.
pub fn clock_tolerance_ms(ms: u64) -> u64 {
    ms / 200 + 2000
}

/// Why a stretch of time earned nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// No beat for longer than the rules allow.
    NoBeats,
    /// The receipt came too long after the beacon.
    LateReceipt,
    /// Not enough validators receipted it.
    NoReceipt,
    /// No session was running.
    BetweenSessions,
    /// No good anchor follows.
    Unanchored,
    /// The TPM's time and the node's differ by more than the tolerance.
    ClockDisagreement,
    /// More TPM time than the bounds around both anchors have room for.
    ClockTooFast,
    /// The bounds around the beats have no room left for more time.
    NoRoom,
}

impl GapReason {
    /// The stable word for JSON and people.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoBeats => "no-beats",
            Self::LateReceipt => "late-receipt",
            Self::NoReceipt => "no-receipt",
            Self::BetweenSessions => "between-sessions",
            Self::Unanchored => "unanchored",
            Self::ClockDisagreement => "clock-disagreement",
            Self::ClockTooFast => "clock-too-fast",
            Self::NoRoom => "no-room",
        }
    }
}

/// A stretch that earned nothing, between two bounds in Unix ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Where it began, at the latest.
    pub from_ms: u64,
    /// Where it ended, at the earliest.
    pub to_ms: u64,
    /// Why.
    pub reason: GapReason,
}

/// What one track of one session proves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credit {
    /// Milliseconds.
    pub ms: u64,
    /// What earned nothing, in order.
    pub gaps: Vec<Gap>,
    /// Unix time in ms up to which time was earned: where the next session's may begin.
    pub until_ms: u64,
}

impl Credit {
    fn step(&mut self, from_ms: u64, to_ms: u64, step: Result<u64, GapReason>) {
        match (step, self.gaps.last_mut()) {
            (Ok(ms), _) => self.ms = self.ms.saturating_add(ms),
            (Err(reason), Some(last)) if last.reason == reason && last.to_ms >= from_ms => {
                last.to_ms = last.to_ms.max(to_ms);
            }
            (Err(reason), _) => self.gaps.push(Gap { from_ms, to_ms, reason }),
        }
    }
}

/// Reachable time over the beats of one session, in chain order, none of it before `from_ms`.
///
/// Each stretch of Unix time earns once, whatever the node's clock says: beats that
/// share two bounds share the room between them. A claim gives each session the
/// `until_ms` of the one before it.
pub fn reachable(beats: &[BeatTime], from_ms: u64, rules: &TimeRules) -> Credit {
    let first = beats.first().map_or(from_ms, |beat| earliest(beat).max(from_ms));
    let mut credit = Credit { until_ms: first, ..Credit::default() };
    for pair in beats.windows(2) {
        let [a, b] = pair else { continue };
        let (from, to) =
            (a.not_after_ms.unwrap_or(a.not_before_ms), b.not_after_ms.unwrap_or(b.not_before_ms));
        let step = reachable_step(a, b, credit.until_ms, rules);
        credit.until_ms = credit.until_ms.saturating_add(step.unwrap_or_default()).max(earliest(b));
        credit.step(from, to.max(from), step);
    }
    credit
}

/// The lower bound; validators' clocks differ, so it may lie a little after the upper one.
fn earliest(beat: &BeatTime) -> u64 {
    beat.not_before_ms.min(beat.not_after_ms.unwrap_or(beat.not_before_ms))
}

fn reachable_step(a: &BeatTime, b: &BeatTime, until_ms: u64, rules: &TimeRules) -> Result<u64, GapReason> {
    within(a.not_before_ms, a.not_after_ms, rules.window_ms)?;
    let not_after = within(b.not_before_ms, b.not_after_ms, rules.window_ms)?;
    let step = b.mono_ms.saturating_sub(a.mono_ms);
    if step > rules.max_gap_ms {
        return Err(GapReason::NoBeats);
    }
    // The node's clock cannot make more time than the bounds leave.
    match step.min(not_after.saturating_sub(until_ms)) {
        0 if step > 0 => Err(GapReason::NoRoom),
        step => Ok(step),
    }
}

/// The upper bound, when it is there and close enough to the lower one.
fn within(not_before_ms: u64, not_after_ms: Option<u64>, width_ms: u64) -> Result<u64, GapReason> {
    let not_after = not_after_ms.ok_or(GapReason::NoReceipt)?;
    match not_after.saturating_sub(not_before_ms) <= width_ms {
        true => Ok(not_after),
        false => Err(GapReason::LateReceipt),
    }
}

/// Powered time over the TPM instants of one session: its opening, then its anchors in order.
///
/// `end_ms` is the latest time at which the session is known to have lived; what
/// lies between the last good anchor and it is a gap.
pub fn powered(instants: &[AnchorTime], end_ms: u64, rules: &TimeRules) -> Credit {
    let mut credit = Credit::default();
    let mut good: Option<&AnchorTime> = None;
    for instant in instants {
        if within(instant.not_before_ms, instant.not_after_ms, rules.anchor_delay_ms).is_err() {
            continue;
        }
        if let Some(last) = good {
            let to = instant.not_after_ms.unwrap_or(instant.not_before_ms);
            credit.step(last.not_before_ms, to, powered_step(last, instant));
            // An instant told twice, or out of order, must not earn the same time again.
            if instant.tpm_ms <= last.tpm_ms {
                continue;
            }
        }
        good = Some(instant);
    }
    let from = good.map(|last| last.not_after_ms.unwrap_or(last.not_before_ms));
    let from = from.or_else(|| instants.first().map(|i| i.not_before_ms)).unwrap_or(end_ms);
    if end_ms > from {
        credit.step(from, end_ms, Err(GapReason::Unanchored));
    }
    credit
}

fn powered_step(a: &AnchorTime, b: &AnchorTime) -> Result<u64, GapReason> {
    let tpm = b.tpm_ms.checked_sub(a.tpm_ms).ok_or(GapReason::ClockDisagreement)?;
    let mono = b.mono_ms.checked_sub(a.mono_ms).ok_or(GapReason::ClockDisagreement)?;
    if tpm.abs_diff(mono) > clock_tolerance_ms(mono) {
        return Err(GapReason::ClockDisagreement);
    }
    let room = b.not_after_ms.unwrap_or(b.not_before_ms).saturating_sub(a.not_before_ms);
    if tpm > room.saturating_add(clock_tolerance_ms(room)) {
        return Err(GapReason::ClockTooFast);
    }
    Ok(tpm.min(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: TimeRules = TimeRules { max_gap_ms: 3_000, window_ms: 60_000, anchor_delay_ms: 30_000 };

    fn beat(second: u64) -> BeatTime {
        let ms = second * 1000;
        BeatTime { mono_ms: ms, not_before_ms: 1_000_000 + ms, not_after_ms: Some(1_000_200 + ms) }
    }

    fn anchor(second: u64) -> AnchorTime {
        let ms = second * 1000;
        AnchorTime { mono_ms: ms, tpm_ms: ms + 77, not_before_ms: ms, not_after_ms: Some(ms + 500) }
    }

    #[test]
    fn a_steady_chain_earns_all_its_seconds() {
        let beats: Vec<_> = (0..=10).map(beat).collect();
        let credit = reachable(&beats, 0, &RULES);
        assert_eq!((credit.ms, credit.until_ms, credit.gaps), (10_000, 1_010_000, vec![]));
        assert_eq!(reachable(&[], 0, &RULES), Credit::default());
        assert_eq!(reachable(&beats[..1], 0, &RULES).ms, 0);
    }

    #[test]
    fn a_hole_late_receipts_and_missing_receipts_earn_nothing() {
        let one = |change: &dyn Fn(&mut BeatTime)| {
            let mut beats = vec![beat(0), beat(1), beat(2)];
            change(&mut beats[1]);
            let credit = reachable(&beats, 0, &RULES);
            (credit.ms, credit.gaps.iter().map(|g| g.reason).collect::<Vec<_>>())
        };
        assert_eq!(one(&|b| b.not_after_ms = None), (0, vec![GapReason::NoReceipt,]));
        assert_eq!(one(&|b| b.not_after_ms = Some(1_001_000 + 60_001)), (0, vec![GapReason::LateReceipt]));
        let hole = reachable(&[beat(0), beat(1), beat(5)], 0, &RULES);
        assert_eq!((hole.ms, hole.gaps[0].reason), (1000, GapReason::NoBeats));
        assert_eq!((hole.gaps[0].from_ms, hole.gaps[0].to_ms), (1_001_200, 1_005_200));
    }

    #[test]
    fn a_fast_node_clock_earns_no_more_than_the_bounds() {
        let mut beats = vec![beat(0), beat(1)];
        beats[1].mono_ms = 3_000;
        assert_eq!(reachable(&beats, 0, &RULES).ms, 1_200);
    }

    #[test]
    fn beats_that_share_their_bounds_share_the_room_between_them() {
        let shared =
            |n: u64| BeatTime { mono_ms: n * 3_000, not_before_ms: 1_000_000, not_after_ms: Some(1_060_000) };
        let beats: Vec<_> = (0..1000).map(shared).collect();
        let credit = reachable(&beats, 0, &RULES);
        assert_eq!((credit.ms, credit.until_ms), (60_000, 1_060_000));
        assert_eq!(credit.gaps[0].reason, GapReason::NoRoom);
        assert_eq!(reachable(&beats, credit.until_ms, &RULES).ms, 0, "another session, the same room");
    }

    #[test]
    fn an_anchor_told_twice_earns_once() {
        let told = [anchor(0), anchor(50), anchor(100), anchor(50), anchor(100), anchor(100)];
        assert_eq!(powered(&told, 0, &RULES).ms, 100_000);
    }

    #[test]
    fn an_hour_without_network_is_powered_and_not_reachable() {
        let anchors = [anchor(0), anchor(3600)];
        assert_eq!(powered(&anchors, 3_600_500, &RULES), Credit { ms: 3_600_000, ..Credit::default() });
        let mut beats: Vec<_> = (0..=3600).map(beat).collect();
        for b in &mut beats {
            (b.not_before_ms, b.not_after_ms) = (1_000_000, Some(1_000_000 + 3_600_000));
        }
        assert_eq!(reachable(&beats, 0, &RULES).ms, 0);
    }

    #[test]
    fn tpm_time_must_agree_with_the_node_and_fit_the_bounds() {
        let step = |change: &dyn Fn(&mut AnchorTime)| {
            let mut second = anchor(100);
            change(&mut second);
            let credit = powered(&[anchor(0), second], 0, &RULES);
            (credit.ms, credit.gaps.first().map(|g| g.reason))
        };
        assert_eq!(step(&|_| ()), (100_000, None));
        assert_eq!(step(&|a| a.tpm_ms += 2_500), (100_500, None));
        assert_eq!(step(&|a| a.tpm_ms += 2_501), (0, Some(GapReason::ClockDisagreement)));
        assert_eq!(step(&|a| a.tpm_ms -= 2_501), (0, Some(GapReason::ClockDisagreement)));
        assert_eq!(step(&|a| a.tpm_ms = 0), (0, Some(GapReason::ClockDisagreement)));
        let both = |a: &mut AnchorTime| (a.tpm_ms, a.mono_ms) = (a.tpm_ms + 10_000, a.mono_ms + 10_000);
        assert_eq!(step(&both), (0, Some(GapReason::ClockTooFast)));
    }

    #[test]
    fn a_late_or_unreceipted_anchor_does_not_count_but_a_later_one_spans_it() {
        let mut middle = anchor(50);
        middle.not_after_ms = Some(50_000 + 30_001);
        assert_eq!(powered(&[anchor(0), middle, anchor(100)], 0, &RULES).ms, 100_000);
        middle.not_after_ms = None;
        let credit = powered(&[anchor(0), middle], 60_000, &RULES);
        assert_eq!((credit.ms, credit.gaps[0].reason), (0, GapReason::Unanchored));
        assert_eq!((credit.gaps[0].from_ms, credit.gaps[0].to_ms), (500, 60_000));
    }

    #[test]
    fn gaps_join_only_where_they_touch_for_the_same_reason() {
        let gap = |from_ms, to_ms, reason| Gap { from_ms, to_ms, reason };
        let (late, none) = (GapReason::LateReceipt, GapReason::NoReceipt);
        let joined = |next: Gap| {
            let mut credit = Credit { gaps: vec![gap(10, 20, late)], ..Credit::default() };
            credit.step(next.from_ms, next.to_ms, Err(next.reason));
            credit.gaps
        };
        assert_eq!(joined(gap(20, 30, late)), [gap(10, 30, late)]);
        assert_eq!(joined(gap(12, 15, late)), [gap(10, 20, late)]);
        for apart in [gap(21, 30, late), gap(20, 30, none), gap(21, 30, none)] {
            assert_eq!(joined(apart), [gap(10, 20, late), apart]);
        }
    }

    #[test]
    fn beats_of_one_moment_leave_no_gap() {
        let credit = reachable(&[beat(0), beat(1), beat(1), beat(2)], 0, &RULES);
        assert_eq!((credit.ms, credit.gaps), (2_000, vec![]));
    }

    #[test]
    fn the_room_of_a_step_has_a_clocks_tolerance_and_no_more() {
        let room = 100_500;
        let most = room + clock_tolerance_ms(room);
        let step = |tpm_ms| {
            let second = AnchorTime { mono_ms: tpm_ms, tpm_ms: tpm_ms + 77, ..anchor(100) };
            let credit = powered(&[anchor(0), second], 0, &RULES);
            (credit.ms, credit.gaps.first().map(|gap| gap.reason))
        };
        assert_eq!(step(most), (room, None));
        assert_eq!(step(most + 1), (0, Some(GapReason::ClockTooFast)));
    }
}
