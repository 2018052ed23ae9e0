//! Addresses of peers and sockets in every form.

use std::net::TcpListener;

use super::*;

/// Listens on a port of IPv6 loopback, where the machine has one.
fn serve_ipv6(scope: &str) -> Option<(Server, u16)> {
    let free = TcpListener::bind("[::1]:0").ok()?;
    let port = free.local_addr().unwrap().port();
    drop(free);
    let bind = format!("[::1{scope}]:{port}");
    let server = Server::start(&["cotp", "listen", "--bind", &bind, "--json"]);
    Some((server, port))
}

#[test]
fn a_service_is_reached_by_a_bracketed_and_a_scoped_address() {
    let Some((_server, port)) = serve_ipv6("") else {
        return;
    };

    for address in ["[::1]", "[::1%1]"] {
        farlink(&["cotp", "connect", &format!("{address}:{port}")]).well();
    }
}

#[test]
fn a_service_is_reached_by_the_name_of_its_host() {
    let server = cotp::serve(&[]);
    let port = server.address.rsplit_once(':').unwrap().1;

    farlink(&["cotp", "connect", &format!("localhost:{port}")]).well();
}

#[test]
fn a_socket_is_bound_on_an_interface_by_its_index() {
    let Some((server, port)) = serve_ipv6("%1") else {
        return;
    };

    // The system clears the scope of an address that has none.
    assert!(
        server.address.ends_with(&format!("]:{port}")),
        "{}",
        server.address
    );
}

#[test]
fn an_address_that_is_none_is_wrong_usage_and_quoted() {
    for command in ["cotp connect", "cotp listen --bind"] {
        for (address, words) in [
            ("[::1", "`[::1` lacks the closing `]`"),
            ("192.0.2.1:99999", "port `99999` is not a number"),
            ("192.0.2.256", "`192.0.2.256` is not an IPv4 address"),
        ] {
            let arguments: Vec<&str> = command.split(' ').chain([address]).collect();

            farlink(&arguments).badly(2, words);
        }
    }
    let send = "ltp send - --engine 1 --client 4 --to";
    for (peer, words) in [
        ("2=[::1", "`[::1` lacks the closing `]`"),
        ("2=[::1%]", "`` behind `%`"),
        ("2=", "the host is missing"),
    ] {
        let arguments: Vec<&str> = send.split(' ').chain([peer]).collect();

        farlink(&arguments).badly(2, words);
    }
}
