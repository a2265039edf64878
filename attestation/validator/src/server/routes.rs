//! Paths, how large their bodies may be, and what the bodies hold.

use assay_ledger::protocol::{
    BEACON, CHALLENGE, ChallengeRequest, ENROL, ENROL_ANSWER, RECORDS, RECORDS_BYTES, RECORDS_COUNT,
    REVOCATIONS, Records, SESSION,
};
use assay_ledger::session::Evidence;
use assay_wire::{Envelope, Kind, WireError, cbor, limits};
use hyper::Method;

use crate::engine::{Opening, Refused, Request};

/// Anything that holds a few hashes or one attestation.
const SMALL_BYTES: usize = 12 << 10;
/// The array and byte-string headers around the envelopes of a delivery.
const RECORDS_BODY: usize = RECORDS_BYTES + RECORDS_COUNT * 5 + 64;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Beacon,
    Enrol,
    Answer,
    Challenge,
    Session,
    Records,
    Revocations,
}

/// The route of a request line.
pub(super) fn find(method: &Method, path: &str) -> Result<Route, Refused> {
    let (due, route) = match path {
        BEACON => (Method::GET, Route::Beacon),
        ENROL => (Method::POST, Route::Enrol),
        ENROL_ANSWER => (Method::POST, Route::Answer),
        CHALLENGE => (Method::POST, Route::Challenge),
        SESSION => (Method::POST, Route::Session),
        RECORDS => (Method::POST, Route::Records),
        REVOCATIONS => (Method::GET, Route::Revocations),
        _ => return Err(Refused::new(404, "request.path", "no such path")),
    };
    match *method == due {
        true => Ok(route),
        false => Err(Refused::new(405, "request.method", format!("this path takes {due}"))),
    }
}

fn malformed(error: WireError) -> Refused {
    Refused::new(400, "request.malformed", error.to_string())
}

impl Route {
    /// Whether it costs public-key work, a nonce or a long answer for whoever asks: these are paced by
    /// address. Records are paced by what of them is refused ([`super::rate::Deposit`]), for those that are
    /// taken come as often as their sessions make them.
    pub(super) fn is_paced(self) -> bool {
        !matches!(self, Self::Beacon | Self::Records)
    }

    /// The most bytes that its body may have.
    pub(super) fn body_limit(self) -> usize {
        match self {
            Self::Beacon | Self::Revocations => 0,
            Self::Enrol => limits::ENROL_REQUEST,
            Self::Answer | Self::Challenge => SMALL_BYTES,
            Self::Session => limits::ENVELOPE,
            Self::Records => RECORDS_BODY,
        }
    }

    /// The request in a body; no signature is looked at.
    pub(super) fn decode(self, body: &[u8]) -> Result<Request, Refused> {
        let limit = self.body_limit();
        match self {
            Self::Beacon => Ok(Request::Beacon),
            Self::Revocations => Ok(Request::Revocations),
            Self::Enrol => cbor::from_slice("enrolment request", body, limit)
                .map(|request| Request::Enrol(Box::new(request)))
                .map_err(malformed),
            Self::Answer => cbor::from_slice("enrolment answer", body, limit)
                .map(|answer| Request::Answer(Box::new(answer)))
                .map_err(malformed),
            Self::Challenge => cbor::from_slice::<ChallengeRequest>("challenge request", body, limit)
                .map(Request::Challenge)
                .map_err(malformed),
            Self::Session => opening(body),
            Self::Records => records(body, limit),
        }
    }
}

fn opening(body: &[u8]) -> Result<Request, Refused> {
    let envelope = Envelope::decode_as(Kind::Evidence, body).map_err(malformed)?;
    let evidence: Evidence = envelope.message().map_err(malformed)?;
    let start = evidence.session;
    let pcr0 = evidence.pcrs.iter().find(|one| one.pcr == 0).map(|one| one.value);
    // SQLite's integers end there, and no clock that counts from boot gets there.
    if i64::try_from(start.mono_ms).is_err() {
        return Err(Refused::new(400, "request.malformed", "session: a time beyond all times"));
    }
    Ok(Request::Session(Box::new(Opening {
        bytes: body.to_vec(),
        hash: envelope.hash(),
        id: start.id(),
        node: start.node,
        challenge: start.challenge,
        previous: start.previous,
        mono_ms: start.mono_ms,
        enrolment: evidence.enrolment,
        further: evidence.further,
        time: evidence.time.attest,
        pcr0,
        devices: evidence.devices.unwrap_or_default(),
    })))
}

