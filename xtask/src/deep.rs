//! Tier 0 on other machines: in WebAssembly, where its tests run by Node.js; on a microcontroller without an operating
//! system, for which it is built; on 32 bits, where its tests run too. The standard libraries come by rustup; where it can't
//! add them, from Debian's compiler and its sources, which takes longer.
//!
//! A target that could not be shown is an error, whatever the reason.

mod compiler;
mod tally;

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use self::{
    compiler::{Compiler, install, succeeds},
    tally::Tally,
};
use crate::layers::{metadata, target_folder};

const CRATES: [&str; 6] = [
    "unhidra-types",
    "unhidra-crypto",
    "unhidra-chain",
    "unhidra-wire",
    "unhidra-pair",
    "unhidra-tree",
];
/// Needs the memory of a process: `/proc`, which WebAssembly has not. It counts itself, so it is none of the programs of the
/// standard test harness.
const OWN_MAIN: &str = "zeroization";
/// Makes `unhidra_wasm::run` the runner of each test program.
const RUNNER_FLAGS: &str =
    "-Zcrate-attr=feature(custom_test_frameworks) -Zcrate-attr=test_runner(unhidra_wasm::run)";

#[derive(Args)]
pub(crate) struct Deep {
    /// Takes Debian's compiler, as where rustup can't add a target
    #[arg(long)]
    debian: bool,
}

struct Run<'a> {
    root: &'a Path,
    /// Where everything is built that is built here.
    folder: PathBuf,
    debian: bool,
}

/// Shows tier 0 on each target, and ends with a line for each.
///
/// # Errors
/// When one of them could not be shown.
pub(crate) fn run(root: &Path, deep: &Deep) -> anyhow::Result<()> {
    let run = Run {
        root,
        folder: target_folder(root)?.join("deep"),
        debian: deep.debian,
    };
    fs::create_dir_all(&run.folder).with_context(|| format!("make {}", run.folder.display()))?;
    let shown = [
        ("wasm32-unknown-unknown", run.wasm()),
        ("riscv32imc-unknown-none-elf", run.riscv()),
        ("i686-unknown-linux-gnu", run.i686()),
    ];
    let mut missing = Vec::new();
    println!("\n{} crates of tier 0:", CRATES.len());
    for (target, result) in shown {
        match result {
            Ok(what) => println!("  {target:<28} {what}"),
            Err(error) => {
                println!("  {target:<28} NOT SHOWN: {error:#}");
                missing.push(target);
            }
        }
    }
    ensure!(missing.is_empty(), "not shown: {}", missing.join(", "));
    Ok(())
}

impl Run<'_> {
    fn wasm(&self) -> anyhow::Result<String> {
        let target = "wasm32-unknown-unknown";
        let compiler = Compiler::of(self.root, target, self.debian)?;
        if !succeeds(Command::new("node").arg("--version")) {
            install(&["nodejs"])?;
        }
        self.build(&compiler, target)?;
        let mut suites = self.suites()?;
        suites.retain(|suite| suite != OWN_MAIN);
        let mut command = self.cargo(&compiler, target, "test");
        command.args(["--no-fail-fast", "--lib"]);
        for suite in &suites {
            command.args(["--test", suite]);
        }
        let host = self.root.join("testing/wasm/run.mjs");
        command
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", RUNNER_FLAGS)
            .env(
                "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER",
                format!("node {}", host.display()),
            );
        let tally = self.tests(&mut command, target, suites.len() + CRATES.len())?;
        Ok(format!("{compiler}: built, {tally}, by Node.js; not {OWN_MAIN}"))
    }

    fn riscv(&self) -> anyhow::Result<String> {
        let target = "riscv32imc-unknown-none-elf";
        let compiler = Compiler::of(self.root, target, self.debian)?;
        self.build(&compiler, target)?;
        Ok(format!("{compiler}: built"))
    }

    fn i686(&self) -> anyhow::Result<String> {
        let target = "i686-unknown-linux-gnu";
        let compiler = Compiler::of(self.root, target, self.debian)?;
        let links = || -> anyhow::Result<bool> {
            let source = self.folder.join("empty.c");
            fs::write(&source, "int main(void) { return 0; }\n")?;
            let program = self.folder.join("empty");
            Ok(succeeds(
                Command::new("cc")
                    .arg("-m32")
                    .arg(&source)
                    .arg("-o")
                    .arg(&program),
            ))
        };
        if !links()? {
            install(&["gcc-multilib"])?;
            ensure!(links()?, "cc -m32 makes no program");
        }
        let mut command = self.cargo(&compiler, target, "test");
        command.args(["--no-fail-fast", "--tests", "--", "--show-output"]);
        let suites = self.suites()?;
        let programs = suites.iter().filter(|suite| *suite != OWN_MAIN).count();
        let tally = self.tests(&mut command, target, programs + CRATES.len())?;
        Ok(format!("{compiler}: built, {tally} and {OWN_MAIN}"))
    }

    fn build(&self, compiler: &Compiler, target: &str) -> anyhow::Result<()> {
        let mut command = self.cargo(compiler, target, "build");
        command.arg("--release");
        println!("xtask: build for {target}");
        let status = command.status().context("start cargo")?;
        ensure!(status.success(), "the build failed");
        Ok(())
    }

    fn cargo(&self, compiler: &Compiler, target: &str, act: &str) -> Command {
        let mut command = compiler.cargo(target, act);
        command
            .args(CRATES.map(|name| format!("--package={name}")))
            .arg("--target-dir")
            .arg(self.folder.join(compiler.folder()))
            .current_dir(self.root);
        command
    }

    /// The names of all integration tests of tier 0.
    fn suites(&self) -> anyhow::Result<Vec<String>> {
        let metadata = metadata(self.root)?;
        let mut suites = Vec::new();
        for package in metadata["packages"].as_array().into_iter().flatten() {
            if !CRATES.iter().any(|name| package["name"] == *name) {
                continue;
            }
            let targets = package["targets"].as_array().into_iter().flatten();
            let tests = targets.filter(|target| target["kind"][0] == "test");
            suites.extend(tests.filter_map(|test| test["name"].as_str()).map(String::from));
        }
        ensure!(
            suites.iter().any(|suite| suite == OWN_MAIN),
            "cargo does not name the tests"
        );
        Ok(suites)
    }

    /// Runs tests and counts them. What they print goes into a file, which is shown when one failed.
    fn tests(&self, command: &mut Command, target: &str, programs: usize) -> anyhow::Result<Tally> {
        println!("xtask: tests for {target}, {programs} programs");
        let log = self.folder.join(format!("{target}.log"));
        let mut kept = File::create(&log).with_context(|| format!("write {}", log.display()))?;
        let mut child = command.stdout(Stdio::piped()).spawn().context("start cargo")?;
        let printed = child.stdout.take().context("cargo has an output")?;
        let mut tally = Tally::default();
        for line in BufReader::new(printed).lines() {
            let line = line.context("read what the tests print")?;
            writeln!(kept, "{line}")?;
            tally.take(&line);
        }
        let status = child.wait().context("wait for cargo")?;
        if !status.success() {
            eprint!("{}", fs::read_to_string(&log)?);
            bail!("a test failed, see {}", log.display());
        }
        ensure!(
            tally.programs == programs && tally.vectors > 0 && tally.traces > 0,
            "of {programs} programs with vectors and traces ran {tally}"
        );
        Ok(tally)
    }
}
