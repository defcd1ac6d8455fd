//! Commands: one file each, thin over the server or the client.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod chat;
pub(crate) mod config;
pub(crate) mod contacts;
pub(crate) mod demo;
pub(crate) mod devices;
pub(crate) mod doctor;
pub(crate) mod enrol;
pub(crate) mod export;
pub(crate) mod identity;
pub(crate) mod key;
pub(crate) mod message;
pub(crate) mod news;
pub(crate) mod notices;
pub(crate) mod openapi;
pub(crate) mod opening;
pub(crate) mod prune;
pub(crate) mod read;
pub(crate) mod search;
pub(crate) mod send;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod shell;
pub(crate) mod timeline;
pub(crate) mod verify;
