//! Labels: what every signature, derivation and associated data starts with.
//!
//! `L(x)` is one length byte and the ASCII text `x`, so no input of one purpose is ever an input of another.

/// `L(text)` as a `&'static [u8; N]`, computed at compile time.
#[macro_export]
macro_rules! label {
    ($text:literal) => {{
        const LABEL: [u8; $text.len() + 1] = $crate::label::encode($text);
        &LABEL
    }};
}

/// Length byte and text; `N` is one more than the length of `text`. Meant for [`label!`].
#[must_use]
#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "evaluated at compile time, where both fail the build"
)]
pub const fn encode<const N: usize>(text: &str) -> [u8; N] {
    let text = text.as_bytes();
    assert!(
        text.is_ascii() && text.len() + 1 == N && N <= 256,
        "a label is short ASCII"
    );
    let mut out = [0; N];
    out[0] = text.len() as u8;
    let mut i = 0;
    while i < text.len() {
        out[i + 1] = text[i];
        i += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_label_is_its_length_and_its_text() {
        assert_eq!(label!("UNH1/dm"), b"\x07UNH1/dm");
    }
}
