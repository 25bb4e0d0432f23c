//! The parameters of the API. They are read strictly: a misspelt name would silently select other
//! rolls.

use std::str::FromStr;

use jiff::Timestamp;
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::{Request, async_trait};

use crate::cursor::Cursor;
use crate::dice::DieResult;
use crate::store::{Order, RollRange};
use crate::text::{ValueError, shortened};
use crate::time_spec::TimeSpec;
use crate::web::api::error::ApiError;
use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;

/// A range of rolls: `after`, `before` and `since`.
pub struct RangeQuery(pub RollRange);

/// A page of rolls: a range, a `limit`, and perhaps a `die` with a `result`.
#[derive(Clone, Copy, Debug)]
pub struct PageQuery {
    pub range: RollRange,
    /// Only rolls with this result.
    pub result: Option<DieResult>,
    /// 1 to 1,000 rolls.
    pub limit: usize,
}

/// No parameters.
pub struct NoQuery;

/// Rolls on a page, 1 to 1,000.
pub struct Limit(pub usize);

impl Limit {
    pub const MAX: usize = 1_000;
}

impl Default for Limit {
    fn default() -> Limit {
        Limit(100)
    }
}

impl FromStr for Limit {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Limit, ValueError> {
        let limit = text.parse().ok().filter(|limit| (1..=Limit::MAX).contains(limit));
        limit.map(Limit).ok_or_else(|| ValueError::new("1 to 1000 rolls", text))
    }
}

impl PageQuery {
    /// From a beginning on with the oldest first, otherwise the newest first.
    pub fn order(&self) -> Order {
        match self.range {
            RollRange { after: None, since: None, .. } => Order::NewestFirst,
            _ => Order::OldestFirst,
        }
    }

    /// The address of a page like this one with another range.
    pub fn link(&self, after: Option<Cursor>, before: Option<Cursor>) -> String {
        let mut query = Vec::new();
        query.extend(after.map(|after| format!("after={after}")));
        query.extend(before.map(|before| format!("before={before}")));
        query.extend(
            self.result.map(|DieResult { die, result }| format!("die={die}&result={result}")),
        );
        query.push(format!("limit={}", self.limit));
        format!("/api/rolls?{}", query.join("&"))
    }
}

/// The parameters of a request, each given at most once.
struct Parameters<'r>(Vec<(&'r str, &'r str)>);

impl<'r> Parameters<'r> {
    fn read(request: &'r Request<'_>, known: &[&str]) -> Result<Parameters<'r>, HttpError> {
        let fields = request.query_fields();
        Parameters::check(fields.map(|field| (field.name.source().as_str(), field.value)), known)
    }

    fn check(
        fields: impl Iterator<Item = (&'r str, &'r str)>,
        known: &[&str],
    ) -> Result<Parameters<'r>, HttpError> {
        let mut values: Vec<(&str, &str)> = Vec::new();
        for (name, value) in fields {
            if !known.contains(&name) {
                return Err(unknown(name, known));
            }
            if values.iter().any(|(given, _)| *given == name) {
                let message = format!("expected the parameter `{name}` once, got it again");
                return Err(HttpError::new(ErrorCode::RepeatedParameter, message));
            }
            values.push((name, value));
        }
        Ok(Parameters(values))
    }

    fn text(&self, name: &str) -> Option<&'r str> {
        self.0.iter().find(|(given, _)| *given == name).map(|(_, value)| *value)
    }

    fn get<T: FromStr<Err = ValueError>>(&self, name: &str) -> Result<Option<T>, HttpError> {
        let parsed = self.text(name).map(str::parse).transpose();
        parsed.map_err(|error| HttpError::invalid(name, error))
    }

    fn range(&self) -> Result<RollRange, HttpError> {
        let since: Option<TimeSpec> = self.get("since")?;
        let since = since.map(|since| since.moment(Timestamp::now()));
        Ok(RollRange { after: self.get("after")?, before: self.get("before")?, since })
    }

    fn result(&self) -> Result<Option<DieResult>, HttpError> {
        match (self.get("die")?, self.text("result")) {
            (None, None) => Ok(None),
            (Some(die), Some(result)) => {
                let result = DieResult::parse(die, result);
                result.map(Some).map_err(|error| HttpError::invalid("result", error))
            }
            (Some(_), None) => {
                Err(HttpError::new(ErrorCode::InvalidParameter, "die: expected `result` with it"))
            }
            (None, Some(_)) => {
                Err(HttpError::new(ErrorCode::InvalidParameter, "result: expected `die` with it"))
            }
        }
    }
}

fn unknown(name: &str, known: &[&str]) -> HttpError {
    let expected = match known {
        [] => "no parameters".into(),
        known => format!("the parameters {}", known.join(", ")),
    };
    let message = format!("expected {expected}, got `{}`", shortened(name));
    HttpError::new(ErrorCode::UnknownParameter, message)
}

#[async_trait]
impl<'r> FromRequest<'r> for RangeQuery {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<RangeQuery, ApiError> {
        let query = Parameters::read(request, &["after", "before", "since"]);
        outcome(query.and_then(|query| query.range().map(RangeQuery)))
    }
}

#[async_trait]
impl<'r> FromRequest<'r> for PageQuery {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<PageQuery, ApiError> {
        let known = ["after", "before", "since", "limit", "die", "result"];
        let query = Parameters::read(request, &known);
        outcome(query.and_then(|query| {
            let Limit(limit) = query.get("limit")?.unwrap_or_default();
            Ok(PageQuery { range: query.range()?, result: query.result()?, limit })
        }))
    }
}

#[async_trait]
impl<'r> FromRequest<'r> for NoQuery {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<NoQuery, ApiError> {
        outcome(Parameters::read(request, &[]).map(|_| NoQuery))
    }
}

fn outcome<T>(read: Result<T, HttpError>) -> Outcome<T, ApiError> {
    match read {
        Ok(value) => Outcome::Success(value),
        Err(error) => Outcome::Error((Status::UnprocessableEntity, error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(fields: &[(&'static str, &'static str)], known: &[&str]) -> String {
        let checked = Parameters::check(fields.iter().copied(), known);
        let result = checked.and_then(|parameters| parameters.result());
        format!("{:?}", result.expect_err("an error"))
    }

    #[test]
    fn an_unknown_parameter_is_an_error_that_names_it_and_the_known_ones() {
        let unknown = error(&[("after", "1"), ("befor", "1")], &["after", "before"]);
        assert!(
            unknown.contains("expected the parameters after, before, got `befor`"),
            "{unknown}"
        );
        assert!(unknown.contains("UnknownParameter"), "{unknown}");
        let none = error(&[("x", "1")], &[]);
        assert!(none.contains("expected no parameters, got `x`"), "{none}");
        let again = error(&[("after", "1"), ("after", "1")], &["after"]);
        assert!(again.contains("RepeatedParameter"), "{again}");
    }

    #[test]
    fn a_result_and_its_die_need_each_other() {
        let known = ["die", "result"];
        let table: [(&[(&str, &str)], &str); 6] = [
            (&[("die", "1D6")], "die: expected `result` with it"),
            (&[("result", "6")], "result: expected `die` with it"),
            (&[("die", "W6"), ("result", "6")], "die: expected dice notation"),
            (&[("die", "1D6"), ("result", "7")], "result: expected a result"),
            (&[("die", "2D6"), ("result", "1")], "got `1`"),
            (&[("die", "1D6"), ("result", "")], "got ``"),
        ];
        for (fields, text) in table {
            let error = error(fields, &known);
            assert!(error.contains(text), "{fields:?}: {error}");
        }
    }
}
