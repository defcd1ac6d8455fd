//! Routes under `/v1/audit` whose path or answer is not of the common form.

use reqwest::Method;
use unhidra_wire::{
    audit::{AuditQuery, AuditRecords},
    rest::Hidden,
};

use super::{Rest, RestError, accepted};

impl Rest {
    /// A page of records that fit the query.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn audit_records(&self, token: &Hidden, query: &AuditQuery) -> Result<AuditRecords, RestError> {
        let texts = [
            ("act", &query.act),
            ("actor", &query.actor),
            ("subject", &query.subject),
            ("text", &query.text),
        ];
        let numbers = [
            ("limit", query.limit.map(u64::from)),
            ("since", query.since.map(unhidra_types::Timestamp::as_millis)),
            ("until", query.until.map(unhidra_types::Timestamp::as_millis)),
        ];
        let mut path = format!("/v1/audit/records?after={}", query.after);
        for (name, text) in texts {
            if let Some(text) = text {
                path.push_str(&format!("&{name}={}", escaped(text)));
            }
        }
        for (name, number) in numbers {
            if let Some(number) = number {
                path.push_str(&format!("&{name}={number}"));
            }
        }
        self.get(&path, token).await
    }

    /// Erases the details of a record.
    ///
    /// # Errors
    /// See [`RestError`].
    pub async fn erase_audit_payload(&self, token: &Hidden, number: u64) -> Result<(), RestError> {
        let path = format!("/v1/audit/records/{number}/payload");
        let request = self.request(Method::DELETE, &path);
        accepted(request.bearer_auth(token.expose())).await.map(drop)
    }
}

/// `text` as a value in a query: everything but unreserved letters (RFC 3986 section 2.3) as `%XX`.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_with_any_letters_stays_one_value() {
        assert_eq!(escaped("a b&c=d?é-1"), "a%20b%26c%3Dd%3F%C3%A9-1");
    }
}
