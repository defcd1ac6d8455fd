//! `audit export`: JSON lines, written as they come.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use anyhow::Context as _;
use serde::Serialize;
use unhidra_audit::export::VERSION;
use unhidra_client_native::Client;
use unhidra_wire::audit::{AuditQuery, ExportBegin, ExportLine, TreeHead};

use crate::{
    command::{draft::Draft, opening::Opening},
    exit::Outcome,
    output::{Output, printable, reader_gone},
    progress::Progress,
};

/// What is said of a file that was written.
#[derive(Serialize)]
struct Exported<'a> {
    file: &'a Path,
    records: u64,
}

/// Writes the whole log, up to a head that is signed for it.
pub(crate) async fn export(opening: &Opening, out: Option<&Path>, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let head = client.audit_head().await?;
    let begin = ExportBegin {
        version: VERSION,
        key: client.audit_key().await?,
        records: head.size,
    };
    let draft = out.map(Draft::beside).transpose()?;
    let target: Box<dyn Write> = match &draft {
        Some(draft) => Box::new(draft.file.try_clone().context("write the file")?),
        None => Box::new(io::stdout().lock()),
    };
    let mut file = BufWriter::new(target);
    write(&mut file, &ExportLine::Begin(begin))?;
    write_heads(&mut client, &mut file, head).await?;
    let mut progress = Progress::begin();
    let mut after = 0;
    while after < head.size {
        let query = AuditQuery {
            after,
            ..AuditQuery::default()
        };
        let page = client.audit_records(&query).await?;
        let next = page.next.unwrap_or(head.size);
        for record in page.records {
            if record.number <= head.size {
                write(&mut file, &ExportLine::Record(record))?;
            }
        }
        progress.show(|| format!("{next} of {} records", head.size));
        after = next;
    }
    drop(progress);
    file.flush().map_err(reader_gone).context("write the export")?;
    drop(file);
    if let (Some(draft), Some(path)) = (draft, out) {
        draft.publish(path)?;
        let exported = Exported {
            file: path,
            records: head.size,
        };
        output
            .result(&exported, || {
                let path = printable(&path.display().to_string());
                let records = head.size;
                format!(
                    "{records} records are in {path}; check them with `unhidra audit verify {path} --key KEY`"
                )
            })
            .context("print the result")?;
    }
    Ok(())
}

/// The heads up to `last`, which covers the export.
async fn write_heads(client: &mut Client, file: &mut impl Write, last: TreeHead) -> Outcome {
    let mut after = 0;
    loop {
        let page = client.audit_heads(after).await?;
        for head in page
            .heads
            .into_iter()
            .filter(|head| *head != last && head.size <= last.size)
        {
            write(file, &ExportLine::Head(head))?;
        }
        match page.next {
            Some(next) => after = next,
            None => return write(file, &ExportLine::Head(last)),
        }
    }
}

fn write(file: &mut impl Write, line: &ExportLine) -> Outcome {
    let text = serde_json::to_string(line).context("encode a line")?;
    Ok(writeln!(file, "{text}")
        .map_err(reader_gone)
        .context("write the export")?)
}
