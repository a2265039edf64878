//! The pinned store: authorities that somebody vouched for, byte for byte.

use serde::Deserialize;

use crate::certificate::{Certificate, Fingerprint};
use crate::error::X509Error;
use crate::nv::base64;
use crate::vendor::{FirmwareFloor, Vendor, VendorClass};

/// What an entry is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A chain may end here.
    Root,
    /// An intermediate that a chain may end at, though its issuer is someone else.
    Pinned,
    /// Only a step towards a root.
    Intermediate,
}

/// An authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, for people.
    pub name: String,
    /// The tpmManufacturer it speaks for; `None` for any.
    pub vendor: Option<String>,
    /// What its TPMs are.
    pub class: VendorClass,
    /// What it is good for.
    pub role: Role,
    /// Where its owner publishes it.
    pub source: String,
    /// The certificate itself.
    pub certificate: Certificate,
}

impl Entry {
    /// Whether it vouches for TPMs of this tpmManufacturer: one maker's authority says nothing of another's.
    #[must_use]
    pub fn speaks_for(&self, manufacturer: &str) -> bool {
        self.vendor.as_ref().is_none_or(|vendor| vendor.eq_ignore_ascii_case(manufacturer))
    }

    /// Whether a chain may end here.
    #[must_use]
    pub fn is_anchor(&self) -> bool {
        self.role != Role::Intermediate
    }
}

