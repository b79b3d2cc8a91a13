//! What a frame says: a request, a reply or an event.
//!
//! Bodies are JSON, so that a capture can be read and a field added without a second encoder;
//! nothing on the path of an I/O is said here. Fields that are not known are refused: a peer that
//! has more to say is of a newer version, which the frame would have told.

use crate::frame::{Frame, FrameError, Kind};
use crate::{Event, Reply, Request};
use layout::Term;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One message with what its frame says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The number of the request; a reply repeats it, an event has 0.
    pub request: u64,
    /// The term of the leader that asks; 0 in replies and events.
    pub term: Term,
    /// The rest.
    pub body: Body,
}

/// What is said.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// To the data plane.
    Request(Box<Request>),
    /// The one reply to a request.
    Reply(Reply),
    /// What the data plane says by itself.
    Event(Event),
}

/// Why a message cannot be sent, or a whole frame says nothing that is known. The stream stays
/// readable: the request is refused, no more.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// It does not fit a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The body is not what its kind asks for.
    #[error("the body of request {request}: {cause}")]
    Body {
        /// The number of the request.
        request: u64,
        /// What is wrong, and where.
        cause: serde_json::Error,
    },
}

impl Message {
    /// A request of the leader of `term`, or of somebody without one (0).
    pub fn request(number: u64, term: Term, request: Request) -> Self {
        let body = Body::Request(Box::new(request));
        Message {
            request: number,
            term,
            body,
        }
    }
    /// The reply to the request of this number.
    pub fn reply(number: u64, reply: Reply) -> Self {
        Message {
            request: number,
            term: Term(0),
            body: Body::Reply(reply),
        }
    }
    /// An event.
    pub fn event(event: Event) -> Self {
        Message {
            request: 0,
            term: Term(0),
            body: Body::Event(event),
        }
    }

    /// The bytes to send.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] inside [`MessageError::Frame`].
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        let (kind, body) = match &self.body {
            Body::Request(request) => (Kind::Request, self.json(request)?),
            Body::Reply(reply) => (Kind::Reply, self.json(reply)?),
            Body::Event(event) => (Kind::Event, self.json(event)?),
        };
        let frame = Frame {
            kind,
            request: self.request,
            term: self.term.0,
            body,
        };
        Ok(frame.encode()?)
    }

    fn json(&self, body: &impl Serialize) -> Result<Vec<u8>, MessageError> {
        serde_json::to_vec(body).map_err(|cause| MessageError::Body {
            request: self.request,
            cause,
        })
    }

    /// Reads what a frame says.
    ///
    /// # Errors
    /// [`MessageError::Body`].
    pub fn decode(frame: &Frame) -> Result<Message, MessageError> {
        let body = match frame.kind {
            Kind::Request => Body::Request(parse(frame)?),
            Kind::Reply => Body::Reply(parse(frame)?),
            Kind::Event => Body::Event(parse(frame)?),
        };
        Ok(Message {
            request: frame.request,
            term: Term(frame.term),
            body,
        })
    }
}

fn parse<T: DeserializeOwned>(frame: &Frame) -> Result<T, MessageError> {
    let request = frame.request;
    serde_json::from_slice(&frame.body).map_err(|cause| MessageError::Body { request, cause })
}

/// For the fuzzer: what a frame says is the same after being written and read again.
pub fn fuzz_frame(frame: &Frame) {
    let Ok(message) = Message::decode(frame) else {
        return;
    };
    let mut reader = crate::FrameReader::default();
    match message.encode() {
        Ok(bytes) => reader.push(&bytes),
        // Written out in full it may be longer than it came.
        Err(_) => return,
    }
    let again = reader
        .next_frame()
        .ok()
        .flatten()
        .and_then(|f| Message::decode(&f).ok());
    assert_eq!(again, Some(message));
}

/// For the fuzzer: bodies without a frame around them; the first byte says which kind.
pub fn fuzz_one(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    let kind = [Kind::Request, Kind::Reply, Kind::Event][usize::from(kind % 3)];
    fuzz_frame(&Frame {
        kind,
        request: 1,
        term: 2,
        body: body.to_vec(),
    });
}
