//! A connection that was admitted, until it is served: it begins to listen, and hears where everything stands.
//!
//! The store is asked when a connection is authenticated, before it listens. If nothing was committed from before that
//! question until it listened, the answer holds; otherwise the store is asked again (`docs/adr/0016`).

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use unhidra_identity::{Identity, caller::AuthenticateError, prekey::stock};
use unhidra_messaging::{
    Messaging,
    access::Sender,
    cursors::Cursors,
    delivery::{Arrival, arrival},
};
use unhidra_runtime::Context;
use unhidra_store::{Snapshot, StoreError};
use unhidra_types::Timestamp;
use unhidra_wire::{
    close::Close,
    frame::{PrekeyStock, Welcome},
    rest::Stock,
};

use crate::{
    connection::{Connection, Session},
    inbox::Inbox,
    socket::Socket,
    upgrade::{Gateway, note_failure},
};

/// A connection that was admitted, before the client has heard of it.
pub(crate) struct Opening {
    pub(crate) gateway: Gateway,
    pub(crate) upgrade: OnUpgrade,
    pub(crate) sender: Sender,
    pub(crate) inbox: Arc<Inbox>,
    /// Commits of the store before `arrived` was read.
    pub(crate) before: u64,
    pub(crate) arrived: Arrived,
    pub(crate) context: Context,
}

/// What a connection is told first, and where its logs stand.
pub(crate) struct Arrived {
    stock: Stock,
    arrival: Arrival,
}

impl Arrived {
    pub(crate) fn read(
        db: &Snapshot<'_>,
        cursors: &Cursors,
        sender: Sender,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            stock: stock(db, sender.device, now)?,
            arrival: arrival(db, cursors, sender)?,
        })
    }
}

impl Opening {
    /// The connection with its welcome, if it goes on.
    pub(crate) async fn open(self) -> Result<Option<Box<Session>>, hyper::Error> {
        let Self {
            gateway:
                Gateway {
                    messaging,
                    registry,
                    clock,
                    identity,
                    limits,
                    session_age,
                    ..
                },
            upgrade,
            sender,
            inbox,
            before,
            arrived,
            context,
        } = self;
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                registry.leave(&inbox, std::iter::empty());
                return Err(error);
            }
        };
        let asking = messaging.clone();
        let mut session = Session::new(Connection {
            sender,
            socket: Socket::new(upgraded, Arc::clone(&inbox.who)),
            inbox,
            registry,
            messaging,
            clock,
            rate: limits.messages(),
        });
        session.listen(&arrived.arrival.positions);
        let arrived = match asking.commits() == before {
            true => Ok(arrived),
            false => arrive(&identity, &asking, sender, &context).await,
        };
        match arrived {
            Ok(Arrived { stock, arrival }) => {
                let welcome = Welcome {
                    device: sender.device,
                    session: sender.session,
                    server_time: context.now,
                    last_accepted: arrival.last_accepted,
                    own_list: arrival.own_list,
                    stock: PrekeyStock {
                        generation: stock.generation,
                        one_time: u32::try_from(stock.one_time.len()).unwrap_or(u32::MAX),
                        one_time_kem: u32::try_from(stock.one_time_kem.len()).unwrap_or(u32::MAX),
                    },
                    session_age,
                };
                Ok(Some(session.welcomed(welcome, arrival.positions)))
            }
            Err(close) => {
                session.end(Some(close)).await;
                Ok(None)
            }
        }
    }
}

/// What the store says now, or why the connection ends. The registry hears of every change from now on, so what is read
/// here is read only now; and the session may have ended since it was checked.
async fn arrive(
    identity: &Identity,
    messaging: &Messaging,
    sender: Sender,
    context: &Context,
) -> Result<Arrived, Close> {
    let cursors = messaging.cursors();
    let look = move |db: &Snapshot<'_>| arrival(db, &cursors, sender);
    let arriving = identity.arrive_and(sender.session, sender.device, context.now, look);
    let (stock, arrival) = arriving.await.map_err(|error| match error {
        AuthenticateError::Store(error) => {
            note_failure(&error, context);
            Close::Unavailable
        }
        AuthenticateError::Token(_) | AuthenticateError::Over => Close::SessionEnded,
        AuthenticateError::Revoked => Close::DeviceRevoked,
    })?;
    Ok(Arrived { stock, arrival })
}
