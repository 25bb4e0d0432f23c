//! The parameters of the API as OpenAPI describes them.

use serde_json::Value;
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
            parameter("after", after, cursor(), None),
            parameter("before", "Only rolls before this one: a cursor or an id.", cursor(), None),
            parameter("since", since_text, Schema::AnyOf(since.build()), Some("10m".into())),
        ]
    }
}

impl IntoParams for Limit {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let limit = integer(1).maximum(Some(Limit::MAX)).default(Some(Limit::default().0.into()));
        let about = "The maximum number of rolls on a page.";
        vec![parameter("limit", about, limit, Some(2.into()))]
    }
}

impl IntoParams for ResultFilter {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let die = text("^([1-9][0-9]?|100)[dD]([2-9]|[1-9][0-9]{1,2}|1000)$", "1D20");
        vec![
            parameter(
                "die",
                "The die of `result`, such as `1D20`. Send both or neither.",
                die,
                None,
            ),
            parameter("result", "Only rolls with this result of `die`.", integer(1), None),
        ]
    }
}

/// `example` is the value in the example of a request, which leaves out parameters without one.
fn parameter(
    name: &str,
    description: &str,
    schema: impl Into<RefOr<Schema>>,
    example: Option<Value>,
) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .description(Some(description))
        .schema(Some(schema))
        .example(example)
        .build()
}

fn integer(minimum: usize) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(minimum))
}

fn text(pattern: &str, example: &str) -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    Schema::Object(text.examples([example]).build())
}
