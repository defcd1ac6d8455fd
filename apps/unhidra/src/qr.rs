//! QR codes on a terminal: two modules a character, black on white whatever the terminal's colours are.

use std::io::{self, IsTerminal as _};

use qrcode::{Color, EcLevel, QrCode, types::QrError};

use crate::output::Output;

/// Light modules around the code. The standard asks for four; scanners read two, and the code then fits 24 lines.
const QUIET: usize = 2;
/// Bright white on black; what is drawn is the light modules.
const COLOURS: &str = "\u{1b}[40;97m";
const PLAIN: &str = "\u{1b}[0m";

/// Whether a code is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// On a terminal.
    Terminal,
    Never,
}

impl Wish {
    /// What `--no-qr` says.
    pub(crate) const fn unless(no_qr: bool) -> Self {
        if no_qr { Self::Never } else { Self::Terminal }
    }
}

/// `text` as a code for people at a terminal; nothing for anyone else.
pub(crate) fn shown(text: &str, wish: Wish, output: Output) -> Option<String> {
    if wish == Wish::Never || output.json || !io::stdout().is_terminal() {
        return None;
    }
    // What does not fit a code is still shown as text.
    drawn(text).ok()
}

fn drawn(text: &str) -> Result<String, QrError> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L)?;
    let (width, colours) = (code.width(), code.to_colors());
    let is_light = |row: usize, column: usize| {
        let inside = |at: usize| at.checked_sub(QUIET).filter(|at| *at < width);
        match (inside(row), inside(column)) {
            (Some(row), Some(column)) => colours.get(row * width + column) != Some(&Color::Dark),
            _ => true,
        }
    };
    let side = width + 2 * QUIET;
    let mut lines = Vec::with_capacity(side.div_ceil(2));
    for row in (0..side).step_by(2) {
        let cells = (0..side).map(|column| {
            let below = row + 1 < side && is_light(row + 1, column);
            match (is_light(row, column), below) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            }
        });
        lines.push(format!("{COLOURS}{}{PLAIN}", cells.collect::<String>()));
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_are_the_modules_of_the_code_in_a_light_frame() {
        let text = "x".repeat(130);
        let drawn = drawn(&text).unwrap();
        let mut rows: Vec<Vec<bool>> = Vec::new();
        for line in drawn.lines() {
            let cells = line.strip_prefix(COLOURS).unwrap().strip_suffix(PLAIN).unwrap();
            rows.push(cells.chars().map(|cell| matches!(cell, '█' | '▀')).collect());
            rows.push(cells.chars().map(|cell| matches!(cell, '█' | '▄')).collect());
        }
        let code = QrCode::with_error_correction_level(&text, EcLevel::L).unwrap();
        let width = code.width();
        assert!(drawn.lines().count() <= 23, "a verification code fits 24 lines");
        for (row, cells) in rows.iter().take(width + 2 * QUIET).enumerate() {
            for (column, light) in cells.iter().enumerate() {
                let inside = row.checked_sub(QUIET).zip(column.checked_sub(QUIET));
                let dark = inside
                    .filter(|(row, column)| *row < width && *column < width)
                    .is_some_and(|(row, column)| code[(column, row)] == Color::Dark);
                assert_ne!(dark, *light, "row {row}, column {column}");
            }
        }
    }

    #[test]
    fn a_text_that_fits_no_code_is_refused() {
        assert!(drawn(&"x".repeat(3_000)).is_err());
    }
}
