//! The page as a whole.

use crate::page::panel::Panel;
use crate::page::panels::PANELS;
use crate::page::text::{number, time};
use crate::snapshot::{Snapshot, Status};
use maud::{DOCTYPE, Markup, html};

/// Where the page finds what it needs besides itself.
#[derive(Debug, Clone)]
pub(crate) struct Assets {
    pub(crate) styles: Vec<String>,
    pub(crate) scripts: Vec<String>,
}

/// The page. `refresh_s`: without scripts it is loaded again after so many seconds.
pub(crate) fn document(now: &Snapshot, assets: &Assets, refresh_s: u64) -> String {
    let status = &now.status;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (status.phase.title()) " \u{2013} " (status.application) " \u{2013} Highwater" }
                link rel="icon" href="favicon.ico" type="image/svg+xml";
                @for style in &assets.styles { link rel="stylesheet" href=(style); }
                @for script in &assets.scripts { script src=(script) defer {} }
                noscript { meta http-equiv="refresh" content=(refresh_s); }
            }
            body data-phase=(phase(status)) {
                a class="skip" href="#main" { "Skip to the panels" }
                header {
                    h1 { (status.application) }
                    p class="phase" id="phase" { (status.phase.title()) }
                    p id="status-sentence" { (status.sentence) }
                    div id="status-facts" { (facts(status)) }
                    p id="connection" role="status" {}
                    p id="announcement" class="unseen" aria-live="polite" {}
                }
                nav aria-label="Panels" {
                    ul { @for panel in &PANELS { li { a href=(format!("#{}", panel.id)) { (panel.title) } } } }
                }
                main id="main" tabindex="-1" {
                    @for panel in &PANELS { (section(panel, now)) }
                    (settings(now))
                }
                footer {
                    p { "Highwater " (status.version) ". Times are UTC. Nothing can be changed here. "
                        a href="api/v1/status" { "The state line as JSON" } }
                }
            }
        }
    };
    page.into_string()
}

/// The phase as its JSON name.
pub(super) fn phase(status: &Status) -> String {
    status.phase.title().to_lowercase().replace(' ', "_")
}

/// Figures below the state line.
pub(super) fn facts(status: &Status) -> Markup {
    html! {
        @if let Some(recovery) = status.recovery {
            progress value=(recovery.done) max=(recovery.of) aria-label="Recovery" {}
        }
        dl {
            @if let Some(failure) = &status.failure {
                @if let Some(operator) = &failure.operator { div { dt { "operator" } dd { (operator) } } }
                @if let Some(batch) = failure.batch { div { dt { "batch" } dd { (batch) } } }
                @if let Some(lsn) = failure.lsn { div { dt { "LSN" } dd { (lsn) } } }
            }
            div { dt { "last batch" } dd { (status.last_batch.map_or_else(|| "none".to_owned(), |id| id.to_string())) } }
            div { dt { "batches since the start" } dd { (number(status.batches)) } }
            div { dt { "failed attempts" } dd { (number(status.failed_attempts)) } }
            div { dt { "directory" } dd { (status.dir) } }
            div { dt { "as of" } dd { (time(status.at_ms)) } }
        }
    }
}

fn section(panel: &Panel, now: &Snapshot) -> Markup {
    let part = |name: &str| format!("{}-{name}", panel.id);
    html! {
        section id=(panel.id) aria-labelledby=(part("title")) {
            h2 id=(part("title")) { (panel.title) }
            p id=(part("sentence")) { ((panel.sentence)(now)) }
            @if let Some(drawing) = panel.drawing {
                div class="drawing" id=(part("drawing")) tabindex="0" role="group" aria-label=(format!("{}: drawing", panel.title)) {
                    (drawing(now))
                }
            }
            @if let Some(shows) = panel.chart {
                div class="chart" id=(part("chart")) tabindex="0" role="group" aria-label=(format!("{shows}. The arrow keys move along it.")) aria-details=(part("table")) hidden {}
                p class="cursor" id=(part("cursor")) aria-live="polite" hidden {}
            }
            div class="table" tabindex="0" role="group" aria-label=(format!("{}: table", panel.title)) {
                table id=(part("table")) { ((panel.table)(now)) }
            }
            p class="twin" { a href=(format!("api/v1/{}", panel.id)) { (panel.title) " as JSON" } }
        }
    }
}

fn settings(now: &Snapshot) -> Markup {
    html! {
        section id="config" aria-labelledby="config-title" {
            h2 id="config-title" { "Settings" }
            div class="table" tabindex="0" role="group" aria-label="Settings: table" {
                table { tbody {
                    @for (name, value) in &now.config {
                        tr { th scope="row" { (name) } td class="words" { (value) } }
                    }
                    @if now.config.is_empty() { tr { td { "none are known" } } }
                } }
            }
            p class="twin" { a href="api/v1/config" { "Settings as JSON" } }
        }
    }
}
