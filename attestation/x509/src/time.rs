//! Dates of certificates as seconds since 1970 (RFC 5280 4.1.2.5).

use crate::der::Tlv;
use crate::error::{X509Error, value};
use crate::quirk::{Quirk, Quirks};

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Seconds since 1970, before it negative.
pub type Seconds = i64;

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`; a GeneralizedTime before 2050 is a quirk.
pub(crate) fn time(tlv: Tlv<'_>, field: &'static str, quirks: &mut Quirks) -> Result<Seconds, X509Error> {
    let bad = || value(field, tlv.offset, "not a date of the form YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ");
    let digits = tlv.value.strip_suffix(b"Z").ok_or_else(bad)?;
    let (year, rest) = match tlv.tag {
        UTC_TIME if digits.len() == 12 => {
            let (year, rest) = digits.split_at_checked(2).ok_or_else(bad)?;
            let year = number(year).ok_or_else(bad)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME if digits.len() == 14 => {
            let (year, rest) = digits.split_at_checked(4).ok_or_else(bad)?;
            let year = number(year).ok_or_else(bad)?;
            if year < 2050 {
                quirks.insert(Quirk::GeneralizedTime);
            }
            (year, rest)
        }
        _ => return Err(bad()),
    };
    seconds(year, rest).ok_or_else(bad)
}

/// `YYYYMMDDHHMMSSZ` alone, as OCSP has all its times (RFC 6960 4.2.2.1).
pub(crate) fn generalized(tlv: Tlv<'_>, field: &'static str) -> Result<Seconds, X509Error> {
    time(tlv.expect(GENERALIZED_TIME, field)?, field, &mut Quirks::new())
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |n, digit| digit.is_ascii_digit().then(|| n * 10 + i64::from(digit - b'0')))
}

fn seconds(year: i64, rest: &[u8]) -> Option<Seconds> {
    let mut pairs = rest.chunks_exact(2).map(number);
    let mut pair = || pairs.next().flatten();
    let (month, day, hour, minute, second) = (pair()?, pair()?, pair()?, pair()?, pair()?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let sound = (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60;
    sound.then(|| days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Days from 1970-01-01, in the proleptic Gregorian calendar; years begin in March here, so that
/// the leap day comes last.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before_1970 = 719_468;
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1
        - before_1970
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tag: u8, text: &str) -> Result<Seconds, X509Error> {
        let value = text.as_bytes();
        time(Tlv { tag, value, raw: value, offset: 0 }, "t", &mut Quirks::new())
    }

    #[test]
    fn known_instants() {
        assert_eq!(read(UTC_TIME, "700101000000Z"), Ok(0));
        assert_eq!(read(UTC_TIME, "500101000000Z"), Ok(-631_152_000));
        assert_eq!(read(UTC_TIME, "240229235959Z"), Ok(1_709_251_199));
        assert_eq!(read(GENERALIZED_TIME, "20500101000000Z"), Ok(2_524_608_000));
        assert_eq!(read(GENERALIZED_TIME, "99991231235959Z"), Ok(253_402_300_799));
        assert_eq!(read(UTC_TIME, "000301000000Z"), Ok(951_868_800));
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "2402290000Z",
            "240230000000Z",
            "230229000000Z",
            "241301000000Z",
            "240101240000Z",
            "240101000060Z",
            "240101000000+0000",
            "24010100000 Z",
            "20240101000000Z",
            "20010100000000Z",
            "240431000000Z",
            "240631000000Z",
            "240101006000Z",
        ] {
            assert!(read(UTC_TIME, text).is_err(), "{text}");
        }
        assert!(read(GENERALIZED_TIME, "240101000000Z").is_err());
        assert!(read(GENERALIZED_TIME, "2050010100000000Z").is_err());
        assert!(read(0x16, "240101000000Z").is_err());
    }

    #[test]
    fn leap_days_are_those_of_the_gregorian_calendar() {
        for (year, leap) in
            [(1900, false), (2000, true), (2023, false), (2024, true), (2100, false), (2400, true)]
        {
            assert_eq!(read(GENERALIZED_TIME, &format!("{year}0229000000Z")).is_ok(), leap, "{year}");
        }
    }

    #[test]
    fn early_generalized_time_is_a_quirk() {
        let mut quirks = Quirks::new();
        let value = b"20240101000000Z";
        time(Tlv { tag: GENERALIZED_TIME, value, raw: value, offset: 0 }, "t", &mut quirks).unwrap();
        assert!(quirks.contains(&Quirk::GeneralizedTime));
        let (mut quirks, value) = (Quirks::new(), b"20500101000000Z");
        time(Tlv { tag: GENERALIZED_TIME, value, raw: value, offset: 0 }, "t", &mut quirks).unwrap();
        assert!(quirks.is_empty(), "as RFC 5280 has it");
    }
}
