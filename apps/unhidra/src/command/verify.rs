//! `verify`: the digits that two people compare.

use anyhow::Context as _;
use serde::Serialize;
use unhidra_types::Username;

use super::opening::{Opening, user_named};
use crate::{exit::Outcome, output::Output};

#[derive(Serialize)]
struct Verification {
    user: Username,
    digits: String,
    verified: bool,
}

/// Shows the digits to compare with `user`, or records that they match.
pub(crate) async fn verify(opening: &Opening, user: Username, confirm: bool, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let peer = user_named(&mut client, &user).await?;
    let (number, mut verified) = client.safety_number(peer).await?;
    if confirm && !verified {
        client.confirm_safety_number(peer, &number)?;
        verified = true;
    }
    let verification = Verification {
        user,
        digits: number.to_string(),
        verified,
    };
    output
        .result(&verification, || {
            let standing = if verified { "verified" } else { "not verified yet" };
            format!(
                "{}: {standing}\n{}",
                verification.user,
                in_rows(&verification.digits)
            )
        })
        .context("print the digits")?;
    if !verified {
        output.progress(&format!(
            "Compare them over another channel, then run `unhidra verify {} --confirm`.",
            verification.user
        ));
    }
    Ok(())
}

/// Sixty digits in groups of five, four groups a row.
fn in_rows(digits: &str) -> String {
    let digits: Vec<char> = digits.chars().filter(char::is_ascii_digit).collect();
    let groups: Vec<String> = digits.chunks(5).map(|group| group.iter().collect()).collect();
    groups
        .chunks(4)
        .map(|row| format!("  {}", row.join(" ")))
        .collect::<Vec<_>>()
        .join("\n")
}
