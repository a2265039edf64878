//! Events in words: what an event's data says, for people and JSON. Chosen by the event's type and
//! therefore no ground for a verdict; [`crate::coverage`] says what of it is proven.

use crate::guid::guid_text;
use crate::os_events::tag_name;
use crate::text::{hex, logged_text, printable};
use crate::{
    Authority, BootError, EFI_GLOBAL_VARIABLE, EV_EFI_BOOT_SERVICES_APPLICATION, EV_EFI_BOOT_SERVICES_DRIVER,
    EV_EFI_GPT_EVENT, EV_EFI_GPT_EVENT2, EV_EFI_HANDOFF_TABLES, EV_EFI_HANDOFF_TABLES2,
    EV_EFI_PLATFORM_FIRMWARE_BLOB, EV_EFI_PLATFORM_FIRMWARE_BLOB2, EV_EFI_RUNTIME_SERVICES_DRIVER,
    EV_EFI_VARIABLE_AUTHORITY, EV_EFI_VARIABLE_BOOT, EV_EFI_VARIABLE_BOOT2, EV_EFI_VARIABLE_DRIVER_CONFIG,
    EV_EVENT_TAG, EV_NO_ACTION, EV_POST_CODE, EV_POST_CODE2, EV_S_CRTM_VERSION, Event, FirmwareBlob, GptData,
    HandoffTables, ImageLoad, LoadOption, SignatureList, TaggedEvent, UefiVariable, Voucher,
};

/// Bytes of unreadable data that are shown.
const SHOWN: usize = 64;
/// Most fields of one event: a dbx has hundreds of entries.
const MAX_FIELDS: usize = 2048;

/// An event's data as fields in the order of its structure; a name can be there more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventData {
    /// What the data was read as: "variable", "boot-option", "signature-lists", "authority",
    /// "image", "blob", "tables", "gpt", "tags", "text", "locality", "no-action", "separator",
    /// "bytes".
    pub form: &'static str,
    /// Names and values; values are printable.
    pub fields: Vec<(&'static str, String)>,
}

/// What an event's data says. Data that is not what its type promises is shown as text or bytes.
#[must_use]
pub fn describe(event: &Event) -> EventData {
    let mut data = structured(event).unwrap_or_else(|_| plain(&event.data));
    data.fields.truncate(MAX_FIELDS);
    data
}

fn structured(event: &Event) -> Result<EventData, BootError> {
    let data = event.data.as_slice();
    match event.kind {
        EV_EFI_VARIABLE_DRIVER_CONFIG | EV_EFI_VARIABLE_BOOT | EV_EFI_VARIABLE_BOOT2 => variable(data),
        EV_EFI_VARIABLE_AUTHORITY => authority(data),
        EV_EFI_BOOT_SERVICES_APPLICATION | EV_EFI_BOOT_SERVICES_DRIVER | EV_EFI_RUNTIME_SERVICES_DRIVER => {
            image(data)
        }
        EV_EFI_PLATFORM_FIRMWARE_BLOB => FirmwareBlob::parse(data).map(|read| blob(&read)),
        EV_EFI_PLATFORM_FIRMWARE_BLOB2 | EV_POST_CODE2 => FirmwareBlob::parse2(data).map(|read| blob(&read)),
        EV_POST_CODE if data.len() == 16 => FirmwareBlob::parse(data).map(|read| blob(&read)),
        EV_EFI_HANDOFF_TABLES => HandoffTables::parse(data).map(|read| tables(&read)),
        EV_EFI_HANDOFF_TABLES2 => HandoffTables::parse2(data).map(|read| tables(&read)),
        EV_EFI_GPT_EVENT | EV_EFI_GPT_EVENT2 => GptData::parse(data).map(|read| gpt(&read)),
        EV_EVENT_TAG => TaggedEvent::parse_all(data).map(|read| tags(&read)),
        EV_S_CRTM_VERSION if data.len() == 16 && logged_text(data).is_none() => Ok(crtm_guid(data)),
        EV_NO_ACTION => Ok(no_action(data)),
        _ => Ok(plain(data)),
    }
}

fn form(form: &'static str, fields: Vec<(&'static str, String)>) -> EventData {
    EventData { form, fields }
}

fn plain(data: &[u8]) -> EventData {
    match data {
        [0, 0, 0, 0] | [0xff, 0xff, 0xff, 0xff] => form("separator", vec![("value", hex(data))]),
        _ => match logged_text(data) {
            Some(text) => form("text", vec![("text", printable(&text))]),
            None => form("bytes", vec![("bytes", shown(data))]),
        },
    }
}

fn shown(data: &[u8]) -> String {
    match data.get(..SHOWN) {
        Some(start) if data.len() > SHOWN => format!("{}… ({} bytes)", hex(start), data.len()),
        _ => hex(data),
    }
}

