//! The structures that events of UEFI firmware carry (PFP 1.06, section 10.2), variables apart.

use crate::cursor::Cursor;
use crate::device_path::end;
use crate::uefi::utf16;
use crate::{BootError, DevicePath, MAX_EVENT_BYTES};

/// Most bytes that [`ImageLoad`] takes after its device path.
const MAX_IMAGE_LOAD_TAIL: usize = 9;

/// `UEFI_IMAGE_LOAD_EVENT` (section 10.2.3). The event's digest is the image's Authenticode digest:
/// it covers nothing of this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLoad {
    /// Address in memory.
    pub location: u64,
    /// Length in bytes.
    pub length: u64,
    /// Address that the image was linked for.
    pub link_time_address: u64,
    /// Where the image came from; empty when it is not known.
    pub path: DevicePath,
    /// Bytes after the path: 0, or up to 9 from boot loaders that log the structure with the size
    /// it has in memory, whatever lies there.
    pub tail: usize,
}

impl ImageLoad {
    /// Reads exactly one structure.
    ///
    /// # Errors
    /// [`BootError::ReadField`] or [`BootError::CheckField`], with offsets from the start of `data`,
    /// for the path from the path's start.
    pub fn parse(data: &[u8]) -> Result<Self, BootError> {
        let mut cursor = Cursor::new(data, 0);
        let location = cursor.u64("ImageLocationInMemory")?;
        let length = cursor.u64("ImageLengthInMemory")?;
        let link_time_address = cursor.u64("ImageLinkTimeAddress")?;
        let len = count(&mut cursor, "LengthOfDevicePath")?;
        let path = match cursor.take(len, "DevicePath")? {
            [] => DevicePath { nodes: Vec::new() },
            path => DevicePath::parse(path)?,
        };
        let tail = cursor.remaining();
        if tail > MAX_IMAGE_LOAD_TAIL {
            let offset = cursor.offset();
            return Err(BootError::CheckField { field: "end of UEFI_IMAGE_LOAD_EVENT", offset });
        }
        Ok(Self { location, length, link_time_address, path, tail })
    }
}

/// `UEFI_PLATFORM_FIRMWARE_BLOB` or, with a description, `UEFI_PLATFORM_FIRMWARE_BLOB2` (section
/// 10.2.4). The event's digest is the blob's: it covers nothing of this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareBlob {
    /// What the firmware calls the blob; `None` for the first form.
    pub description: Option<Vec<u8>>,
    /// Address in memory.
    pub base: u64,
    /// Length in bytes.
    pub length: u64,
}

impl FirmwareBlob {
    /// Reads exactly one `UEFI_PLATFORM_FIRMWARE_BLOB`.
    ///
    /// # Errors
    /// As [`ImageLoad::parse`].
    pub fn parse(data: &[u8]) -> Result<Self, BootError> {
        blob(Cursor::new(data, 0), None)
    }

    /// Reads exactly one `UEFI_PLATFORM_FIRMWARE_BLOB2`.
    ///
    /// # Errors
    /// As [`ImageLoad::parse`].
    pub fn parse2(data: &[u8]) -> Result<Self, BootError> {
        let mut cursor = Cursor::new(data, 0);
        let len = cursor.u8("BlobDescriptionSize")?;
        let description = cursor.take(len.into(), "BlobDescription")?.to_vec();
        blob(cursor, Some(description))
    }
}

fn blob(mut cursor: Cursor<'_>, description: Option<Vec<u8>>) -> Result<FirmwareBlob, BootError> {
    let (base, length) = (cursor.u64("BlobBase")?, cursor.u64("BlobLength")?);
    end(&cursor, "end of UEFI_PLATFORM_FIRMWARE_BLOB")?;
    Ok(FirmwareBlob { description, base, length })
}

/// `UEFI_HANDOFF_TABLE_POINTERS` or, with a description, its second form (section 10.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandoffTables {
    /// What the firmware calls the tables; `None` for the first form.
    pub description: Option<Vec<u8>>,
    /// Each table's GUID in memory encoding, and its address.
    pub tables: Vec<([u8; 16], u64)>,
}

impl HandoffTables {
    /// Reads exactly one `UEFI_HANDOFF_TABLE_POINTERS`.
    ///
    /// # Errors
    /// As [`ImageLoad::parse`].
    pub fn parse(data: &[u8]) -> Result<Self, BootError> {
        tables(Cursor::new(data, 0), None)
    }

    /// Reads exactly one `UEFI_HANDOFF_TABLE_POINTERS2`.
    ///
    /// # Errors
    /// As [`ImageLoad::parse`].
    pub fn parse2(data: &[u8]) -> Result<Self, BootError> {
        let mut cursor = Cursor::new(data, 0);
        let len = cursor.u8("TableDescriptionSize")?;
        let description = cursor.take(len.into(), "TableDescription")?.to_vec();
        tables(cursor, Some(description))
    }
}

