//! Certificates of authorities in NV storage, one by one.
//!
//! Makers put them there end to end: several in one index, or one across two indices that follow one
//! another (TCG EK Credential Profile 2.5, 2.2.1.5). Whoever verifies wants one certificate an entry.

use crate::machine::{LONGEST_CERTIFICATE, MOST_CERTIFICATES, SkippedIndex};

/// What the indices held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pieces {
    /// Certificates in their order, without padding.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// Indices of which something was left out.
    pub(crate) skipped: Vec<SkippedIndex>,
    /// The beginning of a certificate, and the index that should go on with it.
    begun: Option<(u32, Vec<u8>)>,
}

impl Pieces {
    /// Takes the contents of the next index.
    pub(crate) fn take(&mut self, index: u32, contents: &[u8]) {
        let begun = match self.begun.take() {
            Some((next, begun)) if next == index => begun,
            other => {
                self.begun = other;
                self.end();
                Vec::new()
            }
        };
        let whole = [&begun[..], contents].concat();
        let mut rest = unheaded(&whole);
        while let Some(at) = rest.iter().position(|byte| !matches!(byte, 0 | 0xff)) {
            rest = rest.get(at..).unwrap_or_default();
            let Some(len) = len(rest) else {
                return self.skip(index, "what follows is no DER certificate".to_owned());
            };
            let Some((certificate, after)) = rest.split_at_checked(len) else {
                self.begun = Some((index.saturating_add(1), rest.to_vec()));
                return;
            };
            self.push(index, certificate);
            rest = after;
        }
    }

    fn push(&mut self, index: u32, certificate: &[u8]) {
        match certificate.len() {
            _ if self.certificates.len() >= MOST_CERTIFICATES => {
                self.skip(index, format!("there are more than {MOST_CERTIFICATES} of its kind"));
            }
            len if len > LONGEST_CERTIFICATE => {
                self.skip(index, format!("a certificate has more than {LONGEST_CERTIFICATE} bytes"));
            }
            _ => self.certificates.push(certificate.to_vec()),
        }
    }

    /// Names what was begun and never went on.
    pub(crate) fn end(&mut self) {
        if let Some((next, _)) = self.begun.take() {
            self.skip(next.saturating_sub(1), "its last certificate is cut short".to_owned());
        }
    }

    /// Once an index.
    fn skip(&mut self, index: u32, reason: String) {
        if self.skipped.last().is_none_or(|last| last.index != index) {
            self.skipped.push(SkippedIndex { index, reason });
        }
    }
}

/// Without the header of the TCG's older NV layout (PC Client 1.21, 7.4.5).
fn unheaded(contents: &[u8]) -> &[u8] {
    match contents {
        [0x10, 0x01, 0x00, _, _, 0x10, 0x02, rest @ ..] => rest,
        plain => plain,
    }
}

/// Length of the certificate at the start: a SEQUENCE with a long length (X.690, 8.1.3.5).
fn len(der: &[u8]) -> Option<usize> {
    let (head, bytes) = match der {
        [0x30, 0x81, a, ..] => (3, [0, *a]),
        [0x30, 0x82, a, b, ..] => (4, [*a, *b]),
        // A header that is cut: more than there is.
        [0x30] | [0x30, 0x81 | 0x82] | [0x30, 0x82, _] => (4, [0, 0]),
        _ => return None,
    };
    Some(head + usize::from(u16::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: u32 = 0x01C0_0100;

    fn certificate(len: u16) -> Vec<u8> {
        let fill = u8::try_from(len % 251).unwrap();
        [&[0x30, 0x82][..], &len.to_be_bytes(), &vec![fill; usize::from(len)]].concat()
    }

    fn split(indices: &[(u32, Vec<u8>)]) -> Pieces {
        let mut pieces = Pieces::default();
        for (index, contents) in indices {
            pieces.take(*index, contents);
        }
        pieces.end();
        pieces
    }

    #[test]
    fn several_in_one_index_come_apart() {
        let [a, b, c] = [300, 301, 302].map(certificate);
        let padded = [&a[..], &b, &[0xff; 9], &c, &[0; 5]].concat();
        assert_eq!(split(&[(FIRST, padded)]).certificates, [a.clone(), b.clone(), c]);
        let headed = [&[0x10, 1, 0, 1, 50, 0x10, 2][..], &a].concat();
        let two = split(&[(FIRST, headed), (FIRST + 7, b.clone())]);
        assert_eq!((two.certificates, two.skipped), (vec![a, b], vec![]));
    }

    #[test]
    fn one_across_two_indices_comes_together() {
        let [a, b] = [300, 301].map(certificate);
        let all = [&a[..], &b].concat();
        for cut in [1, 2, 3, 200, 306, 310, 500] {
            let (one, two) = all.split_at(cut);
            let pieces = split(&[(FIRST, one.to_vec()), (FIRST + 1, two.to_vec())]);
            assert_eq!(pieces.certificates, [a.clone(), b.clone()], "{cut}");
            let apart = split(&[(FIRST, one.to_vec()), (FIRST + 2, b.clone())]);
            assert_eq!(apart.certificates.last(), Some(&b), "{cut}");
            assert_eq!(apart.skipped[0].index, FIRST, "{cut}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_left_out_with_a_reason() {
        let a = certificate(300);
        let odd = split(&[(FIRST, [&a[..], &[7; 9]].concat()), (FIRST + 1, a.clone())]);
        assert_eq!((odd.certificates.len(), odd.skipped.len(), odd.skipped[0].index), (2, 1, FIRST));
        let cut = split(&[(FIRST, a[..200].to_vec())]);
        assert!(cut.certificates.is_empty() && cut.skipped[0].reason.contains("cut short"));
        let many = split(&[(FIRST, a.repeat(MOST_CERTIFICATES + 2))]);
        assert_eq!((many.certificates.len(), many.skipped.len()), (MOST_CERTIFICATES, 1));
        let long = split(&[(FIRST, certificate(u16::try_from(LONGEST_CERTIFICATE).unwrap()))]);
        assert!(long.certificates.is_empty() && long.skipped[0].reason.contains("bytes"));
        assert_eq!(split(&[(FIRST, vec![0xff; 40]), (FIRST + 1, vec![])]), Pieces::default());
    }
}
