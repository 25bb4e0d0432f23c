//! The codes of errors: what went wrong, for programs. The API page and OpenAPI list them.

use rocket::http::Status;
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// What went wrong. A code is never renamed; new ones may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    InvalidRequest,
    InvalidHost,
    NotFound,
    RollNotFound,
    MethodNotAllowed,
    CursorOfAnotherHistory,
    RollPruned,
    InvalidParameter,
    RepeatedParameter,
    UnknownParameter,
    RollUnreadable,
    RollChanged,
    InternalError,
    Busy,
    HistoryUnreadable,
    Behind,
    TooManyDownloads,
    TooManyStreams,
    /// Sent by nginx, not by rollcast: see `deploy/nginx`.
    Restarting,
}

impl ErrorCode {
    /// All codes, by status.
    pub const ALL: [ErrorCode; 19] = [
        ErrorCode::InvalidRequest,
        ErrorCode::InvalidHost,
        ErrorCode::NotFound,
        ErrorCode::RollNotFound,
        ErrorCode::MethodNotAllowed,
        ErrorCode::CursorOfAnotherHistory,
        ErrorCode::RollPruned,
        ErrorCode::InvalidParameter,
        ErrorCode::RepeatedParameter,
        ErrorCode::UnknownParameter,
        ErrorCode::RollUnreadable,
        ErrorCode::RollChanged,
        ErrorCode::InternalError,
        ErrorCode::Busy,
        ErrorCode::HistoryUnreadable,
        ErrorCode::Behind,
        ErrorCode::TooManyDownloads,
        ErrorCode::TooManyStreams,
        ErrorCode::Restarting,
    ];

    pub fn status(self) -> Status {
        match self {
            ErrorCode::InvalidRequest | ErrorCode::InvalidHost => Status::BadRequest,
            ErrorCode::NotFound | ErrorCode::RollNotFound => Status::NotFound,
            ErrorCode::MethodNotAllowed => Status::MethodNotAllowed,
            ErrorCode::CursorOfAnotherHistory => Status::Conflict,
            ErrorCode::RollPruned => Status::Gone,
            ErrorCode::InvalidParameter
            | ErrorCode::RepeatedParameter
            | ErrorCode::UnknownParameter => Status::UnprocessableEntity,
            ErrorCode::RollUnreadable | ErrorCode::RollChanged | ErrorCode::InternalError => {
                Status::InternalServerError
            }
            ErrorCode::Busy
            | ErrorCode::HistoryUnreadable
            | ErrorCode::Behind
            | ErrorCode::TooManyDownloads
            | ErrorCode::TooManyStreams
            | ErrorCode::Restarting => Status::ServiceUnavailable,
        }
    }

