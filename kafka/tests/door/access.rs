//! Who is served.

use crate::client::{World, text};
use bytes::Bytes;
use highwater_kafka::{KafkaOptions, KafkaServer, Tls};
use highwater_streams::Options;
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse,
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use std::sync::Arc;

const SECRET: &str = "a-secret-of-16-bytes";

fn world(dir: &std::path::Path) -> World {
    let options = KafkaOptions::new()
        .token("till", SECRET)
        .token("web", "another-secret-of-theirs")
        .topic("t", 1);
    World::open(dir, Options::new(), options)
}

/// The code of an answer to a name and a secret, and what is answered to a client of it after that.
fn log_in(world: &World, said: &'static [u8]) -> (i16, Option<usize>) {
    let mut client = world.client();
    let versions = ApiVersionsRequest::default()
        .with_client_software_name(text("c"))
        .with_client_software_version(text("1"));
    let versions: Option<ApiVersionsResponse> = client.ask(ApiKey::ApiVersions, 3, &versions);
    versions.expect("what is offered may be asked by all");
    let shake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    let shake: Option<SaslHandshakeResponse> = client.ask(ApiKey::SaslHandshake, 1, &shake);
    assert_eq!(shake.unwrap().error_code, 0);
    let say = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(said));
    let said: Option<SaslAuthenticateResponse> = client.ask(ApiKey::SaslAuthenticate, 2, &say);
    let code = said.unwrap().error_code;
    if code != 0 {
        assert!(client.is_closed());
        return (code, None);
    }
    let all = MetadataRequest::default().with_topics(None);
    let all: Option<MetadataResponse> = client.ask(ApiKey::Metadata, 9, &all);
    (code, all.map(|all| all.topics.len()))
}

#[test]
fn with_tokens_only_those_who_know_one_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(dir.path());
    assert_eq!(
        log_in(&world, b"\0till\0a-secret-of-16-bytes"),
        (0, Some(1))
    );
    assert_eq!(
        log_in(&world, b"\0web\0another-secret-of-theirs"),
        (0, Some(1))
    );
    for wrong in [
        &b"\0till\0another-secret-of-theirs"[..],
        b"\0till\0a-secret-of-16-byte",
        b"\0\0",
        b"",
        b"web\0till\0a-secret-of-16-bytes",
    ] {
        assert_eq!(log_in(&world, wrong), (58, None));
    }
    let mut unknown = world.client();
    let all = MetadataRequest::default().with_topics(None);
    let told: Option<MetadataResponse> = unknown.ask(ApiKey::Metadata, 9, &all);
    assert!(told.is_none(), "it did not say who it is");
}

#[test]
fn an_address_of_other_machines_needs_encryption_and_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path());
    let start = |options| {
        let streams = Arc::clone(&world.streams);
        KafkaServer::start(streams, "0.0.0.0:0", options).map_err(|e| e.to_string())
    };
    let bare = start(KafkaOptions::new().token("till", SECRET)).unwrap_err();
    assert!(bare.contains("is not encrypted"), "{bare}");
    drop(start(KafkaOptions::new().insecure()).unwrap());
    let missing = start(KafkaOptions::new().tls(Tls::files("none.pem", "none.pem"))).unwrap_err();
    assert!(missing.contains("none.pem"), "{missing}");
    let short = start(KafkaOptions::new().token("till", "short")).unwrap_err();
    assert!(short.contains("shorter than 16 bytes"), "{short}");
    let advertised = start(KafkaOptions::new().insecure().advertised("broker")).unwrap_err();
    assert!(advertised.contains("host:port"), "{advertised}");
}