fn tables(mut cursor: Cursor<'_>, description: Option<Vec<u8>>) -> Result<HandoffTables, BootError> {
    let count = count(&mut cursor, "NumberOfTables")?;
    let mut tables = Vec::new();
    for _ in 0..count {
        tables.push((cursor.array("VendorGuid")?, cursor.u64("VendorTable")?));
    }
    end(&cursor, "end of UEFI_HANDOFF_TABLE_POINTERS")?;
    Ok(HandoffTables { description, tables })
}

/// `UEFI_GPT_DATA` (section 10.2.8): the boot disk's partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GptData {
    /// The disk's GUID in memory encoding.
    pub disk: [u8; 16],
    /// The partitions that are in use, in order.
    pub partitions: Vec<GptPartition>,
}

/// One entry of a partition table (UEFI 2.10, table 5.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GptPartition {
    /// Partition type GUID in memory encoding.
    pub kind: [u8; 16],
    /// The partition's own GUID in memory encoding.
    pub id: [u8; 16],
    /// First block.
    pub first: u64,
    /// Last block.
    pub last: u64,
    /// Name; empty where it is no UTF-16.
    pub name: String,
}

/// Length in bytes of a GPT header and of an entry (UEFI 2.10, tables 5.5 and 5.7).
const GPT_HEADER: usize = 92;
const GPT_ENTRY: usize = 128;

impl GptData {
    /// Reads exactly one structure.
    ///
    /// # Errors
    /// As [`ImageLoad::parse`]; entries longer than 128 bytes, which no disk has, are refused.
    pub fn parse(data: &[u8]) -> Result<Self, BootError> {
        let mut cursor = Cursor::new(data, 0);
        let mut header = Cursor::new(cursor.take(GPT_HEADER, "UEFIPartitionHeader")?, 0);
        let disk = gpt_header(&mut header)?;
        let count = count(&mut cursor, "NumberOfPartitions")?;
        let mut partitions = Vec::new();
        for _ in 0..count {
            partitions.push(partition(&mut cursor)?);
        }
        end(&cursor, "end of UEFI_GPT_DATA")?;
        Ok(Self { disk, partitions })
    }
}

fn gpt_header(header: &mut Cursor<'_>) -> Result<[u8; 16], BootError> {
    let check = |field, offset| BootError::CheckField { field, offset };
    if header.take(8, "Signature")? != b"EFI PART" {
        return Err(check("Signature", 0));
    }
    header.take(72 - 16 - 8, "MyLBA")?;
    let disk = header.array("DiskGUID")?;
    header.take(8 + 4, "PartitionEntryLBA")?;
    let offset = header.offset();
    match usize::try_from(header.u32("SizeOfPartitionEntry")?) {
        Ok(GPT_ENTRY) => Ok(disk),
        _ => Err(check("SizeOfPartitionEntry", offset)),
    }
}

fn partition(cursor: &mut Cursor<'_>) -> Result<GptPartition, BootError> {
    let (kind, id) = (cursor.array("PartitionTypeGUID")?, cursor.array("UniquePartitionGUID")?);
    let (first, last) = (cursor.u64("StartingLBA")?, cursor.u64("EndingLBA")?);
    cursor.u64("Attributes")?;
    let name = utf16(cursor.take(72, "PartitionName")?).unwrap_or_default();
    let name = name.split('\0').next().unwrap_or_default().to_owned();
    Ok(GptPartition { kind, id, first, last, name })
}

/// `TCG_PCClientTaggedEvent` (section 10.2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedEvent {
    /// Who logged what: no registry of these exists.
    pub id: u32,
    /// The tag's data.
    pub data: Vec<u8>,
}

impl TaggedEvent {
    /// Reads tagged events, at least one, that fill `data` exactly.
    ///
    /// # Errors
    /// As [`ImageLoad::parse`].
    pub fn parse_all(data: &[u8]) -> Result<Vec<Self>, BootError> {
        let mut cursor = Cursor::new(data, 0);
        let mut events = vec![tagged(&mut cursor)?];
        while cursor.remaining() > 0 {
            events.push(tagged(&mut cursor)?);
        }
        Ok(events)
    }
}

fn tagged(cursor: &mut Cursor<'_>) -> Result<TaggedEvent, BootError> {
    let id = cursor.u32("taggedEventID")?;
    let len = usize::try_from(cursor.u32("taggedEventDataSize")?).unwrap_or(usize::MAX);
    Ok(TaggedEvent { id, data: cursor.take(len, "taggedEventData")?.to_vec() })
}

