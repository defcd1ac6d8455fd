//! `verify`: the digits that two people compare, or the code that one of them scans.

use anyhow::Context as _;
use serde::Serialize;
use unhidra_client_native::client::Scan;
use unhidra_types::Username;
use unhidra_wire::base64;

use super::{
    enrol::usage,
    opening::{Opening, by_name, user_named},
};
use crate::{
    arguments::Verify,
    exit::{Exit, Failure, Outcome},
    output::Output,
    qr::{self, Wish},
};

#[derive(Serialize)]
struct Verification {
    user: Username,
    digits: String,
    /// What the other device scans: 97 bytes as base64url.
    code: String,
    verified: bool,
}

/// Shows what to compare with `user`, or records that it matches.
pub(crate) async fn verify(opening: &Opening, options: Verify, output: Output) -> Outcome {
    let user = options.user;
    let mut client = opening.client()?;
    let peer = user_named(&mut client, &user).await?;
    if peer == client.account().user_id {
        return Err(usage(
            "you can't verify yourself: compare digits with somebody else",
        ));
    }
    let shown = client.safety_number(peer).await;
    let (number, mut verified) = shown.map_err(|error| by_name(error, &user))?;
    if let Some(scanned) = &options.scanned {
        let scan = client.compare_scan(peer, &scanned_bytes(scanned)?)?;
        matching(scan, &user)?;
    }
    if (options.confirm || options.scanned.is_some()) && !verified {
        let confirmed = client.confirm_safety_number(peer, &number);
        confirmed.map_err(|error| by_name(error, &user))?;
        verified = true;
    }
    let code = base64::encode(&client.verification_code(peer)?.to_bytes());
    let verification = Verification {
        user,
        digits: number.to_string(),
        code,
        verified,
    };
    output
        .result(&verification, || {
            let standing = if verified { "verified" } else { "not verified yet" };
            let digits = format!(
                "{}: {standing}\n{}",
                verification.user,
                in_rows(&verification.digits)
            );
            match qr::shown(&verification.code, Wish::unless(options.no_qr), output) {
                Some(code) if !verified => format!("{code}\n{digits}"),
                _ => digits,
            }
        })
        .context("print the digits")?;
    if !verified {
        output.progress(&format!(
            "Compare them over another channel, then run `unhidra verify {user} --confirm`; or scan the code on {user}'s \
             screen and run `unhidra verify {user} --scanned TEXT`.",
            user = verification.user
        ));
    }
    Ok(())
}

fn matching(scan: Scan, user: &Username) -> Outcome {
    let (exit, text) = match scan {
        Scan::Matches => return Ok(()),
        Scan::OtherPeople => (
            Exit::Input,
            format!(
                "the scanned code is not {user}'s for you: scan what `unhidra verify` shows on {user}'s device"
            ),
        ),
        Scan::OtherKeys => (
            Exit::Blocked,
            format!(
                "the keys differ: someone may sit between you and {user}; tell {user}, and trust nothing until they match"
            ),
        ),
        _ => (
            Exit::Input,
            "the scanned text is no verification code: scan it again".to_owned(),
        ),
    };
    Err(Failure {
        exit,
        error: anyhow::anyhow!(text),
    })
}

/// The bytes of base64url or hex; scanners add spaces and line breaks.
fn scanned_bytes(text: &str) -> Result<Vec<u8>, Failure> {
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let text = text.trim_end_matches('=');
    hex(text).or_else(|| base64::decode(text)).ok_or_else(|| Failure {
        exit: Exit::Input,
        error: anyhow::anyhow!("the scanned text is neither base64url nor hex: scan it again"),
    })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect(),
    )
}

/// Sixty digits in groups of five, four groups a row.
pub(super) fn in_rows(digits: &str) -> String {
    let digits: Vec<char> = digits.chars().filter(char::is_ascii_digit).collect();
    let groups: Vec<String> = digits.chunks(5).map(|group| group.iter().collect()).collect();
    groups
        .chunks(4)
        .map(|row| format!("  {}", row.join(" ")))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_is_read_as_hex_or_base64url_with_the_spaces_that_scanners_add() {
        let bytes = [0, 1, 254, 255];
        for text in ["0001feff", "00 01 FE FF\n", "AAH-_w", "AAH-_w==\n"] {
            assert_eq!(scanned_bytes(text).unwrap(), bytes, "{text}");
        }
        assert!(scanned_bytes("not a code!").is_err());
    }
}
