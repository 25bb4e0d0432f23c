//! Cross-origin access: pages of any origin may read all responses of the API, errors included.
//!
//! Source: <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use rocket::fairing::AdHoc;
use rocket::http::Method;

/// Adds the headers to every response below `/api`.
pub fn stage() -> AdHoc {
    AdHoc::on_response("the API is public", |request, response| {
        Box::pin(async move {
            if request.uri().path().segments().next() != Some("api") {
                return;
            }
            response.set_raw_header("Access-Control-Allow-Origin", "*");
            let exposed =
                "ETag, Link, Retry-After, Rollcast-Last, Rollcast-Oldest, Rollcast-Unreadable";
            response.set_raw_header("Access-Control-Expose-Headers", exposed);
            if request.method() == Method::Options {
                response.set_raw_header("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS");
                response
                    .set_raw_header("Access-Control-Allow-Headers", "If-None-Match, Cache-Control");
                response.set_raw_header("Access-Control-Max-Age", "86400");
            }
        })
    })
}
