//! Configuration: each crate owns the type of its section, the binary composes them, and this module loads them.
//!
//! A section is a struct with `#[derive(confique::Config)]`: doc comments say meaning and unit, `default` the default.
//! Layers, the last one wins: defaults, `unhidra.toml`, `UNHIDRA_<SECTION>_<KEY>`, flags. A key nobody knows is an
//! error that names the nearest known one. Variables such as `UNHIDRA_SERVICE_HOST`, which container platforms set
//! by themselves, name no section and are left alone.

mod key;

use std::path::{Path, PathBuf};

use confique::{Config, Layer};
use serde::Deserialize as _;

use self::key::{leaves, nearest};

/// What every environment variable of the configuration starts with.
pub const ENV_PREFIX: &str = "UNHIDRA_";

/// Everything that may set a key, besides the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The configuration file, if there is one: its path for messages, and its text.
    pub file: Option<(PathBuf, String)>,
    /// Environment variables by name; those without [`ENV_PREFIX`] are ignored.
    pub env: Vec<(String, String)>,
    /// `section.key` and value, as flags name them.
    pub flags: Vec<(String, String)>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("can't read {}: name another with --config", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not TOML, or a value in it does not fit.
    #[error("{}{}: {reason}", path.display(), line.map_or_else(String::new, |line| format!(", line {line}")))]
    File {
        /// The file.
        path: PathBuf,
        /// Where.
        line: Option<usize>,
        /// Why, in one line.
        reason: String,
    },
    /// Nobody knows this key.
    #[error("{origin}: unknown key `{key}`{}", nearest.as_ref().map_or_else(String::new, |n| format!(", did you mean `{n}`?")))]
    UnknownKey {
        /// The file, variable or flag.
        origin: String,
        /// The key as it was written.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A value from the environment or a flag does not fit.
    #[error("{origin}: {reason}")]
    Value {
        /// The variable or flag.
        origin: String,
        /// What the type says about it; never the value.
        reason: String,
    },
    /// A required key is missing, or the section as a whole does not hold.
    #[error("{0}")]
    Incomplete(String),
}

impl Sources {
    /// Reads the process's environment and the file, which need not exist unless it was named by the operator.
    ///
    /// # Errors
    /// [`ConfigError::Read`] when the file is there and can't be read, or was named and is missing.
    pub fn from_process(file: ConfigFile<'_>, flags: Vec<(String, String)>) -> Result<Self, ConfigError> {
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with(ENV_PREFIX))
            .collect();
        let (path, required) = match file {
            ConfigFile::Named(path) => (path, true),
            ConfigFile::Default(path) => (path, false),
        };
        let file = match std::fs::read_to_string(path) {
            Ok(text) => Some((path.to_owned(), text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => None,
            Err(source) => {
                let path = path.to_owned();
                return Err(ConfigError::Read { path, source });
            }
        };
        Ok(Self { file, env, flags })
    }

    /// Builds the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, variable or flag to correct.
    pub fn load<C: Config>(&self) -> Result<C, ConfigError> {
        let mut layer = C::Layer::empty();
        for (key, value) in &self.flags {
            layer = layer.with_fallback(single::<C>(&format!("flag `{key}`"), key, value)?);
        }
        let leaves = leaves(&C::META);
        for (name, value) in &self.env {
            let Some(variable) = name.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            let known = leaves.iter().find(|leaf| env_suffix(&leaf.path) == variable);
            let Some(leaf) = known else {
                if names_a_section::<C>(variable) {
                    let names: Vec<_> = leaves.iter().map(|leaf| env_name(&leaf.path)).collect();
                    let nearest = nearest(name, names.iter().map(String::as_str));
                    let origin = "environment".to_owned();
                    return Err(ConfigError::UnknownKey {
                        origin,
                        key: name.clone(),
                        nearest,
                    });
                }
                continue;
            };
            layer = layer.with_fallback(single::<C>(name, &leaf.path, value)?);
        }
        if let Some((path, text)) = &self.file {
            layer = layer.with_fallback(file_layer::<C>(path, text)?);
        }
        C::from_layer(layer.with_fallback(C::Layer::default_values()))
            .map_err(|error| ConfigError::Incomplete(format!("{error:#}")))
    }
}

impl Sources {
    /// Every key with what [`Sources::load`] takes for it.
    ///
    /// # Errors
    /// As [`Sources::load`].
    pub fn effective<C: Config>(&self) -> Result<Vec<Effective>, ConfigError> {
        self.load::<C>()?;
        let file = match &self.file {
            None => None,
            Some((path, text)) => {
                let table: toml::Table = toml::from_str(text).unwrap_or_default();
                Some((path.display().to_string(), table))
            }
        };
        let effective = |leaf: key::Leaf| {
            // As text or as a literal: what the default is.
            let is_text = leaf
                .default
                .as_ref()
                .is_none_or(|default| default.starts_with('"'));
            let shown = |text: &str| {
                if is_text {
                    toml::Value::String(text.to_owned()).to_string()
                } else {
                    text.to_owned()
                }
            };
            let flag = self.flags.iter().find(|(key, _)| *key == leaf.path);
            let variable = env_name(&leaf.path);
            let env = self.env.iter().find(|(name, _)| *name == variable);
            let in_file = file.as_ref().and_then(|(path, table)| {
                let section = table.get(&leaf.section)?.as_table()?;
                Some((section.get(leaf.name)?.to_string(), path.clone()))
            });
            let (value, origin) = match (flag, env, in_file) {
                (Some((_, text)), _, _) => (Some(shown(text)), "flag".to_owned()),
                (None, Some((_, text)), _) => (Some(shown(text)), variable),
                (None, None, Some((value, path))) => (Some(value), path),
                (None, None, None) => (leaf.default, "default".to_owned()),
            };
            Effective {
                key: leaf.path,
                value,
                origin,
            }
        };
        Ok(leaves(&C::META).into_iter().map(effective).collect())
    }
}

/// Where the configuration file is.
#[derive(Clone, Copy, Debug)]
pub enum ConfigFile<'a> {
    /// The operator named it: it must exist.
    Named(&'a Path),
    /// The usual place: it may be missing.
    Default(&'a Path),
}

/// What a key is set to, and by what.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Effective {
    /// `section.key`.
    pub key: String,
    /// As TOML; `None` when a key without a default is not set.
    pub value: Option<String>,
    /// `default`, the file, the variable or the flag.
    pub origin: String,
}

/// A key as the example describes it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Described {
    /// `section.key`.
    pub key: String,
    /// What it means, and its unit.
    pub doc: String,
    /// As TOML; `None` when it need not be set.
    pub default: Option<String>,
    /// The variable that sets it.
    pub variable: String,
}

/// Every key with its meaning, in the order of the example.
#[must_use]
pub fn described<C: Config>() -> Vec<Described> {
    let described = |leaf: key::Leaf| Described {
        variable: env_name(&leaf.path),
        doc: leaf
            .doc
            .iter()
            .map(|line| line.trim())
            .collect::<Vec<_>>()
            .join(" "),
        key: leaf.path,
        default: leaf.default,
    };
    leaves(&C::META).into_iter().map(described).collect()
}

/// A `unhidra.toml` with every key, commented out at its default, with its doc, unit and variable.
#[must_use]
pub fn example<C: Config>() -> String {
    let mut out = String::new();
    let mut section = None;
    for leaf in leaves(&C::META) {
        if section.as_deref() != Some(leaf.section.as_str()) {
            for line in leaf.section_doc {
                out.push_str(&format!("#{line}\n"));
            }
            out.push_str(&format!("[{}]\n", leaf.section));
            section = Some(leaf.section.clone());
        }
        for line in leaf.doc {
            out.push_str(&format!("#{line}\n"));
        }
        out.push_str(&format!("# Variable: {}\n", env_name(&leaf.path)));
        match leaf.default {
            Some(default) => out.push_str(&format!("#{} = {default}\n\n", leaf.name)),
            None => out.push_str(&format!("#{} =\n\n", leaf.name)),
        }
    }
    out
}

fn env_suffix(path: &str) -> String {
    path.replace('.', "_").to_ascii_uppercase()
}

fn env_name(path: &str) -> String {
    format!("{ENV_PREFIX}{}", env_suffix(path))
}

fn names_a_section<C: Config>(variable: &str) -> bool {
    C::META.fields.iter().any(|field| {
        let rest = variable.strip_prefix(&field.name.to_ascii_uppercase());
        rest.is_some_and(|rest| rest.starts_with('_'))
    })
}

fn file_layer<C: Config>(path: &Path, text: &str) -> Result<C::Layer, ConfigError> {
    // The library's own text is a picture of the place, in several lines.
    let failed = |error: toml::de::Error| ConfigError::File {
        path: path.to_owned(),
        line: error
            .span()
            .and_then(|span| text.get(..span.start))
            .map(|before| before.matches('\n').count() + 1),
        reason: error.message().lines().collect::<Vec<_>>().join(" "),
    };
    let table: toml::Table = toml::from_str(text).map_err(failed)?;
    check_keys::<C>(&path.display().to_string(), &table)?;
    toml::from_str(text).map_err(failed)
}

fn check_keys<C: Config>(origin: &str, table: &toml::Table) -> Result<(), ConfigError> {
    let known = leaves(&C::META);
    let mut open = vec![(String::new(), table)];
    while let Some((prefix, table)) = open.pop() {
        for (name, value) in table {
            let path = format!("{prefix}{name}");
            if known.iter().any(|leaf| leaf.path == path) {
                continue;
            }
            match value {
                // Inside a section, known or not, it is the whole key that is right or wrong.
                toml::Value::Table(inner) if !inner.is_empty() => open.push((format!("{path}."), inner)),
                // A section in which every key is commented out, as in the example.
                toml::Value::Table(_) if known.iter().any(|leaf| leaf.section == path) => {}
                _ => {
                    let nearest = nearest(&path, known.iter().map(|leaf| leaf.path.as_str()));
                    return Err(ConfigError::UnknownKey {
                        origin: origin.to_owned(),
                        key: path,
                        nearest,
                    });
                }
            }
        }
    }
    Ok(())
}

/// A layer of one key. Text is tried as a string first, so a name made of digits stays a name, then as a TOML value.
fn single<C: Config>(origin: &str, path: &str, text: &str) -> Result<C::Layer, ConfigError> {
    let wrap = |value: toml::Value| {
        path.rsplit('.').fold(value, |inner, name| {
            toml::Value::Table(toml::Table::from_iter([(name.to_owned(), inner)]))
        })
    };
    if let toml::Value::Table(table) = wrap(toml::Value::Boolean(true)) {
        check_keys::<C>(origin, &table)?;
    }
    let as_text = match C::Layer::deserialize(wrap(toml::Value::String(text.to_owned()))) {
        Ok(layer) => return Ok(layer),
        Err(error) => error,
    };
    let literal = toml::from_str::<toml::Table>(&format!("value = {text}")).ok();
    let as_literal = literal
        .and_then(|mut table| table.remove("value"))
        .map(|value| C::Layer::deserialize(wrap(value)));
    match as_literal {
        Some(Ok(layer)) => Ok(layer),
        Some(Err(error)) => Err(ConfigError::Value {
            origin: origin.to_owned(),
            reason: error.message().to_owned(),
        }),
        None => Err(ConfigError::Value {
            origin: origin.to_owned(),
            reason: as_text.message().to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
