//! The frozen frames, and a keeper without mounts.

use super::*;
use protocol::{FrameError, Verb};

const GOLDEN: &str = "53564b500100030000000000030000000102030405060708090a0b0c0d0e0f10\
    0200000068696a66ff7e";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn sample() -> Frame {
    let key = std::array::from_fn(|i| i as u8 + 1);
    Frame::new(Verb::Get, Kind::Log, key, b"hi".to_vec())
}

#[test]
fn frames_are_frozen() {
    assert_eq!(hex(&sample().encode()), GOLDEN.replace(' ', ""));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let good = sample().encode();
    assert_eq!(Frame::decode(&good), Ok(sample()));
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Frame::decode(&bad).is_err(), "bit {bit}");
    }
    for cut in 0..good.len() {
        assert!(Frame::decode(&good[..cut]).is_err());
    }
    let mut newer = good;
    newer[4] = 2;
    assert_eq!(Frame::decode(&newer), Err(FrameError::Version(2)));
}

#[test]
fn garbage_is_answered_and_what_is_held_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keeper");
    let (listener, _lock) = listen(&path).unwrap();
    assert!(matches!(listen(&path), Err(KeeperError::Running(_))));
    let (_never, signals) = seqpacket::pair().unwrap();
    let turns = std::thread::spawn(move || {
        let mut server = Server {
            holdings: Holdings::default(),
            clients: Vec::new(),
        };
        while seqpacket::wait_readable(&[signals.as_fd()], Some(Duration::ZERO)).unwrap() == [false]
        {
            server.turn(&listener, &signals).unwrap();
        }
    });
    let raw = seqpacket::connect(&path).unwrap();
    seqpacket::send(raw.as_fd(), b"garbage", &[]).unwrap();
    let mut buf = [0; MAX_FRAME];
    let (len, _) = seqpacket::receive(raw.as_fd(), &mut buf).unwrap();
    assert_eq!(
        Frame::decode(&buf[..len]).unwrap().errno,
        libc::EPROTO as u32
    );

    let keeper = Keeper::connect(&path).unwrap();
    let log = crate::sys::memory::memfd(c"log", 4096).unwrap();
    for n in 0..150 {
        keeper
            .hold(Kind::Log, [n; 16], vec![n; 40], log.as_fd())
            .unwrap();
    }
    let twice = keeper.hold(Kind::Log, [7; 16], vec![], log.as_fd());
    assert!(matches!(twice, Err(ClientError::Refused { cause, .. })
        if cause.raw_os_error() == Some(libc::EEXIST)));
    let all = keeper.list().unwrap();
    assert_eq!(all.len(), 150, "more than one message holds");
    assert_eq!(
        all[99],
        Record {
            kind: Kind::Log,
            key: [99; 16],
            note: vec![99; 40]
        }
    );
    let got = keeper.get(Kind::Log, [3; 16]).unwrap().unwrap();
    assert_eq!(got.note, [3; 40]);
    assert!(keeper.release(Kind::Log, [3; 16]).unwrap().is_some());
    assert!(keeper.get(Kind::Log, [3; 16]).unwrap().is_none());
    drop(_never);
    drop(keeper);
    turns.join().unwrap();
}
