//! Changed documents: refused, or believed to say what they said.

use assay_validator::rim::examine;

use crate::data;
use crate::world::{Draft, World};

/// Flips one bit in each of some bytes; whatever is still believed says the same.
fn flip(document: &[u8], root: &[u8], places: impl Iterator<Item = (usize, u8)>) -> (usize, usize) {
    let good = examine(document, root).unwrap().rim(None).unwrap();
    let (mut refused, mut same) = (0, 0);
    for (at, bit) in places {
        let mut changed = document.to_vec();
        changed[at] ^= 1 << bit;
        match examine(&changed, root).map(|examined| examined.rim(None)) {
            Ok(Ok(rim)) => {
                same += 1;
                let believed = (&rim.kind, &rim.product, &rim.version, &rim.tag, &rim.rows, &rim.signer);
                let said = (&good.kind, &good.product, &good.version, &good.tag, &good.rows, &good.signer);
                assert_eq!(believed, said, "byte {at} bit {bit}");
                assert_eq!((rim.not_before, rim.not_after), (good.not_before, good.not_after));
            }
            _ => refused += 1,
        }
    }
    (refused, same)
}

#[test]
fn every_byte_of_a_document_of_ours() {
    let world = World::new();
    let document = Draft::new().sign(&world);
    let bits = |at: usize| [u8::try_from(at % 8).unwrap(), 5];
    let places = (0..document.len()).flat_map(|at| bits(at).map(|bit| (at, bit)));
    let (refused, same) = flip(document.as_bytes(), &world.root.der, places);
    // White space in tags may become other white space; nothing else is open.
    assert!(refused > 100 * same, "{refused} refused, {same} the same");
}

/// Every byte of what surrounds the rows, and one in eleven of the rows, which are all alike.
#[test]
fn the_bytes_of_a_real_document() {
    let Some((path, case, _)) =
        data::examined().into_iter().find(|(_, _, one)| one.clone().rim(None).is_ok())
    else {
        return;
    };
    assert_eq!(case["expected"]["signature"], true);
    let document = std::fs::read(path).unwrap();
    let text = str::from_utf8(&document).unwrap();
    let (from, to) = (text.find("Payload").unwrap(), text.rfind("Payload").unwrap());
    let places = (0..document.len()).filter(|at| !(from..to).contains(at) || at % 11 == 0);
    let places = places.map(|at| (at, u8::try_from(at % 7).unwrap()));
    flip(&document, assay_gpu::device::Roots::nvidia().rim(), places);
}

#[test]
fn every_beginning_of_a_document_is_refused() {
    let world = World::new();
    let document = Draft::new().sign(&world);
    for end in 0..document.len() {
        assert!(examine(&document.as_bytes()[..end], &world.root.der).is_err(), "{end}");
    }
}
