//! One RIM in its reduced form, and its encoding.

use std::fmt;

use super::signer::MOST;
use assay_wire::{Digest, WireError, cbor};
use assay_x509::Seconds;
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

/// The network that envelopes of reference values are made for: they are the same on every network.
pub const RIM_NETWORK: &str = "assay-gpu-rims";

/// The longest encoding that is read, in bytes.
pub const MAX_RIM_BYTES: usize = 256 << 10;

/// The most rows: as many as a report can have measurements.
pub const MAX_ROWS: usize = 255;

/// The most values that one row may allow.
pub const MAX_VALUES: usize = 64;

/// The most OCSP answers that a RIM carries.
pub const MAX_ANSWERS: usize = 64;

/// The longest text in a RIM, in bytes.
const MAX_TEXT: usize = 128;

/// The longest name of a chip or of a part of a board, in letters and digits.
pub const MAX_NAME: usize = 16;

/// Bytes that are no RIM in reduced form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RimError {
    /// Not the one encoding of a RIM.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A value that no RIM has.
    #[error("gpu-rim: {field}: {detail}")]
    Value {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        detail: &'static str,
    },
}

/// What a RIM describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum RimKind {
    /// A GPU's driver.
    #[n(0)]
    Driver,
    /// A GPU's VBIOS.
    #[n(1)]
    Vbios,
    /// A switch's firmware.
    #[n(2)]
    Switch,
}

impl RimKind {
    /// Its name for people and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Vbios => "vbios",
            Self::Switch => "switch",
        }
    }

    /// The kind of a RIM for a device of this class whose signed version is written like this: five pairs of
    /// hexadecimal digits with dots are firmware, two to four decimal numbers a driver.
    #[must_use]
    pub fn of(is_switch: bool, version: &str) -> Option<Self> {
        let parts: Vec<&str> = version.split('.').collect();
        let all =
            |is: fn(&u8) -> bool| parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| is(&b)));
        let firmware =
            parts.len() == 5 && parts.iter().all(|part| part.len() == 2) && all(u8::is_ascii_hexdigit);
        let driver = (2..=4).contains(&parts.len()) && all(u8::is_ascii_digit);
        match (is_switch, firmware, driver) {
            (true, true, _) => Some(Self::Switch),
            (false, true, _) => Some(Self::Vbios),
            (false, false, true) => Some(Self::Driver),
            _ => None,
        }
    }
}

/// The board that a VBIOS is for, by the word of whoever stored its RIM: documents do not say it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Board {
    /// Project, in upper case.
    #[n(0)]
    pub project: String,
    /// SKU of the project.
    #[n(1)]
    pub project_sku: String,
    /// SKU of the chip.
    #[n(2)]
    pub chip_sku: String,
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}", self.project, self.project_sku, self.chip_sku)
    }
}

/// An active row: the values that one measurement may have.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RimRow {
    /// Index in the RIM, from 0: the measurement block's index less one.
    #[n(0)]
    pub index: u8,
    /// What the vendor calls it.
    #[n(1)]
    pub name: String,
    /// The SHA-384 values of which one must be there.
    #[n(2)]
    pub values: Vec<ByteArray<48>>,
}

/// What there is to know whether a signer's certificates were taken back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct SignerProof {
    /// DER of the certificates that led to the vendor's root when the document was checked: the signer's first, the
    /// root last. Empty where nobody kept them.
    #[n(0)]
    pub certificates: Vec<ByteVec>,
    /// Answers of OCSP responders about them, DER.
    #[n(1)]
    pub ocsp: Vec<ByteVec>,
}

/// A RIM in its reduced form. CDDL: `gpu-rim` in `gpu.cddl`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rim {
    /// What it describes.
    #[n(0)]
    pub kind: RimKind,
    /// The chip that it is for, as signed: `GH100`.
    #[n(1)]
    pub product: String,
    /// The version that it is for, as signed: `550.144.03`, `96.00.5E.00.01`.
    #[n(2)]
    pub version: String,
    /// The document's tagId, as signed; its meaning is the vendor's own.
    #[n(3)]
    pub tag: String,
    /// The board, where whoever stored it named one. Signed by no vendor.
    #[n(4)]
    pub board: Option<Board>,
    /// The active rows by rising index.
    #[n(5)]
    pub rows: Vec<RimRow>,
    /// SHA-256 of the document.
    #[n(6)]
    pub source: Digest,
    /// SHA-256 of the signer's certificate.
    #[n(7)]
    pub signer: Digest,
    /// First second at which every certificate of the signer's chain is in force.
    #[n(8)]
    pub not_before: Seconds,
    /// Last second at which every certificate of the signer's chain is in force.
    #[n(9)]
    pub not_after: Seconds,
    /// The signer's certificates, and answers about them.
    #[n(10)]
    pub proof: SignerProof,
}

