//! The reference for people: the OpenAPI document, in its order, with an example of each request and
//! each JSON response.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::web::api::openapi::Document;
use crate::web::http::address::address;
use crate::web::http::error::code::ErrorCode;

/// The maximum depth of an example. No schema here is nested deeper.
const MAX_DEPTH: usize = 16;

/// The parts of the template `_reference`.
#[derive(Serialize)]
pub struct Reference {
    operations: Vec<Operation>,
    codes: [CodeRow; ErrorCode::ALL.len()],
    schemas: Vec<Schema>,
}

#[derive(Serialize)]
struct Operation {
    /// The name that links to it.
    id: String,
    summary: String,
    description: String,
    path: String,
    /// A path and query to try, with `{id}` for the id of a roll.
    example: String,
    parameters: Vec<Parameter>,
    responses: Vec<Response>,
    /// An example of the response body.
    body: String,
}

#[derive(Serialize)]
struct Parameter {
    name: String,
    description: String,
    /// Such as `1 to 1000, default 100`; empty without bounds.
    range: String,
}

#[derive(Serialize)]
struct Response {
    status: String,
    description: String,
    media_type: String,
}

/// An object of the JSON responses.
#[derive(Serialize)]
struct Schema {
    name: String,
    description: String,
    properties: Vec<Property>,
    example: String,
}

#[derive(Serialize)]
struct Property {
    name: String,
    description: String,
}

#[derive(Serialize)]
struct CodeRow {
    name: &'static str,
    status: u16,
    meaning: &'static str,
}

impl From<ErrorCode> for CodeRow {
    fn from(code: ErrorCode) -> CodeRow {
        CodeRow { name: code.name(), status: code.status().code, meaning: code.meaning() }
    }
}

impl Reference {
    /// The reference. `{id}` in the address of an example stands for the id of a roll.
    pub fn new() -> Reference {
        let document = serde_json::to_value(Document::openapi()).expect("a document is JSON");
        let schemas = &document["components"]["schemas"];
        let operation =
            |(path, item): (&String, &Value)| Operation::new(path, &item["get"], schemas);
        Reference {
            operations: pairs(&document["paths"]).map(operation).collect(),
            codes: ErrorCode::ALL.map(CodeRow::from),
            // The error codes have a table of their own.
            schemas: pairs(schemas)
                .filter(|(_, schema)| !schema["properties"].is_null())
                .map(|(name, schema)| Schema::new(name, schema, schemas))
                .collect(),
        }
    }
}

impl Operation {
    fn new(path: &str, operation: &Value, schemas: &Value) -> Operation {
        let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let field = |parameter: &Value| {
            let is_shown = parameter["in"] == "query" && !parameter["example"].is_null();
            is_shown
                .then(|| format!("{}={}", text(&parameter["name"]), text(&parameter["example"])))
        };
        let responses = &operation["responses"];
        let (_, content) = media(&responses["200"]);
        let body = match &content["example"] {
            Value::Null => pretty(&example(&content["schema"], schemas, MAX_DEPTH)),
            Value::String(text) => text.clone(),
            value => pretty(value),
        };
        Operation {
            id: text(&operation["operationId"]),
            summary: text(&operation["summary"]),
            description: text(&operation["description"]),
            path: path.into(),
            example: address(path, parameters.iter().map(field)),
            parameters: parameters.iter().map(Parameter::from).collect(),
            responses: pairs(responses)
                .map(|(status, response)| Response {
                    status: status.clone(),
                    description: text(&response["description"]),
                    media_type: media(response).0,
                })
                .collect(),
            body,
        }
    }
}

impl From<&Value> for Parameter {
    fn from(parameter: &Value) -> Parameter {
        let schema = &parameter["schema"];
        let range = match (&schema["minimum"], &schema["maximum"]) {
            (Value::Number(low), Value::Number(high)) => {
                format!("{low} to {high}, default {}", text(&schema["default"]))
            }
            _ => String::new(),
        };
        Parameter {
            name: text(&parameter["name"]),
            description: text(&parameter["description"]),
            range,
        }
    }
}

