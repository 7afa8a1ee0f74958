//! Scripts and styles. Their names have a hash of their contents, so browsers keep them.

use crate::page::document::Assets;
use xxhash_rust::xxh3::xxh3_64;

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// A file that a page loads.
#[derive(Debug)]
pub(super) struct Asset {
    pub(super) name: String,
    pub(super) content_type: &'static str,
    pub(super) bytes: &'static str,
}

/// All of them.
pub(super) fn all() -> Vec<Asset> {
    let files = [
        ("uplot", "css", include_str!("../../assets/uPlot.min.css")),
        ("page", "css", include_str!("../../assets/page.css")),
        (
            "uplot",
            "js",
            include_str!("../../assets/uPlot.iife.min.js"),
        ),
        ("page", "js", include_str!("../../assets/page.js")),
    ];
    let asset = |(name, kind, bytes): (&str, &str, &'static str)| Asset {
        name: format!("{name}-{:016x}.{kind}", xxh3_64(bytes.as_bytes())),
        content_type: if kind == "css" { CSS } else { JAVASCRIPT },
        bytes,
    };
    files.into_iter().map(asset).collect()
}

/// Where a page finds them.
pub(super) fn named(all: &[Asset]) -> Assets {
    let of = |content_type: &str| {
        let assets = all
            .iter()
            .filter(|asset| asset.content_type == content_type);
        assets
            .map(|asset| format!("assets/{}", asset.name))
            .collect()
    };
    Assets {
        styles: of(CSS),
        scripts: of(JAVASCRIPT),
    }
}

/// The icon, which browsers ask for by a name of their own.
pub(super) const ICON: &str = include_str!("../../assets/favicon.svg");