fn records(body: &[u8], limit: usize) -> Result<Request, Refused> {
    let records: Records = cbor::from_slice("records", body, limit).map_err(malformed)?;
    let bytes: usize = records.envelopes.iter().map(|envelope| envelope.len()).sum();
    if records.envelopes.len() > RECORDS_COUNT || bytes > RECORDS_BYTES {
        let message = format!("more than {RECORDS_COUNT} envelopes or {RECORDS_BYTES} bytes of them");
        return Err(Refused::new(413, "request.too-large", message));
    }
    Ok(Request::Records(records))
}

#[cfg(test)]
mod tests {
    use super::*;
    use assay_ledger::ByteVec;
    use assay_wire::Digest;

    #[test]
    fn paths_and_methods() {
        assert_eq!(find(&Method::GET, "/v1/beacon"), Ok(Route::Beacon));
        assert_eq!(find(&Method::POST, "/v1/records"), Ok(Route::Records));
        assert_eq!(find(&Method::POST, "/v1/beacon").unwrap_err().status, 405);
        assert_eq!(find(&Method::GET, "/v1/session").unwrap_err().status, 405);
        assert_eq!(find(&Method::GET, "/v2/beacon").unwrap_err().status, 404);
        assert_eq!(find(&Method::GET, "/").unwrap_err().status, 404);
    }

    #[test]
    fn the_largest_delivery_fits_and_one_more_does_not() {
        let body = |count: usize, len: usize| {
            let envelopes = vec![ByteVec::from(vec![0; len]); count];
            cbor::to_vec(&Records { session: Digest([1; 32]), envelopes })
        };
        let full = body(RECORDS_COUNT, RECORDS_BYTES / RECORDS_COUNT);
        assert!(full.len() <= Route::Records.body_limit());
        assert!(Route::Records.decode(&full).is_ok());
        assert_eq!(Route::Records.decode(&body(RECORDS_COUNT + 1, 1)).unwrap_err().status, 413);
        assert_eq!(Route::Records.decode(&body(1, RECORDS_BYTES + 1)).unwrap_err().status, 413);
    }

    #[test]
    fn garbage_is_malformed_on_every_route() {
        for route in [Route::Enrol, Route::Answer, Route::Challenge, Route::Session, Route::Records] {
            for body in [&b""[..], b"\xff", b"\xa0", b"{}", &[0xd2; 100]] {
                let refused = route.decode(body).unwrap_err();
                assert_eq!((refused.status, refused.refusal.code.as_str()), (400, "request.malformed"));
            }
        }
    }

    /// Nanoseconds that this thread has been on a CPU (proc(5), schedstat).
    fn cpu_ns() -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn the_largest_body_of_every_path_is_refused_within_50_ms_of_cpu() {
        let every = [
            Route::Beacon,
            Route::Enrol,
            Route::Answer,
            Route::Challenge,
            Route::Session,
            Route::Records,
            Route::Revocations,
        ];
        for route in every.into_iter().filter(|route| route.body_limit() > 0) {
            let limit = route.body_limit();
            assert!(limit <= limits::ENVELOPE);
            for byte in [0x00, 0x40, 0x60, 0x80, 0x81, 0x9f, 0xa0, 0xa1, 0xd2, 0xf6, 0xff] {
                // By itself; inside the longest array; inside an array that claims to be longer than all.
                let array = [&[0x9a][..], &u32::try_from(limit - 5).unwrap().to_be_bytes()].concat();
                let endless = [&[0x9b][..], &[0xff; 8]].concat();
                for head in [vec![], array, endless] {
                    let body = [&*head, &*vec![byte; limit - head.len()]].concat();
                    let before = cpu_ns();
                    assert!(route.decode(&body).is_err());
                    let ms = (cpu_ns() - before) / 1_000_000;
                    assert!(ms < 50, "{route:?} {byte:#x}: {ms} ms");
                }
            }
        }
    }

    #[test]
    fn one_byte_more_than_a_path_takes_is_refused_without_a_look() {
        for route in [Route::Enrol, Route::Answer, Route::Challenge, Route::Session, Route::Records] {
            let refused = route.decode(&vec![0xff; route.body_limit() + 1]).unwrap_err();
            assert!(refused.refusal.message.contains("bytes") || refused.status == 413, "{refused:?}");
        }
    }
}
