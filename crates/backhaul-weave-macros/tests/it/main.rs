//! `#[op]` in a package that calls the library by another name than its own.

use another_name as weave;

#[weave::op]
fn add(a: u8, b: u8) -> u8 {
    a + b
}

#[another_name::op(name = "by-its-path", skip(b))]
fn add_more(a: u8, b: u8) -> u8 {
    a + b
}

/// Where a crate hides the library behind a module of its own.
mod hidden {
    pub(crate) mod deep {
        pub(crate) use another_name::*;
    }
}

#[hidden::deep::op(crate = crate::hidden::deep)]
fn add_hidden(a: u8, b: u8) -> u8 {
    a + b
}

#[test]
fn an_op_is_logged_whatever_the_library_is_called() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    weave::init("me/mine").offline(true).offline_dir(dir.path()).start()?;
    assert_eq!(add(1, add_more(2, add_hidden(3, 4))), 10);
    let calls = weave::calls().list()?;
    let ops: Vec<&str> = calls.iter().map(|call| call.op_name()).collect();
    assert_eq!(ops, ["add_hidden", "by-its-path", "add"]);
    Ok(())
}
