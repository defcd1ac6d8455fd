//! `demo`: a real server, two people and three devices in one process, then a server to go on with by hand.

mod people;
mod table;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use unhidra_runtime::{
    Clock,
    config::Sources,
    signal::Signals,
    telemetry::{self, LogConfig, LogFormat},
};

use self::people::People;
use super::serve::{program, quoted};
use crate::{
    arguments::Demo,
    configuration::Configuration,
    exit::{Exit, OrExit as _, Outcome},
    output::Output,
    server::Server,
};

/// Where everything of the demo lies.
struct Folder {
    path: PathBuf,
    /// Deleted at the end unless the user named it.
    temporary: bool,
}

/// Runs the demo, and serves on until a signal unless `--exit` was given.
pub(crate) async fn demo(options: Demo, output: Output) -> Outcome {
    let log = LogConfig {
        filter: "warn".to_owned(),
        format: LogFormat::Text,
    };
    telemetry::start(&log).or_exit(Exit::Configuration)?;
    let signals = Signals::install().context("handle signals")?;
    let folder = Folder::make(options.data)?;
    let server = start(&folder.path, options.listen).await?;
    let url = format!("http://{}", server.address);
    output.progress(&format!(
        "A server is up on {url}, with its data in {}.",
        quoted(&folder.path.join("server"))
    ));

    let people = People::gather(&folder.path, &url, server.setup_token.as_deref(), output).await?;
    let rows = people.talk(&server).await?;
    table::show(&rows, output).context("print the conversation")?;
    if options.exit {
        server.stop().await?;
    } else {
        if !output.json {
            println!("{}", continuation(&folder.path));
        }
        server.run(signals).await?;
    }
    folder.remove()
}

/// A server on the embedded default; only its folder and address are the demo's.
async fn start(folder: &Path, listen: std::net::SocketAddr) -> Result<Server, crate::exit::Failure> {
    let data = folder.join("server");
    let flags = vec![
        (
            "server.data".to_owned(),
            data.to_str()
                .context("the folder's name has to be UTF-8")?
                .to_owned(),
        ),
        ("server.listen".to_owned(), listen.to_string()),
    ];
    let sources = Sources {
        file: None,
        env: Vec::new(),
        flags,
    };
    let configuration: Configuration = sources.load().or_exit(Exit::Configuration)?;
    Server::start(&configuration, Clock::System)
        .await
        .or_exit(Exit::Configuration)
}

fn continuation(folder: &Path) -> String {
    let unhidra = format!("{} --home {}", program(), quoted(folder));
    format!(
        "\nThe server goes on. In another terminal:\n  \
         {unhidra} --profile alice send bob 'typed by hand'\n  \
         {unhidra} --profile bob read\n  \
         {unhidra} --profile bob send alice 'an answer'\n  \
         {unhidra} --profile alice read\n  \
         {unhidra} --profile alice verify bob\n\
         Ctrl-C ends the demo and deletes its folder unless --data named it."
    )
}

impl Folder {
    fn make(named: Option<PathBuf>) -> anyhow::Result<Self> {
        let temporary = named.is_none();
        let path = match named {
            Some(path) => path,
            None => {
                let random: [u8; 4] = Clock::System.context().random();
                std::env::temp_dir().join(format!("unhidra-demo-{:08x}", u32::from_be_bytes(random)))
            }
        };
        fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self {
            path: path.canonicalize().context("find the folder")?,
            temporary,
        })
    }

    fn remove(self) -> Outcome {
        if self.temporary {
            fs::remove_dir_all(&self.path).context("delete the demo's folder")?;
        }
        Ok(())
    }
}
