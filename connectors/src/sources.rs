//! `Sources`: how a program receives data.

use crate::file_stream::{Decode, FileInput, FilesByOffset};
use crate::line::Line;
use crate::socket_listen::{ListenOptions, SocketListen};
use crate::socket_text::SocketText;
use crate::text_file_stream::TextFiles;
use highwater_engine::{DStream, Record, StreamScope};
use std::path::Path;
use std::sync::Arc;

/// The sources of this crate, as methods of [`StreamScope`].
///
/// Every source has a name: its position in the log belongs to it.
pub trait Sources {
    /// Lines from a server at `addr` (`host:port`), as Spark's `socketTextStream`: connects, reads,
    /// and connects again two seconds after the connection failed or was closed. A server that is
    /// gone without closing is noticed within about two minutes. While a name is looked up or a
    /// server does not answer, an error is reported every 30 seconds. A stop does not wait for
    /// that: the attempt ends by itself on a thread of its own.
    ///
    /// **Unreliable at the sender**: a line server does not know what was received. So what it
    /// sends between a crash and the next connection is lost there. What was received is in the log
    /// and is processed exactly once. Use [`Self::socket_listen`] where every line counts.
    ///
    /// A line may have up to 1 MiB (less if the log takes only smaller records). Longer lines,
    /// lines that are not UTF-8 and the half line at the end of a broken connection are skipped.
    /// They are counted in [`SourceStats::skipped`](highwater_engine::SourceStats::skipped) and
    /// logged with their position.
    ///
    /// A byte order mark of UTF-8 at the beginning of a connection is removed; one of UTF-16 ends
    /// it with an error.
    ///
    /// An `addr` without a port makes
    /// [`StreamingContext::start`](highwater_engine::StreamingContext::start) fail; a server that
    /// is not there does not.
    #[track_caller]
    fn socket_text(&self, name: &str, addr: &str) -> DStream<Line>;

    /// Lines from clients that connect to `addr` (`host:port`, port 0 for any), each acknowledged
    /// once it is durable: [`Self::socket_listen_with`] with the default options.
    #[track_caller]
    fn socket_listen(&self, name: &str, addr: &str) -> DStream<Line> {
        self.socket_listen_with(name, addr, ListenOptions::new())
    }

    /// Lines from clients that connect to `addr`, with `options`.
    ///
    /// For every line in, in order, one line comes back:
    ///
    /// * `ok <lsn>` - the line is durable: no crash loses it. `lsn` is the position of its frame in
    ///   the log; lines that were stored together share it.
    /// * `ok <lsn> duplicate` - only with [`ListenOptions::dedup`]: the line counts as a retry and
    ///   was not stored again. The stored one is durable; `lsn` is that of its producer's newest
    ///   line. Every answer that begins with `ok ` is an acknowledgement.
    /// * `err too long: ..`, `err not utf-8: ..`, `err malformed: ..` - this line was not stored,
    ///   the connection goes on.
    /// * `err stopping`, `err unavailable: <reason>` (the log has failed or is full) - this line
    ///   was not stored, and neither was anything after it; the connection is closed. If the
    ///   connection breaks before the answer, the line may be stored or not.
    /// * `err utf-16: ..` - the connection begins with the byte order mark of UTF-16: nothing is
    ///   stored; it is closed. (That of UTF-8 is removed.)
    /// * `err busy: ..` - right after connecting: too many connections; the connection is closed.
    /// * `err idle: ..` - no line was completed for [`ListenOptions::idle_timeout`] (10 minutes);
    ///   the connection is closed.
    ///
    /// A line ends with `\n` or `\r\n`; an empty line is a record too. Half a line at the end of a
    /// connection is not stored. Clients should not wait for each answer: all lines that have
    /// arrived share one flush of the disk. But they must read the answers. A client that takes
    /// none for 30 s, or only a byte from time to time, is disconnected after a minute at most.
    /// Answers wait while too much of the log is unprocessed (back-pressure).
    ///
    /// **Retries.** A client that did not get its answer sends the line again, and so it may be
    /// stored twice. With [`ListenOptions::dedup`] it is stored once: every line then has the form
    /// `<id> <seq> <line>`. `id` is the producer's name (1 to 128 bytes, no spaces), `seq` its
    /// sequence number of the line (decimal, 64 bits). The source remembers the highest number of
    /// each producer, also across crashes. A line whose number is not higher is a retry: the answer
    /// is `ok <lsn> duplicate`, and nothing is stored. Therefore
    ///
    /// * a producer's numbers must ascend (gaps are fine) and it sends them in order, after a lost
    ///   connection from the first unanswered line on;
    /// * a producer that lost its numbers in a restart and begins them again gets `duplicate` for
    ///   every line. It needs a new id, or must go on above its last number;
    /// * two senders need two ids;
    /// * a refused line needs a new number if it is sent again in a better form after higher ones;
    /// * the newest [`PRODUCER_WINDOW`](highwater_engine::SourceContext::PRODUCER_WINDOW) producers
    ///   are remembered: a retry of a producer is not recognised if so many others have sent
    ///   something since.
    ///
    /// [`StreamingContext::start`](highwater_engine::StreamingContext::start) fails if the address
    /// cannot be bound. It waits for the system to look up a host name; an IP address needs no
    /// lookup.
    #[track_caller]
    fn socket_listen_with(&self, name: &str, addr: &str, options: ListenOptions) -> DStream<Line>;

