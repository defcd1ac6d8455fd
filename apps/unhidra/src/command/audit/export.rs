//! `audit export`: JSON lines, written as they come.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use anyhow::Context as _;
use unhidra_audit::export::VERSION;
use unhidra_client_native::Client;
use unhidra_wire::audit::{AuditQuery, ExportBegin, ExportLine, TreeHead};

use crate::{
    command::opening::Opening,
    exit::{Exit, OrExit as _, Outcome},
    output::{Output, reader_gone},
    progress::Progress,
};

/// Writes the whole log, up to a head that is signed for it.
pub(crate) async fn export(opening: &Opening, out: Option<&Path>, output: Output) -> Outcome {
    let mut client = opening.client()?;
    let head = client.audit_head().await?;
    let begin = ExportBegin {
        version: VERSION,
        key: client.audit_key().await?,
        records: head.size,
    };
    let mut file: Box<dyn Write> = match out {
        Some(path) => Box::new(
            File::create(path)
                .with_context(|| format!("write {}", path.display()))
                .or_exit(Exit::Failed)?,
        ),
        None => Box::new(io::stdout().lock()),
    };
    let mut file = BufWriter::new(&mut file);
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
    if let Some(path) = out {
        output.progress(&format!(
            "{} records are in {}; check them with `unhidra audit verify {} --key KEY`",
            head.size,
            path.display(),
            path.display()
        ));
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