fn variable(data: &[u8]) -> Result<EventData, BootError> {
    let UefiVariable { guid, name, value } = UefiVariable::parse(data)?;
    let mut fields = vec![("guid", guid_text(&guid)), ("name", printable(&name))];
    let known = match name.as_str() {
        "PK" | "KEK" | "db" | "dbx" | "dbt" | "dbr" => lists(&value),
        "BootOrder" | "DriverOrder" => order(&value),
        _ if guid == EFI_GLOBAL_VARIABLE && is_option(&name) => boot_option(&value),
        _ => None,
    };
    let (form, more) = known.unwrap_or_else(|| ("variable", vec![("value", shown(&value))]));
    fields.extend(more);
    Ok(EventData { form, fields })
}

type Known = Option<(&'static str, Vec<(&'static str, String)>)>;

/// Boot#### or Driver#### (UEFI 2.10, section 3.3).
fn is_option(name: &str) -> bool {
    let number = name.strip_prefix("Boot").or_else(|| name.strip_prefix("Driver"));
    number.is_some_and(|number| number.len() == 4 && number.chars().all(|c| c.is_ascii_hexdigit()))
}

fn lists(value: &[u8]) -> Known {
    let lists = SignatureList::parse_all(value).ok()?;
    let entries = lists.iter().flat_map(|list| {
        let kind = list.kind.name();
        let text = move |entry: &crate::Signature| {
            format!("{kind} {} owner {}", content(list.kind.data_len(), &entry.data), guid_text(&entry.owner))
        };
        list.signatures.iter().map(move |entry| ("signature", text(entry)))
    });
    Some(("signature-lists", entries.take(MAX_FIELDS).collect()))
}

/// A digest as it is; a certificate by its hash.
fn content(fixed: Option<usize>, data: &[u8]) -> String {
    match fixed {
        Some(len) if len <= 80 => hex(data),
        _ => format!("with sha256 {}", hex(&crate::alg::sha256(data))),
    }
}

fn order(value: &[u8]) -> Known {
    let (units, rest) = value.as_chunks::<2>();
    let numbers: Vec<String> =
        units.iter().map(|unit| format!("{:04X}", u16::from_le_bytes(*unit))).collect();
    rest.is_empty().then(|| ("variable", vec![("order", numbers.join(","))]))
}

fn boot_option(value: &[u8]) -> Known {
    let option = LoadOption::parse(value).ok()?;
    let mut fields = vec![("description", printable(&option.description))];
    fields.push(("active", option.active.to_string()));
    fields.extend(option.paths.iter().map(|path| ("path", path.to_string())));
    if !option.optional_data.is_empty() {
        fields.push(("optional-data", shown(&option.optional_data)));
    }
    Some(("boot-option", fields))
}

fn authority(data: &[u8]) -> Result<EventData, BootError> {
    let authority = Authority::parse(data)?;
    let mut fields = vec![("guid", guid_text(&authority.guid)), ("name", printable(&authority.name))];
    let hash = |data: &[u8]| hex(&crate::alg::sha256(data));
    match &authority.voucher {
        Voucher::Entry(entry) => {
            fields.push(("owner", guid_text(&entry.owner)));
            fields.push(("sha256", hash(&entry.data)));
        }
        Voucher::Certificate(certificate) => fields.push(("sha256", hash(certificate))),
        Voucher::Text(text) => fields.push(("text", printable(text))),
        Voucher::Other(bytes) => fields.push(("bytes", shown(bytes))),
    }
    if authority.extra_bytes > 0 {
        fields.push(("extra-bytes", authority.extra_bytes.to_string()));
    }
    Ok(form("authority", fields))
}

fn image(data: &[u8]) -> Result<EventData, BootError> {
    let image = ImageLoad::parse(data)?;
    let mut fields = vec![
        ("location", format!("{:#x}", image.location)),
        ("length", image.length.to_string()),
        ("link-time-address", format!("{:#x}", image.link_time_address)),
        ("path", image.path.to_string()),
    ];
    if image.tail > 0 {
        fields.push(("extra-bytes", image.tail.to_string()));
    }
    Ok(form("image", fields))
}

fn blob(blob: &FirmwareBlob) -> EventData {
    let description = blob.description.as_deref().map(description);
    let mut fields: Vec<_> = description.into_iter().collect();
    fields.push(("base", format!("{:#x}", blob.base)));
    fields.push(("length", format!("{:#x}", blob.length)));
    form("blob", fields)
}

fn tables(tables: &HandoffTables) -> EventData {
    let description = tables.description.as_deref().map(description);
    let table = |(guid, at): &([u8; 16], u64)| ("table", format!("{} at {at:#x}", guid_text(guid)));
    form("tables", description.into_iter().chain(tables.tables.iter().map(table)).collect())
}

fn description(bytes: &[u8]) -> (&'static str, String) {
    ("description", logged_text(bytes).map_or_else(|| hex(bytes), |text| printable(&text)))
}

