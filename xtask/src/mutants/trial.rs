//! The crate's tests, built in the copy, and what they say of one mutant.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fmt, fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Mutex,
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{MANIFEST, PACKAGE, list::Mutant, outcome::Outcome};
use crate::invariants::Copy;

/// The tests that judge: all of the crate, those first that catch most and are built soonest.
pub(super) const BINARIES: &[&[&str]] = &[
    &["--lib"],
    &["--test", "pair"],
    &["--test", "linking", "--test", "recovery"],
    &["--test", "oracle", "--test", "zeroization"],
];
/// A test gets this much processor time, and so many times what it needs without a mutant: a loop that does not end.
const SECONDS: f64 = 2.0;
const TIMES: f64 = 10.0;
/// What it gets without a mutant.
const WITHOUT_MUTANT: f64 = 300.0;
/// And so many KiB of memory.
const MEMORY_KIB: u64 = 4 << 20;
/// What a process gets that used up its time.
const SIGXCPU: i32 = 24;

/// How the crate is built. Its time is spent in others, and a mutant that is built alone runs once.
#[derive(Clone, Copy)]
pub(super) enum Mode {
    Woven,
    Alone,
}

/// What the compiler says about a copy.
pub(super) enum Built {
    /// Programs of tests, by the name of their target.
    Binaries(BTreeMap<String, PathBuf>),
    Errors(Vec<CompileError>),
}

pub(super) struct CompileError {
    /// Files with lines.
    pub(super) places: Vec<(PathBuf, usize)>,
    pub(super) rendered: String,
}

/// Builds these tests.
///
/// # Errors
/// When the compiler can't be run, or fails without an error in a source.
pub(super) fn build<'a>(
    copy: &Copy,
    mode: Mode,
    targets: impl IntoIterator<Item = &'a &'a str>,
) -> anyhow::Result<Built> {
    let level = match mode {
        Mode::Woven => 1,
        Mode::Alone => 0,
    };
    let output = Command::new("cargo")
        .args([
            "test",
            "--quiet",
            "--no-run",
            "--message-format",
            "json",
            "--package",
            PACKAGE,
            "--config",
            &format!("profile.dev.package.{PACKAGE}.opt-level={level}"),
        ])
        .args(targets)
        .current_dir(&copy.tree)
        .env("CARGO_TARGET_DIR", &copy.target)
        .output()
        .context("start cargo")?;
    let (mut binaries, mut errors) = (BTreeMap::new(), Vec::new());
    for line in output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let message: Value = serde_json::from_slice(line).context("read what cargo says")?;
        if let (Some(name), Some(program)) =
            (message["target"]["name"].as_str(), message["executable"].as_str())
        {
            binaries.insert(name.to_owned(), PathBuf::from(program));
        }
        let said = &message["message"];
        let mut places = Vec::new();
        said["spans"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|span| add(span, &mut places));
        if said["level"] == "error" && !places.is_empty() {
            let rendered = said["rendered"].as_str().unwrap_or_default().to_owned();
            errors.push(CompileError { places, rendered });
        }
    }
    if output.status.success() {
        return Ok(Built::Binaries(binaries));
    }
    ensure!(
        !errors.is_empty(),
        "cargo: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Built::Errors(errors))
}

/// The place, and where the macro is called that it is in.
fn add(span: &Value, places: &mut Vec<(PathBuf, usize)>) {
    let line = span["line_start"]
        .as_u64()
        .and_then(|line| usize::try_from(line).ok());
    if let (Some(file), Some(line)) = (span["file_name"].as_str(), line) {
        places.push((file.into(), line));
        add(&span["expansion"]["span"], places);
    }
}

/// All tests, the cheapest first.
pub(super) struct Suite {
    pub(super) binaries: BTreeMap<String, PathBuf>,
    tests: Vec<Test>,
    /// The function of each mutant; none if the build does not say what a test reaches.
    functions: BTreeMap<usize, usize>,
    /// The test that caught the last mutant of a function.
    killers: Mutex<BTreeMap<usize, usize>>,
    folder: PathBuf,
}

struct Test {
    binary: String,
    name: String,
    seconds: f64,
    reaches: BTreeSet<usize>,
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds: f64 = self.tests.iter().map(|test| test.seconds).sum();
        write!(f, "{} tests, {seconds:.1} s one after another", self.tests.len())
    }
}

