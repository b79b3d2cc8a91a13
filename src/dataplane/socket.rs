//! The control socket: connections, frames in, replies and events out. Nothing here blocks, and
//! nothing here knows what a request means.
//!
//! Invariants: a connection that sent what is no frame, or does not take its replies, is closed;
//! the others do not notice.

use crate::machine::Machine;
use crate::ring::Loop;
use control::{
    Body, Event, Failure, FailureKind, FrameReader, Message, OLDEST, Reply, Request, Response,
    VERSION, agree,
};
use layout::Term;
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Connections at once; one more is closed at once.
const MAX_CONNECTIONS: usize = 64;
/// Bytes that may wait for a client that does not read.
const MAX_UNREAD: usize = 8 << 20;
/// Bytes read in one go.
const READ: usize = 64 << 10;

/// Who asked, for the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asker {
    connection: u32,
    number: u64,
}

/// A request that came in, from a client that said hello.
#[derive(Debug)]
pub struct Asked {
    /// Whom to answer.
    pub by: Asker,
    /// The leader's term, 0 where none is claimed.
    pub term: Term,
    /// What is asked.
    pub request: Request,
}

struct Connection {
    stream: UnixStream,
    reader: FrameReader,
    unread: Vec<u8>,
    greeted: bool,
    subscribed: bool,
    /// The connection ends when everything is sent.
    ending: bool,
    /// The ring was asked to tell when more can be sent.
    waiting: bool,
}

/// The socket and its connections.
pub struct ControlSocket {
    listener: Option<UnixListener>,
    connections: BTreeMap<u32, Connection>,
    next: u32,
    first_name: u32,
}

impl ControlSocket {
    /// Nobody listens yet. Descriptors will be watched under names from `first_name` on.
    pub fn new(first_name: u32) -> Self {
        ControlSocket {
            listener: None,
            connections: BTreeMap::new(),
            next: 0,
            first_name,
        }
    }

