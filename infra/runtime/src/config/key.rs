//! The keys of a configuration type, flat, and which of them looks most like a wrong one.

use confique::meta::{Expr, FieldKind, Integer, LeafKind, Meta};

/// One key with what the example says about it.
pub(super) struct Leaf {
    pub(super) section: String,
    pub(super) section_doc: &'static [&'static str],
    pub(super) name: &'static str,
    /// `section.name`.
    pub(super) path: String,
    pub(super) doc: &'static [&'static str],
    /// As TOML.
    pub(super) default: Option<String>,
}

/// Every key in the order of its declaration.
pub(super) fn leaves(meta: &'static Meta) -> Vec<Leaf> {
    let mut out = Vec::new();
    collect(meta, "", &[], &mut out);
    out
}

fn collect(meta: &'static Meta, section: &str, section_doc: &'static [&'static str], out: &mut Vec<Leaf>) {
    let join = |name: &str| {
        if section.is_empty() {
            name.to_owned()
        } else {
            format!("{section}.{name}")
        }
    };
    for field in meta.fields {
        match field.kind {
            FieldKind::Nested { meta } => collect(meta, &join(field.name), field.doc, out),
            FieldKind::Leaf { kind, .. } => out.push(Leaf {
                section: section.to_owned(),
                section_doc,
                name: field.name,
                path: join(field.name),
                doc: field.doc,
                default: match kind {
                    LeafKind::Required { default } => default.map(|expr| toml_text(&expr)),
                    LeafKind::Optional => None,
                },
            }),
        }
    }
}

fn toml_text(expr: &Expr) -> String {
    match expr {
        Expr::Str(text) => toml::Value::String((*text).to_owned()).to_string(),
        Expr::Bool(value) => value.to_string(),
        Expr::Integer(value) => integer(*value),
        Expr::Float(value) => value.to_string(),
        Expr::Array(items) => format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", ")),
        _ => String::new(),
    }
}

fn integer(value: Integer) -> String {
    value.to_string()
}

/// The candidate at the smallest edit distance, unless it is more than half the word away.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(2).max(2))
        .map(|(_, candidate)| candidate.to_owned())
}

/// Levenshtein distance in bytes; keys are ASCII.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }

    #[test]
    fn nothing_is_near_a_word_of_another_kind() {
        assert_eq!(nearest("zzzzzzzz", ["bind", "timeout"].into_iter()), None);
    }
}