impl Suite {
    /// Builds the tests and runs each once, without a mutant.
    ///
    /// # Errors
    /// When one does not build, or fails.
    pub(super) fn measured(
        copy: &Copy,
        mode: Mode,
        functions: BTreeMap<usize, usize>,
    ) -> anyhow::Result<Self> {
        let binaries = match build(copy, mode, BINARIES.iter().copied().flatten())? {
            Built::Binaries(binaries) => binaries,
            Built::Errors(errors) => {
                let errors: Vec<_> = errors.into_iter().map(|error| error.rendered).collect();
                bail!("the tests do not build without a mutant:\n{}", errors.join("\n"))
            }
        };
        let folder = Path::new(MANIFEST).parent().unwrap_or(Path::new(""));
        let mut suite = Self {
            tests: Vec::new(),
            functions,
            killers: Mutex::default(),
            folder: copy.tree.join(folder),
            binaries,
        };
        let reached = copy.target.join("reached");
        let mut tests = suite.listed()?;
        for test in &mut tests {
            fs::write(&reached, "")?;
            let begin = Instant::now();
            let output = suite.run(test, WITHOUT_MUTANT, &[("UNHIDRA_REACHED", reached.as_os_str())])?;
            test.seconds = begin.elapsed().as_secs_f64();
            ensure!(
                output.status.success(),
                "{} fails without a mutant:\n{}",
                test.name,
                String::from_utf8_lossy(&output.stdout)
            );
            let text = fs::read_to_string(&reached)?;
            test.reaches = text.lines().map(str::parse).collect::<Result<_, _>>()?;
        }
        tests.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        suite.tests = tests;
        Ok(suite)
    }

    fn listed(&self) -> anyhow::Result<Vec<Test>> {
        let mut tests = Vec::new();
        for (binary, program) in &self.binaries {
            let output = Command::new(program)
                .args(["--list", "--format", "terse"])
                .output()?;
            ensure!(output.status.success(), "{binary} can't list its tests");
            for line in String::from_utf8(output.stdout)?.lines() {
                if let Some(name) = line.strip_suffix(": test") {
                    tests.push(Test {
                        binary: binary.clone(),
                        name: name.to_owned(),
                        seconds: 0.0,
                        reaches: BTreeSet::new(),
                    });
                }
            }
        }
        Ok(tests)
    }

    /// Runs those tests that are built and reach the mutant, up to the first that fails.
    ///
    /// # Errors
    /// When one can't be started.
    pub(super) fn try_out(&self, mutant: &Mutant) -> anyhow::Result<Outcome> {
        let function = self.functions.get(&mutant.number);
        let killer = function.and_then(|function| self.killers.lock().ok()?.get(function).copied());
        let others = (0..self.tests.len()).filter(|at| Some(*at) != killer);
        for at in killer.into_iter().chain(others) {
            let judges = |test: &&Test| {
                let is_built = self.binaries.contains_key(&test.binary);
                is_built && function.is_none_or(|function| test.reaches.contains(function))
            };
            let Some(test) = self.tests.get(at).filter(judges) else {
                continue;
            };
            let number = mutant.number.to_string();
            let limit = SECONDS + TIMES * test.seconds;
            let output = self.run(test, limit, &[("UNHIDRA_MUTANT", number.as_ref())])?;
            if output.status.success() {
                continue;
            }
            if let (Some(function), Ok(mut killers)) = (function, self.killers.lock()) {
                killers.insert(*function, at);
            }
            let name = test.name.clone();
            return Ok(match output.status.signal() {
                Some(SIGXCPU) => Outcome::Endless(name),
                _ => Outcome::Caught(name),
            });
        }
        Ok(Outcome::Missed)
    }

    /// One test in a process of its own, always with the same random cases.
    fn run(&self, test: &Test, seconds: f64, variables: &[(&str, &OsStr)]) -> anyhow::Result<Output> {
        let program = self
            .binaries
            .get(&test.binary)
            .context("a test is in a program")?;
        let limits = format!("ulimit -t {seconds:.0}; ulimit -v {MEMORY_KIB}; exec \"$@\"");
        Command::new("sh")
            .args(["-c", &limits, "sh"])
            .arg(program)
            .args([&test.name, "--exact", "--test-threads", "1"])
            .current_dir(&self.folder)
            .env("PROPTEST_RNG_SEED", "1")
            // That it fails is enough; how little it takes is not asked.
            .env("PROPTEST_MAX_SHRINK_ITERS", "0")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run {}", test.name))
    }
}