    /// Records from HTTP clients that send them to `addr` (`host:port`, port 0 for any), each
    /// request answered with 200 once it is durable: [`Self::http_with`] with the default options.
    #[cfg(feature = "http")]
    #[track_caller]
    fn http(&self, name: &str, addr: &str) -> DStream<Line> {
        self.http_with(name, addr, crate::HttpOptions::new())
    }

    /// Records from HTTP clients, with `options`. HTTP/1.1 and HTTP/2, encrypted if
    /// [`HttpOptions::tls`](crate::HttpOptions::tls) says so.
    ///
    /// A client sends `POST /`. What its body is, the content type says:
    ///
    /// | `Content-Type` | records |
    /// |---|---|
    /// | none, or `application/octet-stream` | the body |
    /// | `text/plain` | its lines; an empty one is a record too |
    /// | `application/x-ndjson` | its lines, each of them JSON; empty ones count for nothing |
    /// | `application/json` | the elements of an array, or the one value, as they are written |
    ///
    /// All are UTF-8; a byte order mark before a text is no part of it. `Content-Encoding: gzip` or
    /// `zstd` (windows of up to 8 MiB) compresses it; the bounds are those of what it becomes. **A
    /// request is one frame of the log: all of it is stored, or nothing.** One bad line refuses
    /// all.
    ///
    /// The answer is JSON. `200 {"lsn": .., "records": .., "duplicates": ..}` comes when the
    /// records are on the disk: no crash loses them. Every other answer is `{"error", "reason",
    /// "stored"}`, where `stored` is `false`, or `"unknown"` if the log failed while it wrote, or
    /// the disk takes too long. A connection that breaks before the answer says nothing either.
    ///
    /// | status | when |
    /// |---|---|
    /// | 400 | not UTF-8, no JSON (with the line), damaged compression, no record, a header that is no number or there twice |
    /// | 401 | no token, or none of [`HttpOptions::token`](crate::HttpOptions::token), if there are any |
    /// | 403 | a producer whose epoch has ended; on a loopback address, a `Host` that is none, or a page of another site |
    /// | 409, 422 | a number that is not the next one of its epoch; a key that came with other records |
    /// | 404, 405 | another path than `/`, another method than POST |
    /// | 408 | the body was not there within [`HttpOptions::body_timeout`](crate::HttpOptions::body_timeout) |
    /// | 413 | the body is longer than [`HttpOptions::max_body_bytes`](crate::HttpOptions::max_body_bytes), or its records do not fit one frame |
    /// | 415 | another content type or charset; another encoding than gzip and zstd |
    /// | 429, with `Retry-After` | the program is behind, the source faster than its rate, or too many bodies are under way |
    /// | 503, with `Retry-After` | the context stops, or the disk is full |
    /// | 504 | the disk has not confirmed it within [`HttpOptions::answer_timeout`](crate::HttpOptions::answer_timeout) |
    /// | 503 | the log has failed: not before a restart |
    ///
    /// What is no HTTP request is answered with 400, a head of more than 16 KiB or 100 lines with
    /// 431, without a body. `GET /health/ready` is 200 until the context stops or the log fails,
    /// `GET /health/live` always.
    ///
    /// **Retries.** A client that got no answer sends the request again, and so it may be stored
    /// twice. If the request has a name it is stored once, also across crashes: a retry is answered
    /// with 200, `duplicates` is `records`, and nothing is stored. There are three kinds of names:
    ///
    /// | headers | rule |
    /// |---|---|
    /// | `Producer-Id` (1 to 128 bytes), `Producer-Seq` | numbers ascend, gaps are fine; what is not above the producer's last one is a retry |
    /// | the same and `Producer-Epoch` | numbers follow each other from 0: 409 names the next one. A higher epoch begins at 0 and ends the lower ones, which get 403 |
    /// | `Idempotency-Key`, or a [header that the program names](crate::HttpOptions::key_header), 1 to 255 bytes | the same key with the same records is a retry; with others 422 |
    ///
    /// A producer has one request under way at a time, and two senders have two ids. One that has
    /// lost its numbers takes a new id, or a higher epoch. The newest
    /// [`PRODUCER_WINDOW`](highwater_engine::SourceContext::PRODUCER_WINDOW) producers are
    /// remembered, and keys within a [window](crate::HttpOptions::key_window). All senders of a
    /// source share these names: a token says who may write, not under which name.
    ///
    /// **Bad lines.** One refuses the whole request, with its line. With `POST /?on_error=skip` the
    /// others are stored, and the answer has `"skipped": {"count": .., "first": [{"at": "line 3",
    /// "reason": ..}, ..]}`, of which the first hundred are listed.
    ///
    /// Memory is bounded:
    /// [`HttpOptions::max_bytes_in_flight`](crate::HttpOptions::max_bytes_in_flight) of bodies,
    /// about three times that while they are cut into records, and 16 KiB of head for each
    /// connection. When the context stops, requests that are in the log get their answers, for two
    /// seconds.
    ///
    /// [`StreamingContext::start`](highwater_engine::StreamingContext::start) fails if the address
    /// cannot be bound, or can be reached from other machines without
    /// [`HttpOptions::insecure`](crate::HttpOptions::insecure).
    #[cfg(feature = "http")]
    #[track_caller]
    fn http_with(&self, name: &str, addr: &str, options: crate::HttpOptions) -> DStream<Line>;