    /// Listens at `path`; whatever socket a predecessor left there is replaced.
    ///
    /// # Errors
    /// As of bind(2).
    pub fn listen<M: Machine>(&mut self, path: &Path, ring: &mut Loop<M>) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        ring.watch(&listener, self.first_name);
        self.listener = Some(listener);
        Ok(())
    }

    /// One of our descriptors is ready: what came in. `highest` is told to who says hello.
    pub fn ready<M: Machine>(
        &mut self,
        name: u32,
        highest: Term,
        ring: &mut Loop<M>,
    ) -> Vec<Asked> {
        if name == self.first_name {
            self.accept(ring);
            return Vec::new();
        }
        let (id, writable) = self.unname(name);
        if writable {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.waiting = false;
            }
            self.push_out(id, ring);
            return Vec::new();
        }
        let mut asked = Vec::new();
        if self.read(id) {
            self.understand(id, highest, &mut asked, ring);
        } else {
            self.connections.remove(&id);
        }
        if let Some(connection) = self.connections.get(&id) {
            ring.watch(&connection.stream, self.name(id, false));
        }
        asked
    }

    /// Answers a request, if who asked is still there.
    pub fn reply<M: Machine>(&mut self, to: Asker, reply: Reply, ring: &mut Loop<M>) {
        self.send(to.connection, &Message::reply(to.number, reply), ring);
    }

    /// From now on who asked is told of events.
    pub fn subscribe(&mut self, who: Asker) {
        if let Some(connection) = self.connections.get_mut(&who.connection) {
            connection.subscribed = true;
        }
    }

    /// Tells everybody who subscribed.
    pub fn publish<M: Machine>(&mut self, event: &Event, ring: &mut Loop<M>) {
        let subscribed = self.connections.iter().filter(|(_, c)| c.subscribed);
        let ids: Vec<u32> = subscribed.map(|(id, _)| *id).collect();
        for id in ids {
            self.send(id, &Message::event(event.clone()), ring);
        }
    }

    /// Two names a connection, after that of the listener.
    fn name(&self, id: u32, writable: bool) -> u32 {
        self.first_name + 1 + 2 * id + u32::from(writable)
    }
    fn unname(&self, name: u32) -> (u32, bool) {
        let rest = name - self.first_name - 1;
        (rest / 2, rest % 2 == 1)
    }

    fn accept<M: Machine>(&mut self, ring: &mut Loop<M>) {
        let Some(listener) = &self.listener else {
            return;
        };
        ring.watch(listener, self.first_name);
        let accepted: Vec<UnixStream> = std::iter::from_fn(|| listener.accept().ok())
            .map(|(stream, _)| stream)
            .collect();
        for stream in accepted {
            if self.connections.len() >= MAX_CONNECTIONS || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let id = self.next;
            self.next = (self.next + 1) % (1 << 24);
            ring.watch(&stream, self.name(id, false));
            let connection = Connection {
                stream,
                reader: FrameReader::default(),
                unread: Vec::new(),
                greeted: false,
                subscribed: false,
                ending: false,
                waiting: false,
            };
            self.connections.insert(id, connection);
        }
    }

    /// Reads what is there; false at the end of the connection.
    fn read(&mut self, id: u32) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else {
            return false;
        };
        let mut buffer = [0; READ];
        match connection.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(n) => {
                connection.reader.push(&buffer[..n]);
                true
            }
            Err(e) => matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    fn understand<M: Machine>(
        &mut self,
        id: u32,
        highest: Term,
        asked: &mut Vec<Asked>,
        ring: &mut Loop<M>,
    ) {
        while let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.ending) {
            let frame = match connection.reader.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return,
                Err(e) => return self.end(id, 0, e.into(), ring),
            };
            let number = frame.request;
            let message = match Message::decode(&frame) {
                Ok(message) => message,
                Err(e) => {
                    let failed = Reply::Failed(e.into());
                    self.send(id, &Message::reply(number, failed), ring);
                    continue;
                }
            };
            let greeted = connection.greeted;
            match message.body {
                Body::Request(request) => match *request {
                    Request::Hello {
                        oldest,
                        newest,
                        who,
                    } => {
                        self.greet(id, number, (oldest, newest, &who), highest, ring);
                    }
                    _ if !greeted => {
                        let failure = FailureKind::BadRequest.because("hello comes first");
                        return self.end(id, number, failure, ring);
                    }
                    request => {
                        let by = Asker {
                            connection: id,
                            number,
                        };
                        asked.push(Asked {
                            by,
                            term: message.term,
                            request,
                        });
                    }
                },
                Body::Reply(_) | Body::Event(_) => {
                    let failure = FailureKind::BadRequest.because("only requests come this way");
                    return self.end(id, number, failure, ring);
                }
            }
        }
    }

    fn greet<M: Machine>(
        &mut self,
        id: u32,
        number: u64,
        (oldest, newest, who): (u16, u16, &str),
        highest: Term,
        ring: &mut Loop<M>,
    ) {
        let Some(version) = agree(oldest, newest) else {
            let kind = FailureKind::Version {
                oldest: OLDEST,
                newest: VERSION,
            };
            let why = format!("{who} speaks versions {oldest} to {newest}");
            return self.end(id, number, kind.because(why), ring);
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.greeted = true;
        }
        let who = format!(
            "stratovol {} ({})",
            env!("CARGO_PKG_VERSION"),
            std::process::id()
        );
        let hello = Response::Hello {
            version,
            highest,
            who,
        };
        self.send(id, &Message::reply(number, Reply::Ok(hello)), ring);
    }

    /// Says why, and ends the connection.
    fn end<M: Machine>(&mut self, id: u32, number: u64, why: Failure, ring: &mut Loop<M>) {
        self.send(id, &Message::reply(number, Reply::Failed(why)), ring);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.ending = true;
        }
        self.push_out(id, ring);
    }

    fn send<M: Machine>(&mut self, id: u32, message: &Message, ring: &mut Loop<M>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let bytes = message
            .encode()
            .or_else(|e| Message::reply(message.request, Reply::Failed(e.into())).encode());
        match bytes {
            Ok(bytes) if connection.unread.len() + bytes.len() <= MAX_UNREAD => {
                connection.unread.extend_from_slice(&bytes);
                self.push_out(id, ring);
            }
            // It does not read what it asked for.
            _ => {
                self.connections.remove(&id);
            }
        }
    }

    /// Sends what the client takes now; the rest when it takes more.
    fn push_out<M: Machine>(&mut self, id: u32, ring: &mut Loop<M>) {
        let name = self.name(id, true);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        while !connection.unread.is_empty() {
            match connection.stream.write(&connection.unread) {
                Ok(n) => {
                    connection.unread.drain(..n);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if !connection.waiting {
                        connection.waiting = true;
                        ring.watch_writable(&connection.stream, name);
                    }
                    return;
                }
                Err(_) => {
                    self.connections.remove(&id);
                    return;
                }
            }
        }
        if connection.ending {
            self.connections.remove(&id);
        }
    }
}