fn gpt(gpt: &GptData) -> EventData {
    let mut fields = vec![("disk", guid_text(&gpt.disk))];
    fields.extend(gpt.partitions.iter().map(|partition| {
        let (id, kind) = (guid_text(&partition.id), guid_text(&partition.kind));
        let name = printable(&partition.name);
        ("partition", format!("{id} type {kind} blocks {}-{} {name}", partition.first, partition.last))
    }));
    form("gpt", fields)
}

fn tags(tags: &[TaggedEvent]) -> EventData {
    let mut fields = Vec::new();
    for tag in tags.iter().take(MAX_FIELDS) {
        fields.push(("tag", format!("{:#010x}", tag.id)));
        fields.extend(tag_name(tag.id).map(|name| ("meaning", name.to_owned())));
        let text = logged_text(&tag.data).map(|text| printable(&text));
        fields.push(("data", text.unwrap_or_else(|| shown(&tag.data))));
    }
    form("tags", fields)
}

fn crtm_guid(data: &[u8]) -> EventData {
    let guid = data.try_into().map_or_else(|_| hex(data), |guid: [u8; 16]| guid_text(&guid));
    form("text", vec![("guid", guid)])
}

/// EV_NO_ACTION begins with a signature of sixteen bytes (PFP 1.06, section 10.4.5).
fn no_action(data: &[u8]) -> EventData {
    if let Some([locality]) = data.strip_prefix(b"StartupLocality\0") {
        return form("locality", vec![("locality", locality.to_string())]);
    }
    match data.split_at_checked(16).and_then(|(name, rest)| Some((logged_text(name)?, rest))) {
        Some((name, rest)) => {
            form("no-action", vec![("signature", printable(&name)), ("bytes", shown(rest))])
        }
        None => plain(data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EV_IPL;

    fn read(kind: u32, data: &[u8]) -> (&'static str, String) {
        let event = Event { pcr: 7, kind, digests: vec![], data: data.to_vec() };
        let read = describe(&event);
        let fields: Vec<String> = read.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (read.form, fields.join(" "))
    }

    fn variable(name: &str, value: &[u8]) -> Vec<u8> {
        UefiVariable { guid: EFI_GLOBAL_VARIABLE, name: name.into(), value: value.to_vec() }.encode()
    }

    #[test]
    fn each_type_is_read_as_what_it_is() {
        let kind = EV_EFI_VARIABLE_DRIVER_CONFIG;
        let global = "guid=8be4df61-93ca-11d2-aa0d-00e098032b8c";
        assert_eq!(
            read(kind, &variable("SecureBoot", &[1])),
            ("variable", format!("{global} name=SecureBoot value=01"))
        );
        assert_eq!(read(kind, &variable("PK", &[])), ("signature-lists", format!("{global} name=PK")));
        assert_eq!(read(kind, &variable("PK", &[1])), ("variable", format!("{global} name=PK value=01")));
        let order = ("variable", format!("{global} name=BootOrder order=0001,000A"));
        assert_eq!(read(EV_EFI_VARIABLE_BOOT, &variable("BootOrder", &[1, 0, 10, 0])), order);
        let option = [1, 0, 0, 0, 4, 0, 0x41, 0, 0, 0, 0x7f, 0xff, 4, 0];
        let option = read(EV_EFI_VARIABLE_BOOT2, &variable("Boot00AF", &option));
        assert_eq!(
            option,
            ("boot-option", format!("{global} name=Boot00AF description=A active=true path="))
        );
        assert_eq!(read(EV_NO_ACTION, b"StartupLocality\0\x03"), ("locality", "locality=3".into()));
        assert_eq!(
            read(EV_NO_ACTION, b"SP800-155 Event3\x01"),
            ("no-action", "signature=SP800-155 Event3 bytes=01".into())
        );
        assert_eq!(read(EV_IPL, &[0, 0, 0, 0]), ("separator", "value=00000000".into()));
        assert_eq!(read(EV_IPL, b"grub_cmd: x\0"), ("text", "text=grub_cmd: x".into()));
        assert_eq!(read(EV_IPL, &[1; 65]), ("bytes", format!("bytes={}… (65 bytes)", "01".repeat(64))));
        assert_eq!(
            read(EV_EFI_GPT_EVENT, b"MBR?"),
            ("text", "text=MBR?".into()),
            "not what its type promises"
        );
        let crtm = read(EV_S_CRTM_VERSION, &EFI_GLOBAL_VARIABLE);
        assert_eq!(crtm, ("text", "guid=8be4df61-93ca-11d2-aa0d-00e098032b8c".into()));
    }

    #[test]
    fn the_longest_event_gives_bounded_fields() {
        let tags = [0u8; 8].repeat(crate::MAX_EVENT_BYTES / 8);
        let event = Event { pcr: 7, kind: EV_EVENT_TAG, digests: vec![], data: tags };
        assert_eq!(describe(&event).fields.len(), MAX_FIELDS);
    }
}
