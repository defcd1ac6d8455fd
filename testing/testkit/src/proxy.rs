//! A way to the server that changes what passes, as a network or another version of the program would.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::Context as _;

/// A listener that passes every connection on to one server. It ends with the test's process.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    route: Arc<Mutex<Route>>,
    gate: Arc<Gate>,
}

/// What all connections wait at while the way is cut.
#[derive(Debug, Default)]
struct Gate {
    is_cut: Mutex<bool>,
    mended: Condvar,
}

/// Where new connections go, and what is changed on them.
#[derive(Clone, Copy, Debug, Default)]
struct Route {
    server: Option<SocketAddr>,
    change: Option<Change>,
}

/// What clients say, and what the server hears instead.
#[derive(Clone, Copy, Debug)]
struct Change {
    said: &'static [u8],
    heard: &'static [u8],
}

impl Proxy {
    /// Listens. Connections end at once until there is a server.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
        let address = listener.local_addr().context("read the port")?;
        let route = Arc::new(Mutex::new(Route::default()));
        let gate = Arc::new(Gate::default());
        let (shared, shared_gate) = (Arc::clone(&route), Arc::clone(&gate));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Route { server, change } = *shared.lock().unwrap_or_else(PoisonError::into_inner);
                // A server that is away looks to the client as it would without the proxy: the connection ends.
                let _away = server.map(|server| pass(client, server, change, &shared_gate));
            }
        });
        Ok(Self { address, route, gate })
    }

    /// Passes nothing on until it is mended. Connections stay open, and nobody is told.
    pub fn cut(&self) {
        self.gate.set(true);
    }

    /// Passes on what waited, and everything after it.
    pub fn mend(&self) {
        self.gate.set(false);
    }

    /// Passes connections from now on to `server`.
    pub fn lead_to(&self, server: SocketAddr) {
        self.route().server = Some(server);
    }

    /// As commands take it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// On connections from now on, lets the server hear `heard` where a client says `said`. Both are of one length.
    pub fn replace(&self, said: &'static [u8], heard: &'static [u8]) {
        self.route().change = Some(Change { said, heard });
    }

    fn route(&self) -> MutexGuard<'_, Route> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    fn set(&self, is_cut: bool) {
        *self.is_cut.lock().unwrap_or_else(PoisonError::into_inner) = is_cut;
        self.mended.notify_all();
    }

    fn wait(&self) {
        let is_cut = self.is_cut.lock().unwrap_or_else(PoisonError::into_inner);
        let _open = self.mended.wait_while(is_cut, |is_cut| *is_cut);
    }
}

fn pass(client: TcpStream, server: SocketAddr, change: Option<Change>, gate: &Arc<Gate>) -> io::Result<()> {
    let upstream = TcpStream::connect(server)?;
    let (from_client, to_server) = (client.try_clone()?, upstream.try_clone()?);
    let (there, back) = (Arc::clone(gate), Arc::clone(gate));
    thread::spawn(move || copy(from_client, to_server, change, &there));
    thread::spawn(move || copy(upstream, client, None, &back));
    Ok(())
}

/// Copies until either side ends. What is changed lies in the head of a request, which arrives in one piece.
fn copy(mut from: TcpStream, mut to: TcpStream, change: Option<Change>, gate: &Gate) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer)?;
        gate.wait();
        let Some(bytes) = buffer.get_mut(..read).filter(|bytes| !bytes.is_empty()) else {
            return to.shutdown(Shutdown::Write);
        };
        if let Some(Change { said, heard }) = change {
            let found = bytes.windows(said.len()).position(|window| window == said);
            if let Some(place) = found.and_then(|at| bytes.get_mut(at..at + heard.len())) {
                place.copy_from_slice(heard);
            }
        }
        to.write_all(bytes)?;
    }
}