    /// JSON from HTTP clients, as [`Self::http_with`] takes it, each record read as a `T` at the
    /// door: what is no `T` is answered with 400 and its place, before anything is stored.
    ///
    /// The log holds the text, which is read again in the batch. So `T` may be changed between two
    /// runs of the program, as long as it can be read from what was sent: a program whose `T`
    /// cannot be read from what waits in the log does not start.
    ///
    /// ```
    /// use highwater_connectors::{HttpOptions, Sources};
    /// # use highwater_engine::StreamScope;
    /// #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    /// struct Order { id: u64, cents: i64 }
    /// # fn program(ssc: &StreamScope) {
    /// let orders = ssc.http_json::<Order>("orders", "127.0.0.1:8080", HttpOptions::new());
    /// orders.map(|order| order.cents).for_each_batch("cents", |_, _: Vec<i64>| ());
    /// # }
    /// ```
    #[cfg(feature = "http")]
    #[track_caller]
    fn http_json<T: Record + serde::de::DeserializeOwned>(
        &self,
        name: &str,
        addr: &str,
        options: crate::HttpOptions,
    ) -> DStream<T>;

    /// Lines of the files that appear in `dir`, each file once, as Spark's `textFileStream`. Files
    /// that are there at the start, or came while the program was down, are read too. A relative
    /// `dir` is resolved here and now.
    ///
    /// Files must be **moved in** when they are complete, by a rename within the file system. They
    /// are read in the order (time of last change, name) of what is found every half second. Names
    /// that begin with `.` or end in `.tmp` or `._COPYING_` are ignored, and so are directories and
    /// symbolic links. The last line needs no line end.
    ///
    /// How far each file was read is in the log, next to its lines. So after a crash reading goes
    /// on after the last stored line: nothing is lost or read twice. A file is known by name, size
    /// and time of last change. It follows:
    ///
    /// * A file that changes after it was read, wholly or in part, **is a new file and is read
    ///   again from the beginning**. It may grow, be written again or touched, or another file
    ///   takes its name, also while the program is down. Each change is logged as a warning, which
    ///   names the file and what changed, and is counted in
    ///   [`SourceStats::read_again`](highwater_engine::SourceStats::read_again). If it is put back
    ///   as it was, it is the file that was read. A change that keeps size and time is not noticed.
    /// * A name that is used again after the source has seen its file gone is a new file, without a
    ///   warning.
    /// * A file that vanishes before it was opened is reported as an error and skipped. A file that
    ///   is deleted while it is read is still read to its end. A file that is truncated while it is
    ///   read is reported as an error. The lines read so far stay, and the rest is a new file by
    ///   the first rule.
    /// * If a file that was read in part is gone, a warning tells how far it was read. (The program
    ///   stopped, or could not read on.) It is counted in
    ///   [`SourceStats::vanished`](highwater_engine::SourceStats::vanished). If it comes back
    ///   unchanged, reading goes on where it was.
    /// * The directory may hold 32 768 files that were read. Beyond that their progress could not
    ///   be remembered: the source stops reading with an error until some are moved away.
    ///
    /// A byte order mark of UTF-8 at the beginning of a file is removed. A file that begins with
    /// one of UTF-16 is skipped as a whole, counted as one skipped record and logged: convert it.
    ///
    /// A line may have up to 1 MiB (less if the log takes only smaller records). Longer lines and
    /// lines that are not UTF-8 are skipped, counted and logged with file and offset, and reading
    /// goes on. A restart in the middle of a file may count a skipped line again.
    ///
    /// [`StreamingContext::start`](highwater_engine::StreamingContext::start) fails if there is no
    /// such directory.
    #[track_caller]
    fn text_file_stream(&self, name: &str, dir: impl AsRef<Path>) -> DStream<Line>;

