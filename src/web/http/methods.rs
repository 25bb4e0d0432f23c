//! The methods of an address. Rocket itself answers 404 where an address has other methods, and
//! lets a form change its method.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc9110#name-405-method-not-allowed>.

use rocket::fairing::{self, Fairing, Info, Kind};
use rocket::http::{Method, Status};
use rocket::route::{Handler, Outcome, Route};
use rocket::{Build, Data, Request, Response, Rocket, async_trait};

/// All methods that a route can have.
pub const ALL: [Method; 9] = [
    Method::Get,
    Method::Head,
    Method::Options,
    Method::Post,
    Method::Put,
    Method::Patch,
    Method::Delete,
    Method::Trace,
    Method::Connect,
];

/// After every other route.
const RANK: isize = 20;

pub fn stage() -> impl Fairing {
    Methods
}

struct Methods;

#[async_trait]
impl Fairing for Methods {
    fn info(&self) -> Info {
        Info { name: "methods", kind: Kind::Ignite | Kind::Request }
    }

    async fn on_ignite(&self, rocket: Rocket<Build>) -> fairing::Result {
        let others = ALL.into_iter().filter(|method| ![Method::Get, Method::Head].contains(method));
        let route = |method| Route::ranked(RANK, method, "/<path..>", OtherMethod);
        Ok(rocket.mount("/", others.map(route).collect::<Vec<_>>()))
    }

    /// Keeps a form a POST, whatever its `_method` field contains.
    async fn on_request(&self, request: &mut Request<'_>, data: &mut Data<'_>) {
        let is_form = request.content_type().is_some_and(|content_type| content_type.is_form());
        if is_form && data.peek(b"_method=".len()).await == b"_method=" {
            request.set_method(Method::Post);
        }
    }
}

/// Answers OPTIONS with the methods of the address, and any other method with 405.
#[derive(Clone)]
struct OtherMethod;

#[async_trait]
impl Handler for OtherMethod {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r> {
        let methods = allowed(request);
        if methods.is_empty() {
            return Outcome::forward(data, Status::NotFound);
        }
        if request.method() != Method::Options {
            return Outcome::Error(Status::MethodNotAllowed);
        }
        let mut response = Response::new();
        response.set_status(Status::NoContent);
        response.set_raw_header("Allow", methods);
        Outcome::Success(response)
    }
}

/// The methods of the requested address, such as `GET, HEAD, OPTIONS`; empty if there is nothing.
pub fn allowed(request: &Request<'_>) -> String {
    // Our own routes have names. Those that only refuse a request have none.
    let routes = request.rocket().routes().filter(|route| route.name.is_some());
    let fitting: Vec<Method> =
        routes.filter(|route| fits(route, request)).map(|route| route.method).collect();
    let mut methods = Vec::new();
    if fitting.contains(&Method::Get) {
        methods.extend(["GET", "HEAD"]);
    }
    if fitting.contains(&Method::Post) {
        methods.push("POST");
    }
    if !methods.is_empty() {
        methods.push("OPTIONS");
    }
    methods.join(", ")
}

fn fits(route: &Route, request: &Request<'_>) -> bool {
    let mut path = request.uri().path().segments().filter(|part| !part.is_empty());
    for expected in route.uri.path().split('/').filter(|part| !part.is_empty()) {
        if expected.ends_with("..>") {
            return true;
        }
        let fits = |part: &str| part == expected || expected.starts_with('<');
        if !path.next().is_some_and(fits) {
            return false;
        }
    }
    path.next().is_none()
}
