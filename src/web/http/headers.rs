//! The headers of every response: what a browser may do with it, and how long it may cache it.
//!
//! Source: <https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/CSP>. There are no cookies.

use rocket::fairing::AdHoc;
use rocket::http::Header;
use rocket::http::uncased::UncasedStr;
use rocket::response::{self, Responder};
use rocket::shield::{Frame, NoSniff, Permission, Policy, Referrer, Shield};
use rocket::{Phase, Request, Rocket};

use crate::config::Config;

/// What pages may load: no inline content, and nothing from another origin except the stream of the
/// fan-out door. Forms may only be sent to this server (the jump to a time).
#[derive(Clone, Default)]
struct ContentSecurity {
    /// Where the door is for browsers.
    door: Option<String>,
}

impl ContentSecurity {
    /// The directives. They say nothing about frames.
    fn directives(&self) -> String {
        let door = self.door.as_ref().map(|door| format!(" {door}")).unwrap_or_default();
        format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self'{door}; manifest-src 'self'; base-uri 'none'; form-action 'self'"
        )
    }
}

impl Policy for ContentSecurity {
    const NAME: &'static str = "Content-Security-Policy";

    /// No frame may show the response.
    fn header(&self) -> Header<'static> {
        Header::new(Self::NAME, format!("{}; frame-ancestors 'none'", self.directives()))
    }
}

#[derive(Default)]
struct OpenerIsolation;

impl Policy for OpenerIsolation {
    const NAME: &'static str = "Cross-Origin-Opener-Policy";

    fn header(&self) -> Header<'static> {
        Header::new(Self::NAME, "same-origin")
    }
}

/// Adds the headers to every response. Responses that are [`Framed`] may be shown in frames.
pub fn stage(config: &Config) -> AdHoc {
    let door = config.fanout.as_ref().and_then(|fanout| fanout.public_url.clone());
    let content_security = ContentSecurity { door };
    AdHoc::on_ignite("headers", |rocket| async {
        let shield = Shield::new()
            .enable(NoSniff::default())
            .enable(Frame::Deny)
            .enable(Permission::default())
            .enable(Referrer::NoReferrer)
            .enable(content_security.clone())
            .enable(OpenerIsolation);
        let in_frames = content_security.directives();
        rocket.manage(content_security).attach(shield).attach(frames(in_frames)).attach(cache())
    })
}

/// The same headers, for a response that bypasses all fairings.
pub fn protection<P: Phase>(rocket: &Rocket<P>) -> [Header<'static>; 6] {
    [
        NoSniff::default().header(),
        Frame::Deny.header(),
        Permission::default().header(),
        Referrer::NoReferrer.header(),
        rocket.state::<ContentSecurity>().cloned().unwrap_or_default().header(),
        OpenerIsolation.header(),
    ]
}

/// A response that pages of any site may show in a frame.
pub struct Framed<R>(pub R);

/// Whether the response to a request is [`Framed`].
struct IsFramed(bool);

impl<'r, R: Responder<'r, 'static>> Responder<'r, 'static> for Framed<R> {
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        request.local_cache(|| IsFramed(true));
        self.0.respond_to(request)
    }
}

/// Allows frames to show [`Framed`] responses. It runs after the shield, which forbids all frames.
fn frames(content_security: String) -> AdHoc {
    AdHoc::on_response("frames", move |request, response| {
        let content_security = content_security.clone();
        Box::pin(async move {
            if request.local_cache(|| IsFramed(false)).0 {
                response.remove_header(Frame::NAME);
                response.set_raw_header(ContentSecurity::NAME, content_security);
            }
        })
    })
}

/// Pages change with every roll, so a browser must revalidate a page before it shows it again.
/// (`no-store` would also keep the page out of the back/forward cache.)
fn cache() -> AdHoc {
    AdHoc::on_response("cache headers", |_, response| {
        Box::pin(async move {
            let name = UncasedStr::new("Cache-Control");
            if !response.headers().contains(name) {
                response.set_raw_header(name.as_str().to_owned(), "no-cache");
            }
        })
    })
}
