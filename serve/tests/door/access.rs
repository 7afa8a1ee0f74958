//! Who is served.

use crate::client::world;
use highwater_serve::{ServeError, ServeOptions, StreamServer};
use std::sync::Arc;

const PATH: &str = "/v1/stream/a";

#[test]
fn a_token_is_asked_for_if_there_are_any() {
    let world = world(ServeOptions::new().token("till", "0123456789abcdef"));
    for headers in [&[][..], &[("authorization", "Bearer 0123456789abcdeF")]] {
        for method in ["PUT", "GET", "HEAD", "POST", "DELETE"] {
            let answer = world.ask(method, PATH, headers, "");
            assert_eq!(answer.status, 401, "{method}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    let known = [("authorization", "Bearer 0123456789abcdef")];
    assert_eq!(world.ask("PUT", PATH, &known, "").status, 201);
    let preflight = world.ask("OPTIONS", PATH, &[], "");
    assert_eq!(preflight.status, 204, "a browser cannot say who it is");
}

#[test]
fn pages_of_other_sites_need_to_be_allowed() {
    let cross = [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://shop.example"),
    ];
    let strict = world(ServeOptions::new());
    let refused = strict.ask("PUT", PATH, &cross, "");
    assert_eq!(
        (
            refused.status,
            refused.header("access-control-allow-origin")
        ),
        (403, None)
    );
    assert_eq!(
        strict
            .ask("PUT", PATH, &[("host", "rebound.example")], "")
            .status,
        403
    );
    let open = world(ServeOptions::new().allow_origin("https://shop.example"));
    let made = open.ask("PUT", PATH, &cross, "");
    assert_eq!(made.status, 201);
    assert_eq!(
        made.header("access-control-allow-origin"),
        Some("https://shop.example")
    );
    let exposed = made.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("stream-next-offset"), "{exposed}");
}

#[test]
fn an_address_that_others_reach_needs_encryption_and_tokens() {
    let world = world(ServeOptions::new());
    let start = |options| StreamServer::start(Arc::clone(&world.streams), "0.0.0.0:0", options);
    let error = start(ServeOptions::new()).unwrap_err();
    assert!(matches!(error, ServeError::BadOptions { .. }), "{error}");
    let error = start(ServeOptions::new().token("till", "short")).unwrap_err();
    assert!(
        error.to_string().contains("shorter than 16 bytes"),
        "{error}"
    );
    start(ServeOptions::new().insecure()).unwrap().stop();
    let error = StreamServer::start(Arc::clone(&world.streams), "nowhere", ServeOptions::new());
    assert!(matches!(error.unwrap_err(), ServeError::Listen { .. }));
}

#[test]
fn paths_and_methods_that_are_none_are_refused() {
    let world = world(ServeOptions::new());
    let answer = world.ask("PUT", "/v1/stream/__ds/subscriptions/a", &[], "");
    assert!(
        answer.status == 404 && answer.body.contains("not offer"),
        "{answer:?}"
    );
    assert_eq!(world.ask("GET", "/", &[], "").status, 404);
    let patch = world.ask("PATCH", PATH, &[], "");
    assert_eq!(patch.status, 405);
    assert!(patch.header("allow").unwrap().contains("DELETE"));
}
