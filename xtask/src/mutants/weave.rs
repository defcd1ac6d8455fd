//! All mutants in one copy of the crate: the body of a changed function becomes a `match` on the mutant that is on, with
//! one copy of the body for each, and the body as it is for all others.
//!
//! The copy has `std`: the switch reads the environment, and `vec![]` is something to return. Functions are `const` no
//! longer. A copy that does not compile is its mutant's alone, as the error names its lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use super::{
    list::{Mutant, Span},
    outcome::{Outcome, Outcomes},
    trial::CompileError,
};

/// Gets the switch.
pub(super) const LIB: &str = "protocol/pair/src/lib.rs";
#[derive(Default)]
pub(super) struct Woven {
    /// The changed sources.
    pub(super) files: BTreeMap<PathBuf, String>,
    /// The function of each mutant that was woven in.
    pub(super) functions: BTreeMap<usize, usize>,
    arms: Vec<Arm>,
}

/// The lines of one mutant's copy of a body.
struct Arm {
    mutant: usize,
    file: PathBuf,
    first: usize,
    last: usize,
}

impl Woven {
    /// The mutants whose copies do not compile.
    ///
    /// # Errors
    /// When an error is in none of the copies.
    pub(super) fn blamed(&self, errors: &[CompileError]) -> anyhow::Result<BTreeSet<usize>> {
        let mut blamed = BTreeSet::new();
        for error in errors {
            let arm = self.arms.iter().find(|arm| {
                let is_inside = |(file, line): &(PathBuf, usize)| {
                    *file == arm.file && (arm.first..=arm.last).contains(line)
                };
                error.places.iter().any(is_inside)
            });
            let arm = arm.with_context(|| format!("not by one mutant:\n{}", error.rendered))?;
            blamed.insert(arm.mutant);
        }
        Ok(blamed)
    }

    /// One file with all its mutants.
    fn file(
        &mut self,
        path: &Path,
        text: &str,
        mutants: &[&Mutant],
        outcomes: &Outcomes,
    ) -> anyhow::Result<()> {
        let bodies: BTreeSet<Span> = mutants
            .iter()
            .filter(|mutant| mutant.is_of_whole_body())
            .map(|mutant| mutant.span)
            .collect();
        let (mut woven, mut done) = (String::new(), 0);
        for body in bodies {
            let inside: Vec<_> = mutants
                .iter()
                .filter(|mutant| {
                    body.contains(&mutant.span) && outcomes.of(mutant) != Some(&Outcome::Unviable)
                })
                .copied()
                .collect();
            let Some(function) = inside.first().and_then(|mutant| mutant.function.as_ref()) else {
                continue;
            };
            let begin = function.span.split(text)?.0.len();
            let (before, whole, _) = body.split(text)?;
            let others = text.get(done..begin).zip(text.get(begin..before.len()));
            let (others, signature) = others.context("no function with mutants is inside of another one")?;
            woven.push_str(others);
            woven.push_str(&signature.replacen("const fn ", "fn ", 1));
            self.body(&mut woven, path, text, body, &inside)?;
            done = before.len() + whole.len();
        }
        woven.push_str(text.get(done..).unwrap_or_default());
        self.files.insert(path.to_owned(), woven);
        Ok(())
    }

    fn body(
        &mut self,
        woven: &mut String,
        path: &Path,
        text: &str,
        body: Span,
        inside: &[&Mutant],
    ) -> anyhow::Result<()> {
        let function = self.functions.values().max().map_or(0, |last| last + 1);
        let (before, whole, after) = body.split(text)?;
        writeln!(woven, "match crate::woven::at({function}) {{")?;
        for mutant in inside {
            let changed = mutant.apply(text)?;
            let changed = changed
                .strip_prefix(before)
                .and_then(|changed| changed.strip_suffix(after))
                .context("a mutant is inside of its function")?;
            let first = woven.lines().count() + 1;
            writeln!(woven, "{} => {{\n{changed}\n}}", mutant.number)?;
            self.arms.push(Arm {
                mutant: mutant.number,
                file: path.to_owned(),
                first,
                last: woven.lines().count(),
            });
            self.functions.insert(mutant.number, function);
        }
        write!(woven, "_ => {{\n{whole}\n}}\n}}")?;
        Ok(())
    }
}

/// Weaves in all that can be, and are not known not to compile.
///
/// # Errors
/// When the sources are not those that were listed.
pub(super) fn all(root: &Path, mutants: &[Mutant], outcomes: &Outcomes) -> anyhow::Result<Woven> {
    let mut by_file: BTreeMap<&Path, Vec<&Mutant>> = BTreeMap::new();
    for mutant in mutants {
        if !mutant.is_alone() {
            by_file.entry(&mutant.file).or_default().push(mutant);
        }
    }
    let mut woven = Woven::default();
    for (path, mutants) in by_file {
        let text = fs::read_to_string(root.join(path)).with_context(|| format!("read {}", path.display()))?;
        woven.file(path, &text, &mutants, outcomes)?;
    }
    let lib = Path::new(LIB);
    ensure!(
        !woven.files.contains_key(lib),
        "{LIB} has functions: it gets the switch"
    );
    let text = fs::read_to_string(root.join(lib)).context("read the crate's root")?;
    let count = woven.functions.values().max().map_or(0, |last| last + 1);
    let switch = SWITCH.replace("COUNT", &count.to_string());
    woven.files.insert(lib.to_owned(), text + &switch);
    Ok(woven)
}

/// Which mutant is on, and who asks.
const SWITCH: &str = r#"
mod woven {
    use std::{
        env, fs,
        io::Write as _,
        sync::{
            OnceLock,
            atomic::{AtomicBool, Ordering},
        },
    };

    static ON: OnceLock<(usize, Option<std::ffi::OsString>)> = OnceLock::new();
    static REACHED: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];

    pub(crate) fn at(function: usize) -> usize {
        let (mutant, file) = ON.get_or_init(|| {
            let mutant = env::var("UNHIDRA_MUTANT").ok().and_then(|mutant| mutant.parse().ok());
            (mutant.unwrap_or(usize::MAX), env::var_os("UNHIDRA_REACHED"))
        });
        if let Some(file) = file
            && !REACHED[function].swap(true, Ordering::Relaxed)
        {
            let mut file = fs::OpenOptions::new().append(true).open(file).unwrap();
            writeln!(file, "{function}").unwrap();
        }
        *mutant
    }
}
"#;
