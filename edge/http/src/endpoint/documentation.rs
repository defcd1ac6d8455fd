//! What the OpenAPI document says of one route, beyond what the route itself says.

use http::StatusCode;
use unhidra_wire::rest::ProblemCode;
use utoipa::{
    ToSchema,
    openapi::{RefOr, schema::Schema},
};

use super::Endpoint;
use crate::ahead::Prepare;

/// What a route takes and answers. Nothing is the default: no query, no body, 204.
#[derive(Clone, Debug, Default)]
pub struct Documentation {
    /// What it does, in a few words; empty as long as nobody has documented the route.
    pub(crate) summary: &'static str,
    /// The query parameters, as the fields of a type.
    pub(crate) query: Option<Described>,
    /// The JSON body of a request.
    pub(crate) request: Option<Described>,
    /// The status of success when it is another than that of the answer.
    pub(crate) success: Option<StatusCode>,
    /// The JSON body of an answer.
    pub(crate) answer: Option<Described>,
    /// Whether it takes an `Idempotency-Key`.
    pub(crate) is_repeatable: bool,
    /// Refusals beyond those that follow from route, body and who may.
    pub(crate) refusals: &'static [ProblemCode],
}

/// A type as a JSON schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Described {
    pub(crate) name: fn() -> String,
    pub(crate) schema: fn() -> RefOr<Schema>,
    /// The types that it is made of.
    pub(crate) parts: fn() -> Vec<(String, RefOr<Schema>)>,
}

impl Described {
    pub(crate) fn of<T: ToSchema>() -> Self {
        Self {
            name: || T::name().into_owned(),
            schema: T::schema,
            parts: || {
                let mut parts = Vec::new();
                T::schemas(&mut parts);
                parts
            },
        }
    }
}

/// Each of these says one more thing about the route, where the table lists it.
impl Endpoint {
    /// What it answers is read together with who asks.
    #[must_use]
    pub(crate) const fn reads_ahead(mut self, prepare: Prepare) -> Self {
        self.prepare = Some(prepare);
        self
    }

    /// What it does, in a few words.
    #[must_use]
    pub(crate) const fn summary(mut self, summary: &'static str) -> Self {
        self.documentation.summary = summary;
        self
    }

    /// Its query parameters are the fields of `T`.
    #[must_use]
    pub(crate) fn query<T: ToSchema>(mut self) -> Self {
        self.documentation.query = Some(Described::of::<T>());
        self
    }

    /// It takes a `T` as JSON.
    #[must_use]
    pub(crate) fn takes<T: ToSchema>(mut self) -> Self {
        self.documentation.request = Some(Described::of::<T>());
        self
    }

    /// It answers 200 with a `T` as JSON; without an answer, success is 204.
    #[must_use]
    pub(crate) fn answers<T: ToSchema>(mut self) -> Self {
        self.documentation.answer = Some(Described::of::<T>());
        self
    }

    /// It answers 201 with a `T` as JSON.
    #[must_use]
    pub(crate) fn creates<T: ToSchema>(mut self) -> Self {
        self.documentation.success = Some(StatusCode::CREATED);
        self.answers::<T>()
    }

    /// It takes an `Idempotency-Key`: the handler has a [`Key`](crate::extract::Key).
    #[must_use]
    pub(crate) const fn repeatable(mut self) -> Self {
        self.documentation.is_repeatable = true;
        self
    }

    /// It refuses in these ways too. What follows from the route itself is known: `malformed` and `unavailable` for
    /// all, `unauthenticated` and `forbidden` where not everyone may, `not-found` where the path names something, and
    /// what a body can be refused for.
    #[must_use]
    pub(crate) const fn refuses(mut self, refusals: &'static [ProblemCode]) -> Self {
        self.documentation.refusals = refusals;
        self
    }
}
