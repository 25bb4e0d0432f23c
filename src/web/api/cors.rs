//! The CORS headers. Pages of any origin may read all responses of the API, of the signed log and
//! of oEmbed, including errors.
//!
//! Source: <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use rocket::fairing::AdHoc;
use rocket::http::Method;

/// Whether pages of any origin may read the responses at this path.
fn is_public(path: &str) -> bool {
    let path = path.trim_start_matches('/');
    let is_below = |folder| path == folder || path.starts_with(&format!("{folder}/"));
    ["api", "checkpoint", "tile", "oembed"].into_iter().any(is_below)
        || (path.starts_with("rolls/") && path.ends_with("/proof"))
}

/// Adds the CORS headers to every response at a public path.
pub fn stage() -> AdHoc {
    AdHoc::on_response("the API is public", |request, response| {
        Box::pin(async move {
            if !is_public(request.uri().path().as_str()) {
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