impl Rim {
    /// Reads the one encoding of a RIM.
    ///
    /// # Errors
    /// [`RimError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RimError> {
        let rim: Self = cbor::from_slice("gpu-rim", bytes, MAX_RIM_BYTES)?;
        rim.check()?;
        Ok(rim)
    }

    /// Whether it is a RIM that could have been read in a document: texts, rows and values within their bounds, rows by
    /// rising index, a version of its kind.
    ///
    /// # Errors
    /// [`RimError::Value`].
    pub fn check(&self) -> Result<(), RimError> {
        let plain = |text: &str| {
            !text.is_empty()
                && text.len() <= MAX_TEXT
                && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        };
        let name = |text: &str| {
            (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        let board = self.board.as_ref().map(|board| [&board.project, &board.project_sku, &board.chip_sku]);
        let rising = self.rows.windows(2).all(|pair| matches!(pair, [a, b] if a.index < b.index));
        let rows = &self.rows;
        let faults = [
            (!name(&self.product), "product", "not letters and digits, or too many"),
            (!plain(&self.tag), "tag", "empty, too long or not printable"),
            (
                !board.into_iter().flatten().all(|text| name(text)),
                "board",
                "not letters and digits, or too many",
            ),
            (self.version.len() > MAX_TEXT, "version", "too long"),
            (
                RimKind::of(self.kind == RimKind::Switch, &self.version) != Some(self.kind),
                "version",
                "not of its kind",
            ),
            (rows.is_empty() || rows.len() > MAX_ROWS, "rows", "none or too many"),
            (!rising, "rows", "not by rising index"),
            (
                !rows.iter().all(|row| plain(&row.name)),
                "rows",
                "a name that is empty, too long or not printable",
            ),
            (
                !rows.iter().all(|row| (1..=MAX_VALUES).contains(&row.values.len())),
                "rows",
                "a row of no or too many values",
            ),
            (self.proof.certificates.len() > MOST, "proof", "too many certificates"),
            (self.proof.ocsp.len() > MAX_ANSWERS, "proof", "too many answers"),
            (self.not_after < self.not_before, "not_after", "before not_before"),
        ];
        match faults.into_iter().find(|(is, _, _)| *is) {
            Some((_, field, detail)) => Err(RimError::Value { field, detail }),
            None => Ok(()),
        }
    }

    /// Its id in the vendor's service, with `*` for a board that nobody named.
    #[must_use]
    pub fn id(&self) -> String {
        super::ids::id(self.kind, &self.product, &self.version, self.board.as_ref())
    }

    /// Whether every certificate of its signer's chain is in force at `at`.
    #[must_use]
    pub const fn in_force(&self, at: Seconds) -> bool {
        self.not_before <= at && at <= self.not_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vbios() -> Rim {
        let row = |index| RimRow { index, name: format!("m{index}"), values: vec![[index; 48].into()] };
        Rim {
            kind: RimKind::Vbios,
            product: "GH100".into(),
            version: "96.00.5E.00.01".into(),
            tag: "t".into(),
            board: None,
            rows: vec![row(0), row(1)],
            source: Digest([1; 32]),
            signer: Digest([2; 32]),
            not_before: 1_000,
            not_after: 2_000,
            proof: SignerProof::default(),
        }
    }

    #[test]
    fn versions_tell_kinds_apart() {
        for (switch, version, kind) in [
            (false, "96.00.5E.00.01", Some(RimKind::Vbios)),
            (false, "96.00.5e.00.01", Some(RimKind::Vbios)),
            (true, "96.10.55.00.01", Some(RimKind::Switch)),
            (false, "550.144.03", Some(RimKind::Driver)),
            (false, "545.00", Some(RimKind::Driver)),
            (false, "1.2.3.4", Some(RimKind::Driver)),
            (true, "550.144.03", None),
            (false, "550", None),
            (false, "1.2.3.4.5", None),
            (false, "96.00.5G.00.01", None),
            (false, "96.00.05E.0.01", None),
            (false, "550.a", None),
            (false, "550.", None),
            (false, "", None),
            (false, "96.00.5E.00.01.02", None),
        ] {
            assert_eq!(RimKind::of(switch, version), kind, "{version}");
        }
        assert_eq!(
            [RimKind::Driver, RimKind::Vbios, RimKind::Switch].map(RimKind::name),
            ["driver", "vbios", "switch"]
        );
    }

    #[test]
    fn a_version_has_a_most() {
        let of = |digits: usize| Rim {
            kind: RimKind::Driver,
            version: format!("5.{}", "0".repeat(digits - 2)),
            ..vbios()
        };
        assert_eq!(of(MAX_TEXT).check(), Ok(()));
        assert_eq!(of(3).check(), Ok(()));
        let long = RimError::Value { field: "version", detail: "too long" };
        assert_eq!(of(MAX_TEXT + 1).check(), Err(long));
    }

    #[test]
    fn first_and_last_second_are_in_force() {
        let rim = vbios();
        assert_eq!(
            [999, 1_000, 1_500, 2_000, 2_001].map(|at| rim.in_force(at)),
            [false, true, true, true, false]
        );
    }

    #[test]
    fn a_reduced_form_is_bounded_and_has_one_encoding() {
        let good = Rim {
            board: Some(Board { project: "G".into(), project_sku: "1".into(), chip_sku: "2".into() }),
            ..vbios()
        };
        assert_eq!(Rim::decode(&cbor::to_vec(&good)), Ok(good.clone()));
        let refused = |change: fn(&mut Rim)| {
            let mut rim = good.clone();
            change(&mut rim);
            match Rim::decode(&cbor::to_vec(&rim)) {
                Err(RimError::Value { field, .. }) => field,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refused(|rim| rim.product = String::new()), "product");
        assert_eq!(refused(|rim| rim.product = "../x".into()), "product");
        assert_eq!(refused(|rim| rim.tag = "a\nb".into()), "tag");
        assert_eq!(refused(|rim| rim.tag = "a".repeat(129)), "tag");
        assert_eq!(refused(|rim| rim.board.as_mut().unwrap().project_sku = "a/b".into()), "board");
        assert_eq!(refused(|rim| rim.version = "550.1".into()), "version");
        assert_eq!(refused(|rim| rim.kind = RimKind::Driver), "version");
        assert_eq!(refused(|rim| rim.rows.clear()), "rows");
        assert_eq!(refused(|rim| rim.rows.swap(0, 1)), "rows");
        assert_eq!(refused(|rim| rim.rows[1].index = 0), "rows");
        assert_eq!(refused(|rim| rim.rows[0].name = "\u{1b}".into()), "rows");
        assert_eq!(refused(|rim| rim.rows[0].values.clear()), "rows");
        assert_eq!(refused(|rim| rim.rows[0].values = vec![[0; 48].into(); MAX_VALUES + 1]), "rows");
        assert_eq!(refused(|rim| rim.not_after = rim.not_before - 1), "not_after");
        assert_eq!(refused(|rim| rim.proof.certificates = vec![vec![].into(); 6]), "proof");
        assert_eq!(refused(|rim| rim.proof.ocsp = vec![vec![].into(); MAX_ANSWERS + 1]), "proof");
        let mut most = good.clone();
        most.rows = (0..u8::try_from(MAX_ROWS).unwrap())
            .map(|index| RimRow { index, ..good.rows[0].clone() })
            .collect();
        most.rows[0].values = vec![[0; 48].into(); MAX_VALUES];
        most.not_after = most.not_before;
        most.proof =
            SignerProof { certificates: vec![vec![].into(); 5], ocsp: vec![vec![].into(); MAX_ANSWERS] };
        assert_eq!(Rim::decode(&cbor::to_vec(&most)), Ok(most));
        assert!(matches!(Rim::decode(&[0xa0]), Err(RimError::Wire(_))));
        assert!(matches!(Rim::decode(&vec![0; 1 << 20]), Err(RimError::Wire(_))));
    }
}
