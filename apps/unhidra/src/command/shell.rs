//! `completions` and `man`: what a shell and `man` want to know, made from the same definitions as the help.

use std::{fs, io, path::Path};

use anyhow::Context as _;
use clap_complete::aot;
use serde::Serialize;

use crate::{
    arguments::{self, Completions, Man, Shell},
    exit::Outcome,
    output::{self, Output},
};

/// Prints the completion script of a shell.
pub(crate) fn completions(options: &Completions) -> Outcome {
    let shell = match options.shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut script = Vec::new();
    aot::generate(shell, &mut arguments::command(), "unhidra", &mut script);
    output::document(&script).context("print the script")?;
    Ok(())
}

/// Prints the page of the program, or writes the page of every command into a folder.
pub(crate) fn man(options: &Man, output: Output) -> Outcome {
    #[derive(Serialize)]
    struct Pages<'a> {
        folder: &'a Path,
        pages: usize,
    }
    let Some(folder) = &options.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(arguments::command())
            .render(&mut page)
            .context("make the page")?;
        output::document(&page).context("print the page")?;
        return Ok(());
    };
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    clap_mangen::generate_to(arguments::command(), folder)
        .with_context(|| format!("write into {}", folder.display()))?;
    let pages = count(folder).with_context(|| format!("look into {}", folder.display()))?;
    output
        .result(&Pages { folder, pages }, || {
            format!("{pages} pages in {}", folder.display())
        })
        .context("print the result")?;
    Ok(())
}

/// Pages of this program in a folder, which may hold others' as well.
fn count(folder: &Path) -> io::Result<usize> {
    let mut pages = 0;
    for entry in fs::read_dir(folder)? {
        pages += usize::from(entry?.file_name().to_string_lossy().starts_with("unhidra"));
    }
    Ok(pages)
}
