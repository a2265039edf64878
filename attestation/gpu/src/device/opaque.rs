//! OpaqueData of a report: NVIDIA's list of type, length and value.

use super::architecture::Pdi;
use super::cursor::Cursor;
use super::error::DeviceError;

/// The most fields that are read.
const MAX_FIELDS: usize = 64;
/// GPUs that a switch has room to name.
const GPU_SLOTS: usize = 8;
/// Ports of a switch.
const PORTS: usize = 64;

/// One field. Text is printable ASCII without its end; numbers are little-endian unless said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpaqueField {
    /// 3: version of the driver.
    Driver(String),
    /// 4: number of the chip, such as 0x0180; the other bytes are not read.
    ChipId(u16),
    /// 6: version of the VBIOS, as text: five hexadecimal pairs.
    Vbios(String),
    /// 11: NVDEC0, 0xaa enabled, 0x55 disabled.
    Nvdec0(u8),
    /// 12: how often each measurement was extended.
    Counters(Vec<u32>),
    /// 13: CPR information.
    Cpr(Vec<u8>),
    /// 14: board.
    BoardId(u32),
    /// 15: chip SKU, such as `885`.
    ChipSku(String),
    /// 16: modifier of the chip SKU.
    ChipSkuModifier(String),
    /// 17: project, such as `G520`.
    Project(String),
    /// 18: project SKU, such as `0200`.
    ProjectSku(String),
    /// 19: modifier of the project SKU.
    ProjectSkuModifier(String),
    /// 20: digest of the firmware that holds the report's key.
    Fwid([u8; 48]),
    /// 21: protected PCIe, 0xaa on, 0x55 off.
    ProtectedPcie(u8),
    /// 22 of a switch: its own PDI, big-endian.
    OwnPdi(Pdi),
    /// 22 of a GPU: the switch behind each link; 0 and all ones stand for none.
    SwitchPdis(Vec<Pdi>),
    /// 23: disabled ports of a switch.
    DisabledPorts(Vec<u8>),
    /// 24: position of a switch.
    Position(Vec<u8>),
    /// 25: whether a switch is locked.
    LockStatus(Vec<u8>),
    /// 26 of a switch: the GPUs, big-endian, 0 and all ones standing for none; then, for each port,
    /// the position in that list of the GPU behind it, 0xff for none.
    GpuPdis {
        /// The list.
        gpus: Vec<Pdi>,
        /// The ports.
        ports: Vec<u8>,
    },
    /// 34: version of this list.
    OpaqueVersion(u16),
    /// 35: name of the chip.
    ChipName(String),
    /// 36: 0 one GPU, 1 several, 2 several under protected PCIe.
    FeatureFlag(u8),
    /// Any other type.
    Unknown {
        /// The type.
        kind: u16,
        /// Its bytes.
        data: Vec<u8>,
    },
}

