//! What an outside tool says about the server's TLS: testssl.sh against the real program with a local CA.
//!
//! testssl.sh is a program of its own (GPL), installed from the system's packages and only run.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::layers::target_folder;

/// Weaknesses from this severity on fail the check; below it there are hints.
const GRAVE: [&str; 5] = ["MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL"];
/// What is inherent to an authority of one's own, with the reason.
const INHERENT: [(&str, &str); 1] = [(
    "cert_revocation",
    "a local CA has no place where clients could ask; its certificates end after 90 days, and the pin can be replaced",
)];
/// Seconds that the scan may take.
const SCAN_SECONDS: &str = "900";
/// How long the server may take to come up.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Builds and starts the server, has it examined, and fails on what is grave.
///
/// # Errors
/// When something can't be run, or weaknesses were found; each is named.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    install()?;
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--package", "unhidra"])
        .current_dir(root)
        .status()
        .context("run cargo")?;
    ensure!(built.success(), "the program was not built");
    let folder = tempfile::tempdir().context("make a folder")?;
    let server = Server::start(&target_folder(root)?.join("debug/unhidra"), folder.path())?;
    let report = folder.path().join("report.json");
    let scanned = Command::new("timeout")
        .args([
            SCAN_SECONDS,
            "testssl",
            "--warnings",
            "off",
            "--color",
            "0",
            "--quiet",
            "--ip",
            "127.0.0.1",
        ])
        .arg("--add-ca")
        .arg(folder.path().join("data/tls/ca.pem"))
        .arg("--jsonfile")
        .arg(&report)
        .arg(format!("https://localhost:{}", server.port))
        .stdout(File::create(folder.path().join("report.txt")).context("keep the report")?)
        .status()
        .context("run testssl")?;
    drop(server);
    ensure!(
        scanned.code() != Some(124),
        "the scan took longer than {SCAN_SECONDS} s"
    );
    let findings: Vec<Value> =
        serde_json::from_slice(&fs::read(&report).context("read the report")?).context("read the report")?;
    judge(&findings)
}

fn judge(findings: &[Value]) -> anyhow::Result<()> {
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    // A scan that never spoke with the server finds nothing either.
    let saw = findings
        .iter()
        .any(|finding| finding["id"] == "TLS1_3" && text(finding, "finding").starts_with("offered"));
    ensure!(saw, "the scan did not see TLS 1.3: it did not reach the server");
    let mut weaknesses = Vec::new();
    for finding in findings {
        let (id, severity) = (text(finding, "id"), text(finding, "severity"));
        if !GRAVE.contains(&severity.as_str()) {
            continue;
        }
        let shown = format!("{severity} {id}: {}", text(finding, "finding"));
        match INHERENT.iter().find(|(inherent, _)| *inherent == id) {
            Some((_, reason)) => println!("accepted: {shown} ({reason})"),
            None => weaknesses.push(shown),
        }
    }
    if weaknesses.is_empty() {
        println!("tls: {} findings, no weakness", findings.len());
        return Ok(());
    }
    bail!("TLS is weak:\n  {}", weaknesses.join("\n  "))
}

fn install() -> anyhow::Result<()> {
    if Command::new("testssl").arg("--version").output().is_ok() {
        return Ok(());
    }
    let installed = Command::new("apt-get")
        .args(["install", "--yes", "testssl.sh"])
        .status()
        .context("install testssl.sh")?;
    ensure!(
        installed.success(),
        "testssl.sh was not installed: install it by hand"
    );
    Ok(())
}

/// A server with a local CA on loopback. Dropping it ends it.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        let (stdout, log) = (folder.join("stdout"), folder.join("stderr"));
        let child = Command::new(program)
            .args([
                "serve",
                "--tls",
                "local-ca",
                "--listen",
                "127.0.0.1:0",
                "--data",
                "data",
            ])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).context("keep what the server prints")?)
            .stderr(File::create(&log).context("keep the server's log")?)
            .spawn()
            .context("start the server")?;
        let mut server = Self { child, port: 0 };
        let begin = Instant::now();
        while begin.elapsed() < START_TIMEOUT {
            let printed = fs::read_to_string(&stdout).context("read what the server prints")?;
            let port = printed
                .lines()
                .find_map(|line| line.strip_prefix("listening on https://127.0.0.1:")?.parse().ok());
            if let Some(port) = port {
                server.port = port;
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait().context("ask for the server's end")? {
                let log = fs::read_to_string(&log).unwrap_or_default();
                bail!("the server ended with {status}:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the server did not come up")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what they are for.
        let _already_ended = self.child.kill();
        let _already_reaped = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn finding(id: &str, severity: &str) -> Value {
        json!({"id": id, "severity": severity, "finding": "offered with final"})
    }

    #[test]
    fn a_grave_finding_fails_and_an_inherent_one_does_not() {
        let seen = finding("TLS1_3", "OK");
        judge(&[
            seen.clone(),
            finding("cert_revocation", "HIGH"),
            finding("DNS_CAArecord", "LOW"),
        ])
        .unwrap();
        let weak = judge(&[seen, finding("BREACH", "MEDIUM")])
            .unwrap_err()
            .to_string();
        assert!(weak.contains("MEDIUM BREACH"), "{weak}");
    }

    #[test]
    fn a_scan_that_saw_nothing_is_no_success() {
        assert!(judge(&[]).is_err());
    }
}