    /// The code as clients get it.
    pub fn name(self) -> &'static str {
        match self {
            ErrorCode::InvalidRequest => "invalid_request",
            ErrorCode::InvalidHost => "invalid_host",
            ErrorCode::NotFound => "not_found",
            ErrorCode::RollNotFound => "roll_not_found",
            ErrorCode::MethodNotAllowed => "method_not_allowed",
            ErrorCode::CursorOfAnotherHistory => "cursor_of_another_history",
            ErrorCode::RollPruned => "roll_pruned",
            ErrorCode::InvalidParameter => "invalid_parameter",
            ErrorCode::RepeatedParameter => "repeated_parameter",
            ErrorCode::UnknownParameter => "unknown_parameter",
            ErrorCode::RollUnreadable => "roll_unreadable",
            ErrorCode::RollChanged => "roll_changed",
            ErrorCode::InternalError => "internal_error",
            ErrorCode::Busy => "busy",
            ErrorCode::HistoryUnreadable => "history_unreadable",
            ErrorCode::Behind => "behind",
            ErrorCode::TooManyDownloads => "too_many_downloads",
            ErrorCode::TooManyStreams => "too_many_streams",
            ErrorCode::Restarting => "restarting",
        }
    }

    /// What it means and what to do, for the documentation.
    pub fn meaning(self) -> &'static str {
        match self {
            ErrorCode::InvalidRequest => {
                "The server cannot answer this request. The message gives the reason."
            }
            ErrorCode::InvalidHost => {
                "The `Host` header is missing, repeated or invalid. Send exactly one."
            }
            ErrorCode::NotFound => "There is nothing at this address.",
            ErrorCode::RollNotFound => "The roll has not been rolled yet. Try again later.",
            ErrorCode::MethodNotAllowed => {
                "This address does not support the method. `Allow` lists the supported ones."
            }
            ErrorCode::CursorOfAnotherHistory => {
                "The cursor names a roll that this history does not have, because the database \
                 was replaced or restored. Start again without a cursor."
            }
            ErrorCode::RollPruned => "The roll was pruned. It will not come back.",
            ErrorCode::InvalidParameter => {
                "The value of a parameter is not valid. The message names the parameter and the value."
            }
            ErrorCode::RepeatedParameter => "A parameter was given more than once.",
            ErrorCode::UnknownParameter => {
                "This address does not have the parameter. The message lists its parameters."
            }
            ErrorCode::RollUnreadable => "The stored roll is damaged. The message says how.",
            ErrorCode::RollChanged => {
                "A stored roll was changed after it was added to the log, so it cannot be proven. \
                 `rollcast check` names it."
            }
            ErrorCode::InternalError => "A fault of the server. Its log has the details.",
            ErrorCode::Busy => {
                "Too many requests read the database at this moment. Retry after the seconds in \
                 `Retry-After`."
            }
            ErrorCode::HistoryUnreadable => {
                "The database cannot be read. The server's log has the reason. Retry after the \
                 seconds in `Retry-After`."
            }
            ErrorCode::Behind => {
                "This server of a fleet does not have the roll yet, because it is behind the others. \
                 Retry after the seconds in `Retry-After`."
            }
            ErrorCode::TooManyDownloads => {
                "All downloads of the server, or of your address, are in use. Retry after the \
                 seconds in `Retry-After`."
            }
            ErrorCode::TooManyStreams => {
                "All streams of the server, or of your address, are in use. Retry after the \
                 seconds in `Retry-After`."
            }
            ErrorCode::Restarting => {
                "The server restarts, and its proxy answers. Retry after the seconds in \
                 `Retry-After`."
            }
        }
    }

    /// The most general code of a status that only Rocket itself chooses.
    pub fn of_status(status: Status) -> ErrorCode {
        match status.code {
            422 => ErrorCode::InvalidParameter,
            503 => ErrorCode::Busy,
            500.. => ErrorCode::InternalError,
            _ => ErrorCode::InvalidRequest,
        }
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl ToSchema for ErrorCode {}

impl PartialSchema for ErrorCode {
    fn schema() -> RefOr<Schema> {
        let line = |code: ErrorCode| {
            format!("- `{}` ({}): {}", code.name(), code.status().code, code.meaning())
        };
        let lines: Vec<String> = ErrorCode::ALL.map(line).into();
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(ErrorCode::ALL.map(ErrorCode::name)))
            .description(Some(format!("What went wrong:\n\n{}", lines.join("\n"))))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_a_name_of_its_own_that_is_not_its_status() {
        let names: BTreeSet<&str> = ErrorCode::ALL.map(ErrorCode::name).into();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        for code in ErrorCode::ALL {
            let debug = format!("{code:?}").to_lowercase();
            assert_eq!(code.name().replace('_', ""), debug);
            assert!(code.status().code >= 400, "{code:?}");
            assert!(code.meaning().ends_with('.'), "{code:?}");
        }
    }

    #[test]
    fn the_schema_lists_every_code_with_its_status_and_meaning() {
        let schema = serde_json::to_value(ErrorCode::schema()).expect("a schema");
        let names = schema["enum"].as_array().expect("an enum");
        assert_eq!(names.len(), ErrorCode::ALL.len());
        let description = schema["description"].as_str().expect("a description");
        assert!(description.contains("- `roll_pruned` (410): The roll was pruned."));
    }
}
