//! The ioctls of loop devices (linux/loop.h).
#![allow(unsafe_code)]

use super::check;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const LOOP_GET_STATUS64: libc::c_ulong = 0x4C05;
const LOOP_SET_CAPACITY: libc::c_ulong = 0x4C07;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;

const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Info>() == 232 && size_of::<Config>() == 304);

/// What a loop device says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The device number of the file system of its file.
    pub device: u64,
    /// The inode of its file.
    pub inode: u64,
    /// Its number N in /dev/loopN.
    pub number: u32,
    /// Whether it goes past the page cache of its file.
    pub direct_io: bool,
    /// Whether it disappears with its last user.
    pub autoclear: bool,
}

/// The number of a loop device that was free a moment ago. Somebody else may take it first.
///
/// # Errors
/// As of the ioctl on /dev/loop-control.
pub fn get_free(control: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: no argument.
    let number = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) })?;
    Ok(number as u32)
}

/// Puts `device` on `file`: direct I/O, automatic clearing, this block size in bytes.
///
/// # Errors
/// EBUSY where somebody else configured the device first; as of the ioctl otherwise.
pub fn configure(device: BorrowedFd<'_>, file: BorrowedFd<'_>, block_size: u32) -> io::Result<()> {
    // SAFETY: all zeros is a valid loop_config; it lives through the call.
    unsafe {
        let mut config: Config = std::mem::zeroed();
        config.fd = file.as_raw_fd() as u32;
        config.block_size = block_size;
        config.info.flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
        check(libc::ioctl(
            device.as_raw_fd(),
            LOOP_CONFIGURE as _,
            &raw const config,
        ))
        .map(drop)
    }
}

/// What the device says of itself. Asks its file, so it waits while nobody serves that.
///
/// # Errors
/// ENXIO where it has no file.
pub fn status(device: BorrowedFd<'_>) -> io::Result<Status> {
    // SAFETY: all zeros is a valid loop_info64; it lives through the call.
    let info = unsafe {
        let mut info: Info = std::mem::zeroed();
        check(libc::ioctl(
            device.as_raw_fd(),
            LOOP_GET_STATUS64 as _,
            &raw mut info,
        ))?;
        info
    };
    Ok(Status {
        device: info.device,
        inode: info.inode,
        number: info.number,
        direct_io: info.flags & LO_FLAGS_DIRECT_IO != 0,
        autoclear: info.flags & LO_FLAGS_AUTOCLEAR != 0,
    })
}

/// Makes the device take over the size of its file. Asks the file, so it waits while nobody serves
/// that.
///
/// # Errors
/// As of the ioctl.
pub fn set_capacity(device: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no argument.
    check(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_CAPACITY as _) }).map(drop)
}