    /// Records of the files that appear in `dir`, each file once, as Spark's `fileStream`: what
    /// [`Self::text_file_stream`] reads, with the decoder, the policy and the way of reading that
    /// `input` says. What is said there of files, their order and their lines holds here.
    ///
    /// With [`FileInput::by_offset`] lines are not copied into the log. Then
    ///
    /// * the directory is listed before each batch, which has of the files at most
    ///   [`max_batch_bytes`](highwater_engine::Builder::max_batch_bytes);
    /// * its records come after those of all sources that have theirs in the log;
    /// * a file must stay until a checkpoint covers it, and its name must be UTF-8;
    /// * a file that is gone before batches have all of it is not read on: a warning says so, and
    ///   it is counted in [`SourceStats::vanished`](highwater_engine::SourceStats::vanished).
    ///
    /// A program may go from [`Self::text_file_stream`] to a `file_stream` that copies, and back.
    /// It cannot go from copying to reading by offset: its start fails, because what was read
    /// would be read again.
    ///
    /// ```no_run
    /// use highwater_connectors::{FileInput, Sources};
    /// use highwater_engine::{ErrorPolicy, StreamScope};
    ///
    /// # #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// # struct Order { amount: u64 }
    /// fn orders(ssc: &StreamScope) -> highwater_engine::DStream<Order> {
    ///     let orders = FileInput::json_lines().on_error(ErrorPolicy::DeadLetter);
    ///     ssc.file_stream("orders", "/var/spool/orders", orders.by_offset())
    /// }
    /// ```
    #[track_caller]
    fn file_stream<T: Record>(
        &self,
        name: &str,
        dir: impl AsRef<Path>,
        input: FileInput<T>,
    ) -> DStream<T>;

    /// Records of Kafka topics, read by offset: what is written to the disk is which offsets of
    /// which partition a batch has. So each record counts once, over crashes and restarts, without
    /// a second copy and without a consumer group: offsets are not committed to the broker.
    ///
    /// A batch has the records after those of all sources that have theirs in the log, by topic,
    /// partition and offset. Aborted transactions are not read (`isolation.level`, which
    /// [`Kafka::property`](crate::Kafka::property) may change before the first start).
    ///
    /// * The broker must keep records until a checkpoint covers them. What it has deleted before a
    ///   batch had it is reported, and nothing is skipped unless
    ///   [`Kafka::skip_lost_records`](crate::Kafka::skip_lost_records) says so. What it deletes
    ///   after a cut, and a crash needs again, stops the context.
    /// * While no broker answers, batches have nothing of the topics, and each one reports it
    ///   ([`SourceStats::errors`](highwater_engine::SourceStats::errors)). A batch that was cut
    ///   before waits and is tried again.
    /// * A topic that is deleted and made again under its name is noticed only if it is shorter
    ///   than what was read of the old one. Give the source another name then.
    ///
    /// [`StreamingContext::start`](highwater_engine::StreamingContext::start) fails for a property
    /// that librdkafka does not know; a broker that does not answer is no error.
    #[cfg(feature = "kafka")]
    #[track_caller]
    fn kafka(&self, name: &str, kafka: crate::Kafka) -> DStream<crate::KafkaRecord>;

