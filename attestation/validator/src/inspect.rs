//! `inspect`: what a file says, without believing any of it.
//!
//! Decodes envelopes of any kind, boot logs, attestations, certificates and reference values, and shows
//! them as names and values. What a file claims is not checked, and the page says so in its first line;
//! only what it can prove by itself is (a signature under a key that is given too). A verdict is
//! [`crate::verify`]'s.

mod command;
mod corim;
mod ek_cert;
mod eventlog;
mod ima;
mod manifest;
mod message;
pub(crate) mod page;
mod quote;
mod userspace;

use std::io::{self, Write};

use assay_wire::{Envelope, WireError};
use serde_json::{Map, Value, json};

pub(crate) use command::{InspectArgs, run};

use crate::text::plain;

/// What the bytes say, as JSON (schema 1).
///
/// # Errors
/// [`WireError`] when they are no envelope or its content is not of its kind.
pub fn inspect(bytes: &[u8]) -> Result<Value, WireError> {
    let envelope = Envelope::decode(bytes)?;
    Ok(json!({
        "schema": 1,
        "verified": false,
        "kind": envelope.kind.name(),
        "kid": envelope.kid.to_string(),
        "hash": envelope.hash().to_string(),
        "bytes": bytes.len(),
        "message": message::message(&envelope)?,
    }))
}

/// Writes it for people, indented by depth.
///
/// # Errors
/// Those of `out`.
pub fn print(out: &mut impl Write, file: &str, content: &Value) -> io::Result<()> {
    writeln!(out, "{}: not verified; this is only what it says", plain(file))?;
    match content {
        Value::Object(fields) => print_fields(out, fields, 1),
        other => writeln!(out, "  {}", scalar(other)),
    }
}

fn print_fields(out: &mut impl Write, fields: &Map<String, Value>, depth: usize) -> io::Result<()> {
    let shown =
        fields.iter().filter(|(name, _)| depth > 1 || !matches!(name.as_str(), "schema" | "verified"));
    for (name, value) in shown {
        print_field(out, name, value, depth)?;
    }
    Ok(())
}

fn print_field(out: &mut impl Write, name: &str, value: &Value, depth: usize) -> io::Result<()> {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) => {
            writeln!(out, "{indent}{name}:")?;
            print_fields(out, fields, depth + 1)
        }
        Value::Array(items) if items.iter().any(|item| item.is_object()) => {
            for (nth, item) in items.iter().enumerate() {
                print_field(out, &format!("{name}[{nth}]"), item, depth)?;
            }
            Ok(())
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(scalar).collect();
            writeln!(out, "{indent}{name}: [{}]", items.join(", "))
        }
        other => writeln!(out, "{indent}{name}: {}", scalar(other)),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}
