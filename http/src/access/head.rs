//! What is looked at in the head of a request before anything else: its size, and where it comes
//! from.

use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{HeaderMap, StatusCode};

/// The lines of a head. HTTP/1 ends a connection with more by itself.
pub(crate) const MAX_HEADERS: usize = 100;

/// A request that is not looked at any further. Its connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// What it is answered with.
    pub status: StatusCode,
    /// Why, for the client.
    pub reason: String,
}

impl Denied {
    /// What programs read of it.
    #[must_use]
    pub fn error(&self) -> &'static str {
        match self.status {
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::FORBIDDEN => "forbidden",
            _ => "bad_request",
        }
    }

    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { status, reason }
    }
}

/// A head is not too long, and, on the loopback interface, of a program of this machine.
///
/// # Errors
/// 400, 403, 431.
pub fn check(head: &Parts, is_local: bool) -> Result<(), Denied> {
    if is_local {
        check_sender(head)?;
    }
    if head.headers.len() > MAX_HEADERS {
        let reason = format!("a request may have {MAX_HEADERS} headers");
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Denied::new(status, reason));
    }
    Ok(())
}

/// A header that is there once at most.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Denied> {
    let mut all = headers.get_all(name).iter();
    let (first, second) = (all.next(), all.next());
    let first = first.map(|value| value.to_str());
    match (first.transpose(), second) {
        (Ok(first), None) => Ok(first),
        _ => {
            let reason = format!("{name} must be there once, in ASCII");
            Err(Denied::new(StatusCode::BAD_REQUEST, reason))
        }
    }
}

/// A page of another site that a browser of this machine shows may send requests here: with its own
/// name for this machine, or as a form.
fn check_sender(head: &Parts) -> Result<(), Denied> {
    let forbidden = |reason: String| Denied::new(StatusCode::FORBIDDEN, reason);
    // HTTP/2 has the name in the address, and HTTP/1.1 may have it there too.
    let host = text(&head.headers, "host")?;
    let authority = head.uri.authority().map(Authority::as_str);
    let names: Vec<&str> = authority.into_iter().chain(host).collect();
    let other = names.iter().find(|name| !is_this_machine(name)).copied();
    if let Some(name) = other.or(names.is_empty().then_some("")) {
        return Err(forbidden(format!(
            "Host: {name:?} is no name of the address that is listened on"
        )));
    }
    let site = text(&head.headers, "sec-fetch-site")?;
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(forbidden("a page of another site is not served".to_owned()));
    }
    Ok(())
}

/// Whether a name, with or without a port, is one of this machine.
fn is_this_machine(name: &str) -> bool {
    if name.contains('@') {
        return false; // `localhost:a@other.example` is the other one
    }
    let name = match name.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map_or(v6, |(name, _)| name),
        None => name.split(':').next().unwrap_or_default(),
    };
    let ip = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}
