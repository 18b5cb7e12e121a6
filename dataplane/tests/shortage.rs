//! A system without file descriptors must not end the data plane. Alone in its process, whose limit it lowers.

use std::time::Duration;

use classifier::handover::Request;
use dataplane::handover::{Answer, Peers, Server};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketType, connect, send, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn connection_without_a_descriptor_waits_until_there_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = Server::bind(&path, Peers::default()).unwrap();
    let client = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    connect(&client, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    send(&client, &[Request::Status as u8], SendFlags::empty()).unwrap();
    let serve = || {
        let mut asked = None;
        let served = server.serve_one(Duration::from_secs(5), |message| {
            asked = message.request;
            Answer::done(String::new())
        });
        (served.map_err(|error| error.to_string()), asked)
    };

    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(1), ..before }).unwrap();
    let short = serve();
    setrlimit(Resource::Nofile, before).unwrap();

    assert_eq!(short, (Ok(true), None));
    assert_eq!(serve(), (Ok(true), Some(Request::Status as u8)));
}
