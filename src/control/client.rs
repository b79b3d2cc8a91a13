//! One end of the control socket: blocking, every wait with a time limit.
//!
//! Not here: reconnecting. A client that met an error other than a refusal or a time limit is
//! spent. Invariant: a reply is given only to the call that asked; late ones are dropped.

use crate::{
    Body, Event, Failure, FrameError, FrameReader, Message, MessageError, OLDEST, Request,
    Response, VERSION,
};
use layout::Term;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Events kept while nobody takes them; the oldest goes when one more comes.
const MAX_EVENTS: usize = 1024;

/// Why a call brought no response.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no data plane at {}: {cause}", path.display())]
    Absent {
        /// The socket.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It was refused.
    #[error(transparent)]
    Failed(Failure),
    /// No reply in time. It may still be carried out; asking again is the caller's part.
    #[error("no reply within {0:?}")]
    TimedOut(Duration),
    /// The other end closed the connection.
    #[error("the data plane closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection to the data plane broke: {0}")]
    Broken(#[from] io::Error),
    /// What came is no frame.
    #[error("from the data plane: {0}")]
    Frame(#[from] FrameError),
    /// What came says nothing that is known, or what was to be said does not fit.
    #[error("to or from the data plane: {0}")]
    Message(#[from] MessageError),
    /// A reply that does not fit what was asked.
    #[error("an answer that does not fit the question: {0}")]
    Unexpected(&'static str),
}

/// A connection.
pub struct Client {
    stream: UnixStream,
    reader: FrameReader,
    number: u64,
    term: Term,
    limit: Duration,
    events: VecDeque<Event>,
}

impl Client {
    /// Connects and says hello; `who` is for the other's log, `limit` for each call.
    ///
    /// # Errors
    /// [`ClientError::Absent`], or what the hello met.
    pub fn connect(path: &Path, who: &str, limit: Duration) -> Result<Self, ClientError> {
        let absent = |cause| ClientError::Absent {
            path: path.to_owned(),
            cause,
        };
        Client::over(UnixStream::connect(path).map_err(absent)?, who, limit)
    }

    /// Says hello over a stream.
    ///
    /// # Errors
    /// What the hello met.
    pub fn over(stream: UnixStream, who: &str, limit: Duration) -> Result<Self, ClientError> {
        let (reader, events) = (FrameReader::default(), VecDeque::new());
        let mut client = Client {
            stream,
            reader,
            number: 0,
            term: Term(0),
            limit,
            events,
        };
        let who = who.to_owned();
        let hello = Request::Hello {
            oldest: OLDEST,
            newest: VERSION,
            who,
        };
        match client.call(hello)? {
            Response::Hello { version, .. } if (OLDEST..=VERSION).contains(&version) => Ok(client),
            Response::Hello { .. } => {
                Err(ClientError::Unexpected("a version that was not offered"))
            }
            _ => Err(ClientError::Unexpected("no hello")),
        }
    }

    /// The term to ask with from now on; 0 before the first.
    pub fn set_term(&mut self, term: Term) {
        self.term = term;
    }

    /// How long each call may take from now on: a command with the blocking flag takes longer.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Asks, and waits for the reply.
    ///
    /// # Errors
    /// [`ClientError::Failed`] for a refusal; the others say why there is no reply.
    pub fn call(&mut self, request: Request) -> Result<Response, ClientError> {
        self.number += 1;
        let bytes = Message::request(self.number, self.term, request).encode()?;
        let deadline = Instant::now() + self.limit;
        self.send(&bytes, deadline)?;
        loop {
            let message = self
                .receive(deadline)?
                .ok_or(ClientError::TimedOut(self.limit))?;
            match message.body {
                // 0: about the connection as a whole.
                Body::Reply(reply) if message.request == self.number || message.request == 0 => {
                    return Result::from(reply).map_err(ClientError::Failed);
                }
                Body::Reply(_) if message.request < self.number => {} // Too late for its call.
                Body::Reply(_) => return Err(ClientError::Unexpected("a reply nobody asked for")),
                Body::Event(event) => self.keep(event),
                Body::Request(_) => return Err(ClientError::Unexpected("a request")),
            }
            if Instant::now() >= deadline {
                return Err(ClientError::TimedOut(self.limit)); // However many events come.
            }
        }
    }

    /// The next event, kept or new; `None` where none came within `limit`.
    ///
    /// # Errors
    /// What ended the connection.
    pub fn event(&mut self, limit: Duration) -> Result<Option<Event>, ClientError> {
        let deadline = Instant::now() + limit;
        while self.events.is_empty() {
            match self.receive(deadline)?.map(|message| message.body) {
                None => return Ok(None),
                Some(Body::Event(event)) => self.keep(event),
                Some(Body::Reply(_)) => {} // Too late for its call.
                Some(Body::Request(_)) => return Err(ClientError::Unexpected("a request")),
            }
        }
        Ok(self.events.pop_front())
    }

    fn keep(&mut self, event: Event) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), ClientError> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(left(deadline)))?;
            match self.stream.write(bytes) {
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if is_timeout(&e) && Instant::now() < deadline => {}
                // A part of a frame may be sent: nothing can follow it.
                Err(e) => {
                    let _ = self.stream.shutdown(std::net::Shutdown::Both);
                    return Err(match is_timeout(&e) {
                        true => ClientError::TimedOut(self.limit),
                        false => e.into(),
                    });
                }
            }
        }
        Ok(())
    }

    /// The next message; `None` at the deadline.
    fn receive(&mut self, deadline: Instant) -> Result<Option<Message>, ClientError> {
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(frame) = self.reader.next_frame()? {
                return Ok(Some(Message::decode(&frame)?));
            }
            self.stream.set_read_timeout(Some(left(deadline)))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.reader.finish()?;
                    return Err(ClientError::Closed);
                }
                Ok(n) => self.reader.push(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if is_timeout(&e) && Instant::now() < deadline => {}
                Err(e) if is_timeout(&e) => return Ok(None),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Until then; never 0, which would mean for ever.
fn left(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
