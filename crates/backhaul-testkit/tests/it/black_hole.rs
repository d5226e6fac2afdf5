//! Connecting to nothing.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use backhaul_testkit::BlackHole;

#[test]
fn connecting_to_a_black_hole_neither_succeeds_nor_fails() {
    let hole = BlackHole::new().unwrap();
    assert_eq!(hole.url(), format!("http://{}", hole.address()));
    // The second comes after the kernel has tried the first again (after 1 s).
    for patience in [100, 1200] {
        let patience = Duration::from_millis(patience);
        let error = TcpStream::connect_timeout(&hole.address(), patience).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    let address = hole.address();
    drop(hole);
    let error = TcpStream::connect(address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}
