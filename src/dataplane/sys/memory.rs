//! Memory that the kernel reads and writes: shared mappings, memfds, buffers aligned for direct
//! I/O.
#![allow(unsafe_code)]

use super::check;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// Alignment that direct I/O asks of addresses, in bytes.
pub const ALIGN: usize = 4096;

/// A shared mapping, unmapped on drop. Another process, or the kernel, may write to it at any time:
/// it is reached through pointers only, never as a slice.
#[derive(Debug)]
pub struct SharedMap {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to this value alone; nothing in it is bound to a thread.
unsafe impl Send for SharedMap {}

impl SharedMap {
    /// Anonymous memory, shared and populated: a page of a request buffer that is absent when the
    /// process dies in the kernel's copy would be an I/O error for the application.
    ///
    /// # Errors
    /// As of mmap(2).
    pub fn populated(len: usize) -> io::Result<Self> {
        Self::map(
            len,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
            -1,
        )
    }

    /// The first `len` bytes of a file. The file must be that long (a memfd whose size is sealed).
    ///
    /// # Errors
    /// As of mmap(2).
    pub fn of_file(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::map(len, libc::MAP_SHARED | libc::MAP_POPULATE, fd.as_raw_fd())
    }

    fn map(len: usize, flags: libc::c_int, fd: libc::c_int) -> io::Result<Self> {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses the address; nothing that exists is replaced.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base =
            NonNull::new(base.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(SharedMap { base, len })
    }

    /// The address of byte `at`.
    pub fn at(&self, at: usize) -> *mut u8 {
        assert!(
            at <= self.len,
            "byte {at} of a mapping of {} bytes",
            self.len
        );
        // SAFETY: inside the mapping or one past its end.
        unsafe { self.base.as_ptr().add(at) }
    }
    /// Copies `bytes` to byte `at`.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        assert!(
            at.checked_add(bytes.len())
                .is_some_and(|end| end <= self.len)
        );
        // SAFETY: inside the mapping (asserted), and `bytes` cannot be in it: no slice of it
        // exists.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(at), bytes.len()) };
    }
    /// Fills `bytes` from byte `at`.
    pub fn read(&self, at: usize, bytes: &mut [u8]) {
        assert!(
            at.checked_add(bytes.len())
                .is_some_and(|end| end <= self.len)
        );
        // SAFETY: inside the mapping (asserted), and `bytes` cannot be in it: no slice of it
        // exists.
        unsafe { std::ptr::copy_nonoverlapping(self.at(at), bytes.as_mut_ptr(), bytes.len()) };
    }
}

impl Drop for SharedMap {
    fn drop(&mut self) {
        // SAFETY: this value's own mapping; nobody holds a reference into it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// A file in memory of exactly `len` bytes, which can neither shrink nor grow, close-on-exec.
///
/// # Errors
/// As of memfd_create(2), ftruncate(2), fcntl(2).
pub fn memfd(name: &CStr, len: usize) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string; the descriptor is new and nobody else's.
    unsafe {
        let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
        let fd = OwnedFd::from_raw_fd(check(libc::memfd_create(name.as_ptr(), flags))?);
        check(libc::ftruncate(fd.as_raw_fd(), len as libc::off_t))?;
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        check(libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals))?;
        Ok(fd)
    }
}

/// Bytes in private memory, aligned for direct I/O.
#[derive(Debug)]
pub struct AlignedBuf {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory belongs to this value alone; nothing in it is bound to a thread.
unsafe impl Send for AlignedBuf {}

impl AlignedBuf {
    /// `len` zeros; `len` must not be 0.
    pub fn zeroed(len: usize) -> Self {
        assert!(
            len > 0 && len < isize::MAX as usize / 2,
            "a buffer of {len} bytes"
        );
        // SAFETY: the alignment is a power of two, and the size (not zero) does not overflow when
        // rounded up to it.
        let (layout, base) = unsafe {
            let layout = Layout::from_size_align_unchecked(len, ALIGN);
            (layout, alloc_zeroed(layout))
        };
        let Some(base) = NonNull::new(base) else {
            handle_alloc_error(layout)
        };
        AlignedBuf { base, layout }
    }
    /// A copy of `bytes`, which must not be empty.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut buf = Self::zeroed(bytes.len());
        buf.bytes_mut().copy_from_slice(bytes);
        buf
    }
    /// The content.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: initialised at allocation, `layout.size()` bytes long.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.layout.size()) }
    }
    /// The content, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: initialised at allocation, `layout.size()` bytes long, and borrowed uniquely.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.layout.size()) }
    }
    /// The address of the first byte.
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated with this very layout.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}
