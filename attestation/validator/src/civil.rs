//! RFC 3339 times in UTC, to and from Unix milliseconds.
//!
//! Purpose: `--time` on the command line and times on paper. Proleptic Gregorian
//! calendar, years 1970 to 9999. Not here: time zones other than a numeric offset,
//! leap seconds (`:60` is refused), clocks (but `now_ms`).

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: u64 = 86_400_000;
/// 9999-12-31T23:59:59.999Z.
const LAST_MS: u64 = 253_402_300_799_999;

/// The machine's clock, in Unix ms; 0 for a clock that is set before 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `2026-03-01T12:00:00Z`, with `.mmm` before the `Z` only where it is not zero.
///
/// A time after the year 9999 is written as that year's last millisecond.
pub fn format(ms: u64) -> String {
    let ms = ms.min(LAST_MS);
    let (days, of_day) = (ms / DAY_MS, ms % DAY_MS);
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    let fraction = match of_day % 1000 {
        0 => String::new(),
        part => format!(".{part:03}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Reads an RFC 3339 `date-time` (section 5.6); digits of a second after the third are dropped.
pub fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let (year, month, day) = date_fields(date)?;
    let zone = time.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = (time.get(..zone)?, time.get(zone..)?);
    let ms = days_of(year, month, day)?.checked_mul(DAY_MS)?.checked_add(time_of_day(time)?)?;
    let (ahead, offset) = offset_ms(zone)?;
    // A zone ahead of UTC shows a later time than UTC does.
    let utc = if ahead { ms.checked_sub(offset)? } else { ms.checked_add(offset)? };
    (utc <= LAST_MS).then_some(utc)
}

/// The civil date of a day counted from 1970-01-01.
///
/// Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day is
/// the last, in eras of 400 years or 146,097 days.
fn date_of(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The day of a civil date, counted from 1970-01-01; `None` for a date that does not exist.
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    let march_year = if month <= 2 { year.checked_sub(1)? } else { year };
    let march_month = if month > 2 { month.checked_sub(3)? } else { month + 9 };
    let (era, year_of_era) = (march_year / 400, march_year % 400);
    let of_year = (153 * march_month + 2) / 5 + day.checked_sub(1)?;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let days = (era * 146_097 + of_era).checked_sub(719_468)?;
    // The 31st of a short month, or a 29 February too many, comes back as another date.
    (date_of(days) == (year, month, day)).then_some(days)
}

fn date_fields(text: &str) -> Option<(u64, u64, u64)> {
    let mut parts = text.split('-');
    let fields = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    parts.next().is_none().then_some(fields)
}

fn time_of_day(text: &str) -> Option<u64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.split(':');
    let (hour, minute, second) =
        (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(((hour * 60 + minute) * 60 + second) * 1000 + fraction_ms(fraction)?)
}

fn fraction_ms(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.bytes()
        .chain(std::iter::repeat(b'0'))
        .take(3)
        .try_fold(0, |sum, digit| Some(sum * 10 + u64::from(digit.checked_sub(b'0')?)))
}

fn offset_ms(text: &str) -> Option<(bool, u64)> {
    if matches!(text, "Z" | "z") {
        return Some((true, 0));
    }
    let (ahead, rest) = match text.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('-')?),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours <= 23 && minutes <= 59).then_some((ahead, (hours * 60 + minutes) * 60_000))
}

fn digits(text: &str, len: usize) -> Option<u64> {
    (text.len() == len && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_both_ways() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:34:56Z", 951_827_696_000),
            ("2026-12-31T23:59:59.007Z", 1_798_761_599_007),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
            ("9999-12-31T23:59:59.999Z", LAST_MS),
        ] {
            assert_eq!(parse(text), Some(ms), "{text}");
            assert_eq!(format(ms), text);
        }
        assert_eq!(format(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_round_trip() {
        let mut last = String::new();
        for day in 0..(146_097 * 2) {
            let text = format(day * DAY_MS);
            assert!(text > last);
            assert_eq!(parse(&text), Some(day * DAY_MS));
            last = text;
        }
    }

    #[test]
    fn offsets_and_spellings() {
        let noon = parse("2026-03-01T12:00:00Z").unwrap();
        assert_eq!(parse("2026-03-01t13:30:00+01:30"), Some(noon));
        assert_eq!(parse("2026-03-01 07:00:00-05:00"), Some(noon));
        assert_eq!(parse("2026-03-01T12:00:00.1239z"), Some(noon + 123));
        assert_eq!(parse("2026-03-01T12:00:00.1Z"), Some(noon + 100));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-03-01",
            "2026-03-01T12:00:00",
            "2026-3-01T12:00:00Z",
            "2026-02-29T12:00:00Z",
            "2100-02-29T12:00:00Z",
            "2026-04-31T12:00:00Z",
            "2026-00-01T12:00:00Z",
            "2026-13-01T12:00:00Z",
            "2026-03-00T12:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T12:60:00Z",
            "2026-03-01T12:00:60Z",
            "2026-03-01T12:00:00.Z",
            "2026-03-01T12:00Z",
            "2026-03-01T12:00:00+1:00",
            "2026-03-01T12:00:00+24:00",
            "2026-03-01T12:00:00Zulu",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "+026-03-01T12:00:00Z",
            "2026-03-01T12:00:00\u{661}Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
