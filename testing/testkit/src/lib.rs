//! Drives the real program from outside: servers, people with their devices, raw connections, chaos, and a search for
//! what must not be found.
//!
//! It starts the binary that the caller names and nothing else, waits for conditions and never for a time alone, and
//! prints every seed. It knows no private type of the program: what it expects stands in `docs/cli.md`.
//!
//! - [`program`], [`process`]: the binary and one run of it   - [`server`]: a server that may be killed
//! - [`world`]: a server with people                          - [`person`]: an account and its devices
//! - [`http`], [`socket`], [`group`]: REST and WebSocket      - [`memory`]: another process's memory
//! - [`text`]: real text of this machine                      - [`seed`]: randomness that can be replayed
//! - [`hostile`]: clients that mean harm
//! - [`search`]: needles in every spelling                    - [`chaos`]: kills at random moments
//! - [`terminal`]: a screen and keys
//! - [`secrets`], [`blind`]: what must stay secret, and is it - [`proxy`]: a way on which things change
//! - [`endpoint`]: where a server listens, by TLS or not
//! - [`anchor`]: other servers, to compare with            - [`plot`]: charts of what was measured
//! - [`wait`]: for a condition of another process          - [`mod@bench`]: servers beside each other under load
//! - [`install`]: tools that a measurement needs

pub mod anchor;
pub mod bench;
pub mod blind;
pub mod chaos;
pub mod endpoint;
pub mod group;
pub mod hostile;
pub mod http;
pub mod install;
pub mod memory;
pub mod person;
pub mod plot;
pub mod process;
pub mod program;
pub mod proxy;
pub mod search;
pub mod secrets;
pub mod seed;
pub mod server;
pub mod socket;
pub mod terminal;
pub mod text;
pub mod wait;
pub mod world;

pub use self::{
    endpoint::Endpoint,
    person::{Device, Message, Person},
    program::Program,
    seed::Seed,
    server::Server,
    world::World,
};
