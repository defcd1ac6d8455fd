//! Dependencies point down only. What a tier may see is this table; `ARCHITECTURE.md` draws it.
//!
//! Checked: every edge between crates of the workspace (development dependencies aside), that no crate opts out of the
//! workspace's lints, and that each tier's `clippy.toml` bans at least what the root's bans.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// Each crate with the crates that it may name in `[dependencies]`. A crate that is not here may not exist.
const ALLOWED: &[(&str, &[&str])] = &[
    ("unhidra-types", &[]),
    ("unhidra-crypto", &["unhidra-types"]),
    ("unhidra-chain", &["unhidra-types", "unhidra-crypto"]),
    ("unhidra-wire", &["unhidra-types"]),
    (
        "unhidra-tree",
        &["unhidra-types", "unhidra-crypto", "unhidra-wire"],
    ),
    (
        "unhidra-pair",
        &["unhidra-types", "unhidra-crypto", "unhidra-chain", "unhidra-wire"],
    ),
    (
        "unhidra-client",
        &[
            "unhidra-types",
            "unhidra-crypto",
            "unhidra-chain",
            "unhidra-wire",
            "unhidra-pair",
        ],
    ),
    (
        "unhidra-client-native",
        &[
            "unhidra-types",
            "unhidra-crypto",
            "unhidra-chain",
            "unhidra-wire",
            "unhidra-pair",
            "unhidra-tree",
            "unhidra-client",
        ],
    ),
    ("unhidra-runtime", &["unhidra-types"]),
    (
        "unhidra-store",
        &[
            "unhidra-types",
            "unhidra-crypto",
            "unhidra-tree",
            "unhidra-audit",
            "unhidra-runtime",
        ],
    ),
    (
        "unhidra-bus",
        &["unhidra-types", "unhidra-wire", "unhidra-runtime"],
    ),
    (
        "unhidra-audit",
        &["unhidra-types", "unhidra-crypto", "unhidra-wire", "unhidra-tree"],
    ),
    ("unhidra-policy", &["unhidra-types"]),
    ("unhidra-keys", &["unhidra-types", "unhidra-runtime"]),
    ("unhidra-identity", SERVICE),
    ("unhidra-messaging", SERVICE),
    ("unhidra-http", EDGE),
    ("unhidra-gateway", EDGE),
    (
        "unhidra-load",
        &[
            "unhidra-types",
            "unhidra-crypto",
            "unhidra-chain",
            "unhidra-wire",
            "unhidra-client",
            "unhidra-client-native",
        ],
    ),
    ("unhidra", ANY),
    ("unhidra-testkit", ANY),
    ("unhidra-fuzz", ANY),
    ("xtask", ANY),
];
const SERVICE: &[&str] = &[
    "unhidra-types",
    "unhidra-crypto",
    "unhidra-chain",
    "unhidra-wire",
    "unhidra-tree",
    "unhidra-runtime",
    "unhidra-store",
    "unhidra-bus",
    "unhidra-audit",
    "unhidra-policy",
    "unhidra-keys",
];
const EDGE: &[&str] = &[
    "unhidra-types",
    "unhidra-wire",
    "unhidra-runtime",
    "unhidra-store",
    "unhidra-bus",
    "unhidra-policy",
    "unhidra-identity",
    "unhidra-messaging",
];
/// Composition: the program and the tools that drive it.
const ANY: &[&str] = &["*"];
/// Folders whose crates may not name end-to-end secrets.
const SERVER_TIERS: &[&str] = &["infra", "services", "edge"];

/// One edge of the dependency graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
}

/// Reads the workspace and checks it.
///
/// # Errors
/// Every edge and file that breaks a rule, in one message.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let metadata = metadata(root)?;
    let mut broken = forbidden(&edges(&metadata)?);
    broken.extend(without_lints(&metadata)?);
    broken.extend(weaker_bans(root)?);
    if broken.is_empty() {
        println!("layers: {} crates, every dependency points down", ALLOWED.len());
        return Ok(());
    }
    bail!("layers are broken:\n  {}", broken.join("\n  "))
}

/// Where cargo puts what it builds.
///
/// # Errors
/// When cargo does not say.
pub(crate) fn target_folder(root: &Path) -> anyhow::Result<PathBuf> {
    let metadata = metadata(root)?;
    let folder = metadata["target_directory"].as_str();
    folder.map(PathBuf::from).context("cargo names its target folder")
}

/// What cargo knows of the workspace.
///
/// # Errors
/// When cargo does not say.
pub(crate) fn metadata(root: &Path) -> anyhow::Result<Value> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("run cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("parse cargo metadata")
}

fn packages(metadata: &Value) -> anyhow::Result<&Vec<Value>> {
    metadata["packages"]
        .as_array()
        .context("cargo metadata lists packages")
}

fn edges(metadata: &Value) -> anyhow::Result<BTreeSet<Edge>> {
    let packages = packages(metadata)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = packages.iter().map(|package| text(&package["name"])).collect();
    let mut edges = BTreeSet::new();
    for package in packages {
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = text(&dependency["name"]);
            if dependency["kind"] != "dev" && names.contains(&to) {
                edges.insert(Edge {
                    from: text(&package["name"]),
                    to,
                });
            }
        }
        edges.insert(Edge {
            from: text(&package["name"]),
            to: String::new(),
        });
    }
    Ok(edges)
}

