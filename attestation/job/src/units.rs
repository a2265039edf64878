//! Quantities as people write them in job files: `500m`, `512Mi`, `10m`.
//!
//! Only whole numbers: a fraction would need a rounding rule, and two
//! implementations would disagree about it.

/// Splits `"512Mi"` into 512 and `"Mi"`; no sign, no leading zero but in `0`.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    if digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    Some((digits.parse().ok()?, unit))
}

fn scaled(text: &str, scale: impl FnOnce(&str) -> Option<u64>) -> Option<u64> {
    let (number, unit) = split(text)?;
    number.checked_mul(scale(unit)?)
}

/// Thousandths of a processor: `"500m"` or, in whole processors, `"2"`.
#[must_use]
pub fn parse_millicpu(text: &str) -> Option<u64> {
    scaled(text, |unit| match unit {
        "m" => Some(1),
        "" => Some(1000),
        _ => None,
    })
}

/// Bytes: `"512Mi"`, with `Ki`, `Mi`, `Gi`, `Ti` as powers of 1,024, or plain bytes.
#[must_use]
pub fn parse_bytes(text: &str) -> Option<u64> {
    scaled(text, |unit| match unit {
        "" => Some(1),
        "Ki" => Some(1 << 10),
        "Mi" => Some(1 << 20),
        "Gi" => Some(1 << 30),
        "Ti" => Some(1 << 40),
        _ => None,
    })
}

/// Milliseconds: `"250ms"`, `"30s"`, `"10m"`, `"2h"`. A number without a unit is refused.
#[must_use]
pub fn parse_millis(text: &str) -> Option<u64> {
    scaled(text, |unit| match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(parse_millicpu("500m"), Some(500));
        assert_eq!(parse_millicpu("2"), Some(2000));
        assert_eq!(parse_bytes("512Mi"), Some(512 << 20));
        assert_eq!(parse_bytes("1Gi"), Some(1 << 30));
        assert_eq!(parse_bytes("4096"), Some(4096));
        assert_eq!(parse_millis("10m"), Some(600_000));
        assert_eq!(parse_millis("250ms"), Some(250));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "m", "1.5", "-1", "+1", "01", "1 m", "1M", "0x1", "99999999999999999999"] {
            assert_eq!(parse_millicpu(text), None, "{text:?}");
            assert_eq!(parse_millis(text), None, "{text:?}");
        }
        assert_eq!(parse_bytes("1M"), None);
        assert_eq!(parse_bytes("99999999Ti"), None);
        assert_eq!(parse_millis("10"), None);
    }
}
