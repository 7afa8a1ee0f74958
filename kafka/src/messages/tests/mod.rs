//! Requests and answers against another implementation of the protocol, in every version that is
//! offered.
//!
//! | file | holds |
//! |---|---|
//! | `requests` | what it writes is read |
//! | `answers` | what is written it reads |

mod answers;
mod requests;

use crate::wire::header::{Api, Asked, Head, OFFERED, Offer};
use crate::wire::reader::Reader;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

const CORRELATION: i32 = 77;

fn offer(api: Api) -> Offer {
    *OFFERED.iter().find(|offer| offer.api == api).unwrap()
}

/// Calls `each` with every version that is offered.
fn each_version(api: Api, each: impl Fn(i16)) {
    let offer = offer(api);
    // The other implementation does not know the oldest ones.
    let from = if api == Api::Produce { 3 } else { offer.from };
    for version in from..=offer.to {
        each(version);
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A request as the other implementation writes it.
fn request(api: Api, version: i16, body: &impl Encodable) -> Vec<u8> {
    let key = ApiKey::try_from(offer(api).key).unwrap();
    let header = RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .with_correlation_id(CORRELATION)
        .with_client_id(Some(text("a client")));
    let mut out = BytesMut::new();
    header
        .encode(&mut out, key.request_header_version(version))
        .unwrap();
    body.encode(&mut out, version).unwrap();
    out.to_vec()
}

/// Its head, and a reader of its body.
fn opened(frame: &[u8]) -> (Head, Reader<'_>) {
    match Head::read(frame).unwrap() {
        (head, Asked::Offered(_, reader)) => (head, reader),
        (head, Asked::Unknown) => panic!("{head:?} is offered"),
    }
}

fn head(api: Api, version: i16) -> Head {
    Head {
        key: offer(api).key,
        version,
        correlation: CORRELATION,
    }
}

/// An answer as the other implementation reads it: all of it.
fn answer<T: Decodable>(api: Api, version: i16, bytes: &[u8]) -> T {
    let (length, rest) = bytes.split_first_chunk().unwrap();
    assert_eq!(u32::from_be_bytes(*length) as usize, rest.len());
    let mut rest = Bytes::copy_from_slice(rest);
    let key = ApiKey::try_from(offer(api).key).unwrap();
    let header = ResponseHeader::decode(&mut rest, key.response_header_version(version)).unwrap();
    assert_eq!(header.correlation_id, CORRELATION);
    let body = T::decode(&mut rest, version).unwrap();
    assert!(rest.is_empty(), "{} bytes are left", rest.len());
    body
}