/// Vendors, their authorities and their broken firmware.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Store {
    entries: Vec<Entry>,
    vendors: Vec<Vendor>,
    floors: Vec<FirmwareFloor>,
    virtual_firmware: Vec<u64>,
    virtual_models: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VendorFile {
    schema: u32,
    #[serde(default)]
    virtual_firmware: Vec<String>,
    #[serde(default)]
    virtual_models: Vec<String>,
    #[serde(default)]
    vendor: Vec<Vendor>,
    #[serde(default)]
    floor: Vec<FloorSection>,
    #[serde(default)]
    certificate: Vec<CertificateSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FloorSection {
    vendor: String,
    version: String,
    reason: String,
    source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateSection {
    name: String,
    vendor: String,
    class: VendorClass,
    role: Role,
    source: String,
    sha256: String,
    certificate: String,
}

fn entry(entry: &str, field: &'static str, detail: impl ToString) -> X509Error {
    X509Error::VendorEntry { entry: entry.to_owned(), field, detail: detail.to_string() }
}

impl Store {
    /// The vendor file that this crate ships.
    pub const BUILTIN: &str = include_str!("../vendors.toml");

    /// The shipped vendors with their authorities.
    ///
    /// # Errors
    /// None for the file as shipped; the type is that of [`Store::parse`].
    pub fn builtin() -> Result<Self, X509Error> {
        Self::parse(Self::BUILTIN)
    }

    /// Reads a vendor file. Every certificate must have the fingerprint that stands beside it.
    ///
    /// # Errors
    /// [`X509Error::VendorFile`] for the file's form and [`X509Error::VendorEntry`] for an entry, by field.
    pub fn parse(text: &str) -> Result<Self, X509Error> {
        let file: VendorFile =
            toml::from_str(text).map_err(|e| X509Error::VendorFile { detail: e.to_string() })?;
        if file.schema != 1 {
            return Err(X509Error::VendorFile { detail: "this version reads schema 1".to_owned() });
        }
        for vendor in &file.vendor {
            check_id(&vendor.name, &vendor.id)?;
        }
        let firmware = |text: &String| {
            let number = (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok()).flatten();
            number.ok_or_else(|| entry(text, "virtual_firmware", "not 16 hexadecimal digits"))
        };
        let mut store = Self {
            virtual_firmware: file.virtual_firmware.iter().map(firmware).collect::<Result<_, _>>()?,
            virtual_models: file.virtual_models.iter().map(|word| word.to_ascii_lowercase()).collect(),
            floors: file.floor.iter().map(floor).collect::<Result<_, _>>()?,
            vendors: file.vendor,
            entries: Vec::new(),
        };
        for section in file.certificate {
            store.add(certificate(section)?)?;
        }
        Ok(store)
    }

    /// The same vendors, and no authority.
    #[must_use]
    pub fn without_authorities(self) -> Self {
        Self { entries: Vec::new(), ..self }
    }

    /// Adds everything that `other` has. What is virtual in one is virtual in both.
    ///
    /// # Errors
    /// As [`Store::add`].
    pub fn merge(&mut self, other: Self) -> Result<(), X509Error> {
        self.vendors.extend(other.vendors);
        self.floors.extend(other.floors);
        self.virtual_firmware.extend(other.virtual_firmware);
        self.virtual_models.extend(other.virtual_models);
        other.entries.into_iter().try_for_each(|entry| self.add(entry))
    }

    /// Adds an authority.
    ///
    /// # Errors
    /// [`X509Error::VendorEntry`] when it is none, or there already.
    pub fn add(&mut self, new: Entry) -> Result<(), X509Error> {
        if !new.certificate.is_ca() {
            return Err(entry(&new.name, "certificate", "not an authority's certificate"));
        }
        let fingerprint = new.certificate.fingerprint();
        if self.entries.iter().any(|entry| entry.certificate.fingerprint() == fingerprint) {
            return Err(entry(&new.name, "certificate", "the same certificate twice"));
        }
        self.entries.push(new);
        Ok(())
    }

    /// The authorities, in the file's order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What a vendor makes, by its tpmManufacturer.
    #[must_use]
    pub fn vendor_class(&self, id: &str) -> VendorClass {
        let known = || self.vendors.iter().filter(|vendor| vendor.id.eq_ignore_ascii_case(id));
        match known().any(|vendor| vendor.class == VendorClass::Virtual) {
            true => VendorClass::Virtual,
            false => known().next().map_or(VendorClass::Unknown, |vendor| vendor.class),
        }
    }

    /// A vendor's name by its tpmManufacturer.
    #[must_use]
    pub fn vendor_name(&self, id: &str) -> Option<&str> {
        let vendor = self.vendors.iter().find(|vendor| vendor.id.eq_ignore_ascii_case(id));
        vendor.map(|vendor| vendor.name.as_str())
    }

    /// Whether a model or a `firmwareVersion` is one that software TPMs have.
    ///
    /// A hint that can only lower: a TPM that says so is believed, one that doesn't isn't.
    #[must_use]
    pub fn is_virtual(&self, model: &str, firmware_version: Option<u64>) -> bool {
        let model = model.to_ascii_lowercase();
        self.virtual_models.iter().any(|word| model.contains(word))
            || firmware_version.is_some_and(|version| self.virtual_firmware.contains(&version))
    }

    /// The floor that this firmware lies below.
    #[must_use]
    pub fn broken_firmware(&self, vendor: &str, firmware_version: u64) -> Option<&FirmwareFloor> {
        self.floors.iter().find(|floor| floor.breaks(vendor, firmware_version))
    }
}

/// `id:` and eight hexadecimal digits (EK profile 2.5, 3.1.2).
pub(crate) fn is_vendor_id(id: &str) -> bool {
    let digits = id.strip_prefix("id:");
    digits.is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn check_id(name: &str, id: &str) -> Result<(), X509Error> {
    match is_vendor_id(id) {
        true => Ok(()),
        false => Err(entry(name, "vendor", "not id: and eight hexadecimal digits")),
    }
}

fn floor(section: &FloorSection) -> Result<FirmwareFloor, X509Error> {
    check_id(&section.reason, &section.vendor)?;
    check_source(&section.reason, &section.source)?;
    let parts = section.version.split_once('.');
    let numbers = parts.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let (major, minor) =
        numbers.ok_or_else(|| entry(&section.reason, "version", "not major.minor, each up to 65535"))?;
    Ok(FirmwareFloor { vendor: section.vendor.clone(), major, minor, reason: section.reason.clone() })
}

fn check_source(name: &str, source: &str) -> Result<(), X509Error> {
    match source.starts_with("https://") || source.starts_with("http://") {
        true => Ok(()),
        false => Err(entry(name, "source", "not a URL")),
    }
}

fn certificate(section: CertificateSection) -> Result<Entry, X509Error> {
    let name = section.name;
    check_id(&name, &section.vendor)?;
    check_source(&name, &section.source)?;
    let der = base64(&section.certificate).ok_or_else(|| entry(&name, "certificate", "not base64"))?;
    let certificate = Certificate::parse(&der).map_err(|e| entry(&name, "certificate", e))?;
    let mut expected = [0; 32];
    hex::decode_to_slice(&section.sha256, &mut expected)
        .map_err(|_| entry(&name, "sha256", "not 64 hexadecimal digits"))?;
    let seen = certificate.fingerprint();
    if seen != Fingerprint(expected) {
        return Err(entry(&name, "sha256", format!("the certificate has {seen}")));
    }
    Ok(Entry {
        name,
        vendor: Some(section.vendor),
        class: section.class,
        role: section.role,
        source: section.source,
        certificate,
    })
}
