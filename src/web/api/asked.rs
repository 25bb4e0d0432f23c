//! What is asked for: read strictly, since a misspelt name would silently give other rolls.

use std::str::FromStr;

use jiff::Timestamp;
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::{Request, async_trait};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};

use crate::cursor::Cursor;
use crate::roll::RollId;
use crate::store::{Order, Page, RollRange};
use crate::text::ValueError;
use crate::time_spec::TimeSpec;
use crate::web::http::error::{ApiError, PageError};

/// Which rolls.
pub struct Asked {
    after: Option<Cursor>,
    before: Option<Cursor>,
    since: Option<TimeSpec>,
}

/// How many rolls, 1 to 1,000.
pub struct Limit(usize);

impl IntoParams for Asked {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let cursor = || {
            let id = "0|[1-9][0-9]{0,17}";
            text(&format!("^(({id})|[1-9][0-9]{{0,17}}-({id}))$"), "41-1763861860123")
        };
        let moment = |format| {
            let format = Some(SchemaFormat::KnownFormat(format));
            ObjectBuilder::new().schema_type(Type::String).format(format).build()
        };
        let since = AnyOfBuilder::new()
            .item(text("^[0-9]{1,6}(ms|s|m|h|d)$", "10m"))
            .item(moment(KnownFormat::DateTime))
            .item(moment(KnownFormat::Date));
        vec![
            parameter(
                "after",
                "Only rolls after this one: a cursor as in the stream, `41-1763861860123`, or an id.",
                cursor(),
            ),
            parameter("before", "Only rolls before this one: a cursor or an id.", cursor()),
            parameter(
                "since",
                "Only rolls since then: a time ago such as `10m`, or an instant. `after` beats it.",
                Schema::AnyOf(since.build()),
            ),
        ]
    }
}

impl IntoParams for Limit {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let limit = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(Limit::MOST))
            .default(Some(Limit::default().0.into()));
        vec![parameter("limit", "The most rolls on a page.", limit)]
    }
}

impl Limit {
    const MOST: usize = 1_000;
}

impl Default for Limit {
    fn default() -> Limit {
        Limit(100)
    }
}

fn parameter(name: &str, description: &str, schema: impl Into<RefOr<Schema>>) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

fn text(pattern: &str, example: &str) -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    Schema::Object(text.examples([example]).build())
}

/// A page of rolls.
pub struct AskedPage {
    pub part: RollRange,
    pub limit: usize,
}

/// No parameters at all.
pub struct NothingAsked;

impl Asked {
    /// The same, with times ago taken from now.
    pub fn part(&self) -> RollRange {
        let since = self.since.map(|since| since.moment(Timestamp::now()));
        RollRange { after: self.after, before: self.before, since }
    }
}

impl AskedPage {
    pub fn order(&self) -> Order {
        match self.part {
            RollRange { after: None, since: None, .. } => Order::NewestFirst,
            _ => Order::OldestFirst,
        }
    }

    /// The id before which the page of newer rolls ends, where `newest` is the newest of this one.
    pub fn newer(&self, newest: RollId) -> RollId {
        RollId(newest.0 + self.limit as i64 + 1)
    }

    /// Whether no later roll can change the answer, links included. Where it begins at a time, one
    /// can: a clock may step back.
    pub fn is_closed(&self, page: &Page) -> bool {
        // Somebody may repair a row.
        if !page.unreadable.is_empty() {
            return false;
        }
        let head = page.kept.head.id;
        let up_to = self.part.before.is_some_and(|before| before.id <= head.next());
        match self.part {
            // Until the page of newer rolls is full, the link to it changes.
            RollRange { after: None, since: None, .. } => {
                up_to && page.rolls.first().is_none_or(|first| self.newer(first.id) <= head)
            }
            RollRange { after: Some(_), .. } => up_to || page.rolls.len() == self.limit,
            RollRange { after: None, since: Some(_), .. } => false,
        }
    }
}

/// The values of a query, each given at most once.
struct Query<'r>(Vec<(&'r str, &'r str)>);

impl<'r> Query<'r> {
    fn read(request: &'r Request<'_>, names: &[&str]) -> Result<Query<'r>, ApiError> {
        let mut values: Vec<(&str, &str)> = Vec::new();
        for field in request.query_fields() {
            let name = field.name.source().as_str();
            if !names.contains(&name) {
                let expected = "a parameter of this address (see /api)";
                return Err(PageError::invalid("query", ValueError::new(expected, name)).into());
            }
            if values.iter().any(|(given, _)| *given == name) {
                let expected = "each parameter once";
                return Err(PageError::invalid("query", ValueError::new(expected, name)).into());
            }
            values.push((name, field.value));
        }
        Ok(Query(values))
    }

    /// A value, unless it is left out.
    fn get<T: FromStr<Err = ValueError>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let value = self.0.iter().find(|(given, _)| *given == name);
        let parsed = value.map(|(_, value)| value.parse()).transpose();
        parsed.map_err(|error| PageError::invalid(name, error).into())
    }

    fn asked(&self) -> Result<Asked, ApiError> {
        Ok(Asked {
            after: self.get("after")?,
            before: self.get("before")?,
            since: self.get("since")?,
        })
    }
}

impl FromStr for Limit {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Limit, ValueError> {
        let limit = text.parse().ok().filter(|limit| (1..=Limit::MOST).contains(limit));
        limit.map(Limit).ok_or_else(|| ValueError::new("1 to 1000 rolls", text))
    }
}

#[async_trait]
impl<'r> FromRequest<'r> for Asked {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Asked, ApiError> {
        let query = Query::read(request, &["after", "before", "since"]);
        outcome(query.and_then(|query| query.asked()))
    }
}

#[async_trait]
impl<'r> FromRequest<'r> for AskedPage {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<AskedPage, ApiError> {
        let query = Query::read(request, &["after", "before", "since", "limit"]);
        outcome(query.and_then(|query| {
            let Limit(limit) = query.get("limit")?.unwrap_or_default();
            Ok(AskedPage { part: query.asked()?.part(), limit })
        }))
    }
}

#[async_trait]
impl<'r> FromRequest<'r> for NothingAsked {
    type Error = ApiError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<NothingAsked, ApiError> {
        outcome(Query::read(request, &[]).map(|_| NothingAsked))
    }
}

fn outcome<T>(read: Result<T, ApiError>) -> Outcome<T, ApiError> {
    match read {
        Ok(value) => Outcome::Success(value),
        Err(error) => Outcome::Error((Status::UnprocessableEntity, error)),
    }
}
