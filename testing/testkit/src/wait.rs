//! Waiting for a condition of another process.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;

/// Between two looks at a condition that can't be waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The first `Some` of `look`, which is asked until `timeout` has passed. `what` completes "no ... within".
///
/// # Errors
/// That it never came, or the first error of `look`.
pub fn until<T>(
    what: &str,
    timeout: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begin.elapsed() > timeout {
            bail!("no {what} within {timeout:?}");
        }
        thread::sleep(LOOK_AGAIN);
    }
}
