//! The wire structures: bytes of a real kernel, every request there and back, garbage.

use super::init::{InitRequest, Negotiated};
use super::request::{HEAD_MAX, encode};
use super::*;

/// A WRITE of 8 bytes at 4096 that kernel 6.18 sent again after a RESEND: the top bit of `unique`
/// is set.
const GOLDEN_WRITE: &str = "5800000010000000060000000000008001000000000000000000000000000000\
    2a0000000000000001000000000000000010000000000000080000000000000000000000000000000200\
    0000000000004142434445464748";

fn bytes(hex: &str) -> Vec<u8> {
    let hex: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    hex.chunks(2)
        .map(|c| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 16).unwrap())
        .collect()
}

fn read(data: &[u8]) -> Result<(Header, Request), DecodeError> {
    decode(&data[..data.len().min(HEAD_MAX)], data.len())
}

#[test]
fn a_resent_write_keeps_its_name_bit_by_bit() {
    let (header, request) = read(&bytes(GOLDEN_WRITE)).unwrap();
    assert_eq!(header.unique, 1 << 63 | 6);
    assert_eq!(
        request,
        Request::Write {
            offset: 4096,
            size: 8
        }
    );
    assert_eq!(
        reply::header(header.unique, 0, 8)[8..],
        (1u64 << 63 | 6).to_ne_bytes()
    );
}

#[test]
fn every_request_reads_back_from_its_bytes() {
    let init = InitRequest {
        major: 7,
        minor: 45,
        max_readahead: 1 << 17,
        flags: 0x2ff_7fff_ffff,
    };
    let all = [
        Request::Init(init),
        Request::Read {
            offset: 1 << 40,
            size: 1 << 20,
        },
        Request::Write {
            offset: 4096,
            size: 12288,
        },
        Request::Fsync,
        Request::Fallocate {
            offset: 8192,
            length: 1 << 33,
            mode: 3,
        },
        Request::Getattr,
        Request::Setattr { size: Some(7) },
        Request::Setattr { size: None },
        Request::Open,
        Request::Release,
        Request::Flush,
        Request::Statfs,
        Request::Destroy,
        Request::Note,
        Request::Other { opcode: 1 },
    ];
    for request in all {
        let data = encode(9, ROOT, &request);
        let (header, back) = read(&data).unwrap();
        assert_eq!((header.unique, header.node, back), (9, ROOT, request));
        for cut in 0..data.len() {
            assert!(
                read(&data[..cut]).is_err(),
                "{request:?} cut to {cut} bytes"
            );
        }
    }
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    let mut data = encode(
        1,
        ROOT,
        &Request::Write {
            offset: 0,
            size: 4096,
        },
    );
    data[56..60].copy_from_slice(&4095u32.to_ne_bytes());
    assert_eq!(
        read(&data),
        Err(DecodeError::Data {
            said: 4095,
            there: 4096
        })
    );
    let mut data = encode(1, ROOT, &Request::Fsync);
    data[0] = 99;
    assert_eq!(read(&data), Err(DecodeError::Length { said: 99, read: 40 }));
}

#[test]
fn random_bytes_do_no_harm() {
    // xorshift64*, a fixed seed: the same inputs each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    for _ in 0..20_000 {
        let len = (next() % 200) as usize;
        let mut data: Vec<u8> = (0..len).map(|_| next() as u8).collect();
        if len >= 8 {
            data[..4].copy_from_slice(&(len as u32).to_ne_bytes());
            data[4..8].copy_from_slice(&((next() % 50) as u32).to_ne_bytes());
        }
        request::fuzz_one(&data);
    }
}

#[test]
fn negotiation_takes_what_is_offered_and_no_more() {
    let offer = InitRequest {
        major: 7,
        minor: 45,
        max_readahead: 1 << 17,
        flags: u64::MAX,
    };
    let (agreed, answer) = offer.negotiate(2).unwrap();
    assert_eq!(
        (agreed.minor, agreed.max_write, agreed.can_resend()),
        (40, 1 << 20, true)
    );
    assert_eq!(answer.len(), 80);
    assert_eq!(answer[16 + 28..16 + 30], 256u16.to_ne_bytes(), "max_pages");
    assert_eq!(Negotiated::from_bytes(&agreed.to_bytes()), agreed);
    let before_resend = InitRequest {
        minor: 38,
        flags: !(1 << 39),
        ..offer
    };
    let (agreed, _) = before_resend.negotiate(2).unwrap();
    assert_eq!((agreed.minor, agreed.can_resend()), (38, false));
    assert!(InitRequest { minor: 23, ..offer }.negotiate(2).is_err());
    assert!(InitRequest { flags: 0, ..offer }.negotiate(2).is_err());
}

#[test]
fn answers_are_laid_out_as_the_kernel_reads_them() {
    assert_eq!(
        reply::header(5, libc::EIO, 0)[..8],
        [16, 0, 0, 0, 0xfb, 0xff, 0xff, 0xff]
    );
    assert_eq!(
        reply::resend(),
        [16, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    let attr = reply::attributes(1 << 30);
    assert_eq!(attr[0..16], [0; 16], "valid for no time");
    assert_eq!(attr[24..32], (1u64 << 30).to_ne_bytes());
    assert_eq!(attr[96..100], 4096u32.to_ne_bytes());
    assert_eq!(reply::opened()[8..12], 0x61u32.to_ne_bytes());
}
