//! The client against another end that behaves well, badly, or not at all.

use crate::samples::{Random, replies};
use crate::*;
use layout::{Epoch, Term};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

/// The other end of a client: does what each test says, then lets the stream go.
fn serve(act: impl FnOnce(&mut Server) + Send + 'static) -> (UnixStream, JoinHandle<()>) {
    let (near, far) = UnixStream::pair().unwrap();
    let mut server = Server {
        stream: far,
        reader: FrameReader::default(),
    };
    let thread = std::thread::spawn(move || act(&mut server));
    (near, thread)
}

struct Server {
    stream: UnixStream,
    reader: FrameReader,
}

impl Server {
    fn receive(&mut self) -> Option<(u64, Request)> {
        loop {
            if let Some(frame) = self.reader.next_frame().unwrap() {
                let message = Message::decode(&frame).unwrap();
                let Body::Request(request) = message.body else {
                    panic!("{message:?}")
                };
                return Some((message.request, *request));
            }
            let mut bytes = [0; 100];
            match self.stream.read(&mut bytes).unwrap() {
                0 => return None,
                n => self.reader.push(&bytes[..n]),
            }
        }
    }
    fn send(&mut self, message: &Message) {
        self.stream.write_all(&message.encode().unwrap()).unwrap();
    }
    fn hello(&mut self) {
        let (number, request) = self.receive().unwrap();
        assert!(matches!(request, Request::Hello { .. }));
        let hello = Response::Hello {
            version: VERSION,
            highest: Term(3),
            who: "test".into(),
        };
        self.send(&Message::reply(number, Reply::Ok(hello)));
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_client_gets_its_own_reply_and_keeps_events() {
    let event = Event::DiskFailed {
        disk: layout::DiskUid([1; 16]),
        errno: 5,
    };
    let sent = event.clone();
    let (stream, server) = serve(move |server| {
        server.hello();
        let (number, request) = server.receive().unwrap();
        assert_eq!(request, Request::Subscribe);
        // A reply to an earlier call that was given up, an event, and then the reply.
        server.send(&Message::reply(number - 1, Reply::Ok(Response::Done)));
        server.send(&Message::event(sent.clone()));
        server.send(&Message::reply(
            number,
            Reply::Ok(Response::Epoch { epoch: Epoch(8) }),
        ));
        let (number, _) = server.receive().unwrap();
        let stale = StaleTerm {
            given: Term(1),
            highest: Term(2),
        };
        server.send(&Message::reply(number, Reply::Failed(stale.into())));
        server.send(&Message::event(sent));
        assert_eq!(server.receive(), None);
    });
    let mut client = Client::over(stream, "test", LONG).unwrap();
    assert_eq!(
        client.call(Request::Subscribe).unwrap(),
        Response::Epoch { epoch: Epoch(8) }
    );
    client.set_term(Term(1));
    let refused = client.call(Request::Shutdown);
    let Err(ClientError::Failed(failure)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(failure.kind, FailureKind::StaleTerm { highest: Term(2) });
    for _ in 0..2 {
        assert_eq!(client.event(LONG).unwrap().as_ref(), Some(&event));
    }
    assert_eq!(client.event(Duration::ZERO).unwrap(), None);
    drop(client);
    server.join().unwrap();
}

#[test]
fn a_client_waits_no_longer_than_its_limit() {
    let (stream, server) = serve(|server| {
        server.hello();
        while server.receive().is_some() {}
    });
    let mut client = Client::over(stream, "test", LONG).unwrap();
    client.set_limit(Duration::from_millis(20));
    for _ in 0..2 {
        let error = client.call(Request::Status);
        assert!(matches!(error, Err(ClientError::TimedOut(_))), "{error:?}");
    }
    drop(client);
    server.join().unwrap();
}

#[test]
fn a_client_tells_how_a_connection_ended() {
    let say = |bytes: Vec<u8>| {
        let (stream, server) = serve(move |server| {
            server.receive();
            server.stream.write_all(&bytes).unwrap();
        });
        let error = Client::over(stream, "test", LONG).map(|_| ()).unwrap_err();
        server.join().unwrap();
        error
    };
    assert!(matches!(say(vec![]), ClientError::Closed));
    assert!(matches!(
        say(b"SVCP".into()),
        ClientError::Frame(FrameError::CutOff { bytes: 4 })
    ));
    let http = say(b"HTTP/1.1 400 Bad Request".into());
    assert!(matches!(http, ClientError::Frame(FrameError::NotAFrame)));
    let newer = Failure::from(FrameError::Version { theirs: 1 });
    let last = Message::reply(0, Reply::Failed(newer.clone()))
        .encode()
        .unwrap();
    assert!(matches!(say(last), ClientError::Failed(failure) if failure == newer));
    let hello = |version| Response::Hello {
        version,
        highest: Term(0),
        who: String::new(),
    };
    let odd = Message::reply(1, Reply::Ok(hello(VERSION + 1)))
        .encode()
        .unwrap();
    assert!(matches!(say(odd), ClientError::Unexpected(_)));
    let reply = replies(&mut Random(1)).swap_remove(0);
    assert!(matches!(
        say(Message::reply(1, reply).encode().unwrap()),
        ClientError::Unexpected(_)
    ));
    let path = std::path::Path::new("/nonexistent/socket");
    let absent = Client::connect(path, "test", LONG).map(|_| ());
    assert!(matches!(absent, Err(ClientError::Absent { .. })));
}
