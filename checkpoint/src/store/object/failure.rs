//! What is known after a failed request, and a text that holds no credentials.

use crate::store::error::StoreError;
use object_store::Error;
use std::error::Error as StdError;
use std::io;

/// How a request failed.
#[derive(Debug)]
pub(super) struct Failure {
    kind: io::ErrorKind,
    text: String,
    /// It may be different the next time.
    pub(super) passing: bool,
    /// The request changed nothing, and will not.
    pub(super) determinate: bool,
}

/// Names of the errors of S3, Azure and Google for a place that does not exist. They come with the
/// same status as a file that does not.
const NO_PLACE: [&str; 3] = ["NoSuchBucket", "ContainerNotFound", "bucket does not exist"];

/// What is told of an answer that sends the client elsewhere without saying where.
const REDIRECT: &str = "Received redirect without LOCATION";

/// How a text about a refused request begins.
const STATUS: &str = "Server returned non-2xx status code: ";

impl Failure {
    /// A failure that another try will not change, and that changed nothing.
    pub(super) fn refused(kind: io::ErrorKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            passing: false,
            determinate: true,
        }
    }

    /// A failure after which nothing is known.
    pub(super) fn doubtful(kind: io::ErrorKind, text: impl Into<String>) -> Self {
        Self {
            determinate: false,
            ..Self::refused(kind, text)
        }
    }

    pub(super) fn passing(self) -> Self {
        Self {
            passing: true,
            ..self
        }
    }

    /// The request may have been done, as far as this one failure tells.
    pub(super) fn in_doubt(self) -> Self {
        Self {
            determinate: false,
            ..self
        }
    }

    pub(super) fn kind(&self) -> io::ErrorKind {
        self.kind
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// With advice, or with where it happened.
    pub(super) fn with(self, more: &str) -> Self {
        Self {
            text: format!("{}{more}", self.text),
            ..self
        }
    }

    pub(super) fn into_io(self) -> io::Error {
        io::Error::new(self.kind, self.text)
    }

    pub(super) fn into_store(self) -> StoreError {
        match self.determinate {
            true => StoreError::determinate(self.into_io()),
            false => StoreError::indeterminate(self.into_io()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = text(&error);
        let status = status(&error);
        let refused = |kind| Self::refused(kind, text.clone());
        match &error {
            Error::NotFound { .. } if NO_PLACE.iter().any(|name| text.contains(name)) => {
                refused(io::ErrorKind::Other)
            }
            Error::NotFound { .. } => refused(io::ErrorKind::NotFound),
            Error::AlreadyExists { .. } | Error::Precondition { .. } => {
                refused(io::ErrorKind::AlreadyExists).in_doubt()
            }
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                refused(io::ErrorKind::PermissionDenied)
            }
            Error::NotSupported { .. } | Error::NotImplemented { .. } => {
                refused(io::ErrorKind::Unsupported)
            }
            Error::InvalidPath { .. } | Error::UnknownConfigurationKey { .. } => {
                refused(io::ErrorKind::InvalidInput)
            }
            _ => match status {
                // Too many requests, and a server that has waited for the body in vain.
                Some(429) => refused(io::ErrorKind::ResourceBusy).passing(),
                Some(408) => refused(io::ErrorKind::TimedOut).passing().in_doubt(),
                // A bucket that is elsewhere, and what makes no sense to the store.
                Some(300..=499) => refused(io::ErrorKind::InvalidInput),
                _ if text.contains(REDIRECT) => refused(io::ErrorKind::InvalidInput),
                _ if is_unconnected(&error) => refused(io::ErrorKind::NotConnected).passing(),
                _ => refused(io::ErrorKind::Other).passing().in_doubt(),
            },
        }
    }
}

/// The status of the answer, if there was one.
fn status(error: &Error) -> Option<u16> {
    let mut at: Option<&dyn StdError> = Some(error);
    while let Some(error) = at {
        let text = error.to_string();
        if let Some(rest) = text.strip_prefix(STATUS) {
            return rest.get(..3)?.parse().ok();
        }
        at = error.source();
    }
    None
}

/// No connection came about, so nothing was asked.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
fn is_unconnected(error: &Error) -> bool {
    use object_store::client::{HttpError, HttpErrorKind};
    let mut at: Option<&dyn StdError> = Some(error);
    while let Some(error) = at {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return http.kind() == HttpErrorKind::Connect;
        }
        at = error.source();
    }
    false
}

#[cfg(not(any(feature = "s3", feature = "gcs", feature = "azure")))]
fn is_unconnected(_: &Error) -> bool {
    false
}

