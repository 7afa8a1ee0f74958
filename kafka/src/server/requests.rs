//! Reading the requests of a connection, and beginning to answer them.

use crate::answers::answer::{Answer, Reply, Then};
use crate::answers::metadata::Reached;
use crate::answers::{fetch, metadata, offsets, produce, told};
use crate::door::Door;
use crate::messages;
use crate::messages::sasl;
use crate::server::connection::Due;
use crate::server::frames;
use crate::wire::error::{Code, Malformed};
use crate::wire::header::{Api, Asked, Head, Offer};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;
use std::io;
use std::sync::Arc;
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What is known of the client.
#[derive(Debug)]
struct Session<'a> {
    door: &'a Arc<Door>,
    reached: &'a Reached,
    /// Whether it may use the server.
    is_known: bool,
}

/// Begins all requests of a connection, until it ends or nothing more of it is to be looked at.
///
/// # Errors
/// If the connection breaks, or its client does not speak the protocol.
pub(crate) async fn read_all(
    from: &mut (impl AsyncRead + Unpin),
    door: &Arc<Door>,
    reached: &Reached,
    due: mpsc::Sender<Due>,
) -> io::Result<()> {
    let mut session = Session {
        door,
        reached,
        is_known: door.options.access.tokens.is_empty(),
    };
    loop {
        let next = async {
            // Without a place for its answer a request is not read.
            let place = due.reserve().await.map_err(io::Error::other)?;
            let frame = frames::next(from, &door.requests).await?;
            Ok::<_, io::Error>(frame.map(|frame| (place, frame)))
        };
        let next = tokio::select! {
            biased;
            () = door.is_stopped() => return Ok(()),
            next = next => next?,
        };
        let Some((place, frame)) = next else {
            return Ok(());
        };
        let began = Instant::now();
        let bad = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let (answer, then) = session.begin(&frame.bytes).await.map_err(bad)?;
        place.send((began, answer));
        if then == Then::Close {
            return Ok(());
        }
    }
}

impl Session<'_> {
    /// Begins a request. Its client is told nothing yet.
    async fn begin(&mut self, frame: &[u8]) -> Result<(Answer, Then), Malformed> {
        let (head, asked) = Head::read(frame)?;
        let (offer, reader) = match asked {
            Asked::Offered(offer, reader) => (offer, reader),
            // A client that knows more than this server asks for less then.
            Asked::Unknown if head.key == 18 => {
                let bytes = messages::versions::unknown(head);
                return Ok(go_on(Reply::new(bytes, Code::UnsupportedVersion).now()));
            }
            Asked::Unknown => {
                let (key, version) = (head.key, head.version);
                tracing::warn!(key, version, "a Kafka client asks what is not offered");
                return Err(Malformed("what it asks for is not offered"));
            }
        };
        let is_first = matches!(
            offer.api,
            Api::Versions | Api::SaslHandshake | Api::SaslAuthenticate
        );
        if !self.is_known && !is_first {
            return Err(Malformed("it did not say who it is (SASL, PLAIN)"));
        }
        if offer.api == Api::Produce {
            let request = messages::produce::read(head.version, reader)?;
            let begun = produce::begin(self.door, (head, offer), request).await;
            return Ok((begun.answer, begun.then));
        }
        self.answer((head, offer), reader)
    }

    fn answer(
        &mut self,
        (head, offer): (Head, Offer),
        reader: Reader<'_>,
    ) -> Result<(Answer, Then), Malformed> {
        let version = head.version;
        let now = |code, write: &dyn Fn(&mut Writer)| {
            let mut writer = head.answer(&offer);
            write(&mut writer);
            Reply::new(writer.finish(), code).now()
        };
        let asked = (head, offer);
        Ok(go_on(match offer.api {
            Api::Versions => {
                messages::versions::read(head, reader)?;
                now(Code::None, &|writer| {
                    messages::versions::write(writer, version);
                })
            }
            Api::Metadata => {
                let request = messages::metadata::read(version, reader)?;
                metadata::answer(self.door, self.reached, asked, request)
            }
            Api::ListOffsets => {
                let request = messages::offsets::read(version, reader)?;
                offsets::answer(self.door, asked, request)
            }
            Api::Fetch => {
                let request = messages::fetch::read(version, reader)?;
                fetch::answer(self.door, asked, request)
            }
            Api::InitProducerId => {
                let is_transactional = messages::producer_id::read(version, reader)?;
                producer_id(self.door, asked, is_transactional)
            }
            Api::FindCoordinator => {
                let kind = messages::coordinator::read(version, reader)?;
                now(kind.code(), &|writer| {
                    messages::coordinator::write(writer, version, kind);
                })
            }
            Api::SaslHandshake => {
                let is_offered = sasl::read_handshake(reader)?;
                now(Code::None, &|writer| {
                    sasl::write_handshake(writer, is_offered);
                })
            }
            Api::SaslAuthenticate => return self.authenticate(asked, reader),
            Api::Produce => return Err(Malformed("it is begun elsewhere")),
        }))
    }

    fn authenticate(
        &mut self,
        (head, offer): (Head, Offer),
        reader: Reader<'_>,
    ) -> Result<(Answer, Then), Malformed> {
        let said = sasl::read_plain(sasl::read_authenticate(reader)?);
        let tokens = &self.door.options.access.tokens;
        // All are compared, so that how long it takes tells nothing about them.
        let same = |(name, secret)| tokens.iter().filter(|t| t.is(name, secret)).count() > 0;
        self.is_known = tokens.is_empty() || said.is_some_and(same);
        let mut writer = head.answer(&offer);
        sasl::write_authenticate(&mut writer, head.version, self.is_known);
        let (code, then) = match self.is_known {
            true => (Code::None, Then::GoOn),
            false => (Code::SaslAuthenticationFailed, Then::Close),
        };
        let reply = Reply {
            then,
            ..Reply::new(writer.finish(), code)
        };
        Ok((reply.now(), then))
    }
}

fn go_on(answer: Answer) -> (Answer, Then) {
    (answer, Then::GoOn)
}

/// An id for a producer: durable before it is told, so that it is never told again.
fn producer_id(door: &Arc<Door>, (head, offer): (Head, Offer), is_transactional: bool) -> Answer {
    let door = Arc::clone(door);
    Box::pin(async move {
        let given = async { door.streams.new_producer_id()?.told().await };
        let told = match is_transactional {
            true => Err(Code::TransactionalIdAuthorizationFailed),
            false => match given.await {
                Ok(Ok(id)) => Ok(offsets::offset(id)),
                Ok(Err(refusal)) => Err(told::code_of(&refusal)),
                Err(error) => Err(told::failed(&error, "giving an id")),
            },
        };
        let mut writer = head.answer(&offer);
        messages::producer_id::write(&mut writer, told);
        Reply::new(writer.finish(), told.err().unwrap_or(Code::None))
    })
}
