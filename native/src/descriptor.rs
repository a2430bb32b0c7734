//! The one place without the compiler's guarantee: a number that Python says is an open descriptor of its own.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd};

/// Own descriptor `fd`, which its caller has detached from whatever held it.
///
/// # Errors
/// It is not open.
pub fn own(fd: i32) -> std::io::Result<OwnedFd> {
    if fd < 0 || !std::path::Path::new(&format!("/dev/fd/{fd}")).exists() {
        return Err(std::io::Error::from_raw_os_error(9)); // EBADF
    }
    // SAFETY: it is open, and `socket.detach()` in `ztm.net.native` has given it up.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
