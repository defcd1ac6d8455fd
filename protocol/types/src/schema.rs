//! How identifiers, times and names look in a JSON schema.

use alloc::{format, string::String};

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{Object, ObjectBuilder, Schema, Type},
    },
};

use crate::{
    ConnectionId, ConversationId, DeviceId, InvitationId, MsgId, OrgId, SessionId, Timestamp, UserId,
    Username,
};

/// A text that fits `pattern`.
fn text(pattern: impl Into<String>, description: &'static str) -> RefOr<Schema> {
    let text: Object = ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
        .description(Some(description))
        .build();
    text.into()
}

macro_rules! id {
    ($($name:ident: $description:literal,)*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                text(format!("^{}_[0-9a-f]{{32}}$", $name::PREFIX), $description)
            }
        }

        impl ToSchema for $name {}
    )*};
}

id! {
    UserId: "A person's or service's account.",
    DeviceId: "One device of a user.",
    OrgId: "An organisation.",
    SessionId: "One authenticated session of a device.",
    InvitationId: "One invitation to open an account.",
    ConnectionId: "One WebSocket connection of a device.",
    ConversationId: "One ordered log.",
    MsgId: "One message, chosen at random by the sending device.",
}

impl PartialSchema for Username {
    fn schema() -> RefOr<Schema> {
        text("^[a-z0-9._-]{2,32}$", "A user name, unique in its organisation.")
    }
}

impl ToSchema for Username {}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let time: Object = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(0))
            // What every JSON library represents exactly (RFC 8259 section 6).
            .maximum(Some(9_007_199_254_740_991_i64))
            .description(Some("Milliseconds since the Unix epoch."))
            .build();
        time.into()
    }
}

impl ToSchema for Timestamp {}
