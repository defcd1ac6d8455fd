//! How bytes and secret texts look in a JSON schema.

use alloc::{borrow::Cow, format, string::String};

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, RefOr, SchemaFormat,
        schema::{Object, ObjectBuilder, Schema, Type},
    },
};

use crate::{
    base64::{Base64, Base64Array},
    rest::{Hidden, ProblemCode},
};

/// One character, and the last ones of a text whose bytes do not fill it: their unused bits are zero.
const ANY: &str = "[A-Za-z0-9_-]";
const TWO_BITS: &str = "[AQgw]";
const FOUR_BITS: &str = "[AEIMQUYcgkosw048]";

impl PartialSchema for Base64 {
    fn schema() -> RefOr<Schema> {
        bytes(
            format!("^({ANY}{{4}})*({ANY}{TWO_BITS}|{ANY}{{2}}{FOUR_BITS})?$"),
            "Bytes as base64url without padding.",
        )
    }
}

impl ToSchema for Base64 {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Bytes")
    }
}

impl<const N: usize> PartialSchema for Base64Array<N> {
    fn schema() -> RefOr<Schema> {
        let whole = N / 3 * 4;
        let pattern = match N % 3 {
            0 => format!("^{ANY}{{{whole}}}$"),
            1 => format!("^{ANY}{{{}}}{TWO_BITS}$", whole + 1),
            _ => format!("^{ANY}{{{}}}{FOUR_BITS}$", whole + 2),
        };
        bytes(pattern, format!("{N} bytes as base64url without padding."))
    }
}

impl<const N: usize> ToSchema for Base64Array<N> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("Bytes{N}"))
    }
}

impl PartialSchema for Hidden {
    fn schema() -> RefOr<Schema> {
        let text: Object = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Password)))
            .description(Some("A secret: never logged, never part of a URL."))
            .build();
        text.into()
    }
}

impl ToSchema for Hidden {}

impl PartialSchema for ProblemCode {
    fn schema() -> RefOr<Schema> {
        let code: Object = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(Self::ALL.iter().map(|code| format!("{code}"))))
            .description(Some("Why a request was refused. The set only grows."))
            .build();
        code.into()
    }
}

impl ToSchema for ProblemCode {}

fn bytes(pattern: String, description: impl Into<String>) -> RefOr<Schema> {
    let text: Object = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .description(Some(description))
        .build();
    text.into()
}
