//! Device paths as text (UEFI 2.10, section 10.6): for people, never for a verdict. A node of
//! unknown type, or too short or long for its type, is written as `Path(type,subtype,hex)`.

use std::fmt;

use crate::cursor::Cursor;
use crate::guid::guid_text;
use crate::text::{hex, printable, utf16_until_nul};
use crate::{BootError, DevicePath, DevicePathNode};

impl fmt::Display for DevicePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for node in &self.nodes {
            if node.ends_instance() {
                separator = ",";
                continue;
            }
            write!(f, "{separator}{node}")?;
            separator = "/";
        }
        Ok(())
    }
}

impl fmt::Display for DevicePathNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cursor = Cursor::new(&self.data, 0);
        let text = known(self, &mut cursor).ok().flatten().filter(|_| cursor.remaining() == 0);
        match text {
            Some(text) => f.write_str(&text),
            None => write!(f, "Path({},{},{})", self.kind, self.subtype, hex(&self.data)),
        }
    }
}

type Text = Result<Option<String>, BootError>;

fn known(node: &DevicePathNode, cursor: &mut Cursor<'_>) -> Text {
    match node.kind {
        1 => hardware(node.subtype, cursor),
        2 => acpi(node.subtype, cursor),
        3 => messaging(node.subtype, cursor),
        4 => media(node.subtype, cursor),
        5 if node.subtype == 1 => bios(cursor).map(Some),
        _ => Ok(None),
    }
}

fn hardware(subtype: u8, cursor: &mut Cursor<'_>) -> Text {
    Ok(Some(match subtype {
        1 => {
            let (function, device) = (cursor.u8("Function")?, cursor.u8("Device")?);
            format!("Pci({device:#x},{function:#x})")
        }
        3 => {
            let kind = cursor.u32("Memory Type")?;
            format!("MemoryMapped({kind:#x},{:#x},{:#x})", cursor.u64("Start")?, cursor.u64("End")?)
        }
        4 => vendor("VenHw", cursor)?,
        5 => format!("Ctrl({:#x})", cursor.u32("Controller Number")?),
        _ => return Ok(None),
    }))
}

/// EISA identifiers of "PNP": 0x41d0 compressed in the low half (ACPI 6.5, section 19.6.37).
const PNP: u32 = 0x41d0;

fn acpi(subtype: u8, cursor: &mut Cursor<'_>) -> Text {
    if subtype != 1 {
        return Ok(None);
    }
    let (hid, uid) = (cursor.u32("_HID")?, cursor.u32("_UID")?);
    let number = hid >> 16;
    Ok(Some(match (hid & 0xffff, number) {
        (PNP, 0x0a03) => format!("PciRoot({uid:#x})"),
        (PNP, 0x0a08) => format!("PcieRoot({uid:#x})"),
        (PNP, _) => format!("Acpi(PNP{number:04X},{uid:#x})"),
        _ => format!("Acpi({hid:#010x},{uid:#x})"),
    }))
}

fn messaging(subtype: u8, cursor: &mut Cursor<'_>) -> Text {
    Ok(Some(match subtype {
        1 => {
            let (secondary, slave) = (cursor.u8("PrimarySecondary")?, cursor.u8("SlaveMaster")?);
            format!("Ata({secondary},{slave},{:#x})", cursor.u16("Logical Unit Number")?)
        }
        2 => format!("Scsi({:#x},{:#x})", cursor.u16("Target ID")?, cursor.u16("Logical Unit Number")?),
        5 => format!("USB({:#x},{:#x})", cursor.u8("Parent Port")?, cursor.u8("Interface")?),
        10 => vendor("VenMsg", cursor)?,
        11 => mac(cursor)?,
        17 => format!("Unit({:#x})", cursor.u8("Logical Unit Number")?),
        18 => {
            let (port, multiplier) = (cursor.u16("HBA Port")?, cursor.u16("Port Multiplier Port")?);
            format!("Sata({port:#x},{multiplier:#x},{:#x})", cursor.u16("Logical Unit Number")?)
        }
        20 => format!("Vlan({})", cursor.u16("Vlan Id")?),
        23 => {
            let namespace = cursor.u32("Namespace Identifier")?;
            let mut eui: [u8; 8] = cursor.array("EUI-64")?;
            eui.reverse();
            format!("NVMe({namespace:#x},{})", dashed(&eui))
        }
        24 => format!("Uri({})", printable(&String::from_utf8_lossy(rest(cursor)?))),
        25 => format!("UFS({:#x},{:#x})", cursor.u8("Target ID")?, cursor.u8("Logical Unit Number")?),
        26 => format!("SD({:#x})", cursor.u8("Slot Number")?),
        29 => format!("eMMC({:#x})", cursor.u8("Slot Number")?),
        _ => return network(subtype, cursor),
    }))
}

/// Local and remote address, the rest of the node as it came.
fn network(subtype: u8, cursor: &mut Cursor<'_>) -> Text {
    Ok(match subtype {
        12 => {
            let [local, remote]: [[u8; 4]; 2] = [cursor.array("Local IP")?, cursor.array("Remote IP")?];
            rest(cursor)?;
            let [local, remote] = [local, remote].map(core::net::Ipv4Addr::from);
            Some(format!("IPv4({remote},{local})"))
        }
        13 => {
            let [local, remote]: [[u8; 16]; 2] = [cursor.array("Local IP")?, cursor.array("Remote IP")?];
            rest(cursor)?;
            let [local, remote] = [local, remote].map(core::net::Ipv6Addr::from);
            Some(format!("IPv6({remote},{local})"))
        }
        _ => None,
    })
}

