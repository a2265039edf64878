//! Sets of processors as the kernel writes them: `0-3,8` (cpuset(7), "List format").

use std::collections::BTreeSet;

/// More processors than any kernel is built for (`NR_CPUS` goes to 8,192).
const CPUS_MAX: u32 = 16_384;

/// The set of a list; `None` if it is not one.
pub(crate) fn parse(list: &str) -> Option<BTreeSet<u32>> {
    let list = list.trim();
    let mut set = BTreeSet::new();
    for part in list.split(',').filter(|_| !list.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= CPUS_MAX {
            return None;
        }
        set.extend(first..=last);
    }
    Some(set)
}

/// True for a list of processors; the empty one is one.
#[must_use]
pub fn is_cpu_list(list: &str) -> bool {
    parse(list).is_some()
}

/// The list of a set, in ranges.
pub(crate) fn render(set: &BTreeSet<u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for cpu in set.iter().copied() {
        match ranges.last_mut() {
            Some((_, last)) if last.saturating_add(1) == cpu => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let range = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_survive_their_own_encoding() {
        for list in ["", "0", "0-3", "0-3,8", "1,3,5-7"] {
            assert_eq!(render(&parse(list).unwrap()), list);
        }
        assert_eq!(render(&parse("0,1,2-3\n").unwrap()), "0-3");
    }

    #[test]
    fn what_is_not_a_list_is_none() {
        for text in ["a", "3-1", "-1", "0,", ",", "0-4294967295", "16384", "1 2"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