impl Schema {
    fn new(name: &str, schema: &Value, schemas: &Value) -> Schema {
        let property = |(name, property): (&String, &Value)| Property {
            name: name.clone(),
            description: text(&property["description"]),
        };
        Schema {
            name: name.into(),
            description: text(&schema["description"]),
            properties: pairs(&schema["properties"]).map(property).collect(),
            example: pretty(&example(schema, schemas, MAX_DEPTH)),
        }
    }
}

/// An example of a schema: its own, or one that is made of the examples of its parts.
fn example(schema: &Value, schemas: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    let part = |schema: &Value| example(schema, schemas, depth - 1);
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return part(&schemas[name]);
    }
    let own = [&schema["example"], &schema["examples"][0], &schema["enum"][0]];
    if let Some(own) = own.into_iter().find(|own| !own.is_null()) {
        return own.clone();
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        let choices = schema[several].as_array().into_iter().flatten();
        let mut real = choices.filter(|choice| choice["type"] != "null");
        if let Some(choice) = real.next() {
            return part(choice);
        }
    }
    // A type that may be null is a list of both.
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("array") => json!([part(&schema["items"])]),
        Some("integer") => schema.get("minimum").cloned().unwrap_or(json!(0)),
        Some("number") => json!(0.5),
        Some("string") => json!("text"),
        Some("boolean") => json!(true),
        _ => {
            let of = |(name, schema): (&String, &Value)| (name.clone(), part(schema));
            Value::Object(pairs(&schema["properties"]).map(of).collect::<Map<_, _>>())
        }
    }
}

/// The entries of an object, in their order. Any other value has none.
fn pairs(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// The media type of a response, and the OpenAPI object of its content. Empty and `null` if it has
/// no body.
fn media(response: &Value) -> (String, &Value) {
    let first = pairs(&response["content"]).next();
    first.map_or((String::new(), &Value::Null), |(name, content)| (name.clone(), content))
}

/// A text as it is, any other value as JSON, and nothing for `null`.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a value is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_made_of_the_examples_of_its_parts_in_their_order() {
        let schemas = json!({ "Roll": { "type": "object", "examples": [{ "z": 1, "a": 2 }] } });
        let schema = json!({
            "type": "object",
            "properties": {
                "rolls": { "type": "array", "items": { "$ref": "#/components/schemas/Roll" } },
                "name": { "type": "string", "example": "1D6" },
                "id": { "type": ["integer", "null"], "minimum": 1 },
                "first": { "oneOf": [{ "type": "null" }, { "type": "boolean" }] },
            },
        });
        let expected = r#"{"rolls":[{"z":1,"a":2}],"name":"1D6","id":1,"first":true}"#;
        assert_eq!(example(&schema, &schemas, MAX_DEPTH).to_string(), expected);
        let endless = json!({ "List": { "type": "array", "items": { "$ref": "/List" } } });
        assert!(example(&json!({ "$ref": "/List" }), &endless, MAX_DEPTH).is_array());
    }

    #[test]
    fn everything_is_in_its_declared_order_and_has_an_example() {
        let reference = Reference::new();
        let examples: Vec<&str> =
            reference.operations.iter().map(|operation| &*operation.example).collect();
        let expected = [
            "/api/rolls?since=10m&limit=2",
            "/api/rolls/{id}",
            "/api/rolls.csv?since=10m",
            "/api/rolls.ndjson?since=10m",
            "/api/stats",
            "/api/proof",
            "/api/openapi.json",
        ];
        assert_eq!(examples, expected);
        for operation in &reference.operations {
            assert!(operation.body.len() > 2, "{} has no example", operation.path);
            assert!(!operation.summary.is_empty() && !operation.responses.is_empty());
        }
        let names = |schema: &Schema| {
            let names = schema.properties.iter().map(|property| property.name.clone());
            names.collect::<Vec<_>>()
        };
        let of = |name: &str| {
            let schema = reference.schemas.iter().find(|schema| schema.name == name);
            schema.unwrap_or_else(|| panic!("no schema {name}"))
        };
        assert_eq!(names(of("Chance")), ["seen", "expected", "low", "high"]);
        assert_eq!(names(of("Statistics")), ["as_of", "dice"]);
        let roll = of("Roll").example.find("\"id\"").zip(of("Roll").example.find("\"dice\""));
        assert!(roll.is_some_and(|(id, dice)| id < dice), "{}", of("Roll").example);
    }
}
