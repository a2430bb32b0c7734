//! How much a connection to another hop may have under way.
//!
//! The system lets a send buffer grow up to one bound (tcp_wmem) and gives up to another to who asks (wmem_max, of which
//! it takes twice). Where the second is larger it is asked for: over a wide area, all that a mesh carries between two
//! hops shares one connection. What has not left yet is bounded elsewhere.

use std::sync::OnceLock;

use socket2::SockRef;
use tokio::net::TcpStream;

/// Let as many bytes be under way as the system allows. What cannot be tuned works all the same.
pub fn widen(sock: &TcpStream) {
    static SIZE: OnceLock<Option<usize>> = OnceLock::new();
    if let Some(size) = *SIZE.get_or_init(worth_asking_for) {
        let _ = SockRef::from(sock).set_send_buffer_size(size);
    }
}

fn worth_asking_for() -> Option<usize> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    larger(
        &read("/proc/sys/net/core/wmem_max"),
        &read("/proc/sys/net/ipv4/tcp_wmem"),
    )
}

/// What to ask for, where that gives more than the system's own bound. Source: socket(7), tcp(7).
fn larger(asked: &str, own: &str) -> Option<usize> {
    let asked = asked.trim().parse::<usize>().ok()?;
    let own = own.split_whitespace().last()?.parse::<usize>().ok()?;
    (asked.saturating_mul(2) > own).then_some(asked)
}

#[cfg(test)]
mod tests {
    use super::larger;

    #[test]
    fn a_buffer_is_asked_for_only_where_that_gives_more_than_the_system_gives_by_itself() {
        assert_eq!(larger("4194304\n", "4096\t16384\t4194304\n"), Some(4_194_304));
        assert_eq!(larger("212992\n", "4096\t16384\t4194304\n"), None);
        assert_eq!(larger("", "4096 16384 4194304"), None);
        assert_eq!(larger("4194304", ""), None);
    }
}
