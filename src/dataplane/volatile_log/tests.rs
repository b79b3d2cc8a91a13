//! The log against a queue of bytes, and what is no log.

use super::*;
use std::collections::VecDeque;

#[test]
fn it_holds_what_a_queue_of_bytes_holds() {
    let (mut log, fd) = VolatileLog::create(4096).unwrap();
    let mut model: VecDeque<u8> = VecDeque::new();
    let mut state = 88_172_645_463_325_252_u64;
    for turn in 0..5000_u64 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let n = state % 900;
        if state & (1 << 40) == 0 {
            let bytes = vec![turn as u8; n as usize];
            match log.append(&bytes) {
                Ok(()) => model.extend(bytes),
                Err(LogError::Full { wanted, free, .. }) => {
                    assert_eq!((wanted, free), (n, 4096 - model.len() as u64));
                }
                Err(e) => panic!("{e}"),
            }
        } else {
            let n = n.min(log.len());
            log.trim(n);
            model.drain(..n as usize);
        }
        assert_eq!(log.len(), model.len() as u64);
        if turn % 100 == 0 {
            let again = VolatileLog::open(fd.as_fd()).unwrap();
            assert_eq!(again.read_all(), Vec::from_iter(model.iter().copied()));
        }
    }
}

#[test]
fn what_was_written_but_not_published_does_not_count() {
    let (mut log, fd) = VolatileLog::create(8192).unwrap();
    log.append(b"whole").unwrap();
    log.map.write(RING_AT + 5, b"half an append");
    assert_eq!(VolatileLog::open(fd.as_fd()).unwrap().read_all(), b"whole");
}

#[test]
fn what_is_no_log_is_refused() {
    let zeros = memfd(c"zeros", 8192).unwrap();
    assert!(matches!(
        VolatileLog::open(zeros.as_fd()),
        Err(LogError::Format(8192))
    ));
    let (log, fd) = VolatileLog::create(4096).unwrap();
    log.publish(END_AT, 5000);
    let torn = VolatileLog::open(fd.as_fd());
    assert!(matches!(
        torn,
        Err(LogError::Positions {
            start: 0,
            end: 5000,
            capacity: 4096
        })
    ));
}
