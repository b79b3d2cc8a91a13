//! Frames, messages and terms, and that today's code reads yesterday's bytes.

use crate::frame::{HEADER, Kind, MAX_BODY};
use crate::samples::{Random, messages};
use crate::*;
use layout::Term;
use std::collections::BTreeSet;

fn read_all(bytes: &[u8]) -> (Vec<Frame>, Result<(), FrameError>) {
    let mut reader = FrameReader::default();
    reader.push(bytes);
    let mut frames = Vec::new();
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, reader.finish()),
            Err(error) => {
                assert_eq!(
                    reader.next_frame(),
                    Err(error.clone()),
                    "an error is for ever"
                );
                return (frames, Err(error));
            }
        }
    }
}

fn frame(body: &[u8]) -> Frame {
    Frame {
        kind: Kind::Request,
        request: 7,
        term: 9,
        body: body.to_vec(),
    }
}

#[test]
fn the_header_is_what_is_drawn() {
    // Magic, version, kind, body bytes, CRC-32C, request, term, body; made by other code.
    let golden = "53564350 0100 0100 08000000 8376b151 \
                  0700000000000000 0900000000000000 2273746174757322";
    let bytes = frame(b"\"status\"").encode().unwrap();
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, golden.replace(' ', ""));
}

/// What a message is, without what it says: "Request map create".
fn shape(kind: Kind, body: &serde_json::Value) -> String {
    let mut shape = format!("{kind:?}");
    let mut value = body;
    while let Some(object) = value.as_object() {
        let inner = ["kind", "command", "answer"]
            .iter()
            .find_map(|key| object.get(*key));
        value = match (inner, object.iter().next()) {
            (Some(inner), _) => inner,
            (None, Some((key, inner))) if object.len() == 1 && inner.is_object() => {
                shape.push_str(&format!(" {key}"));
                inner
            }
            (None, Some((key, _))) if object.len() == 1 => return format!("{shape} {key}"),
            _ => return shape,
        };
    }
    format!("{shape} {}", value.as_str().unwrap_or_default())
}

/// Each line of the golden file is a message of version 1: kind, request, term, body. Lines are
/// added, never changed.
#[test]
fn todays_code_reads_yesterdays_bytes() {
    let mut then = BTreeSet::new();
    for line in include_str!("golden/v1.txt").lines() {
        let mut words = line.splitn(4, ' ');
        let kind = match words.next().unwrap() {
            "Request" => Kind::Request,
            "Reply" => Kind::Reply,
            _ => Kind::Event,
        };
        let [request, term] = [(); 2].map(|()| words.next().unwrap().parse().unwrap());
        let json = words.next().unwrap();
        let body = json.into();
        let yesterday = Frame {
            kind,
            request,
            term,
            body,
        };
        let message = Message::decode(&yesterday).unwrap_or_else(|e| panic!("{line}: {e}"));
        let (frames, _) = read_all(&message.encode().unwrap());
        assert_eq!(frames, [yesterday], "{line}");
        then.insert(shape(kind, &serde_json::from_str(json).unwrap()));
    }
    for message in messages(&mut Random(1)) {
        let (frames, _) = read_all(&message.encode().unwrap());
        let Frame {
            kind,
            request,
            term,
            body,
        } = &frames[0];
        let shape = shape(*kind, &serde_json::from_slice(body).unwrap());
        let line = format!(
            "{kind:?} {request} {term} {}",
            String::from_utf8_lossy(body)
        );
        assert!(
            then.contains(&shape),
            "no golden line for {shape}; add\n{line}"
        );
    }
    println!("{then:#?}");
    assert_eq!(then.len(), 54, "shapes of version 1");
}

#[test]
fn random_messages_come_out_as_they_went_in() {
    let one = std::env::var("CONTROL_SEED")
        .ok()
        .map(|seed| seed.parse().unwrap());
    for seed in one.map_or(0..100, |seed: u64| seed..seed + 1) {
        println!("seed {seed}; again: CONTROL_SEED={seed} cargo test --release -p control random");
        let mut random = Random(seed);
        let sent = messages(&mut random);
        let bytes: Vec<u8> = sent.iter().flat_map(|m| m.encode().unwrap()).collect();
        let mut reader = FrameReader::default();
        let (mut at, mut read) = (0, Vec::new());
        while at < bytes.len() {
            let piece = (1 + random.below(3000) as usize).min(bytes.len() - at);
            reader.push(&bytes[at..at + piece]);
            at += piece;
            while let Some(frame) = reader.next_frame().unwrap() {
                read.push(Message::decode(&frame).unwrap());
            }
        }
        reader.finish().unwrap();
        assert_eq!(read, sent);
        // Whatever is bent, it is an error or the message itself; never a panic.
        let mut bent = sent[random.below(sent.len() as u64) as usize]
            .encode()
            .unwrap();
        for _ in 0..200 {
            let (at, bit) = (random.below(bent.len() as u64) as usize, random.below(8));
            bent[at] ^= 1 << bit;
            let (frames, end) = read_all(&bent);
            assert!(
                frames.is_empty() && end.is_err(),
                "byte {at} bit {bit}: {frames:?}"
            );
            let cut = [&[at as u8], &bent[..]].concat();
            frame::fuzz_one(&cut);
            message::fuzz_one(&bent[HEADER - 1..]);
            bent[at] ^= 1 << bit;
        }
    }
}

