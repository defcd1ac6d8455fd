//! Draws the reports that lie in `docs/plots`.

use std::path::Path;

use crate::chaos::cargo;

/// Draws each report beside it.
///
/// # Errors
/// When the build failed, or a report can't be read.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let folder = root.join("docs/plots").display().to_string();
    cargo(
        root,
        &[
            "run",
            "--quiet",
            "--package",
            "unhidra-testkit",
            "--bin",
            "plots",
            "--",
            &folder,
        ],
    )
}
