//! The OpenAPI 3.1 document, made from the table of endpoints and the types of the bodies.
//!
//! Nothing in it is written by hand but the summaries beside the routes: a route, a field or a bound that changes
//! changes the document, and a test compares it with `docs/openapi.json`.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use serde_json::{Map, Value, json};
use unhidra_policy::{Action, Decision, Principal, Resource, decide};
use unhidra_types::{ConnectionId, ConversationId, DeviceId, InvitationId, SessionId, UserId, Username};
use unhidra_wire::rest::{Problem, ProblemCode};
use utoipa::{
    PartialSchema,
    openapi::{RefOr, schema::Schema},
};

use crate::{
    endpoint::{Endpoint, Target, documentation::Described, endpoints},
    failure,
};

const DESCRIPTION: &str = "Accounts, devices, prekeys, conversations and administration of an Unhidra server. Messages \
                           and their keys are end-to-end encrypted: this interface carries them sealed. Live traffic \
                           goes over the WebSocket at /v1/ws.";

/// The document as indented JSON, which ends with a line break.
#[must_use]
pub fn text() -> String {
    format!("{:#}\n", document())
}

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut schemas = Schemas::default();
    let problem = schemas.reference(Described::of::<Problem>());
    let mut paths: BTreeMap<&'static str, Map<String, Value>> = BTreeMap::new();
    for endpoint in endpoints() {
        let operation = operation(&endpoint, &problem, &mut schemas);
        paths
            .entry(endpoint.path)
            .or_default()
            .insert(endpoint.method.as_str().to_lowercase(), operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Unhidra",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": env!("CARGO_PKG_LICENSE"), "identifier": env!("CARGO_PKG_LICENSE")},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.named,
            "securitySchemes": {"token": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "An access token of a session, or the enrolment token that a password gives.",
            }},
        },
    })
}

/// Named schemas, each once.
#[derive(Default)]
struct Schemas {
    named: BTreeMap<String, Value>,
}

impl Schemas {
    /// A reference to `described`, which is kept with all of its parts.
    fn reference(&mut self, described: Described) -> Value {
        let name = (described.name)();
        self.keep(name.clone(), &(described.schema)());
        for (part, schema) in (described.parts)() {
            self.keep(part, &schema);
        }
        json!({"$ref": format!("#/components/schemas/{name}")})
    }

    /// Says of each form of a request that it has no other fields; the derivation says it of structs alone.
    fn close(&mut self, request: &str) {
        let forms = self
            .named
            .get_mut(request)
            .and_then(|schema| schema.get_mut("oneOf"));
        for form in forms.and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(form) = form.as_object_mut() {
                form.insert("additionalProperties".into(), false.into());
            }
        }
    }

    fn keep(&mut self, name: String, schema: &RefOr<Schema>) {
        self.named.entry(name).or_insert_with(|| value(schema));
    }
}

fn operation(endpoint: &Endpoint, problem: &Value, schemas: &mut Schemas) -> Value {
    let documentation = &endpoint.documentation;
    let mut operation = Map::new();
    operation.insert("operationId".into(), operation_id(endpoint).into());
    operation.insert("summary".into(), documentation.summary.into());
    operation.insert("tags".into(), json!([tag(endpoint.path)]));
    let mut parameters = path_parameters(endpoint.path);
    if let Some(query) = documentation.query {
        for (part, schema) in (query.parts)() {
            schemas.keep(part, &schema);
        }
        parameters.extend(query_parameters(&value(&(query.schema)())));
    }
    if documentation.is_repeatable {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": false,
            "description": "Names the request: sent again within a day it does nothing more and gets the same answer.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
        }));
    }
    if !parameters.is_empty() {
        operation.insert("parameters".into(), parameters.into());
    }
    if let Some(request) = documentation.request {
        let schema = schemas.reference(request);
        schemas.close(&(request.name)());
        let body = json!({"required": true, "content": {"application/json": {"schema": schema}}});
        operation.insert("requestBody".into(), body);
    }
    if !is_open(endpoint) {
        operation.insert("security".into(), json!([{"token": []}]));
    }
    operation.insert("responses".into(), responses(endpoint, problem, schemas));
    operation.into()
}

fn responses(endpoint: &Endpoint, problem: &Value, schemas: &mut Schemas) -> Value {
    let documentation = &endpoint.documentation;
    let mut responses = Map::new();
    let success = match documentation.answer {
        Some(answer) => {
            let schema = schemas.reference(answer);
            json!({"description": "Done.", "content": {"application/json": {"schema": schema}}})
        }
        None => json!({"description": "Done; there is nothing to answer."}),
    };
    responses.insert(success_status(endpoint).as_u16().to_string(), success);
    let mut refusals: BTreeMap<u16, BTreeSet<String>> = BTreeMap::new();
    for code in refusals_of(endpoint) {
        let codes = refusals.entry(failure::status(code).as_u16()).or_default();
        codes.insert(format!("`{code}`"));
    }
    for (status, codes) in refusals {
        let codes: Vec<_> = codes.into_iter().collect();
        let refusal = json!({
            "description": format!("Refused: {}.", codes.join(", ")),
            "content": {Problem::CONTENT_TYPE: {"schema": problem}},
        });
        responses.insert(status.to_string(), refusal);
    }
    responses.into()
}