impl OpaqueField {
    /// The field's type.
    #[must_use]
    pub const fn kind(&self) -> u16 {
        match self {
            Self::Driver(_) => 3,
            Self::ChipId(_) => 4,
            Self::Vbios(_) => 6,
            Self::Nvdec0(_) => 11,
            Self::Counters(_) => 12,
            Self::Cpr(_) => 13,
            Self::BoardId(_) => 14,
            Self::ChipSku(_) => 15,
            Self::ChipSkuModifier(_) => 16,
            Self::Project(_) => 17,
            Self::ProjectSku(_) => 18,
            Self::ProjectSkuModifier(_) => 19,
            Self::Fwid(_) => 20,
            Self::ProtectedPcie(_) => 21,
            Self::OwnPdi(_) | Self::SwitchPdis(_) => 22,
            Self::DisabledPorts(_) => 23,
            Self::Position(_) => 24,
            Self::LockStatus(_) => 25,
            Self::GpuPdis { .. } => 26,
            Self::OpaqueVersion(_) => 34,
            Self::ChipName(_) => 35,
            Self::FeatureFlag(_) => 36,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// # Errors
    /// What is wrong with bytes that aren't of this type's form.
    fn read(kind: u16, data: &[u8]) -> Result<Self, &'static str> {
        Ok(match kind {
            3 => Self::Driver(text(data)?),
            4 => match data {
                [low, high, _, _, _, _, _, _] => Self::ChipId(u16::from_le_bytes([*low, *high])),
                _ => return Err("not 8 bytes"),
            },
            6 => Self::Vbios(vbios(data)?),
            11 => Self::Nvdec0(byte(data)?),
            12 => Self::Counters(counters(data)?),
            13 => Self::Cpr(data.to_vec()),
            14 => Self::BoardId(u32::from_le_bytes(data.try_into().map_err(|_| "not 4 bytes")?)),
            15 => Self::ChipSku(text(data)?),
            16 => Self::ChipSkuModifier(text(data)?),
            17 => Self::Project(text(data)?),
            18 => Self::ProjectSku(text(data)?),
            19 => Self::ProjectSkuModifier(text(data)?),
            20 => Self::Fwid(data.try_into().map_err(|_| "not 48 bytes")?),
            21 => Self::ProtectedPcie(byte(data)?),
            22 => device_pdis(data)?,
            23 => Self::DisabledPorts(data.to_vec()),
            24 => Self::Position(data.to_vec()),
            25 => Self::LockStatus(data.to_vec()),
            26 => gpu_pdis(data)?,
            34 => Self::OpaqueVersion(u16::from_le_bytes(data.try_into().map_err(|_| "not 2 bytes")?)),
            35 => Self::ChipName(text(data)?),
            36 => match data {
                [flag] | [flag, 0] => Self::FeatureFlag(*flag),
                _ => return Err("not a small number of 1 or 2 bytes"),
            },
            _ => Self::Unknown { kind, data: data.to_vec() },
        })
    }
}

/// All fields; a type that stands there twice is refused, since one reader would take the first and
/// another the last.
pub(super) fn read(mut cursor: Cursor<'_>) -> Result<Vec<OpaqueField>, DeviceError> {
    let mut fields: Vec<OpaqueField> = Vec::new();
    while !cursor.rest().is_empty() {
        let offset = cursor.offset();
        let kind = u16::from_le_bytes(cursor.array("opaque type")?);
        let len = u16::from_le_bytes(cursor.array("opaque length")?);
        let data = cursor.take(len.into(), "opaque field")?;
        if fields.len() == MAX_FIELDS {
            return Err(DeviceError::TooMany { field: "opaque fields", max: MAX_FIELDS });
        }
        let opaque = |detail| DeviceError::Opaque { kind, offset, detail };
        if fields.iter().any(|field| field.kind() == kind) {
            return Err(opaque("a type that stands there already"));
        }
        fields.push(OpaqueField::read(kind, data).map_err(opaque)?);
    }
    Ok(fields)
}

/// Printable ASCII up to the end or to the first zero, after which only zeros may stand.
fn text(data: &[u8]) -> Result<String, &'static str> {
    let len = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (text, padding) = data.split_at_checked(len).unwrap_or((data, &[]));
    if padding.iter().any(|byte| *byte != 0) {
        return Err("bytes after the end of the text");
    }
    if !text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err("not printable ASCII");
    }
    Ok(text.iter().map(|byte| char::from(*byte)).collect())
}

fn byte(data: &[u8]) -> Result<u8, &'static str> {
    match data {
        [byte] => Ok(*byte),
        _ => Err("not 1 byte"),
    }
}

/// Eight bytes are two numbers: the first has four pairs, the second's lowest byte is the fifth.
/// Anything else is the text itself.
fn vbios(data: &[u8]) -> Result<String, &'static str> {
    if let [d, c, b, a, e, _, _, _] = data {
        return Ok(format!("{a:02X}.{b:02X}.{c:02X}.{d:02X}.{e:02X}"));
    }
    let text = text(data)?;
    let is_pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
    let sound = text.split('.').count() == 5 && text.split('.').all(is_pair);
    if sound { Ok(text.to_ascii_uppercase()) } else { Err("not five hexadecimal pairs") }
}

fn counters(data: &[u8]) -> Result<Vec<u32>, &'static str> {
    if !data.len().is_multiple_of(4) {
        return Err("not whole counters of 4 bytes");
    }
    Ok(data.chunks_exact(4).filter_map(|word| word.try_into().ok()).map(u32::from_le_bytes).collect())
}

fn numbers(data: &[u8]) -> impl Iterator<Item = [u8; 8]> {
    data.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok())
}

/// One number is a switch's own; several are a GPU's links.
fn device_pdis(data: &[u8]) -> Result<OpaqueField, &'static str> {
    match <[u8; 8]>::try_from(data) {
        Ok(own) => Ok(OpaqueField::OwnPdi(Pdi(u64::from_be_bytes(own)))),
        Err(_) if data.is_empty() || !data.len().is_multiple_of(8) => Err("not whole PDIs of 8 bytes"),
        Err(_) => {
            Ok(OpaqueField::SwitchPdis(numbers(data).map(|pdi| Pdi(u64::from_le_bytes(pdi))).collect()))
        }
    }
}

fn gpu_pdis(data: &[u8]) -> Result<OpaqueField, &'static str> {
    let (gpus, ports) = data.split_at_checked(8 * GPU_SLOTS).ok_or("too short for 8 PDIs")?;
    if ports.len() != PORTS {
        return Err("not 8 PDIs and 64 ports");
    }
    let gpus = numbers(gpus).map(|pdi| Pdi(u64::from_be_bytes(pdi))).collect();
    Ok(OpaqueField::GpuPdis { gpus, ports: ports.to_vec() })
}
