//! The conversation side by side: what each device saw, and what the server stored.

use std::io;

use serde::Serialize;
use unhidra_types::MsgId;
use unhidra_wire::base64::Base64;

use crate::output::Output;

/// Columns of a device's cell.
const CELL: usize = 32;
/// Bytes of the stored body that are shown.
const SHOWN_BYTES: usize = 8;

/// One message.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) seq: u64,
    pub(super) msg_id: MsgId,
    /// By Alice's laptop, Alice's phone and Bob's laptop.
    pub(super) seen: [Option<String>; 3],
    /// The body as the server stored it.
    pub(super) stored: Base64,
    /// How many devices it was sealed for.
    pub(super) capsules: usize,
}

/// Prints the table, or one object a message.
pub(super) fn show(rows: &[Row], output: Output) -> io::Result<()> {
    if output.json {
        return rows.iter().try_for_each(|row| output.result(row, String::new));
    }
    let heads = [
        "Alice's laptop",
        "Alice's phone",
        "Bob's laptop",
        "What the server stored",
    ];
    println!(
        "seq  {}",
        heads.map(|head| format!("{head:<CELL$}")).join("").trim_end()
    );
    for row in rows {
        let cells = row
            .seen
            .each_ref()
            .map(|cell| format!("{:<CELL$}", cell.as_deref().unwrap_or("(nothing)")));
        let start: Vec<String> = row
            .stored
            .0
            .iter()
            .take(SHOWN_BYTES)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        println!(
            "{:<5}{}{} B {}.. for {} devices",
            row.seq,
            cells.concat(),
            row.stored.0.len(),
            start.join(""),
            row.capsules
        );
    }
    println!("\nThe numbers between are delivery receipts, sealed like everything else.");
    Ok(())
}
