//! The headers of a request, whichever server read it: Rocket, or the fan-out door.

/// The headers of a request.
pub trait RequestHeaders {
    /// The values of a header in their order, for a name in any case. Values that are not UTF-8 are
    /// left out.
    fn all(&self, name: &str) -> Vec<&str>;
}

impl RequestHeaders for rocket::http::HeaderMap<'_> {
    fn all(&self, name: &str) -> Vec<&str> {
        self.get(name).collect()
    }
}

impl RequestHeaders for http::HeaderMap {
    fn all(&self, name: &str) -> Vec<&str> {
        let values = self.get_all(name).iter();
        values.filter_map(|value| str::from_utf8(value.as_bytes()).ok()).collect()
    }
}
