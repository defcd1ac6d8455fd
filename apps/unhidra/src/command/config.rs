//! `config example` and `config show`.

use anyhow::Context as _;
use unhidra_runtime::config::{described, example as text};

use crate::{
    arguments::ServerOptions,
    configuration::{self, Configuration},
    exit::{Exit, OrExit as _, Outcome},
    output::Output,
};

/// Prints every key with its meaning, unit and default.
pub(crate) fn example(output: Output) -> Outcome {
    if !output.json {
        print!("{}", text::<Configuration>());
        return Ok(());
    }
    for key in described::<Configuration>() {
        output.result(&key, String::new).context("print a key")?;
    }
    Ok(())
}

/// Prints what every key is set to, and by what.
pub(crate) fn show(options: &ServerOptions, output: Output) -> Outcome {
    configuration::load(options).or_exit(Exit::Configuration)?;
    let sources = configuration::sources(options).or_exit(Exit::Configuration)?;
    for key in sources
        .effective::<Configuration>()
        .or_exit(Exit::Configuration)?
    {
        output
            .result(&key, || match &key.value {
                Some(value) => format!("{} = {value}  # {}", key.key, key.origin),
                None => format!("# {} is not set", key.key),
            })
            .context("print a key")?;
    }
    Ok(())
}
