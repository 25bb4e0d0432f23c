//! Addresses with a query.

/// A path with the fields that are present, such as `die=1D6`: `/rolls`, or `/rolls?die=1D6&tz=UTC`.
/// Values are percent-encoded already.
pub fn address(path: &str, fields: impl IntoIterator<Item = Option<String>>) -> String {
    let query: Vec<String> = fields.into_iter().flatten().collect();
    if query.is_empty() { path.into() } else { format!("{path}?{}", query.join("&")) }
}