/// A text without what an answer or a URL may tell of credentials: of an answer only the code and
/// the message, of a URL nothing after `?`.
fn text(error: &Error) -> String {
    let mut chain = Vec::new();
    let mut at: Option<&dyn StdError> = Some(error);
    while let Some(error) = at {
        chain.push(error.to_string());
        at = error.source();
    }
    if let Some(refusal) = chain.iter().find_map(|text| text.strip_prefix(STATUS)) {
        // Not always one to the store: credentials are asked for elsewhere.
        let request = chain.iter().find_map(|text| request(text));
        let answer = answer(refusal);
        let request = request.unwrap_or("the request");
        return without_queries(&format!("{request} is answered {answer}"));
    }
    let last = chain.pop().unwrap_or_default();
    // The innermost error says what happened, the outermost where.
    match chain.first() {
        Some(first) if !first.contains(&last) => without_queries(&format!("{first}: {last}")),
        Some(first) => without_queries(first),
        None => without_queries(&last),
    }
}

/// Method and URL of a request.
fn request(text: &str) -> Option<&str> {
    let before = text.split(STATUS).next()?;
    let (_, rest) = before.rsplit_once("Error performing ")?;
    Some(rest.split_once(" in ")?.0)
}

/// Of `403 Forbidden: ` and a body: the status, and the code and message of the body if it is XML.
fn answer(refusal: &str) -> String {
    let (status, body) = refusal.split_once(": ").unwrap_or((refusal, ""));
    let mut answer = status.trim().to_owned();
    for told in ["Code", "Message"]
        .iter()
        .filter_map(|name| field(body, name))
    {
        answer = format!("{answer}: {told}");
    }
    answer
}

/// The text of an XML element, in one line.
fn field<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    text.lines().next()
}

/// Cuts what follows `?` in each word, and user names with passwords of URLs.
fn without_queries(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let Some((scheme, rest)) = word.split_once("://") else {
            return word.to_owned();
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, _)) => (rest, "?.."),
            None => (rest, ""),
        };
        let host = rest.find('/').unwrap_or(rest.len());
        let rest = match rest.get(..host).and_then(|host| host.rfind('@')) {
            Some(at) => rest.get(at + 1..).unwrap_or_default(),
            None => rest,
        };
        format!("{scheme}://{rest}{query}")
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        let source = text.to_owned().into();
        Error::Generic {
            store: "S3",
            source,
        }
    }

    #[test]
    fn a_status_tells_what_is_known() {
        for (status, determinate, passing) in [
            ("400 Bad Request", true, false),
            ("408 Request Timeout", false, true),
            ("411 Length Required", true, false),
            ("429 Too Many Requests", true, true),
            ("500 Internal Server Error", false, true),
            ("503 Service Unavailable", false, true),
            ("301 Moved Permanently", true, false),
            ("600 Unknown", false, true),
            ("nonsense", false, true),
        ] {
            let failure = Failure::from(generic(&format!("{STATUS}{status}: ")));
            let known = (failure.determinate, failure.passing);
            assert_eq!(known, (determinate, passing), "{status}");
            assert_eq!(failure.text(), format!("the request is answered {status}"));
        }
        let lost = Failure::from(generic("connection closed before message completed"));
        assert!(!lost.determinate && lost.passing);
    }

    /// The answer to a wrong signature repeats the id of the key and what was signed.
    #[test]
    fn of_an_answer_only_code_and_message_are_told() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><Message>The signature does not match.</Message>\
                    <AWSAccessKeyId>AKIASECRET</AWSAccessKeyId><StringToSign>secret</StringToSign></Error>";
        let failure = Failure::from(generic(&format!("{STATUS}403 Forbidden: {body}")));
        let told = "the request is answered 403 Forbidden: SignatureDoesNotMatch: The signature does not match.";
        assert_eq!(failure.text(), told);
    }

    /// A shared access signature of Azure is a part of the URL.
    #[test]
    fn of_a_url_no_query_and_no_password_is_told() {
        let failure = Failure::from(generic(
            "error sending request for url (https://me:pass@host/c/o?sv=1&sig=secret): timed out",
        ));
        let told = "Generic S3 error: error sending request for url (https://host/c/o?.. timed out";
        assert_eq!(failure.text(), told);
    }

    #[test]
    fn a_place_that_is_missing_is_no_missing_file() {
        let not_found = |text: &str| {
            let source = text.to_owned().into();
            let path = "p".to_owned();
            Failure::from(Error::NotFound { path, source }).kind()
        };
        assert_eq!(not_found("no such file"), io::ErrorKind::NotFound);
        for name in NO_PLACE {
            let answer = format!("{STATUS}404 Not Found: <Code>{name}</Code>");
            assert_eq!(not_found(&answer), io::ErrorKind::Other);
        }
    }
}
