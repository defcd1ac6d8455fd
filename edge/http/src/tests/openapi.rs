//! The OpenAPI document against the routes, and against what the tests get.

use std::{collections::BTreeSet, path::Path};

use http::{Method, StatusCode};
use serde_json::{Map, Value};

use crate::{
    endpoint::endpoints,
    failure,
    openapi::{self, segment},
};

/// Where the copy lies; `cargo run --quiet -- openapi > docs/openapi.json` writes it.
const COPY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");

/// Whether the document names `status` for what was asked; what is no route at all, or a method that a path does not
/// have, is in no document. Every answer that any test of this crate gets is checked by this.
pub(super) fn assert_documented(method: &Method, path: &str, status: StatusCode) {
    let endpoint = endpoints().into_iter().find(|endpoint| {
        let (known, asked): (Vec<_>, Vec<_>) =
            (endpoint.path.split('/').collect(), path.split('/').collect());
        endpoint.method == *method
            && known.len() == asked.len()
            && known
                .iter()
                .zip(&asked)
                .all(|(known, asked)| known.starts_with('{') || known == asked)
    });
    if let Some(endpoint) = endpoint {
        let refused = openapi::refusals_of(&endpoint).into_iter().map(failure::status);
        let documented = refused
            .chain([openapi::success_status(&endpoint)])
            .any(|known| known == status);
        assert!(
            documented,
            "{method} {path} answered {status}, which it does not document"
        );
    }
}

fn operations(document: &Value) -> &Map<String, Value> {
    document["paths"].as_object().unwrap()
}

#[test]
fn every_route_is_in_the_document_and_nothing_else() {
    let document = openapi::document();
    let mut routes: Vec<_> = endpoints()
        .iter()
        .map(|endpoint| (endpoint.path.to_owned(), endpoint.method.as_str().to_lowercase()))
        .collect();
    let mut described: Vec<_> = operations(&document)
        .iter()
        .flat_map(|(path, methods)| {
            methods
                .as_object()
                .unwrap()
                .keys()
                .map(|method| (path.clone(), method.clone()))
        })
        .collect();
    routes.sort();
    described.sort();
    assert_eq!(described, routes);
}

#[test]
fn every_reference_in_the_document_leads_somewhere_and_every_schema_is_used() {
    let document = openapi::document();
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    let named: BTreeSet<_> = document["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(used, named);
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value
                    .as_str()
                    .and_then(|text| text.strip_prefix("#/components/schemas/"))
                {
                    Some(name) if key == "$ref" => {
                        found.insert(name.to_owned());
                    }
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn requests_refuse_unknown_fields_and_answers_may_grow() {
    let document = openapi::document();
    let schemas = &document["components"]["schemas"];
    for endpoint in endpoints() {
        if let Some(request) = endpoint.documentation.request {
            let schema = &schemas[(request.name)()];
            let forms = schema["oneOf"]
                .as_array()
                .cloned()
                .unwrap_or_else(|| vec![schema.clone()]);
            for form in forms {
                assert_eq!(
                    form["additionalProperties"],
                    false,
                    "{} {}",
                    endpoint.path,
                    (request.name)()
                );
            }
        }
        if let Some(answer) = endpoint.documentation.answer {
            assert_eq!(
                schemas[(answer.name)()]["additionalProperties"],
                Value::Null,
                "{}",
                endpoint.path
            );
        }
    }
}

#[test]
fn every_route_says_what_it_does() {
    for endpoint in endpoints() {
        assert!(
            !endpoint.documentation.summary.is_empty(),
            "{} {} has no documentation: give it a summary, and what it takes, answers and refuses",
            endpoint.method,
            endpoint.path
        );
    }
}

#[test]
fn every_variable_segment_has_a_form() {
    for endpoint in endpoints() {
        for part in endpoint.path.split('/') {
            if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                assert_ne!(segment(name), segment("anything"), "{}: {name}", endpoint.path);
            }
        }
    }
}

#[test]
fn the_copy_in_the_documentation_is_the_document() {
    let copy = std::fs::read_to_string(Path::new(COPY)).unwrap();
    assert!(
        copy == openapi::text(),
        "docs/openapi.json is out of date: run `cargo run --quiet -- openapi > docs/openapi.json`"
    );
}