#[test]
fn half_messages_wait_and_a_cut_stream_is_told() {
    let bytes = frame(b"\"status\"").encode().unwrap();
    let mut reader = FrameReader::default();
    for (i, byte) in bytes.iter().enumerate() {
        assert_eq!(reader.next_frame(), Ok(None), "after {i} bytes");
        let end = if i == 0 {
            Ok(())
        } else {
            Err(FrameError::CutOff { bytes: i })
        };
        assert_eq!(reader.finish(), end);
        reader.push(&[*byte]);
    }
    assert_eq!(reader.next_frame(), Ok(Some(frame(b"\"status\""))));
    assert_eq!((reader.next_frame(), reader.finish()), (Ok(None), Ok(())));
}

#[test]
fn bad_frames_have_their_own_errors() {
    let good = frame(b"\"status\"").encode().unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut bad = good.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        read_all(&[&good[..], &bad].concat())
    };
    for (at, bytes, wanted) in [
        (0, &b"GET "[..], FrameError::NotAFrame),
        (4, &[2, 0], FrameError::Version { theirs: 2 }),
        (4, &[0, 0], FrameError::Version { theirs: 0 }),
        (6, &[4, 0], FrameError::UnknownKind { kind: 4 }),
        (8, &[1, 0, 16, 0], FrameError::TooLong { bytes: 0x10_0001 }),
        (
            8,
            &[255; 4],
            FrameError::TooLong {
                bytes: u32::MAX.into(),
            },
        ),
    ] {
        let (frames, error) = with(at, bytes);
        assert_eq!(
            (frames.len(), error),
            (1, Err(wanted)),
            "what came before counts"
        );
    }
    let (_, error) = with(HEADER, b"X");
    assert!(
        matches!(error, Err(FrameError::Checksum { .. })),
        "{error:?}"
    );
    // Told by the first byte that shows it, not when all is there.
    assert_eq!(read_all(b"G").1, Err(FrameError::NotAFrame));
    assert_eq!(
        read_all(b"SVCP\x02\0").1,
        Err(FrameError::Version { theirs: 2 })
    );
    let long = frame(&vec![0; MAX_BODY + 1]).encode();
    assert_eq!(
        long,
        Err(FrameError::TooLong {
            bytes: MAX_BODY as u64 + 1
        })
    );
    assert!(frame(&vec![0; MAX_BODY]).encode().is_ok());
}

#[test]
fn what_a_frame_says_must_be_known() {
    for (kind, body) in [
        (Kind::Request, "\"reboot\""),
        (Kind::Request, "{\"cut-epoch\":{}}"),
        (Kind::Request, "{\"cut-epoch\":{\"volume\":\"00\"}}"),
        (
            Kind::Request,
            "{\"remove-disk\":{\"disk\":\"00000000000000000000000000000000\",\"x\":1}}",
        ),
        (Kind::Reply, "{\"ok\":\"done\",\"failed\":{}}"),
        (Kind::Event, "[]"),
        (Kind::Event, "\u{0}"),
        (Kind::Request, &"[".repeat(100_000)),
        (Kind::Request, "\"status\" "),
    ] {
        let frame = Frame {
            kind,
            request: 5,
            term: 0,
            body: body.into(),
        };
        let failure = match Message::decode(&frame) {
            Ok(message) => {
                assert_eq!(body.trim(), "\"status\"", "{message:?}");
                continue;
            }
            Err(error) => Failure::from(error),
        };
        assert_eq!(failure.kind, FailureKind::BadRequest);
        assert!(
            failure.message.starts_with("the body of request 5: "),
            "{failure}"
        );
    }
}

#[test]
fn versions_are_agreed_or_refused() {
    assert_eq!(agree(1, 1), Some(1));
    assert_eq!(agree(1, 9), Some(VERSION));
    assert_eq!(agree(VERSION + 1, VERSION + 3), None);
    assert_eq!(agree(0, 0), None);
    let failure = Failure::from(FrameError::Version { theirs: 2 });
    assert_eq!(
        failure.kind,
        FailureKind::Version {
            oldest: OLDEST,
            newest: VERSION
        }
    );
}

#[test]
fn older_terms_are_refused_with_the_highest() {
    let mut gate = TermGate::new(Term(4));
    assert_eq!(gate.check(Term(4)), Ok(term::Checked::Known));
    assert_eq!(gate.check(Term(6)), Ok(term::Checked::Higher(Term(6))));
    assert_eq!(
        gate.check(Term(5)),
        Ok(term::Checked::Higher(Term(5))),
        "6 is not durable yet"
    );
    gate.raise(Term(6));
    let stale = StaleTerm {
        given: Term(5),
        highest: Term(6),
    };
    assert_eq!(gate.check(Term(5)), Err(stale));
    assert_eq!(
        Failure::from(stale).kind,
        FailureKind::StaleTerm { highest: Term(6) }
    );
    let changing = |r: &Request| r.needs_term();
    let all = samples::requests(&mut Random(3));
    assert_eq!(
        all.iter().filter(|r| !changing(r)).count(),
        5,
        "hello, status, subscribe, 2 gets"
    );
}
