//! The parameters of the API as OpenAPI describes them.

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};

use crate::web::api::query::{Limit, RangeQuery};

/// The parameters `die` and `result`.
pub struct ResultFilter;

impl IntoParams for RangeQuery {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let cursor = || {
            let id = "0|[1-9][0-9]{0,17}";
            text(&format!("^(({id})|[1-9][0-9]{{0,17}}-({id}))$"), "41-1763861860123")
        };
        let time = |format| {
            let format = Some(SchemaFormat::KnownFormat(format));
            ObjectBuilder::new().schema_type(Type::String).format(format).build()
        };
        let since = AnyOfBuilder::new()
            .item(text("^[0-9]{1,6}(ms|s|m|h|d)$", "10m"))
            .item(time(KnownFormat::DateTime))
            .item(time(KnownFormat::Date));
        let after = "Only rolls after this one: a cursor as in the stream, `41-1763861860123`, or \
                     an id.";
        let since_text = "Only rolls since this time: a time ago such as `10m`, or a timestamp. \
                          The rolls start with the first one, in order of the ids, whose \
                          `rolled_at` is at or after it. If the clock was set back, some rolls \
                          that follow have an earlier `rolled_at`. `after` overrides it.";
        vec![
            parameter("after", after, cursor()),
            parameter("before", "Only rolls before this one: a cursor or an id.", cursor()),
            parameter("since", since_text, Schema::AnyOf(since.build())),
        ]
    }
}

impl IntoParams for Limit {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let limit = integer(1).maximum(Some(Limit::MAX)).default(Some(Limit::default().0.into()));
        vec![parameter("limit", "The maximum number of rolls on a page.", limit)]
    }
}

impl IntoParams for ResultFilter {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let die = text("^([1-9][0-9]?|100)[dD]([2-9]|[1-9][0-9]{1,2}|1000)$", "1D20");
        vec![
            parameter("die", "With `result`: the die, such as `1D20`.", die),
            parameter("result", "Only rolls with this result of `die`.", integer(1)),
        ]
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

fn integer(minimum: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(minimum))
}

fn text(pattern: &str, example: &str) -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    Schema::Object(text.examples([example]).build())
}