    /// Messages of named JSON streams that this process serves (`highwater-streams`), read by
    /// offset: each counts once, over crashes and restarts, without a second copy. A message is a
    /// text: decode it with [`DStream::try_map`](highwater_engine::DStream::try_map) and a policy.
    ///
    /// A batch has messages that are durable, after the records of all sources that have theirs in
    /// the log: by the order of the names, and of the messages.
    ///
    /// * A stream must keep its messages until a checkpoint covers them. If it has given some up
    ///   before a batch had them, nothing more of the source is read, and each batch reports it. If
    ///   it does so after a cut, or is deleted, and a crash needs them again, the context stops.
    /// * A stream that is deleted and made again is another one, which is read from its start.
    #[cfg(feature = "streams")]
    #[track_caller]
    fn served(&self, name: &str, served: crate::Served) -> DStream<Line>;

    /// Records of named streams that this process serves to Kafka clients (`highwater-kafka`), as
    /// [`Self::served`]: each counts once, without a second copy.
    #[cfg(feature = "streams")]
    #[track_caller]
    fn served_records(&self, name: &str, served: crate::Served) -> DStream<crate::ServedRecord>;
}

impl Sources for StreamScope {
    #[track_caller]
    fn socket_text(&self, name: &str, addr: &str) -> DStream<Line> {
        self.text_source(
            "socket_text",
            name,
            |text: &str| Line::from(text),
            SocketText::new(addr),
        )
    }

    #[track_caller]
    fn socket_listen_with(&self, name: &str, addr: &str, options: ListenOptions) -> DStream<Line> {
        self.text_source(
            "socket_listen",
            name,
            |text: &str| Line::from(text),
            SocketListen::new(addr, options),
        )
    }

    #[cfg(feature = "http")]
    #[track_caller]
    fn http_with(&self, name: &str, addr: &str, options: crate::HttpOptions) -> DStream<Line> {
        self.text_source(
            "http",
            name,
            |text: &str| Line::from(text),
            crate::http::HttpReceiver::new(addr, options),
        )
    }

    #[cfg(feature = "http")]
    #[track_caller]
    fn http_json<T: Record + serde::de::DeserializeOwned>(
        &self,
        name: &str,
        addr: &str,
        options: crate::HttpOptions,
    ) -> DStream<T> {
        self.source(
            "http",
            name,
            Arc::new(|bytes: bytes::Bytes| {
                serde_json::from_slice(&bytes).map_err(|error| error.to_string())
            }),
            crate::http::HttpReceiver::new(addr, options),
        )
    }

    #[track_caller]
    fn text_file_stream(&self, name: &str, dir: impl AsRef<Path>) -> DStream<Line> {
        self.text_source(
            "text_file_stream",
            name,
            |text: &str| Line::from(text),
            TextFiles::new(dir.as_ref()),
        )
    }

    #[track_caller]
    fn file_stream<T: Record>(
        &self,
        name: &str,
        dir: impl AsRef<Path>,
        input: FileInput<T>,
    ) -> DStream<T> {
        let lines = match input.by_offset {
            true => self.source_by_offset(
                "file_stream by offset",
                name,
                Arc::new(Line::decode),
                FilesByOffset::new(dir.as_ref()),
            ),
            false => self.text_file_stream(name, dir),
        };
        let lines = match input.max_rate {
            Some(rate) => lines.max_rate(rate),
            None => lines,
        };
        let lines = lines.on_error(input.policy);
        match input.decode {
            Decode::Always(decode) => lines.map(move |line| decode(line)),
            Decode::Maybe(decode) => lines
                .try_map(move |line: Line| decode(&line))
                .named(&format!("decode {name}")),
        }
    }

    #[cfg(feature = "kafka")]
    #[track_caller]
    fn kafka(&self, name: &str, kafka: crate::Kafka) -> DStream<crate::KafkaRecord> {
        self.source_by_offset(
            "kafka",
            name,
            Arc::new(|bytes| crate::KafkaRecord::decode(&bytes)),
            crate::kafka::KafkaSource::new(kafka),
        )
    }

    #[cfg(feature = "streams")]
    #[track_caller]
    fn served(&self, name: &str, served: crate::Served) -> DStream<Line> {
        let served = served.of(crate::served::Messages::Json);
        self.source_by_offset("served streams", name, Arc::new(Line::decode), served)
    }

    #[cfg(feature = "streams")]
    #[track_caller]
    fn served_records(&self, name: &str, served: crate::Served) -> DStream<crate::ServedRecord> {
        self.source_by_offset(
            "served records",
            name,
            Arc::new(|bytes| crate::ServedRecord::decode(&bytes)),
            served.of(crate::served::Messages::Records),
        )
    }
}
