//! The headers of every response: what a browser may do with it, and how long it may cache it.
//!
//! Source: <https://developer.mozilla.org/en-US/docs/Web/HTTP/Guides/CSP>. There are no cookies.

use futures::FutureExt;
use rocket::fairing::{AdHoc, Fairing};
use rocket::http::Header;
use rocket::http::uncased::UncasedStr;
use rocket::response::{self, Responder};
use rocket::shield::{Frame, NoSniff, Permission, Policy, Referrer, Shield};
use rocket::{Request, Response};

/// No inline content, nothing from other origins; forms only to our own pages (the jump to a time).
const CONTENT_SECURITY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                                img-src 'self'; connect-src 'self'; manifest-src 'self'; \
                                base-uri 'none'; form-action 'self'";

/// [`CONTENT_SECURITY`], and no frame may show the response.
#[derive(Default)]
struct ContentSecurity;

impl Policy for ContentSecurity {
    const NAME: &'static str = "Content-Security-Policy";

    fn header(&self) -> Header<'static> {
        Header::new(Self::NAME, format!("{CONTENT_SECURITY}; frame-ancestors 'none'"))
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

pub fn shield() -> Shield {
    Shield::new()
        .enable(NoSniff::default())
        .enable(Frame::Deny)
        .enable(Permission::default())
        .enable(Referrer::NoReferrer)
        .enable(ContentSecurity)
        .enable(OpenerIsolation)
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

/// Allows frames to show [`Framed`] responses. Attach it after [`shield`], which forbids all
/// frames.
pub fn frames() -> AdHoc {
    AdHoc::on_response("frames", |request, response| {
        Box::pin(async move {
            if request.local_cache(|| IsFramed(false)).0 {
                response.remove_header(Frame::NAME);
                response.set_raw_header(ContentSecurity::NAME, CONTENT_SECURITY);
            }
        })
    })
}

/// Adds the same headers to a response that bypasses all fairings.
pub fn protect(request: &Request<'_>, response: &mut Response<'_>) {
    let mut protected = Response::new();
    // The fairing never awaits anything.
    let _ = shield().on_response(request, &mut protected).now_or_never();
    for Header { name, value } in protected.headers().iter() {
        response.set_raw_header(name.into_string(), value.into_owned());
    }
}

/// Pages change with every roll, so a browser must revalidate a page before it shows it again.
/// (`no-store` would also keep the page out of the back/forward cache.)
pub fn stage() -> AdHoc {
    AdHoc::on_response("cache headers", |_, response| {
        Box::pin(async move {
            let name = UncasedStr::new("Cache-Control");
            if !response.headers().contains(name) {
                response.set_raw_header(name.as_str().to_owned(), "no-cache");
            }
        })
    })
}
