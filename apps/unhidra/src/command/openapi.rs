//! `openapi`.

use crate::exit::Outcome;

/// Prints the REST interface as an OpenAPI document.
pub(crate) fn openapi() -> Outcome {
    print!("{}", unhidra_http::openapi::text());
    Ok(())
}
