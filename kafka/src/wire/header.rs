//! Heads of requests and answers, and what is offered.

use crate::wire::error::Malformed;
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// A request that is offered, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    Produce,
    Fetch,
    ListOffsets,
    Metadata,
    FindCoordinator,
    SaslHandshake,
    Versions,
    InitProducerId,
    SaslAuthenticate,
}

/// What is offered of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) api: Api,
    pub(crate) key: i16,
    /// Versions.
    pub(crate) from: i16,
    pub(crate) to: i16,
    /// The first version that is flexible.
    flexible: i16,
}

const fn offer(api: Api, key: i16, from: i16, to: i16, flexible: i16) -> Offer {
    Offer {
        api,
        key,
        from,
        to,
        flexible,
    }
}

/// No version of it is flexible.
const NEVER: i16 = i16::MAX;

/// What is offered. Later versions of `Metadata` and `Fetch` name topics by ids, which streams do
/// not have. `FindCoordinator` is offered only to be refused: a client that does not find it waits
/// for ever, and librdkafka takes a server without it for one that knows no LZ4. `Produce` before
/// version 3 comes with messages of old versions, which are refused: but some versions of
/// librdkafka compress nothing for a server that does not offer its version 0 (KIP-896 tells of
/// it).
pub(crate) const OFFERED: [Offer; 9] = [
    offer(Api::Produce, 0, 0, 9, 9),
    offer(Api::Fetch, 1, 4, 12, 12),
    offer(Api::ListOffsets, 2, 1, 6, 6),
    offer(Api::Metadata, 3, 0, 9, 9),
    offer(Api::FindCoordinator, 10, 0, 3, 3),
    offer(Api::SaslHandshake, 17, 0, 1, NEVER),
    offer(Api::Versions, 18, 0, 3, 3),
    offer(Api::InitProducerId, 22, 0, 4, 2),
    offer(Api::SaslAuthenticate, 36, 0, 2, 2),
];

/// The head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) key: i16,
    pub(crate) version: i16,
    pub(crate) correlation: i32,
}

/// What a request is, as far as its head says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked<'a> {
    /// It is offered; the rest of it.
    Offered(Offer, Reader<'a>),
    /// It is not offered in this version, or not at all.
    Unknown,
}

impl Head {
    /// Reads the head of a request.
    ///
    /// # Errors
    /// [`Malformed`].
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, Asked<'_>), Malformed> {
        let mut reader = Reader::new(bytes);
        let head = Self {
            key: reader.i16()?,
            version: reader.i16()?,
            correlation: reader.i32()?,
        };
        let offered = OFFERED.iter().find(|offer| offer.key == head.key);
        let offered = offered.filter(|offer| (offer.from..=offer.to).contains(&head.version));
        let Some(offer) = offered else {
            return Ok((head, Asked::Unknown));
        };
        // The name of the client has an old length in every version.
        reader.opt_text()?;
        let mut reader = reader.flexible(head.version >= offer.flexible);
        reader.end_struct()?;
        Ok((head, Asked::Offered(*offer, reader)))
    }

    /// An answer, up to its body.
    pub(crate) fn answer(&self, offer: &Offer) -> Writer {
        let is_flexible = self.version >= offer.flexible;
        // A client that asks for versions does not know yet what it will understand.
        let mut writer = Writer::new(is_flexible && offer.api != Api::Versions);
        writer.i32(self.correlation);
        writer.body(is_flexible)
    }
}
