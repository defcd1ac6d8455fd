//! What may stand in a name that people read.

/// Whether a character is shown as what it is: no control character, none that changes the direction of what stands
/// around it, none that nobody sees. The joiners of scripts and of emoji (U+200C, U+200D) pass.
#[must_use]
pub const fn is_plain(character: char) -> bool {
    !matches!(character,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reorders_hides_or_controls_is_not_plain() {
        for bad in [
            '\0', '\n', '\u{1b}', '\u{7f}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{feff}',
            '\u{200b}',
        ] {
            assert!(!is_plain(bad), "{bad:?}");
        }
        for good in "Åsas telefon 2 \u{1f469}\u{200d}\u{1f4bb} \u{645}\u{200c}\u{6cc} \u{5e9}".chars() {
            assert!(is_plain(good), "{good:?}");
        }
    }
}
