//! `unhidra`: server and client in one program. Composition only; `docs/cli.md` is its contract.

mod arguments;
mod backup;
mod command;
mod configuration;
mod disk;
mod exit;
mod failure;
mod folder;
mod health;
mod output;
mod progress;
mod qr;
mod server;
mod table;
mod tls;

use std::{alloc::System, process::ExitCode};

use clap::FromArgMatches as _;
use rustix::fs::Mode;
use zeroizing_alloc::ZeroAlloc;

use crate::{
    arguments::{AccountCommand, Admin, Arguments, Command, Config, Connections, Devices, Tls},
    command::opening::Opening,
    exit::{Exit, OrExit as _, Outcome},
    output::{Output, printable},
};

/// Erases memory when it is freed: passwords, tokens and keys pass through buffers of libraries that do not.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    // Databases, keys and logs that this program creates are its user's alone.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let arguments =
        Arguments::from_arg_matches(&arguments::command().get_matches()).unwrap_or_else(|error| error.exit());
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_reader_gone() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("unhidra: {}", printable(&failure.to_string()));
            failure.exit.into()
        }
    }
}

fn run(arguments: Arguments) -> Outcome {
    let output = Output {
        json: arguments.global.json,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_exit(Exit::Failed)?;
    runtime.block_on(dispatch(arguments, output))
}

async fn dispatch(Arguments { global, command }: Arguments, output: Output) -> Outcome {
    let opening = || Opening::of(&global);
    match command {
        Command::Serve(options) => command::serve::serve(&options, output).await,
        Command::Demo(options) => command::demo::demo(options, output).await,
        Command::Register(options) => command::enrol::register(&opening()?, options, output).await,
        Command::Login(options) => command::enrol::login(&opening()?, options, output).await,
        Command::Logout => command::session::logout(&opening()?, output).await,
        Command::Whoami => command::session::whoami(&opening()?, output).await,
        Command::Devices(Devices::List) => command::devices::list(&opening()?, output).await,
        Command::Devices(Devices::Link { code, yes, name }) => {
            command::devices::link(&opening()?, &code, yes, name, output).await
        }
        Command::Devices(Devices::Revoke { device }) => {
            command::devices::revoke(&opening()?, device, output).await
        }
        Command::Identity(command) => command::identity::run(&opening()?, command, output).await,
        Command::Contacts(command) => command::contacts::run(&opening()?, command, output).await,
        Command::Verify(options) => command::verify::verify(&opening()?, options, output).await,
        Command::Send(options) => command::send::send(&opening()?, options, output).await,
        Command::Chat(options) => command::chat::chat(&opening()?, options, output).await,
        Command::Search(options) => command::search::search(&opening()?, options, output).await,
        Command::Export(options) => command::export::export(&opening()?, options, output).await,
        Command::Prune(options) => command::prune::prune(&opening()?, options, output).await,
        Command::Key(options) => command::key::key(&opening()?, &options, output),
        Command::Read(options) => command::read::read(&opening()?, &options, output).await,
        Command::Listen => command::read::listen(&opening()?, output).await,
        Command::Admin(Admin::Invite { role, expires }) => {
            command::admin::invite(&opening()?, role, expires, output).await
        }
        Command::Admin(Admin::Users(users)) => command::admin::users(&opening()?, users, output).await,
        Command::Admin(Admin::Sessions(act)) => command::admin::sessions(&opening()?, act, output).await,
        Command::Admin(Admin::Devices(act)) => command::admin::devices(&opening()?, act, output).await,
        Command::Admin(Admin::Invitations(act)) => {
            command::admin::invitations(&opening()?, act, output).await
        }
        Command::Sessions(act) => command::account::sessions(&opening()?, act, output).await,
        Command::Account(AccountCommand::Delete(options)) => {
            command::account::delete(&opening()?, options, output).await
        }
        Command::Audit(options) => command::audit::audit(opening, options, output).await,
        Command::Admin(Admin::Connections(Connections::List)) => {
            command::connections::list(&opening()?, output).await
        }
        Command::Admin(Admin::Connections(Connections::Close { connection })) => {
            command::connections::close(&opening()?, connection, output).await
        }
        Command::Backup(options) => command::backup::backup(&options, output),
        Command::Restore(options) => command::backup::restore(&options, output).await,
        Command::Doctor(options) => command::doctor::doctor(&options, opening().ok().as_ref(), output).await,
        Command::Load(options) => command::load::load(&opening()?, options, output).await,
        Command::Config(Config::Example) => command::config::example(output),
        Command::Config(Config::Show(options)) => command::config::show(&options, output),
        Command::Openapi => command::openapi::openapi(),
        Command::Completions(options) => command::shell::completions(&options),
        Command::Man(options) => command::shell::man(&options, output),
        Command::Tls(Tls::Fingerprint(options)) => command::tls::fingerprint(&options, output),
    }
}
