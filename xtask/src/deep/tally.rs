//! What test programs say that they ran.

use std::fmt;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Programs that said how their tests ended.
    pub(super) programs: usize,
    tests: usize,
    ignored: usize,
    /// Known answers, by the lines `N vectors` of tests that take them.
    pub(super) vectors: usize,
    /// Of the independent implementation, by a line `N traces, ...`.
    pub(super) traces: usize,
}

impl Tally {
    /// Reads a line that a program printed.
    pub(super) fn take(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ok. ") {
            let count = |what: &str| {
                let part = result.split("; ").find_map(|part| part.strip_suffix(what));
                part.and_then(|number| number.parse::<usize>().ok())
            };
            self.programs += 1;
            self.tests += count(" passed").unwrap_or(0);
            self.ignored += count(" ignored").unwrap_or(0);
            return;
        }
        let Some((number, what)) = line.split_once(' ') else {
            return;
        };
        let Ok(number) = number.parse::<usize>() else {
            return;
        };
        if what == "vectors" {
            self.vectors += number;
        } else if what.starts_with("traces, ") {
            self.traces += number;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            programs,
            tests,
            ignored,
            vectors,
            traces,
        } = self;
        write!(
            f,
            "{tests} tests in {programs} programs passed ({ignored} ignored), among them {vectors} vectors and {traces} traces"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_vectors_and_traces_are_counted_and_nothing_else_is() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test rfc ... ok",
            "100 vectors",
            "12 vectors",
            "227 traces, 4000 steps, 0 with a difference",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "test result: ok. 0 passed; 0 failed; 0 ignored",
            "test result: FAILED. 7 passed; 1 failed; 0 ignored",
        ] {
            tally.take(line);
        }
        assert_eq!(
            tally,
            Tally {
                programs: 2,
                tests: 3,
                ignored: 1,
                vectors: 112,
                traces: 227
            }
        );
    }
}
