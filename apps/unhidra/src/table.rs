//! Lists for people: aligned columns under a heading.

use std::io;

use serde::Serialize;

use crate::output::{Output, printable};

impl Output {
    /// Prints a list: one JSON object a line for scripts, a table for people, in which `cells` is one row.
    pub(crate) fn list<T: Serialize, const N: usize>(
        self,
        heading: [&str; N],
        items: &[T],
        cells: impl Fn(&T) -> [String; N],
    ) -> io::Result<()> {
        if self.json {
            return items.iter().try_for_each(|item| self.result(item, String::new));
        }
        let rows: Vec<_> = items.iter().map(cells).collect();
        self.result(&(), || table(heading, &rows))
    }
}

/// The rows under their heading; the last column is as wide as it is.
fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let heading = heading.map(str::to_owned);
    // What others named must neither break a row nor move the cursor.
    let shown = rows.iter().map(|row| {
        let one_line = |cell: &String| printable(cell).replace(['\n', '\t'], " ");
        row.each_ref().map(one_line)
    });
    let rows: Vec<_> = std::iter::once(heading).chain(shown).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..N).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_a_name_breaks_no_row() {
        let rows = [
            ["alice".to_owned(), "a\nlaptop\u{1b}".to_owned()],
            ["bo".to_owned(), String::new()],
        ];
        assert_eq!(
            table(["NAME", "DEVICE"], &rows),
            "NAME   DEVICE\nalice  a laptop\\u{1b}\nbo"
        );
    }
}
