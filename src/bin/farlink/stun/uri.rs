//! URIs of servers (RFC 7064): `stun:HOST[:PORT]`, or what stands behind the colon alone.

use crate::address::Address;

/// The port of STUN over UDP and TCP (RFC 8489 section 8.1).
const PORT: u16 = 3478;

/// Parses a server; the message of an error names the part that is wrong.
pub(super) fn parse(text: &str) -> Result<Address, String> {
    let rest = behind_scheme(text)?;
    if rest.starts_with("//") {
        return Err(format!("`//` in `{text}`: the host follows the colon"));
    }
    for (mark, part) in [('?', "query"), ('#', "fragment"), ('/', "path")] {
        if let Some((_, behind)) = rest.split_once(mark) {
            return Err(format!("`{mark}{behind}` in `{text}`: there is no {part}"));
        }
    }
    if let Some((user, _)) = rest.split_once('@') {
        return Err(format!("`{user}@` in `{text}`: there is no user"));
    }
    let address = Address::parse(rest, PORT)?;
    if address.port() == 0 {
        return Err(format!("port 0 in `{text}` is not the port of a server"));
    }
    Ok(address)
}

fn behind_scheme(text: &str) -> Result<&str, String> {
    let Some((scheme, rest)) = text.split_once(':') else {
        return Ok(text);
    };
    match scheme.to_ascii_lowercase().as_str() {
        "stun" => Ok(rest),
        "stuns" => Err(format!("`{scheme}:` in `{text}`: there is no TLS here")),
        "turn" | "turns" | "http" | "https" | "udp" | "tcp" => {
            Err(format!("`{scheme}:` in `{text}` is not `stun:`"))
        }
        // A host and its port, or an IPv6 address.
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        parse(text).map_or_else(|error| error, |address| address.to_string())
    }

    #[test]
    fn a_server_is_a_uri_or_an_address() {
        for (text, address) in [
            ("stun:192.0.2.1", "192.0.2.1:3478"),
            ("STUN:stun.example.org:3479", "stun.example.org:3479"),
            ("stun:[2001:db8::1]", "[2001:db8::1]:3478"),
            ("[::1]:9", "[::1]:9"),
            ("::1", "[::1]:3478"),
            ("localhost:9", "localhost:9"),
            ("localhost", "localhost:3478"),
        ] {
            assert_eq!(shown(text), address, "{text}");
        }
    }

    #[test]
    fn an_error_names_the_part_that_is_wrong() {
        for (text, error) in [
            ("stuns:h", "`stuns:` in `stuns:h`: there is no TLS here"),
            ("turn:h", "`turn:` in `turn:h` is not `stun:`"),
            ("stun://h", "`//` in `stun://h`: the host follows the colon"),
            ("stun:u@h", "`u@` in `stun:u@h`: there is no user"),
            (
                "stun:h?transport=tcp",
                "`?transport=tcp` in `stun:h?transport=tcp`: there is no query",
            ),
            ("stun:h/p", "`/p` in `stun:h/p`: there is no path"),
            ("stun:h#f", "`#f` in `stun:h#f`: there is no fragment"),
            (
                "stun:h:0",
                "port 0 in `stun:h:0` is not the port of a server",
            ),
            ("stun:", "the host is missing"),
            ("stun:h:x", "port `x` is not a number from 0 to 65535"),
        ] {
            assert_eq!(shown(text), error, "{text}");
        }
    }
}
