//! The UEFI structures that firmware measures, as far as the simulated boot writes them.

use assay_boot::UefiVariable;

/// EFI_CERT_X509_GUID (UEFI 2.10, section 32.4.1), in its memory encoding.
const CERT_X509: [u8; 16] =
    [0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72];
/// EFI_CERT_SHA256_GUID (UEFI 2.10, section 32.4.1), in its memory encoding.
const CERT_SHA256: [u8; 16] =
    [0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28];
/// EFI system partition (UEFI 2.10, table 5.7), in its memory encoding.
const SYSTEM_PARTITION: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
/// Bytes of a GPT header and of one of its entries (UEFI 2.10, section 5.3).
const GPT_HEADER: usize = 92;
const GPT_ENTRY: usize = 128;
const GPT_ENTRIES: usize = 128;
/// Where the system partition lies, in blocks of 512 bytes: both ends included.
const PARTITION: (u64, u64) = (2048, 526_335);
const DISK_BLOCKS: u64 = 1_048_576;

/// UTF-16LE text.
pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// UTF-16LE text with its terminator.
pub(crate) fn utf16z(text: &str) -> Vec<u8> {
    [utf16(text), vec![0, 0]].concat()
}

fn le32(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
}

fn le64(value: usize) -> [u8; 8] {
    u64::try_from(value).unwrap_or(u64::MAX).to_le_bytes()
}

/// `UEFI_VARIABLE_DATA` (PFP 1.06, section 10.2.6).
pub(crate) fn variable(guid: [u8; 16], name: &str, value: &[u8]) -> Vec<u8> {
    UefiVariable { guid, name: name.into(), value: value.to_vec() }.encode()
}

/// `EFI_SIGNATURE_DATA`: an owner and what it vouches for.
pub(crate) fn signature_data(owner: [u8; 16], data: &[u8]) -> Vec<u8> {
    [&owner[..], data].concat()
}

/// `EFI_SIGNATURE_LIST` with one entry (UEFI 2.10, section 32.4.1).
fn signature_list(kind: [u8; 16], owner: [u8; 16], data: &[u8]) -> Vec<u8> {
    let entry = signature_data(owner, data);
    let sizes = [le32(28 + entry.len()), le32(0), le32(entry.len())].concat();
    [&kind[..], &sizes, &entry].concat()
}

/// A signature list with one certificate.
pub(crate) fn x509_list(owner: [u8; 16], der: &[u8]) -> Vec<u8> {
    signature_list(CERT_X509, owner, der)
}

/// A signature list with one image hash.
pub(crate) fn sha256_list(owner: [u8; 16], hash: [u8; 32]) -> Vec<u8> {
    signature_list(CERT_SHA256, owner, &hash)
}

/// A DER SEQUENCE with one UTF8String of under 126 bytes: what stands where a certificate would. It
/// parses as DER, and not as a certificate.
pub(crate) fn not_a_certificate(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[0x30, len.saturating_add(2), 0x0c, len], text.as_bytes()].concat()
}

/// `EFI_LOAD_OPTION`: a boot entry (UEFI 2.10, section 3.1.3).
pub(crate) fn load_option(description: &str, path: &[u8]) -> Vec<u8> {
    let len = u16::try_from(path.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&1u32.to_le_bytes()[..], &len, &utf16z(description), path].concat()
}

/// Device path of a file on the GPT system partition of the first PCI disk (UEFI 2.10, section 10.3).
pub(crate) fn device_path(partition: [u8; 16], file: &str) -> Vec<u8> {
    let (first, last) = PARTITION;
    let acpi = [&0x0a03_41d0u32.to_le_bytes()[..], &0u32.to_le_bytes()].concat();
    let drive = [
        &1u32.to_le_bytes()[..],
        &first.to_le_bytes(),
        &(last - first + 1).to_le_bytes(),
        &partition,
        &[2, 2],
    ];
    [
        node(2, 1, &acpi),
        node(1, 1, &[0, 4]),
        node(4, 1, &drive.concat()),
        node(4, 4, &utf16z(file)),
        node(0x7f, 0xff, &[]),
    ]
    .concat()
}

fn node(kind: u8, sub: u8, data: &[u8]) -> Vec<u8> {
    let len = u16::try_from(data.len() + 4).unwrap_or(u16::MAX).to_le_bytes();
    [&[kind, sub], &len[..], data].concat()
}

/// `UEFI_IMAGE_LOAD_EVENT` (PFP 1.06, section 10.2.3).
pub(crate) fn image_load(length: u64, path: &[u8]) -> Vec<u8> {
    let head = [0x7ac4_1018u64.to_le_bytes(), length.to_le_bytes(), 0u64.to_le_bytes()].concat();
    [&head[..], &le64(path.len()), path].concat()
}

/// `UEFI_PLATFORM_FIRMWARE_BLOB` (PFP 1.06, section 10.2.4).
pub(crate) fn firmware_blob(base: u64, length: u64) -> Vec<u8> {
    [base.to_le_bytes(), length.to_le_bytes()].concat()
}

/// `UEFI_GPT_DATA` (PFP 1.06, section 10.2.5): a disk with one system partition, checksums right.
pub(crate) fn gpt(disk: [u8; 16], partition: [u8; 16]) -> Vec<u8> {
    let (first, last) = PARTITION;
    let name = utf16("esp");
    let mut entry = [&SYSTEM_PARTITION[..], &partition, &first.to_le_bytes(), &last.to_le_bytes()].concat();
    entry.extend([0; 8]);
    entry.extend(name);
    entry.resize(GPT_ENTRY, 0);
    [gpt_header(disk, &entry), le64(1).to_vec(), entry].concat()
}

fn gpt_header(disk: [u8; 16], entry: &[u8]) -> Vec<u8> {
    let mut table = entry.to_vec();
    table.resize(GPT_ENTRY * GPT_ENTRIES, 0);
    let blocks = [1, DISK_BLOCKS - 1, 34, DISK_BLOCKS - 34].map(u64::to_le_bytes).concat();
    let sizes = [le32(GPT_ENTRIES), le32(GPT_ENTRY), crc32(&table)].concat();
    let head = [&b"EFI PART"[..], &[0, 0, 1, 0], &le32(GPT_HEADER)].concat();
    let tail = [&[0; 4][..], &blocks, &disk, &2u64.to_le_bytes(), &sizes].concat();
    let sum = crc32(&[&head[..], &[0; 4], &tail].concat());
    [head, sum.to_vec(), tail].concat()
}

fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_of_the_specification() {
        assert_eq!(sha256_list([0; 16], [0; 32]).len(), 76);
        assert_eq!(x509_list([0; 16], &[0; 10])[16..20], le32(28 + 26));
        assert_eq!(device_path([0; 16], "\\A").len(), 12 + 6 + 42 + 10 + 4);
        assert_eq!(gpt([1; 16], [2; 16]).len(), GPT_HEADER + 8 + GPT_ENTRY);
        assert_eq!(not_a_certificate("ab"), [0x30, 4, 0x0c, 2, b'a', b'b']);
    }

    #[test]
    fn a_gpt_header_checks_with_its_own_sum_zeroed() {
        let mut header = gpt([1; 16], [2; 16])[..GPT_HEADER].to_vec();
        let sum: Vec<u8> = header.splice(16..20, [0; 4]).collect();
        assert_eq!(sum, crc32(&header));
    }
}