fn mac(cursor: &mut Cursor<'_>) -> Result<String, BootError> {
    let address: [u8; 32] = cursor.array("MAC Address")?;
    let kind = cursor.u8("IfType")?;
    // Ethernet addresses (types 0 and 1) have six bytes; the rest of the field is padding.
    let len = if kind <= 1 { 6 } else { address.len() };
    Ok(format!("MAC({},{kind:#x})", hex(address.get(..len).unwrap_or_default())))
}

fn media(subtype: u8, cursor: &mut Cursor<'_>) -> Text {
    Ok(Some(match subtype {
        1 => hard_drive(cursor)?,
        2 => {
            let entry = cursor.u32("Boot Entry")?;
            format!("CDROM({entry:#x},{:#x},{:#x})", cursor.u64("Start")?, cursor.u64("Size")?)
        }
        3 => vendor("VenMedia", cursor)?,
        4 => match utf16_until_nul(rest(cursor)?) {
            Some(name) => printable(&name),
            None => return Ok(None),
        },
        5 => format!("Media({})", guid_text(&cursor.array("Protocol GUID")?)),
        6 => format!("FvFile({})", guid_text(&cursor.array("Fv File Name")?)),
        7 => format!("Fv({})", guid_text(&cursor.array("Fv Name")?)),
        8 => {
            cursor.u32("Reserved")?;
            format!("Offset({:#x},{:#x})", cursor.u64("Start")?, cursor.u64("End")?)
        }
        _ => return Ok(None),
    }))
}

fn hard_drive(cursor: &mut Cursor<'_>) -> Result<String, BootError> {
    let partition = cursor.u32("Partition Number")?;
    let (start, size) = (cursor.u64("Partition Start")?, cursor.u64("Partition Size")?);
    let signature: [u8; 16] = cursor.array("Partition Signature")?;
    let (_, kind) = (cursor.u8("Partition Format")?, cursor.u8("Signature Type")?);
    let [s0, s1, s2, s3, ..] = signature;
    let signature = match kind {
        1 => format!("MBR,{:#010x}", u32::from_le_bytes([s0, s1, s2, s3])),
        2 => format!("GPT,{}", guid_text(&signature)),
        _ => format!("{kind},{}", hex(&signature)),
    };
    Ok(format!("HD({partition},{signature},{start:#x},{size:#x})"))
}

/// BIOS Boot Specification: how firmware names a disk that it boots without UEFI.
fn bios(cursor: &mut Cursor<'_>) -> Result<String, BootError> {
    let (device, status) = (cursor.u16("Device Type")?, cursor.u16("Status Flag")?);
    let name = String::from_utf8_lossy(rest(cursor)?).trim_end_matches('\0').to_owned();
    Ok(format!("BBS({device:#x},{},{status:#x})", printable(&name)))
}

fn vendor(name: &str, cursor: &mut Cursor<'_>) -> Result<String, BootError> {
    let guid = guid_text(&cursor.array("Vendor GUID")?);
    let data = hex(rest(cursor)?);
    let comma = if data.is_empty() { "" } else { "," };
    Ok(format!("{name}({guid}{comma}{data})"))
}

fn rest<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], BootError> {
    cursor.take(cursor.remaining(), "rest of the node")
}

fn dashed(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(hex: &str) -> String {
        let nodes = hex::decode(hex).unwrap();
        DevicePath::parse(&[&nodes[..], &[0x7f, 0xff, 4, 0]].concat()).unwrap().to_string()
    }

    #[test]
    fn common_nodes_read_as_the_specification_writes_them() {
        assert_eq!(text("02010c00d041030a00000000"), "PciRoot(0x0)");
        assert_eq!(text("02010c00d041080a01000000010106000302"), "PcieRoot(0x1)/Pci(0x2,0x3)");
        assert_eq!(text("02010c00d041010500000000"), "Acpi(PNP0501,0x0)");
        assert_eq!(text("03120a000200ffff0000"), "Sata(0x2,0xffff,0x0)");
        assert_eq!(text("031710000100000001020304050607ff"), "NVMe(0x1,FF-07-06-05-04-03-02-01)");
        assert_eq!(text("030506000102"), "USB(0x1,0x2)");
        let mac = format!("030b2500525400123456{}01", "00".repeat(26));
        assert_eq!(text(&mac), "MAC(525400123456,0x1)");
        let hd = "04012a0001000000000800000000000000000c00000000009a9f389b9e30f84d8bc566ca19feeb810202";
        assert_eq!(text(hd), "HD(1,GPT,9b389f9a-309e-4df8-8bc5-66ca19feeb81,0x800,0xc0000)");
        assert_eq!(text("040410005c0045004600490000005800"), r"Path(4,4,5c0045004600490000005800)");
        assert_eq!(text("04040e005c004500460049000000"), r"\EFI");
        assert_eq!(
            text("04071400c9bdb87cebf8344faaea3ee4af6516a1"),
            "Fv(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)"
        );
        assert_eq!(
            text("010414000102030405060708090a0b0c0d0e0f10"),
            "VenHw(04030201-0605-0807-090a-0b0c0d0e0f10)"
        );
        assert_eq!(text("0305060001027f010400030506000304"), "USB(0x1,0x2),USB(0x3,0x4)");
    }

    #[test]
    fn what_does_not_fit_its_type_is_kept_as_it_is() {
        assert_eq!(text("0101050000"), "Path(1,1,00)");
        assert_eq!(text("01010700000102"), "Path(1,1,000102)");
        assert_eq!(text("06ff0500aa"), "Path(6,255,aa)");
        assert_eq!(text("04040600ff00"), "Path(4,4,ff00)");
    }
}