fn forbidden(edges: &BTreeSet<Edge>) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut broken = Vec::new();
    for Edge { from, to } in edges {
        match allowed.get(from.as_str()) {
            None => broken.push(format!("{from} has no row in the table of layers")),
            Some(targets) if to.is_empty() || *targets == ANY || targets.contains(&to.as_str()) => {}
            Some(_) => broken.push(format!("{from} may not depend on {to}")),
        }
    }
    broken.dedup();
    broken
}

fn without_lints(metadata: &Value) -> anyhow::Result<Vec<String>> {
    let mut broken = Vec::new();
    for package in packages(metadata)? {
        let path = package["manifest_path"]
            .as_str()
            .context("a package has a manifest")?;
        let manifest: toml::Table = fs::read_to_string(path).context("read a manifest")?.parse()?;
        let takes = manifest
            .get("lints")
            .and_then(|lints| lints.get("workspace"))
            .and_then(toml::Value::as_bool);
        if takes != Some(true) {
            broken.push(format!("{path} lacks `[lints] workspace = true`"));
        }
    }
    Ok(broken)
}

fn weaker_bans(root: &Path) -> anyhow::Result<Vec<String>> {
    let bans = |file: &Path| -> anyhow::Result<BTreeSet<String>> {
        let table: toml::Table = fs::read_to_string(file)
            .with_context(|| format!("read {}", file.display()))?
            .parse()?;
        let lists = table.iter().filter(|(key, _)| key.starts_with("disallowed-"));
        let entries =
            lists.flat_map(|(key, list)| list.as_array().into_iter().flatten().map(move |ban| (key, ban)));
        Ok(entries.map(|(key, ban)| format!("{key}: {ban}")).collect())
    };
    let base = bans(&root.join("clippy.toml"))?;
    let mut broken = Vec::new();
    for tier in SERVER_TIERS {
        let file = root.join(tier).join("clippy.toml");
        let own = bans(&file)?;
        broken.extend(
            base.difference(&own)
                .map(|ban| format!("{tier}/clippy.toml lacks {ban}")),
        );
        if !own.iter().any(|ban| ban.starts_with("disallowed-types")) {
            broken.push(format!("{tier}/clippy.toml bans no end-to-end secret type"));
        }
    }
    Ok(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str) -> Edge {
        Edge {
            from: from.into(),
            to: to.into(),
        }
    }

    #[test]
    fn a_forbidden_dependency_is_named() {
        for (from, to) in [
            ("unhidra-messaging", "unhidra-pair"),
            ("unhidra-gateway", "unhidra-client"),
            ("unhidra-store", "unhidra-identity"),
            ("unhidra-messaging", "unhidra-identity"),
            ("unhidra-http", "unhidra-keys"),
            ("unhidra-types", "unhidra-crypto"),
            ("unhidra-client", "unhidra-store"),
        ] {
            let broken = forbidden(&BTreeSet::from([edge(from, to)]));
            assert_eq!(broken, [format!("{from} may not depend on {to}")]);
        }
    }

    #[test]
    fn an_allowed_dependency_passes() {
        assert!(forbidden(&BTreeSet::from([edge("unhidra-gateway", "unhidra-messaging")])).is_empty());
    }

    #[test]
    fn a_crate_without_a_row_is_named() {
        let broken = forbidden(&BTreeSet::from([edge("unhidra-helpers", "")]));
        assert_eq!(broken, ["unhidra-helpers has no row in the table of layers"]);
    }

    #[test]
    fn a_dependency_added_to_a_manifest_is_seen() {
        let metadata: Value = serde_json::json!({ "packages": [
            { "name": "unhidra-bus", "dependencies": [{ "name": "unhidra-pair", "kind": null }, { "name": "tokio", "kind": null }] },
            { "name": "unhidra-pair", "dependencies": [{ "name": "unhidra-bus", "kind": "dev" }] },
        ] });
        let broken = forbidden(&edges(&metadata).unwrap());
        assert_eq!(broken, ["unhidra-bus may not depend on unhidra-pair"]);
    }

    #[test]
    fn no_server_crate_may_see_what_opens_a_message() {
        let reaches = |name: &'static str| -> BTreeSet<&'static str> {
            let mut seen = BTreeSet::from([name]);
            let mut open = vec![name];
            while let Some(next) = open.pop() {
                let targets = ALLOWED
                    .iter()
                    .find(|(from, _)| *from == next)
                    .map_or(&[][..], |(_, to)| to);
                open.extend(targets.iter().copied().filter(|to| seen.insert(to)));
            }
            seen
        };
        for server in [
            "unhidra-http",
            "unhidra-gateway",
            "unhidra-identity",
            "unhidra-messaging",
            "unhidra-store",
        ] {
            assert!(!reaches(server).contains("unhidra-pair"), "{server}");
            assert!(!reaches(server).contains("unhidra-client"), "{server}");
        }
    }
}