/// The status of success.
pub(crate) fn success_status(endpoint: &Endpoint) -> StatusCode {
    let documentation = &endpoint.documentation;
    documentation.success.unwrap_or(match documentation.answer {
        Some(_) => StatusCode::OK,
        None => StatusCode::NO_CONTENT,
    })
}

/// Every code that an endpoint can refuse with.
pub(crate) fn refusals_of(endpoint: &Endpoint) -> Vec<ProblemCode> {
    use ProblemCode as C;
    // Any URL or header can be malformed, and any request can meet a server that is overloaded or broken.
    let mut codes = vec![C::Malformed, C::HeadTooLarge, C::Unavailable, C::Internal];
    if endpoint.action != Action::ReadPublic {
        codes.push(C::RateLimited);
    }
    if !is_open(endpoint) {
        codes.extend([C::Unauthenticated, C::Forbidden]);
    }
    if endpoint.path.contains('{') || !matches!(endpoint.target, Target::Server | Target::OwnUser) {
        codes.push(C::NotFound);
    }
    if endpoint.documentation.request.is_some() {
        codes.extend([C::TooLarge, C::UnsupportedMediaType]);
    }
    if endpoint.documentation.is_repeatable {
        codes.extend([C::IdempotencyKeyReused, C::TooMany]);
    }
    codes.extend(endpoint.documentation.refusals);
    codes
}

/// Whether nobody has to authenticate.
fn is_open(endpoint: &Endpoint) -> bool {
    decide(&Principal::Anonymous, endpoint.action, &Resource::Server) == Decision::Allow
}

/// Method and path as one word, which stays as long as the route does.
fn operation_id(endpoint: &Endpoint) -> String {
    let mut id = endpoint.method.as_str().to_lowercase();
    for part in endpoint
        .path
        .split(['/', '-', '.'])
        .filter(|part| !part.is_empty())
    {
        id.push('_');
        id.push_str(part.trim_matches(['{', '}']));
    }
    id
}

/// What the routes are grouped by: the first word after the version.
fn tag(path: &str) -> &str {
    path.strip_prefix("/v1/")
        .and_then(|rest| rest.split(['/', '.']).next())
        .unwrap_or("server")
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": segment(name)}))
        .collect()
}

/// What a variable segment of a path looks like.
pub(crate) fn segment(name: &str) -> Value {
    let schema = match name {
        "user" => UserId::schema(),
        "device" => DeviceId::schema(),
        "session" => SessionId::schema(),
        "invitation" => InvitationId::schema(),
        "conversation" => ConversationId::schema(),
        "username" => Username::schema(),
        "connection" => ConnectionId::schema(),
        "number" => return json!({"type": "integer", "minimum": 1}),
        _ => return json!({"type": "string", "minLength": 1}),
    };
    value(&schema)
}

/// The fields of an object as query parameters.
fn query_parameters(schema: &Value) -> Vec<Value> {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().collect();
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            let description = schema
                .as_object_mut()
                .and_then(|schema| schema.remove("description"));
            let mut parameter = json!({
                "name": name,
                "in": "query",
                "required": required.iter().any(|required| *required == name),
                "schema": not_null(schema),
            });
            if let (Some(parameter), Some(description)) = (parameter.as_object_mut(), description) {
                parameter.insert("description".into(), description);
            }
            parameter
        })
        .collect()
}

/// A query has no null: a parameter is there or not.
fn not_null(mut schema: Value) -> Value {
    let null = json!({"type": "null"});
    for either in ["oneOf", "anyOf"] {
        if let Some(choices) = schema.get_mut(either).and_then(Value::as_array_mut) {
            choices.retain(|choice| *choice != null);
            if let [only] = choices.as_slice() {
                return only.clone();
            }
        }
    }
    if let Some(types) = schema.get_mut("type")
        && let Some(only) = types
            .as_array()
            .and_then(|types| types.iter().find(|name| *name != "null"))
    {
        *types = only.clone();
    }
    schema
}

/// A schema as JSON; what rustdoc reads as links is plain text in it.
fn value(schema: &RefOr<Schema>) -> Value {
    let mut value = serde_json::to_value(schema).unwrap_or_default();
    plain(&mut value);
    bound(&mut value);
    value
}

/// The derivation names the width of a number as if it had a sign; none here has one, and each ends where its type does.
fn bound(value: &mut Value) {
    if let Value::Object(object) = value {
        let widest = match object.get("format").and_then(Value::as_str) {
            Some("int32") => Some(u64::from(u32::MAX)),
            Some("int64") => Some(u64::MAX),
            _ => None,
        };
        if let Some(widest) = widest {
            object.remove("format");
            object.entry("maximum").or_insert_with(|| widest.into());
        }
        object.values_mut().for_each(bound);
    } else if let Value::Array(items) = value {
        items.iter_mut().for_each(bound);
    }
}

fn plain(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(text) if key == "description" => {
                        *text = text.replace("[`", "`").replace("`]", "`");
                    }
                    value => plain(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}
