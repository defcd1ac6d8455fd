//! `config example`.

use crate::{configuration::Configuration, exit::Outcome};

/// Prints every key with its meaning, unit and default.
pub(crate) fn example() -> Outcome {
    print!("{}", unhidra_runtime::config::example::<Configuration>());
    Ok(())
}
