//! `platform-certs/`: attribute certificates against the parse that comes with them, and their signers.

use assay_x509::{Certificate, PlatformCertificate};
use serde_json::Value;

use crate::logs::text;
use crate::{Folder, Manifest, Sheet};

pub(crate) fn judge(folder: &Folder, manifest: &Manifest, sheet: &mut Sheet) {
    let files: Vec<&str> =
        folder.in_folder("platform-certs").filter(|file| !file.ends_with(".json")).collect();
    let signers: Vec<(&str, Certificate)> = files
        .iter()
        .filter_map(|file| Some((*file, Certificate::from_file(&folder.read(file).ok()?).ok()?)))
        .collect();
    for (file, certificate) in &signers {
        let seen = certificate.subject.to_string();
        sheet.holds(file, "certificate", !manifest.expects_refusal(file), "read", seen);
    }
    for file in files.into_iter().filter(|file| signers.iter().all(|(signer, _)| signer != file)) {
        let Ok(bytes) = folder.read(file) else { continue };
        match (manifest.expects_refusal(file), PlatformCertificate::from_nv(&bytes)) {
            (refuse, Ok(platform)) => {
                sheet.holds(file, "certificate", !refuse, if refuse { "refuse" } else { "read" }, "read");
                fields(folder, file, &platform, sheet);
                signature(file, &platform, &signers, sheet);
            }
            (refuse, Err(error)) => {
                sheet.holds(file, "certificate", refuse, if refuse { "refuse" } else { "read" }, error);
            }
        }
    }
}

fn signature(file: &str, platform: &PlatformCertificate, signers: &[(&str, Certificate)], sheet: &mut Sheet) {
    let named = signers.iter().find(|(_, signer)| signer.subject.is_same_text(&platform.issuer));
    match named.map(|(name, signer)| (name, platform.verify(signer))) {
        Some((name, Ok(()))) => {
            sheet.holds(file, "signature", true, "its issuer's", format_args!("holds under {name}"))
        }
        Some((name, Err(fault))) => sheet.not_judged(file, "signature", &format!("{name}: {fault}")),
        None => sheet.not_judged(file, "signature", "its issuer is not in the folder"),
    }
}

/// The fields of `CERT.json`; ours are those that say which machine it is.
fn fields(folder: &Folder, file: &str, platform: &PlatformCertificate, sheet: &mut Sheet) {
    let golden = format!("{file}.json");
    if !folder.has(&golden) {
        return;
    }
    let json = match folder.json(&golden) {
        Ok(json) => json,
        Err(error) => return sheet.holds(&golden, "form", false, "JSON", error),
    };
    let raw = folder.read(&golden).unwrap_or_default();
    let raw = String::from_utf8_lossy(&raw);
    let mut others = Vec::new();
    for (key, expected) in json.as_object().into_iter().flatten() {
        match field(platform, key) {
            Some(seen) => sheet.same(&golden, key, normal(key, expected, &raw), seen),
            None => others.push(key.as_str()),
        }
    }
    if !others.is_empty() {
        sheet.not_judged(&golden, &others.join(","), "not among the fields that are kept");
    }
}

fn field(platform: &PlatformCertificate, key: &str) -> Option<String> {
    let names = &platform.names;
    let attributes = &platform.attributes;
    Some(match key {
        "PlatformManufacturer" => names.manufacturer.clone(),
        "PlatformModel" => names.model.clone(),
        "PlatformVersion" => names.version.clone(),
        "PlatformSerial" => names.serial.clone(),
        "SerialNumber" => decimal(&platform.serial),
        "NotBefore" => utc(platform.not_before),
        "NotAfter" => utc(platform.not_after),
        "TCGPlatformSpecification" => {
            let [major, minor, revision] = attributes.specification.unwrap_or_default();
            format!("{major}.{minor}.{revision}")
        }
        "Components" => {
            let rows = attributes.components.iter();
            rows.map(|c| {
                [c.manufacturer.as_str(), &c.model, &c.serial, &c.revision, yes(c.replaceable)].join("|")
            })
            .collect::<Vec<_>>()
            .join("+")
        }
        "Properties" => {
            let rows = attributes.properties.iter().map(|(name, value)| format!("{name}={value}"));
            rows.collect::<Vec<_>>().join("+")
        }
        "Holder" => platform.holder.as_ref().map(|holder| decimal(&holder.serial))?,
        _ => return None,
    })
}

fn yes(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}

/// The file's value in the words of [`field`].
fn normal(key: &str, value: &Value, raw: &str) -> String {
    let part = |value: &Value, name: &str| value.get(name).map(text).unwrap_or_default();
    let rows = |each: &dyn Fn(&Value) -> String| {
        value.as_array().into_iter().flatten().map(each).collect::<Vec<_>>().join("+")
    };
    match key {
        "TCGPlatformSpecification" => {
            let version = value.get("Version").unwrap_or(&Value::Null);
            ["MajorVersion", "MinorVersion", "Revision"].map(|name| part(version, name)).join(".")
        }
        "Components" => rows(&|c| {
            ["Manufacturer", "Model", "Serial", "Revision", "FieldReplaceable"]
                .map(|name| part(c, name))
                .join("|")
        }),
        "Properties" => rows(&|p| format!("{}={}", part(p, "PropertyName"), part(p, "PropertyValue"))),
        "SerialNumber" => long_number(raw, key),
        "Holder" => long_number(raw, "Serial"),
        _ => text(value),
    }
}

/// The first number of this name, digit for digit: JSON readers round what is too long for them.
fn long_number(raw: &str, name: &str) -> String {
    let named = format!("\"{name}\":");
    let mut numbers = raw.split(&named).skip(1).map(str::trim_start);
    let number = numbers.find(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    number.unwrap_or_default().chars().take_while(char::is_ascii_digit).collect()
}

/// A positive number of any length in decimal.
fn decimal(bytes: &[u8]) -> String {
    rsa::BigUint::from_bytes_be(bytes).to_string()
}

/// Seconds since 1970 as RFC 3339 (days to civil date by the 400-year cycle).
fn utc(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year_of_era + era * 400 + carry;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_numbers() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_536_986_709), "2018-09-15T04:45:09Z");
        assert_eq!(decimal(&[1, 0]), "256");
        assert_eq!(
            long_number("{\"Serial\": \"\", \"Serial\": 123456789012345678901, \"x\": 1}", "Serial"),
            "123456789012345678901"
        );
    }
}