/// A count of things, no more than an event has bytes.
fn count(cursor: &mut Cursor<'_>, field: &'static str) -> Result<usize, BootError> {
    let offset = cursor.offset();
    let count = usize::try_from(cursor.u64(field)?).ok().filter(|count| *count <= MAX_EVENT_BYTES);
    count.ok_or(BootError::CheckField { field, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field<T: std::fmt::Debug>(read: Result<T, BootError>) -> &'static str {
        match read {
            Err(BootError::CheckField { field, .. } | BootError::ReadField { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    fn image(path: &[u8], tail: usize) -> Vec<u8> {
        let numbers = [1u64, 2, 3, path.len() as u64].map(u64::to_le_bytes).concat();
        [&numbers[..], path, &vec![0xaf; tail]].concat()
    }

    #[test]
    fn an_image_has_a_path_and_a_short_tail_at_most() {
        let end = [0x7f, 0xff, 4, 0];
        let read = ImageLoad::parse(&image(&end, 0)).unwrap();
        assert_eq!((read.location, read.length, read.link_time_address, read.tail), (1, 2, 3, 0));
        assert_eq!(ImageLoad::parse(&image(&end, 8)).unwrap().tail, 8);
        assert_eq!(ImageLoad::parse(&image(&[], 9)).unwrap().tail, 9);
        assert_eq!(field(ImageLoad::parse(&image(&[], 10))), "end of UEFI_IMAGE_LOAD_EVENT");
        assert_eq!(field(ImageLoad::parse(&image(&[1, 1, 4, 0], 0))), "Type");
        assert_eq!(field(ImageLoad::parse(&image(&end, 0)[..34])), "DevicePath");
        let huge = [0u64, 0, 0, u64::MAX].map(u64::to_le_bytes).concat();
        assert_eq!(field(ImageLoad::parse(&huge)), "LengthOfDevicePath");
    }

    #[test]
    fn blobs_and_tables_are_exact() {
        let sixteen = [5u64, 6].map(u64::to_le_bytes).concat();
        let plain = FirmwareBlob { description: None, base: 5, length: 6 };
        assert_eq!(FirmwareBlob::parse(&sixteen), Ok(plain.clone()));
        let described = [&[2][..], b"ab", &sixteen].concat();
        assert_eq!(FirmwareBlob::parse2(&described).unwrap().description.as_deref(), Some(&b"ab"[..]));
        assert_eq!(field(FirmwareBlob::parse(&described)), "end of UEFI_PLATFORM_FIRMWARE_BLOB");
        let one = [&1u64.to_le_bytes()[..], &[7; 16], &9u64.to_le_bytes()].concat();
        assert_eq!(HandoffTables::parse(&one).unwrap().tables, [([7; 16], 9)]);
        let described = [&[1][..], b"a", &one].concat();
        assert_eq!(HandoffTables::parse2(&described).unwrap().tables.len(), 1);
        assert_eq!(field(HandoffTables::parse(&one[..20])), "VendorGuid");
        assert_eq!(
            field(HandoffTables::parse(&[&one[..], &[0]].concat())),
            "end of UEFI_HANDOFF_TABLE_POINTERS"
        );
    }

    fn gpt(entry: u32, count: u64) -> Vec<u8> {
        let mut header = b"EFI PART".to_vec();
        header.extend([0; 48]);
        header.extend([8; 16]);
        header.extend([0; 12]);
        header.extend(entry.to_le_bytes());
        header.extend([0; 4]);
        let partition = [&[1; 16][..], &[2; 16], &[3; 24], b"e\0s\0p\0", &[0; 66]].concat();
        [&header[..], &count.to_le_bytes(), &partition].concat()
    }

    #[test]
    fn a_partition_table_has_its_entries() {
        let read = GptData::parse(&gpt(128, 1)).unwrap();
        assert_eq!((read.disk, read.partitions[0].name.as_str()), ([8; 16], "esp"));
        assert_eq!(field(GptData::parse(&gpt(256, 1))), "SizeOfPartitionEntry");
        assert_eq!(field(GptData::parse(&gpt(128, 0))), "end of UEFI_GPT_DATA");
        assert_eq!(field(GptData::parse(&gpt(128, 2))), "PartitionTypeGUID");
        let mut other = gpt(128, 1);
        other[0] = b'e';
        assert_eq!(field(GptData::parse(&other)), "Signature");
    }

    #[test]
    fn tags_follow_one_another() {
        let one = [&7u32.to_le_bytes()[..], &2u32.to_le_bytes(), b"ab"].concat();
        let two = [&one[..], &one].concat();
        assert_eq!(TaggedEvent::parse_all(&two).unwrap().len(), 2);
        assert_eq!(field(TaggedEvent::parse_all(&[])), "taggedEventID");
        assert_eq!(field(TaggedEvent::parse_all(&one[..9])), "taggedEventData");
    }
}
