//! A connection that was admitted, until it is served: it begins to listen, and hears where everything stands.

use std::{sync::Arc, time::Duration};

use hyper::upgrade::OnUpgrade;
use unhidra_identity::{Identity, caller::AuthenticateError};
use unhidra_messaging::{access::Sender, cursors::Cursors, delivery::arrival};
use unhidra_runtime::Context;
use unhidra_store::{Snapshot, cursor::Position};
use unhidra_wire::{
    close::Close,
    frame::{PrekeyStock, Welcome},
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
    /// Where its logs stood when it was authenticated.
    pub(crate) logs: Vec<Position>,
    pub(crate) context: Context,
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
            logs,
            context,
        } = self;
        let upgraded = match upgrade.await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                registry.leave(&inbox, std::iter::empty());
                return Err(error);
            }
        };
        let cursors = messaging.cursors();
        let connection = Connection {
            sender,
            socket: Socket::new(upgraded, Arc::clone(&inbox.who)),
            inbox,
            registry,
            messaging,
            clock,
            rate: limits.messages(),
        };
        let mut session = Session::new(connection);
        session.listen(&logs);
        match greet(&identity, cursors, sender, session_age, &context).await {
            Ok((welcome, positions)) => Ok(Some(session.welcomed(welcome, positions))),
            Err(close) => {
                session.end(Some(close)).await;
                Ok(None)
            }
        }
    }
}

/// What a connection in the registry is told first and where its logs stand, or why it ends. The registry hears of every
/// change from now on, so what is read here is read only now; and the session may have ended since it was checked.
async fn greet(
    identity: &Identity,
    cursors: Arc<Cursors>,
    sender: Sender,
    session_age: Option<Duration>,
    context: &Context,
) -> Result<(Welcome, Vec<Position>), Close> {
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
    Ok((welcome, arrival.positions))
}
