//! The page about the fleet, `/fleet`: whether this node has all rolls, in plain words.

use rocket::http::ContentType;
use rocket::response::{self, Responder, Response};
use rocket::{Request, State, get};
use serde::Serialize;

use crate::health::{Audience, Replication};
use crate::roll::RollId;
use crate::web::http::accept::prefers_json;
use crate::web::http::error::HttpError;
use crate::web::pages::Pages;
use crate::web::pages::templates::Page;

/// The page, or the same as JSON for clients that prefer it.
pub struct Fleet {
    page: Page,
    json: String,
}

impl<'r> Responder<'r, 'static> for Fleet {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        let Fleet { page, json } = self;
        let response = match prefers_json(request) {
            true => (ContentType::JSON, json).respond_to(request)?,
            false => page.respond_to(request)?,
        };
        Response::build_from(response)
            .raw_header("Cache-Control", "no-store")
            .raw_header("Vary", "Accept")
            .ok()
    }
}

/// The template `fleet`.
#[derive(Serialize)]
struct FleetView {
    title: &'static str,
    /// The state in a few words.
    state: &'static str,
    /// What it means for visitors.
    meaning: String,
    /// What the operator should know; `None` if all is well.
    reason: Option<String>,
    head: i64,
    /// The newest roll of the fleet that this node knows of.
    log_last: Option<i64>,
}

/// How this node keeps up with its fleet, for programs.
#[derive(Serialize)]
struct FleetJson<'a> {
    state: &'static str,
    reason: Option<&'a str>,
    head: i64,
    log_last: Option<i64>,
    behind: Option<u64>,
}

/// The page about the fleet.
///
/// # Errors
///
/// The newest roll cannot be read.
#[get("/fleet")]
pub async fn page(audience: Audience, pages: &State<Pages>) -> Result<Fleet, HttpError> {
    let RollId(head) = pages.store.kept().await?.head.id;
    let connecting = || Replication::Unreachable("this node has just started".into());
    let replication = pages.health.replication().unwrap_or_else(connecting);
    let (word, state, meaning, n_behind) = match &replication {
        Replication::Following => (
            "following",
            "This server has every roll.",
            "It shows each roll as soon as the fleet has decided it.".into(),
            Some(0),
        ),
        Replication::CatchingUp { n_behind } => (
            "catching_up",
            "This server is catching up.",
            format!("It still reads {n_behind} older rolls. New ones appear after them."),
            Some(*n_behind),
        ),
        Replication::Unreachable(_) => (
            "unreachable",
            "This server cannot reach the others.",
            "It shows all rolls up to its newest one. It goes on as soon as it reaches them \
             again, and no roll is lost."
                .into(),
            None,
        ),
        Replication::Refused(_) => (
            "refused",
            "This server does not follow the others.",
            "It shows all rolls up to its newest one. Its operator must act before it goes on."
                .into(),
            None,
        ),
    };
    let reason = match (replication, audience) {
        (Replication::Unreachable(why) | Replication::Refused(why), Audience::ThisMachine) => {
            Some(why)
        }
        _ => None,
    };
    let log_last = n_behind.map(|n| head + n as i64);
    let behind = n_behind;
    let json = FleetJson { state: word, reason: reason.as_deref(), head, log_last, behind };
    let json = serde_json::to_string(&json).expect("plain structs become JSON");
    let view = FleetView { title: "Fleet", state, meaning, reason, head, log_last };
    Ok(Fleet { page: Page::render("fleet", view), json })
}
